"""Group `universe`: whole months of many tickers, in units of a batch of them and a month."""

import dagster as dg

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.assets.events import publish_result
from smallcaps_assets.defs.failures import LaunchConfig, dagster_failures
from smallcaps_assets.defs.metadata import column_schema, show_check, show_file
from smallcaps_assets.ingest.plan.pictures import publish_pictures
from smallcaps_assets.ingest.universe.pictures import draw_universe
from smallcaps_assets.ingest.universe.publishing import MadeUniverse, make_universe_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, UNIVERSE, UNIVERSE_PLAN

GROUP = "universe"

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
