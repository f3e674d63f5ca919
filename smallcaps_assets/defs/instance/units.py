"""The units of a universe as Dagster's dynamic partition set, and their colours made the lake's.

What belongs here: registering units, and the order in which colours are aligned: new keys are
added, what is shown as finished and is not is marked red with its reason, what is finished and not
shown so gets an event, keys that are planned no more are removed.  What does not: how a unit stands
(``ingest.universe.standing``), the partitions of event windows (``queue``, ``states``).

What is missing is decided by records, never by colours: a colour that is wrong costs no request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import dagster as dg
import polars as pl
from dagster import AssetPartitionStatus

from smallcaps_assets.core.universe.units import list_units
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.defs.instance.internals import (
    PARTITION,
    RANGE_END,
    RANGE_START,
    find_open_backfill,
)
from smallcaps_assets.defs.instance.runs import ALIVE
from smallcaps_assets.defs.instance.states import GREEN_OR_SOON, forget_colours, mark_failed
from smallcaps_assets.defs.partitions import UNITS_SET, universe_units
from smallcaps_assets.ingest.universe.standing import choose_units, explain_open, measure_plan
from smallcaps_assets.lakehouse import Lakehouse

UNITS_ASSET: Final = "universe_trades"
UNITS_JOB: Final = "download_units"
"""Job of `universe_trades` alone, whose runs the command starts."""
UNITS_KEY: Final = dg.AssetKey(UNITS_ASSET)
UNITS_POOL: Final = "universe"
OWED_HASH: Final = "owed_hash"
"""Metadata of a finished unit: the hash of what it owed then."""
SHOWN_REASONS: Final = 50
"""Units that the message of one failed run names; each has its reason on its own page too."""


@dataclass(frozen=True, slots=True)
class AlignedUnits:
    """What was changed in Dagster.

    Attributes:
        marked_green: Units that are proven, and that Dagster did not show so.
        marked_red: Units that Dagster showed as finished and that are not, with the reason.
    """

    marked_green: tuple[str, ...] = ()
    marked_red: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnitsFacts:
    """What registering the units of a plan did.

    Attributes:
        units: Units of the plan, now the partition set.
        added: New ones.
        removed: Planned no more; their data stay in the lake.
        marked_green: Proven, but Dagster did not show it.
        marked_red: Shown as finished, and not proven.
        open: Units that lack a session.
        plan_hash: Hash of the plan.
    """

    units: int
    added: int
    removed: int
    marked_green: int
    marked_red: int
    open: int
    plan_hash: str

    def numbers(self) -> dict[str, Number]:
        """List the facts by name."""
        return asdict(self)


def register_units(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, run_id: str = ""
) -> UnitsFacts:
    """Make the partition set equal to the published plan, and the colours of all units the lake's.

    Keys that are planned no more stay while a backfill or another run is under way, which would
    fail without them: a later call removes them.

    Args:
        instance: A persistent instance.
        lakehouse: A lake whose ledger is fresh.
        run_id: The run that asks, which is under way itself.

    Raises:
        MissingPartitionError: No universe is planned.
        PartitionConflictError: Another process publishes or registers a plan for too long.
    """
    _ = lakehouse.tables.read_universe_plan()
    with lakehouse.planning("registering the units"):
        record, plan = lakehouse.tables.read_universe_plan()
        planned = list_units(plan)["unit"].to_list()
        existing = instance.get_dynamic_partitions(UNITS_SET)
        known, wanted = set(existing), set(planned)
        if new := [unit for unit in planned if unit not in known]:
            instance.add_dynamic_partitions(UNITS_SET, new)
        standing = measure_plan(lakehouse, plan)
        aligned = _align(instance, lakehouse, plan, standing)
        gone = [] if _is_at_work(instance, run_id) else [u for u in existing if u not in wanted]
        for unit in gone:
            instance.delete_dynamic_partition(UNITS_SET, unit)
    return UnitsFacts(
        units=len(planned),
        added=len(new),
        removed=len(gone),
        marked_green=len(aligned.marked_green),
        marked_red=len(aligned.marked_red),
        open=standing.filter(pl.col("missing") > 0).height,
        plan_hash=record.plan_hash,
    )


def preview_units(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> UnitsFacts:
    """Say what :func:`register_units` would change, and change nothing.

    Raises:
        MissingPartitionError: No universe is planned.
    """
    record, plan = lakehouse.tables.read_universe_plan()
    planned = set(list_units(plan)["unit"])
    existing = set(instance.get_dynamic_partitions(UNITS_SET))
    standing = measure_plan(lakehouse, plan)
    green, red = _compare(standing, _read_colours(instance, standing["unit"].to_list()))
    return UnitsFacts(
        units=len(planned),
        added=len(planned - existing),
        removed=len(existing - planned),
        marked_green=len(green),
        marked_red=len(red),
        open=standing.filter(pl.col("missing") > 0).height,
        plan_hash=record.plan_hash,
    )


def align_units(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, units: Iterable[str]
) -> AlignedUnits:
    """Make Dagster's colours of some units equal to what is proven, as far as they are registered.

    Units of a living run are left alone: it shows what becomes of them by itself.

    Raises:
        MissingPartitionError: No universe is planned.
    """
    registered = set(instance.get_dynamic_partitions(UNITS_SET))
    chosen = registered.intersection(units)
    if not chosen:
        return AlignedUnits()
    plan = choose_units(lakehouse.tables.read_universe_plan()[1], chosen)
    return _align(instance, lakehouse, plan, measure_plan(lakehouse, plan))


def settle_units(instance: dg.DagsterInstance, lakehouse: Lakehouse, units: Sequence[str]) -> None:
    """Show how the units of a run stand that is ended by force, while it is still under way.

    Dagster shows the units of a run that failed as failed, and of one that was canceled as they
    were before it, whatever is proven of them.
    """
    plan = choose_units(lakehouse.tables.read_universe_plan()[1], units)
    standing = measure_plan(lakehouse, plan)
    shown = _read_colours(instance, standing["unit"].to_list())
    under_way = {u for u, colour in shown.items() if colour is AssetPartitionStatus.IN_PROGRESS}
    proven = standing.filter(pl.col("unit").is_in(list(under_way)), pl.col("missing") == 0)
    _show_green(instance, proven)
    begun = under_way & instance.get_materialized_partitions(UNITS_KEY)
    lacking = standing.filter(pl.col("unit").is_in(list(begun)), pl.col("missing") > 0)
    _mark_red(instance, lakehouse, plan, lacking)


def align_runs(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, run_ids: Iterable[str]
) -> AlignedUnits:
    """Align the units of runs that are over."""
    units: set[str] = set()
    for run_id in run_ids:
        run = instance.get_run_by_id(run_id)
        units |= find_run_units(instance, run) if run else set()
    if not units:
        return AlignedUnits()
    forget_colours(instance, UNITS_KEY)
    return align_units(instance, lakehouse, units)


def find_run_units(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """Find the registered units that a run was for; none for a run of anything else."""
    if UNITS_KEY not in (run.asset_selection or ()) and run.job_name != UNITS_JOB:
        return set()
    ordered = instance.get_dynamic_partitions(UNITS_SET)
    first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
    if first in ordered and last in ordered:
        return set(ordered[ordered.index(first) : ordered.index(last) + 1])
    return {run.tags.get(PARTITION, "")}.intersection(ordered)


def _align(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, plan: pl.DataFrame, standing: pl.DataFrame
) -> AlignedUnits:
    """Mark red what is shown as finished and is not, then green what is finished."""
    shown = _read_colours(instance, standing["unit"].to_list())
    green, red = _compare(standing, shown)
    reasons = _mark_red(instance, lakehouse, plan, standing.filter(pl.col("unit").is_in(red)))
    _show_green(instance, standing.filter(pl.col("unit").is_in(green)))
    return AlignedUnits(tuple(green), reasons)


def _read_colours(
    instance: dg.DagsterInstance, units: list[str]
) -> Mapping[str, AssetPartitionStatus | None]:
    return instance.get_status_by_partition(UNITS_KEY, units, universe_units) or {}


def _compare(
    standing: pl.DataFrame, shown: Mapping[str, AssetPartitionStatus | None]
) -> tuple[list[str], list[str]]:
    """List the units to be shown as finished, and those that are shown so and are not."""
    green, red = [], []
    for unit, missing in standing.select("unit", "missing").iter_rows():
        colour = shown.get(unit)
        if not missing and colour not in GREEN_OR_SOON:
            green.append(unit)
        elif missing and colour is AssetPartitionStatus.MATERIALIZED:
            red.append(unit)
    return green, red


def _mark_red(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, plan: pl.DataFrame, lacking: pl.DataFrame
) -> dict[str, str]:
    """Mark units red by one failed run that names them and their reasons."""
    if lacking.is_empty():
        return {}
    units = lacking["unit"].to_list()
    unchanged = {
        unit
        for unit, owed_hash in lacking.select("unit", OWED_HASH).iter_rows()
        if _recall_owed(instance, unit) == owed_hash
    }
    found = explain_open(lakehouse, choose_units(plan, units), unchanged)
    reasons = {unit: found[unit] for unit in units}
    lines = [f"{unit}: {reason}" for unit, reason in reasons.items()]
    more = [f"and {len(lines) - SHOWN_REASONS:,} more"] if lines[SHOWN_REASONS:] else []
    mark_failed(instance, UNITS_KEY, units, "\n".join([*lines[:SHOWN_REASONS], *more]))
    for unit, missing in lacking.select("unit", "missing").iter_rows():
        instance.report_runless_asset_event(
            dg.AssetObservation(
                UNITS_KEY,
                partition=unit,
                description=reasons[unit],
                metadata={"reason": reasons[unit], "open": missing, "reconciled": True},
            )
        )
    return reasons


def _recall_owed(instance: dg.DagsterInstance, unit: str) -> str:
    """Recall the hash of what a unit owed when it was last shown as finished; empty: unknown."""
    chosen = dg.AssetRecordsFilter(UNITS_KEY, asset_partitions=[unit])
    found = instance.fetch_materializations(chosen, limit=1).records
    event = found[0].asset_materialization if found else None
    value = event.metadata.get(OWED_HASH) if event else None
    return str(value.value) if value else ""


def _show_green(instance: dg.DagsterInstance, proven: pl.DataFrame) -> None:
    columns = ("unit", "owed", "tickers", OWED_HASH)
    for unit, owed, tickers, owed_hash in proven.select(columns).iter_rows():
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                UNITS_KEY,
                partition=unit,
                metadata={
                    "sessions": owed,
                    "tickers": tickers,
                    OWED_HASH: owed_hash,
                    "reconciled": True,
                },
            )
        )


def _is_at_work(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Tell whether a backfill of units, or a run other than ``run_id``, is under way."""
    if find_open_backfill(instance, UNITS_KEY):
        return True
    alive = instance.get_runs(filters=dg.RunsFilter(statuses=ALIVE))
    return any(run.run_id != run_id for run in alive)
