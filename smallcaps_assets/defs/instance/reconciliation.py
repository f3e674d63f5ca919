"""Dagster's whole view of a lake, made equal to it: the plan registered, every key aligned.

What does not belong here: the states of some keys (``states``), and a database of Dagster that is
damaged: no run could set aside the one it is kept in (``cli``).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import dagster as dg
import polars as pl

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.instance.runs import end_dead_runs
from smallcaps_assets.defs.instance.states import (
    TRADES_KEY,
    AlignedStates,
    align_states,
    forget_colours,
)
from smallcaps_assets.defs.instance.units import (
    UNITS_KEY,
    UnitsFacts,
    align_runs,
    align_units,
    preview_units,
    register_units,
)
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.universe.standing import find_units
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.sessions import RepairFacts


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was changed in Dagster, or would be.

    Attributes:
        keys: Planned keys of event windows.
        registered: New ones.
        removed: No longer planned.
        shown: In the lake, but Dagster did not know it.
        missing: Green in Dagster, but not in the lake.
        units: Planned units of a universe.
        units_registered: New ones.
        units_removed: No longer planned.
        units_shown: Proven, but Dagster did not show it.
        units_missing: Green in Dagster, and not proven.
        ended: Runs whose process was dead; ``None``: it was a dry run, which does not look.
    """

    keys: int = 0
    registered: int = 0
    removed: int = 0
    shown: int = 0
    missing: int = 0
    units: int = 0
    units_registered: int = 0
    units_removed: int = 0
    units_shown: int = 0
    units_missing: int = 0
    ended: int | None = None

    def describe(self) -> str:
        """Say it in one line, and one for a universe."""
        ended = "" if self.ended is None else f", {self.ended:,} dead runs ended"
        verb = "would be registered" if self.ended is None else "registered"
        text = (
            f"{self.keys:,} keys: {self.registered:,} {verb}, {self.removed:,} removed, "
            f"{self.shown:,} shown as stored, {self.missing:,} marked missing{ended}"
        )
        if not self.units and not self.units_removed:
            return text
        return (
            f"{text}\n{self.units:,} units: {self.units_registered:,} {verb}, "
            f"{self.units_removed:,} removed, {self.units_shown:,} shown as finished, "
            f"{self.units_missing:,} marked unfinished"
        )


def reconcile_partitions(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> Reconciliation:
    """End dead runs, register what is published and align every key; hold the lock of the lake.

    Raises:
        MissingPartitionError: Neither event windows nor a universe are planned.
    """
    ended = end_dead_runs(instance, lakehouse.lock)
    for asset in (TRADES_KEY, UNITS_KEY):
        forget_colours(instance, asset)
    units = _register_universe(instance, lakehouse)
    done = replace(Reconciliation(), ended=len(ended), **_tell_units(units))
    try:
        queue = register_plan(instance, lakehouse)
    except MissingPartitionError:
        if units is None:
            raise
        return done
    aligned = align_states(instance, lakehouse, instance.get_dynamic_partitions(PLANNED_SET))
    return replace(
        done,
        keys=queue.keys,
        registered=queue.added,
        removed=queue.removed,
        shown=queue.marked_green + len(aligned.marked_green),
        missing=queue.marked_missing + len(aligned.marked_missing),
    )


def preview_reconciliation(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> Reconciliation:
    """Say what :func:`reconcile_partitions` would change, and change nothing.

    Raises:
        MissingPartitionError: Neither event windows nor a universe are planned.
    """
    units = None
    with suppress(MissingPartitionError):
        units = preview_units(instance, lakehouse)
    done = replace(Reconciliation(), **_tell_units(units))
    try:
        _, plan = lakehouse.tables.read_plan()
    except MissingPartitionError:
        if units is None:
            raise
        return done
    planned = plan.select(key_expression()).to_series().to_list()
    registered = set(instance.get_dynamic_partitions(PLANNED_SET))
    aligned = align_states(instance, lakehouse, planned, is_dry_run=True)
    return replace(
        done,
        keys=len(planned),
        registered=len(set(planned) - registered),
        removed=len(registered - set(planned)),
        shown=len(aligned.marked_green),
        missing=len(aligned.marked_missing),
    )


def _register_universe(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> UnitsFacts | None:
    with suppress(MissingPartitionError):
        return register_units(instance, lakehouse)
    return None


def _tell_units(units: UnitsFacts | None) -> dict[str, int]:
    """Name what was done with units as a reconciliation does."""
    if units is None:
        return {}
    return {
        "units": units.units,
        "units_registered": units.added,
        "units_removed": units.removed,
        "units_shown": units.marked_green,
        "units_missing": units.marked_red,
    }


def end_dead(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> list[str]:
    """End the runs whose process is dead, and show how their units stand; return their ids.

    Raises:
        StorageError: The disk refuses.
    """
    ended = end_dead_runs(instance, lakehouse.lock)
    with suppress(MissingPartitionError):
        align_runs(instance, lakehouse, ended)
    return ended


def align_changed(
    instance: dg.DagsterInstance,
    lakehouse: Lakehouse,
    keys: Sequence[str],
    *,
    beside: Sequence[str] = (),
) -> AlignedStates:
    """Make Dagster's view of some sessions equal to the ledger's, as far as they are planned.

    Args:
        instance: A persistent instance.
        lakehouse: Its ledger is the index of the truth.
        keys: Sessions that may have another colour now, by themselves and as a part of a unit.
        beside: Sessions that are shown by themselves already, and may end a unit.
    """
    if not keys and not beside:
        return AlignedStates((), ())
    with suppress(MissingPartitionError):
        places = [decode_key(key) for key in {*keys, *beside}]
        schema = {"ticker": pl.String(), "session_date": pl.Date()}
        sessions = pl.DataFrame(places, schema, orient="row")
        align_units(instance, lakehouse, find_units(lakehouse, sessions))
    registered = set(instance.get_dynamic_partitions(PLANNED_SET)) if keys else set()
    return align_states(instance, lakehouse, [key for key in keys if key in registered])


def show_repair(instance: dg.DagsterInstance, lakehouse: Lakehouse, facts: RepairFacts) -> None:
    """Turn the partitions of damaged sessions red, so that a backfill holds them."""
    # Else a run that was killed would still show its partitions as under way.
    end_dead(instance, lakehouse)
    align_changed(instance, lakehouse, facts.keys)
