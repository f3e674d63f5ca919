"""Group `serve`: the lake for DuckDB and everything that reads it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import show_numbers
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, EVENT_WINDOW_PLAN, TRADES, WATCHLIST


@dg.asset(
    group_name="serve",
    deps=[TRADES.name, DAILY_BARS.name, WATCHLIST.name, EVENT_WINDOW_PLAN.name],
    kinds={"duckdb"},
    owners=["team:market_data"],
)
def lake_catalog(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """A DuckDB file with views over everything, usable by plain DuckDB from any folder.

    - Grain: one view per table, and one per trading phase of `trades`.
    - Source: the files that records name, by explicit lists.
    - Cadence: during and after each download, and on request.
    """
    with dagster_failures():
        facts = refresh_catalog(lakehouse)
    return dg.MaterializeResult(metadata=show_catalog(lakehouse, facts))


def report_catalog(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, facts: Mapping[str, Number]
) -> None:
    """Tell Dagster that a run of `trades` built the catalog, so that it does not look stale."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(lake_catalog.key, metadata=show_catalog(lakehouse, facts))
    )


def show_catalog(lakehouse: Lakehouse, facts: Mapping[str, Number]) -> dict[str, Any]:
    """Show path and facts of the catalog as metadata."""
    path = dg.MetadataValue.path(str(lakehouse.layout.catalog_file))
    return {"path": path, **show_numbers(facts)}
