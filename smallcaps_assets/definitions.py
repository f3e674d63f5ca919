"""Definitions: where settings meet objects.  Every object of the code location is listed here."""

import datetime as dt
import logging

import dagster as dg

from smallcaps_assets.core.exchange_hours import CALENDAR_START
from smallcaps_assets.core.research.kernels import HOW_TO_INSTALL, is_installed
from smallcaps_assets.defs import jobs, upkeep
from smallcaps_assets.defs.assets.audit import download_report
from smallcaps_assets.defs.assets.events import pilot_watchlist, watchlist
from smallcaps_assets.defs.assets.plan import (
    download_estimate,
    download_queue,
    event_window_plan,
    planned_tickers_are_known,
)
from smallcaps_assets.defs.assets.reference import (
    build_daily_bars,
    daily_bars_are_whole,
    daily_bars_cover_listing_lives,
    daily_bars_have_no_unrecorded_splits,
    splits,
    universe,
)
from smallcaps_assets.defs.assets.research_events import (
    event_features,
    event_outcomes,
    few_labels_are_cut,
    intraday_events,
    labels,
)
from smallcaps_assets.defs.assets.research_months import build_research_months, freshness_checks
from smallcaps_assets.defs.assets.serve import lake_catalog
from smallcaps_assets.defs.assets.ticks import trades
from smallcaps_assets.defs.assets.universe import (
    universe_plan,
    universe_queue,
    universe_trades,
)
from smallcaps_assets.defs.automation.alerts import build_alert_sensor
from smallcaps_assets.defs.automation.dead_runs import end_runs_of_dead_processes
from smallcaps_assets.defs.automation.sensors import (
    build_session_schedule,
    download_after_plan,
    plan_after_new_session,
    report_changes,
    retry_failed_sessions,
)
from smallcaps_assets.defs.checks.freshness import (
    daily_bars_are_fresh,
    plan_is_fresh,
    watch_freshness,
)
from smallcaps_assets.defs.checks.trades import lake_audits
from smallcaps_assets.defs.partitions import build_months
from smallcaps_assets.defs.recheck_job import recheck_job
from smallcaps_assets.defs.universe_job import universe_job
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.reference.daily_bars import bar_range
from smallcaps_assets.lake.home.market import adopt_source
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import load_settings

logger = logging.getLogger(__name__)


def build_definitions(lakehouse: Lakehouse) -> dg.Definitions:
    """Build the code location of one lakehouse."""
    months = build_months(*_bar_bounds(lakehouse))
    core = _build_core(lakehouse, months)
    if not is_installed():
        logger.warning("research is left out, because numba is missing: %s", HOW_TO_INSTALL)
        return core
    return dg.Definitions.merge(core, _build_research(months))


def _build_research(months: dg.MonthlyPartitionsDefinition) -> dg.Definitions:
    """Build the part of the code location that needs the extra `[research]`."""
    return dg.Definitions(
        assets=[
            *build_research_months(months),
            intraday_events,
            event_features,
            event_outcomes,
            labels,
        ],
        asset_checks=[*freshness_checks, few_labels_are_cut],
        jobs=[jobs.make_bars, jobs.study_events],
        schedules=[jobs.study_every_week],
    )


def _build_core(lakehouse: Lakehouse, months: dg.MonthlyPartitionsDefinition) -> dg.Definitions:
    """Build everything that needs no extra."""
    return dg.Definitions(
        assets=[
            build_daily_bars(months),
            splits,
            universe,
            watchlist,
            pilot_watchlist,
            event_window_plan,
            download_estimate,
            download_queue,
            trades,
            universe_plan,
            universe_queue,
            universe_trades,
            lake_catalog,
            download_report,
        ],
        asset_checks=[
            daily_bars_are_whole,
            daily_bars_have_no_unrecorded_splits,
            daily_bars_cover_listing_lives,
            daily_bars_are_fresh,
            plan_is_fresh,
            planned_tickers_are_known,
            lake_audits,
        ],
        jobs=[
            jobs.refresh_reference,
            jobs.refresh_splits,
            jobs.refresh_universe,
            jobs.plan_pilot,
            jobs.plan_new_sessions,
            jobs.plan_sessions,
            jobs.plan_universe,
            jobs.download_missing,
            jobs.download_units,
            universe_job,
            recheck_job,
            jobs.audit_lake,
            jobs.refresh_catalog,
            jobs.refresh_report,
            upkeep.repair_job,
            upkeep.reconcile_job,
            upkeep.reindex_job,
            upkeep.import_job,
            upkeep.relocate_job,
            upkeep.tidy_job,
        ],
        sensors=[
            end_runs_of_dead_processes,
            watch_freshness,
            download_after_plan,
            retry_failed_sessions,
            plan_after_new_session,
            report_changes,
            build_alert_sensor(lakehouse),
        ],
        schedules=[build_session_schedule(lakehouse)],
        resources={"lakehouse": lakehouse},
        executor=dg.in_process_executor,
    )


def _bar_bounds(lakehouse: Lakehouse) -> tuple[dt.date, dt.date | None]:
    """Find the first date of daily bars, and the last one where the source has an end.

    What is wrong with a source shows when it is used.
    """
    try:
        first, last = bar_range(lakehouse)
    except SmallcapsError:
        return CALENDAR_START, None
    settings = lakehouse.settings
    has_end = lakehouse.is_synthetic or settings.last_session or settings.daily_bars
    return first, last if has_end else None


defs = build_definitions(Lakehouse(adopt_source(load_settings())))
