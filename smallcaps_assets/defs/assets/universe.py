"""Group `universe`: whole months of many tickers, in units of a batch of them and a month."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import dagster as dg

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.universe.units import UNITS_A_RUN
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.assets.events import publish_result
from smallcaps_assets.defs.assets.serve import report_catalog
from smallcaps_assets.defs.assets.ticks import (
    INTERRUPTS,
    AcceptConfig,
    check_launch,
    ending_run,
    mark_aborted,
)
from smallcaps_assets.defs.checks.trades import report_ledger_checks
from smallcaps_assets.defs.failures import LaunchConfig, dagster_failures
from smallcaps_assets.defs.instance.reconciliation import align_changed, end_dead
from smallcaps_assets.defs.instance.runs import canceling, claim_run
from smallcaps_assets.defs.instance.units import (
    OWED_HASH,
    UNITS_ASSET,
    UNITS_POOL,
    register_units,
    settle_units,
)
from smallcaps_assets.defs.metadata import column_schema, show_check, show_file, show_numbers
from smallcaps_assets.defs.partitions import universe_units
from smallcaps_assets.errors import ConfigError, MissingPartitionError, SmallcapsError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.plan.pictures import publish_pictures
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.universe.fetching import UnitEnd, UnitsDownload
from smallcaps_assets.ingest.universe.pictures import draw_universe
from smallcaps_assets.ingest.universe.publishing import MadeUniverse, make_universe_plan
from smallcaps_assets.ingest.universe.standing import read_planned_units
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, TRADES, UNIVERSE, UNIVERSE_PLAN

GROUP = "universe"
SHOWN_UNITS = 5
"""Units that a failure names."""

UNDER_PARENT_TAG = "smallcaps/under_parent"
"""Tag of runs of `smallcaps download --universe`, whose parent holds the lock of the units."""

Event = dg.AssetMaterialization | dg.AssetObservation

universe_plan_is_publishable = dg.AssetCheckSpec(
    name="universe_plan_is_publishable",
    asset=UNIVERSE_PLAN.name,
    blocking=True,
    description="The plan owes something, reopens at most 5 % of the green units and drops at most "
    "5 % of the planned ones; else it waits.  Red: look at what it changes, then accept it.",
)
universe_symbols_are_known = dg.AssetCheckSpec(
    name="universe_symbols_are_known",
    asset=UNIVERSE_PLAN.name,
    description="Listings or daily bars know every symbol.  Yellow; red above 5 % of them.  Red: "
    "correct the file, or load the listings.",
)
universe_plan_holds_the_delisted = dg.AssetCheckSpec(
    name="universe_plan_holds_the_delisted",
    asset=UNIVERSE_PLAN.name,
    description="Some tickers ended before the plan does, else only survivors are studied.  Red: "
    "add symbols that were delisted.",
)
universe_fits_the_disk = dg.AssetCheckSpec(
    name="universe_fits_the_disk",
    asset=UNIVERSE_PLAN.name,
    description="What is missing fits 80 % of the free disk.  Red: plan less, or move the lake to "
    "a larger disk (`smallcaps relocate`).",
)


class UniversePlanConfig(LaunchConfig):
    """How a universe is planned.

    Attributes:
        accept: Publish the plan although it reopens or drops much.
    """

    accept: bool = False


@dg.asset(
    name=UNIVERSE_PLAN.name,
    group_name=GROUP,
    deps=[UNIVERSE.name, DAILY_BARS.name],
    check_specs=[
        universe_plan_is_publishable,
        universe_symbols_are_known,
        universe_plan_holds_the_delisted,
        universe_fits_the_disk,
    ],
    kinds={"polars", "parquet"},
    metadata=column_schema(UNIVERSE_PLAN),
    owners=["team:market_data"],
)
def universe_plan(
    config: UniversePlanConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.MaterializeResult:
    """Whole months of tickers: each owes every session on which it was listed or had a bar.

    - Grain: one ticker and month; a batch and a month are a unit of the download.
    - Source: `universe`, the file of SMALLCAPS_TICKERS_FILE, or all tickers of `daily_bars`.
    - Cadence: on request, and again when a month is over; what is finished stays finished.

    A plan that would reopen or drop much waits beside the one in force until it is accepted.
    """
    with dagster_failures():
        config.check()
        made = make_universe_plan(lakehouse, is_accepted=config.accept)
        figures = draw_universe(made.plan) if made.is_published else {}
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    file = show_file(UNIVERSE_PLAN, lakehouse.layout.universe_plan_file)
    result = publish_result(made.tell(), universe_plan_is_publishable.name, file, pictures)
    return result._replace(check_results=[*(result.check_results or ()), *_show_checks(made)])


def _show_checks(made: MadeUniverse) -> list[dg.AssetCheckResult]:
    """Show what stops nothing: symbols, survivorship, room on the disk."""
    shown: dict[str, Verdict] = {
        universe_symbols_are_known.name: made.symbols,
        universe_plan_holds_the_delisted.name: made.survivors,
        universe_fits_the_disk.name: made.room,
    }
    red, yellow = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    return [
        show_check(verdict, name, red if verdict.numbers.get("is_red") else yellow)
        for name, verdict in shown.items()
    ]


@dg.asset(
    group_name=GROUP,
    deps=[UNIVERSE_PLAN.name],
    kinds={"dagster"},
    owners=["team:market_data"],
)
def universe_queue(
    context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.MaterializeResult:
    """The units of the published universe as the partition set of `universe_trades`.

    - Grain: one partition key, a batch and a month: `b017_2024-03`.
    - Source: `universe_plan`; a unit is shown as finished if all that it owes is proven.
    - Cadence: with each plan, and whenever the colours are to be made equal to the lake.
    """
    with dagster_failures():
        ensure_indexed(lakehouse)
        facts = register_units(context.instance, lakehouse, context.run.run_id)
    return dg.MaterializeResult(metadata=show_numbers(facts.numbers()))


@dg.asset(
    name=UNITS_ASSET,
    group_name=GROUP,
    deps=[universe_queue],
    partitions_def=universe_units,
    backfill_policy=dg.BackfillPolicy.multi_run(UNITS_A_RUN),
    output_required=False,
    pool=UNITS_POOL,
    kinds={"parquet", "polars"},
    metadata=column_schema(TRADES),
    owners=["team:market_data"],
)
def universe_trades(
    context: dg.AssetExecutionContext,
    config: AcceptConfig,
    lakehouse: dg.ResourceParam[Lakehouse],
) -> Iterator[Event]:
    """Every print of whole months of the tickers of a universe, as the vendor sent it.

    - Grain: one print; a partition is a batch of tickers and a month.
    - Source: the vendor's trades endpoint; what `trades` has stored is not asked for again.
    - Cadence: on request, by `download_universe` or `smallcaps download --universe`.

    A unit turns green when everything that it owes is proven, by the plan of that moment.
    """
    with ending_run(context):
        backfill, work = open_units(context, config, lakehouse)
        unfinished: list[UnitEnd] = []
        settle = partial(settle_units, context.instance, lakehouse, work.units)
        try:
            with (
                canceling(context.instance, context.run.run_id, INTERRUPTS, settle),
                _held(context, lakehouse, backfill),
            ):
                claim_run(context.instance, context.run.run_id)
                for end in work.run():
                    if not end.is_green:
                        unfinished.append(end)
                    yield describe_unit(end)
        except SmallcapsError:
            settle()
            raise
        align_changed(context.instance, lakehouse, [*work.keys, *backfill.changed])
        with suppress(MissingPartitionError):  # no event windows are planned
            report_ledger_checks(context.instance, lakehouse)
        report_catalog(context.instance, lakehouse, backfill.catalog)
    mark_aborted(context, backfill)
    if unfinished:
        raise units_failure(unfinished, len(work.units), backfill)


def open_units(
    context: dg.AssetExecutionContext, config: AcceptConfig, lakehouse: Lakehouse
) -> tuple[Backfill, UnitsDownload]:
    """Open the work of this run on its units, after refusing what could lose data.

    Raises:
        ConfigError: The config is unknown, the instance ephemeral, or no unit of it is planned.
        MissingPartitionError: No universe is planned.
    """
    check_launch(context, config, lakehouse)
    # Once: keys that are not planned may be gone from the set later.
    asked = list(context.partition_keys)
    end_dead(context.instance, lakehouse)
    ensure_indexed(lakehouse)
    units = read_planned_units(lakehouse, asked)
    if not units:
        raise ConfigError(
            f"none of {format_count(len(asked), 'unit')} of this run is planned, {asked[0]} the "
            "first: `smallcaps plan --universe` plans units, keys added in the UI do not"
        )
    accepted = config.adopt_tags(context.run.tags)
    backfill = Backfill(
        lakehouse,
        run_id=context.run.run_id,
        interrupts=INTERRUPTS,
        accept_empty=accepted.accept_empty,
        accept_disputed=accepted.accept_disputed,
    )
    is_forced = accepted.accept_empty or accepted.accept_disputed
    return backfill, UnitsDownload(lakehouse, backfill, units, is_forced=is_forced)


@contextmanager
def _held(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, backfill: Backfill
) -> Iterator[None]:
    """Share the lake; units that Dagster gives wait for a command that gives its own."""
    owner = f"run {context.run.run_id}"
    is_given = UNDER_PARENT_TAG in context.run.tags
    gate = nullcontext() if is_given else lakehouse.giving_units(owner, None, shared=True)
    with gate, backfill.held(wait_s=None, is_shared=True):
        yield


def describe_unit(end: UnitEnd) -> Event:
    """Describe how a unit ended as an event: finished, or what lacks."""
    states = dg.MetadataValue.json(dict(end.states))
    if not end.is_green:
        return dg.AssetObservation(
            asset_key=UNITS_ASSET,
            partition=end.unit,
            description=f"{end.open:,} of {end.sessions:,} sessions lack",
            metadata={
                "open": end.open,
                "sessions": end.sessions,
                "requests": end.requests,
                "states": states,
                "open_keys": dg.MetadataValue.json(list(end.open_keys)),
                OWED_HASH: end.owed_hash,
            },
        )
    return dg.AssetMaterialization(
        asset_key=UNITS_ASSET,
        partition=end.unit,
        metadata={
            "dagster/row_count": end.rows,
            "sessions": end.sessions,
            "tickers": end.tickers,
            "bytes": end.bytes,
            "requests": end.requests,
            "states": states,
            OWED_HASH: end.owed_hash,
            **({"content_hash": end.content_hash} if end.content_hash else {"reused": True}),
        },
    )


def units_failure(unfinished: Sequence[UnitEnd], units: int, backfill: Backfill) -> dg.Failure:
    """Make the one failure that ends a step with units that lack something."""
    shown = ", ".join(f"{end.unit} ({end.open:,})" for end in unfinished[:SHOWN_UNITS])
    more = f", and {len(unfinished) - SHOWN_UNITS:,} more" if unfinished[SHOWN_UNITS:] else ""
    return dg.Failure(
        description=f"{len(unfinished):,} of {format_count(units, 'unit')} lack sessions: {shown}"
        f"{more}; {backfill.summary.describe()}",
        metadata={
            "failures_by_kind": dg.MetadataValue.json(dict(backfill.summary.failures)),
            "aborted": backfill.summary.aborted or "no",
            "unfinished": dg.MetadataValue.json([end.unit for end in unfinished]),
        },
        allow_retries=False,
    )
