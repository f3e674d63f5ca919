"""Group `plan`: what to fetch, what it costs, and the keys that a backfill works on."""

import dagster as dg

from smallcaps_assets.core.events.unknown_tickers import judge_unknown_tickers
from smallcaps_assets.defs.assets.events import publish_result
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.metadata import (
    column_schema,
    show_check,
    show_file,
    show_numbers,
    show_pictures,
)
from smallcaps_assets.ingest.budget.estimate_history import record_estimate
from smallcaps_assets.ingest.budget.estimates import (
    describe_estimate,
    estimate_lake,
    estimate_numbers,
    judge_estimate,
)
from smallcaps_assets.ingest.events.watchlist import weigh_sizes
from smallcaps_assets.ingest.plan.pictures import draw_estimate, draw_plan, publish_pictures
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST

GROUP = "plan"

plan_is_publishable = dg.AssetCheckSpec(
    name="plan_is_publishable",
    asset=EVENT_WINDOW_PLAN.name,
    blocking=True,
    description="Unique sessions inside their windows, at least one and at most 100,000; else "
    "nothing is published.  Red: the summary says what to change; what it does not explain is a "
    "fault of this program: report it with the offenders.",
)
download_fits_the_disk = dg.AssetCheckSpec(
    name="download_fits_the_disk",
    asset="download_estimate",
    description="What is missing fits 80 % of the free disk, and the budget if one is set.  Red: "
    "plan less, move the lake to a larger disk (`smallcaps relocate`), or raise the budget.",
)


@dg.asset(
    name=EVENT_WINDOW_PLAN.name,
    group_name=GROUP,
    deps=[PILOT_WATCHLIST.name],
    check_specs=[plan_is_publishable],
    kinds={"polars", "parquet"},
    metadata=column_schema(EVENT_WINDOW_PLAN),
    owners=["team:research"],
)
def event_window_plan(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """Unique ticker-sessions around the chosen events, each with the events that asked for it.

    - Grain: one ticker and session to fetch.
    - Source: `pilot_watchlist` and the window of each event, in sessions of the exchange.
    - Cadence: with each plan; new sessions enter it once they are published.

    Write, audit, publish: only a candidate that passes its check becomes `plan.parquet`.
    """
    with dagster_failures():
        made = make_plan(lakehouse)
        figures = draw_plan(*lakehouse.tables.read_plan()) if made.verdict.passed else {}
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    file = show_file(EVENT_WINDOW_PLAN, lakehouse.layout.plan_file)
    return publish_result(made, plan_is_publishable.name, file, pictures)


@dg.asset_check(
    asset=EVENT_WINDOW_PLAN.name,
    description="Every planned ticker has a daily bar in a planned session.  Yellow; red above "
    "5 % of them.  Red: look the named ones up and correct the watchlist.",
)
def planned_tickers_are_known(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Name tickers that may not exist, because no trades of them and no bar prove nothing."""
    with dagster_failures():
        record, _ = lakehouse.tables.read_plan()
        verdict = judge_unknown_tickers(
            record.tickers, record.judged_tickers, record.unknown_tickers, lakehouse.thresholds
        )
    red, yellow = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    return show_check(verdict, severity=red if verdict.numbers["is_red"] else yellow)


@dg.asset(
    group_name=GROUP,
    deps=[EVENT_WINDOW_PLAN.name],
    check_specs=[download_fits_the_disk],
    kinds={"polars"},
    owners=["team:research"],
)
def download_estimate(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """Requests, bytes and hours of the published plan, naive against optimised.

    - Grain: one estimate, by two methods.
    - Source: `event_window_plan`, trade counts of `daily_bars`, and what landed so far.
    - Cadence: with each plan; each is kept, so that reality can be held against it.
    """
    with dagster_failures():
        estimate = estimate_lake(lakehouse)
        verdict = judge_estimate(estimate, lakehouse.settings.disk_budget_gb)
        record_estimate(lakehouse.tables, estimate, lakehouse.clock())
        figures = draw_estimate(estimate.comparison, weigh_sizes(lakehouse))
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    return dg.MaterializeResult(
        metadata={
            **show_numbers(estimate_numbers(estimate)),
            "arithmetic": dg.MetadataValue.md(describe_estimate(estimate)),
            **show_pictures(pictures),
        },
        check_results=[show_check(verdict, download_fits_the_disk.name)],
    )


@dg.asset(
    group_name=GROUP,
    deps=[EVENT_WINDOW_PLAN.name, "download_estimate"],
    kinds={"dagster"},
    owners=["team:market_data"],
)
def download_queue(
    context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.MaterializeResult:
    """The published plan as the partition set of `trades`: work left is Missing + Failed.

    - Grain: one partition key, `TICKER_YYYY-MM-DD`.
    - Source: `event_window_plan`; what the lake has already is shown as green.
    - Cadence: with each plan.
    """
    with dagster_failures():
        queue = register_plan(context.instance, lakehouse)
    return dg.MaterializeResult(metadata=show_numbers(queue.numbers()))
