"""Jobs: the few runs that people start by name."""

import dagster as dg

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.defs.assets.audit import REPORT
from smallcaps_assets.defs.assets.plan import planned_tickers_are_known
from smallcaps_assets.defs.assets.reference import (
    daily_bars_are_whole,
    daily_bars_cover_listing_lives,
    daily_bars_have_no_unrecorded_splits,
)
from smallcaps_assets.defs.assets.research_events import few_labels_are_cut
from smallcaps_assets.defs.checks.freshness import daily_bars_are_fresh, plan_is_fresh
from smallcaps_assets.defs.checks.trades import AUDIT_JOB, lake_audits
from smallcaps_assets.defs.instance.units import UNITS_ASSET, UNITS_JOB
from smallcaps_assets.schemas import (
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SPLITS,
    TRADES,
    UNIVERSE,
    UNIVERSE_PLAN,
    WATCHLIST,
)
from smallcaps_assets.schemas_research import (
    BAR_FEATURES,
    EVENT_FEATURES,
    EVENT_OUTCOMES,
    INFORMATION_BARS,
    INTRADAY_EVENTS,
    LABELS,
    MINUTE_BARS,
)

DOWNLOAD_JOB = "download_missing"
PLAN_JOB = "plan_pilot"
SESSIONS_JOB = "plan_sessions"
REFERENCE_JOB = "refresh_reference"
REPORT_JOB = "refresh_report"
UNIVERSE_JOB = "refresh_universe"
UNIVERSE_PLAN_JOB = "plan_universe"
BARS_JOB = "make_bars"
STUDY_JOB = "study_events"

_PLANNED = dg.AssetSelection.assets(
    WATCHLIST.name,
    PILOT_WATCHLIST.name,
    EVENT_WINDOW_PLAN.name,
    "download_estimate",
    "download_queue",
) | dg.AssetSelection.checks(
    daily_bars_are_fresh,
    daily_bars_are_whole,
    daily_bars_have_no_unrecorded_splits,
    daily_bars_cover_listing_lives,
    plan_is_fresh,
    planned_tickers_are_known,
)

plan_pilot = dg.define_asset_job(
    PLAN_JOB,
    selection=_PLANNED,
    description="Find events, choose the pilot, plan, estimate and register what to fetch.",
)
plan_new_sessions = dg.define_asset_job(
    "plan_new_sessions",
    selection=_PLANNED | dg.AssetSelection.assets(SPLITS.name),
    description="Refresh the splits, then do what `plan_pilot` does: for sessions that are new.",
)
plan_sessions = dg.define_asset_job(
    SESSIONS_JOB,
    selection=dg.AssetSelection.assets(
        EVENT_WINDOW_PLAN.name, "download_estimate", "download_queue"
    )
    | dg.AssetSelection.checks(planned_tickers_are_known),
    description="Plan the sessions of the tickers in the settings, without events; register them.",
)
plan_universe = dg.define_asset_job(
    UNIVERSE_PLAN_JOB,
    selection=dg.AssetSelection.assets(UNIVERSE_PLAN.name, "universe_queue"),
    description="Plan whole months of many tickers, listed or in a file; register their units.",
)
download_missing = dg.define_asset_job(
    DOWNLOAD_JOB,
    selection=dg.AssetSelection.assets(TRADES.name).without_checks(),
    description="Fetch planned ticker-sessions; finished ones are not asked for again.",
)
download_units = dg.define_asset_job(
    UNITS_JOB,
    selection=dg.AssetSelection.assets(UNITS_ASSET).without_checks(),
    description="Fetch what a range of units lacks; `download_universe` asks for all that do.",
)
audit_lake = dg.define_asset_job(
    AUDIT_JOB,
    selection=dg.AssetSelection.checks(lake_audits),
    description="Read and hash all that is stored; compare it with what proves it and its bar.",
)
make_bars = dg.define_asset_job(
    BARS_JOB,
    selection=dg.AssetSelection.assets(MINUTE_BARS.name, INFORMATION_BARS.name, BAR_FEATURES.name),
    description="Make bars and features of months whose trades or daily bars changed.",
)
study_events = dg.define_asset_job(
    STUDY_JOB,
    selection=dg.AssetSelection.assets(
        INTRADAY_EVENTS.name, EVENT_FEATURES.name, EVENT_OUTCOMES.name, LABELS.name
    )
    | dg.AssetSelection.checks(few_labels_are_cut),
    description="Confirm events by prints, label what became of them, measure which pay.",
)
refresh_catalog = dg.define_asset_job(
    "refresh_catalog",
    selection=dg.AssetSelection.assets("lake_catalog"),
    description="Rebuild the DuckDB catalog.",
)
refresh_report = dg.define_asset_job(
    REPORT_JOB,
    selection=dg.AssetSelection.assets(REPORT),
    description="Say whether to expand the plan; write figures and page of the report again.",
)
refresh_reference = dg.define_asset_job(
    REFERENCE_JOB,
    selection=dg.AssetSelection.assets(DAILY_BARS.name),
    description="Fetch or import daily bars of a range of months.",
)
refresh_splits = dg.define_asset_job(
    "refresh_splits",
    selection=dg.AssetSelection.assets(SPLITS.name),
    description="Fetch or import the splits on record.",
)
refresh_universe = dg.define_asset_job(
    UNIVERSE_JOB,
    selection=dg.AssetSelection.assets(UNIVERSE.name),
    description="Load the listings; an interrupted load continues where it stopped.",
)
study_every_week = dg.ScheduleDefinition(
    name="study_every_week",
    job=study_events,
    cron_schedule="0 7 * * 6",
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="On Saturdays: labels and win rates of what was stored during the week.",
)
