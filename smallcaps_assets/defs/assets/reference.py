"""Group `reference`: what is known before any tick is fetched."""

from collections.abc import Iterator

import dagster as dg

from smallcaps_assets.defs.assets.events import publish_result
from smallcaps_assets.defs.failures import dagster_failures, fail_months
from smallcaps_assets.defs.instance.reconciliation import align_changed
from smallcaps_assets.defs.metadata import (
    column_schema,
    show_check,
    show_file,
    show_numbers,
    show_tables,
)
from smallcaps_assets.defs.partitions import name_months
from smallcaps_assets.ingest.reference.daily_bars import (
    BarMonth,
    judge_bar_lives,
    judge_daily_bars,
    judge_split_jumps,
    refresh_daily_bars,
    refresh_splits,
)
from smallcaps_assets.ingest.reference.universe import refresh_universe
from smallcaps_assets.ingest.ticks.backfill import judge_new_bars
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, SPLITS, UNIVERSE

GROUP = "reference"
Event = dg.AssetMaterialization | dg.AssetObservation


def build_daily_bars(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """Build the asset ``daily_bars`` over ``months``."""

    @dg.asset(
        name=DAILY_BARS.name,
        group_name=GROUP,
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        kinds={"polars", "parquet"},
        metadata=column_schema(DAILY_BARS),
        owners=["team:market_data"],
    )
    def daily_bars(
        context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
    ) -> Iterator[Event]:
        """Unadjusted daily bars of every ticker.

        - Grain: one bar of a ticker and session; one file a month.
        - Source: the vendor's grouped daily endpoint, one request per session, or the file of
          SMALLCAPS_DAILY_BARS.
        - Cadence: after each session, by `smallcaps plan` or the schedule.

        A month turns green when it is closed and every session of it has bars; the open month is
        stored and stays missing, and its event says how far it is.
        """
        failed: list[str] = []
        with dagster_failures():
            for month in refresh_daily_bars(lakehouse, name_months(context.partition_keys)):
                failed += [month.problem] if month.problem else []
                yield describe_month(month)
            align_changed(context.instance, lakehouse, judge_new_bars(lakehouse))
        if failed:
            raise fail_months(failed, "not whole")

    return daily_bars


def describe_month(month: BarMonth) -> Event:
    """Describe one month as an event: green, or why it is not."""
    key, partition = dg.AssetKey(DAILY_BARS.name), f"{month.name}-01"
    metadata = {"dagster/row_count": month.rows, **show_numbers(month.numbers)}
    if month.is_closed:
        return dg.AssetMaterialization(key, partition=partition, metadata=metadata)
    why = month.problem or f"{month.name} is open: its bars are stored, more are to come"
    return dg.AssetObservation(key, partition=partition, description=why, metadata=metadata)


@dg.asset_check(
    asset=DAILY_BARS.name,
    description="Every stored month that is over has bars for every session.  Red: materialize the "
    "months of the offenders again.",
)
def daily_bars_are_whole(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Judge all stored months at once, and list bars that no rule can use."""
    with dagster_failures():
        verdict = judge_daily_bars(lakehouse)
    return show_check(verdict)


@dg.asset_check(
    asset=DAILY_BARS.name,
    additional_deps=[SPLITS.name],
    description="No overnight jump looks like a split that is not on record, and every record fits "
    "its prices.  Red: look the jumps up; decide by SMALLCAPS_DECIDED_SPLITS.",
)
def daily_bars_have_no_unrecorded_splits(
    lakehouse: dg.ResourceParam[Lakehouse],
) -> dg.AssetCheckResult:
    """List what splits on record leave unexplained; some jumps are prices that doubled."""
    with dagster_failures():
        verdict = judge_split_jumps(lakehouse)
    return show_check(verdict)


@dg.asset_check(
    asset=DAILY_BARS.name,
    additional_deps=[UNIVERSE.name],
    description="Listings have a bar on the sessions of their lives, but for a few.  Red: halts "
    "and idle sessions are true; for whole months plan again.",
)
def daily_bars_cover_listing_lives(
    lakehouse: dg.ResourceParam[Lakehouse],
) -> dg.AssetCheckResult:
    """Count missing sessions by listing, or by ticker where there is no universe."""
    with dagster_failures():
        verdict = judge_bar_lives(lakehouse)
    return show_check(verdict)


universe_holds_delisted_listings = dg.AssetCheckSpec(
    name="universe_holds_delisted_listings",
    asset=UNIVERSE.name,
    blocking=True,
    description="Some listings are delisted, else only survivors are studied; else not published.  "
    "Red: add the delisted ones to the file, or load the universe again.",
)


@dg.asset(
    name=UNIVERSE.name,
    group_name=GROUP,
    check_specs=[universe_holds_delisted_listings],
    kinds={"polars", "parquet"},
    metadata=column_schema(UNIVERSE),
    owners=["team:market_data"],
)
def universe(
    context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.MaterializeResult:
    """Listings, active and delisted, so that not only survivors are studied.

    - Grain: one listing: a ticker used twice has two rows.
    - Source: the vendor's two lists of tickers with details of what passes the filters, or the
      file of SMALLCAPS_UNIVERSE.
    - Cadence: on request; it is optional, and a load that was interrupted continues.
    """
    with dagster_failures():
        made = refresh_universe(lakehouse, context.log.info)
    file = show_file(UNIVERSE, lakehouse.layout.universe_file)
    return publish_result(made, universe_holds_delisted_listings.name, file)


splits_do_not_contradict = dg.AssetCheckSpec(
    name="splits_do_not_contradict",
    asset=SPLITS.name,
    description="No two records of the vendor name different splits of a ticker and date.  Red: "
    "write the right one of each into a file for SMALLCAPS_DECIDED_SPLITS.",
)


@dg.asset(
    name=SPLITS.name,
    group_name=GROUP,
    check_specs=[splits_do_not_contradict],
    kinds={"polars", "parquet"},
    metadata=column_schema(SPLITS),
    owners=["team:market_data"],
)
def splits(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """Splits on record, for rules that compare prices of different sessions.

    - Grain: one split of a ticker on its execution date.
    - Source: the vendor, or the file of SMALLCAPS_SPLITS; none where daily bars come from a file
      and no file of splits is named, so that the rules run on the bars as they are.  Splits of
      SMALLCAPS_DECIDED_SPLITS win.
    - Cadence: before each plan.

    Where records contradict one another the ratio is null, and no rule looks across the date.
    """
    with dagster_failures():
        made = refresh_splits(lakehouse)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": made.rows,
            **show_file(SPLITS, lakehouse.layout.splits_file),
            **show_numbers(made.numbers),
            **show_tables(made.tables),
        },
        check_results=[show_check(made.verdict, splits_do_not_contradict.name)],
    )
