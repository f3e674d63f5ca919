"""Group `events`: the sessions worth studying."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from smallcaps_assets.core.verdicts import MadeTable
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import (
    NO_PICTURES,
    column_schema,
    show_check,
    show_file,
    show_numbers,
    show_pictures,
    show_tables,
)
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, PILOT_WATCHLIST, SPLITS, UNIVERSE, WATCHLIST

GROUP = "events"

watchlist_is_publishable = dg.AssetCheckSpec(
    name="watchlist_is_publishable",
    asset=WATCHLIST.name,
    blocking=True,
    description="Rows are unique, name known events, count them right; else not published.  "
    "Red: correct the file; the old watchlist stays.",
)
pilot_is_publishable = dg.AssetCheckSpec(
    name="pilot_is_publishable",
    asset=PILOT_WATCHLIST.name,
    blocking=True,
    description="The pilot is not empty; else nothing is published.  Red: lower "
    "SMALLCAPS_PILOT_MIN_EVENTS.",
)


@dg.asset(
    name=WATCHLIST.name,
    group_name=GROUP,
    deps=[DAILY_BARS.name, SPLITS.name, UNIVERSE.name],
    check_specs=[watchlist_is_publishable],
    kinds={"polars", "parquet"},
    metadata=column_schema(WATCHLIST),
    owners=["team:research"],
)
def watchlist(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """Ticker-sessions with at least one event: the sessions worth studying.

    - Grain: one ticker and session.
    - Source: the rules E1 to E11 over daily bars and splits, or the files of SMALLCAPS_WATCHLIST.
    - Cadence: with each plan.

    Where a universe is published, rows outside it are reported, kept or dropped.
    A candidate that fails its check is kept beside the table and never published.
    """
    with dagster_failures():
        made = make_watchlist(lakehouse)
    file = show_file(WATCHLIST, lakehouse.layout.watchlist_file)
    return publish_result(made, watchlist_is_publishable.name, file)


@dg.asset(
    name=PILOT_WATCHLIST.name,
    group_name=GROUP,
    deps=[WATCHLIST.name],
    check_specs=[pilot_is_publishable],
    kinds={"polars", "parquet"},
    metadata=column_schema(PILOT_WATCHLIST),
    owners=["team:research"],
)
def pilot_watchlist(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """The part of the watchlist to fetch: tickers with the most sessions of several events.

    - Grain: one chosen row of the watchlist.
    - Source: `watchlist`, SMALLCAPS_PILOT_TICKERS, SMALLCAPS_PILOT_MIN_EVENTS and the disk.
    - Cadence: with each plan.
    """
    with dagster_failures():
        made = make_pilot(lakehouse)
    file = show_file(PILOT_WATCHLIST, lakehouse.layout.pilot_watchlist_file)
    return publish_result(made, pilot_is_publishable.name, file)


def publish_result(
    made: MadeTable,
    check_name: str,
    file: Mapping[str, Any],
    pictures: Mapping[str, str] = NO_PICTURES,
) -> dg.MaterializeResult:
    """Make the result of a table that was published only if its check passed.

    Args:
        made: The table and its verdict.
        check_name: The check that publishes it.
        file: What `show_file` says of it.
        pictures: Markdown by title.
    """
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": made.rows,
            "published": made.verdict.passed,
            **file,
            **show_numbers(made.numbers),
            **show_tables(made.tables),
            **show_pictures(pictures),
        },
        check_results=[show_check(made.verdict, check_name, dg.AssetCheckSeverity.ERROR)],
    )
