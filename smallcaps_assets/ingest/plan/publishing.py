"""From the pilot to the published plan: write, audit, publish.

What belongs here: the candidate's check, its record and its publication.  What does not: which
sessions it holds (``choosing``) and what it costs (``ingest.budget.estimates``).
"""

from dataclasses import asdict
from typing import Any

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.events.unknown_tickers import suggest_symbols
from smallcaps_assets.core.keys import hash_keys, key_expression, list_session_months
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.core.sessions import session_range
from smallcaps_assets.core.verdicts import MadeTable, Number, judge_problems
from smallcaps_assets.ingest.budget.estimates import (
    estimate_numbers,
    estimate_plan,
    gather_grounds,
)
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.events.choice import choose_events
from smallcaps_assets.ingest.events.watchlist import pilot_size
from smallcaps_assets.ingest.plan.choosing import ChosenSessions, choose_sessions, judge_choice
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST
from smallcaps_assets.settings import PlanMode


def make_plan(lakehouse: Lakehouse) -> MadeTable:
    """Write a candidate plan, judge it, and publish it only when it passes.

    Raises:
        ConfigError: The settings ask for what there is not: a ticker, a batch.
        MissingPartitionError: No pilot is published, in a mode that takes sessions around events.
        PartitionConflictError: Another process publishes or registers a plan for too long.
    """
    settings = lakehouse.settings
    is_plain = settings.plan_mode is PlanMode.SESSIONS
    pilot = None if is_plain else lakehouse.tables.read_table(PILOT_WATCHLIST)
    chosen = choose_sessions(lakehouse, pilot)
    if lakehouse.home.ledger_file.is_file():
        # What the ledger calls stored is in the estimate, and settles the colours of new keys.
        refresh_ledger(lakehouse, list_session_months(chosen.plan), skips_damaged=True)
    facts, problems = judge_choice(lakehouse, chosen, pilot)
    verdict = judge_problems(problems, chosen.numbers, facts.offenders)
    record = _describe(lakehouse, chosen)
    with lakehouse.planning("publishing a plan"):
        lakehouse.tables.write_plan(
            chosen.plan, record, chosen.not_yet_available, is_published=verdict.passed
        )
    shown: dict[str, Number] = {"mode": record.mode, "plan_hash": record.plan_hash}
    if facts.rows > MAX_KEYS:  # no estimate follows a plan that is refused
        estimate = estimate_plan(record, chosen.plan, gather_grounds(lakehouse))
        shown |= estimate_numbers(estimate)
    return MadeTable(
        chosen.plan.height,
        chosen.numbers | shown,
        verdict,
        {"sessions_per_event": count_by_event(chosen.plan), "offenders": facts.offenders},
    )


def count_by_event(plan: pl.DataFrame) -> pl.DataFrame:
    """Count the sessions that each event asked for, in E order; none without events."""
    events = plan.select(*EVENT_WINDOW_PLAN.key, event="events").explode("event").drop_nulls()
    return (
        events.group_by(pl.col("event").cast(EVENT_ORDER))
        .agg(sessions=pl.struct(EVENT_WINDOW_PLAN.key).n_unique())
        .sort("event")
        .with_columns(pl.col("event").cast(pl.String))
    )


def _describe(lakehouse: Lakehouse, chosen: ChosenSessions) -> PlanRecord:
    """Describe a candidate in a record: what it is and what it was made of."""
    settings = lakehouse.settings
    judged, unknown = _find_unknown_tickers(lakehouse.tables, chosen.plan)
    return PlanRecord(
        plan_hash=hash_keys(chosen.plan.select(key_expression()).to_series()),
        sessions=chosen.plan.height,
        tickers=chosen.plan["ticker"].n_unique(),
        created_at=lakehouse.clock(),
        windows={name: (w.before, w.after) for name, w in lakehouse.windows.items()},
        thresholds=asdict(lakehouse.thresholds),
        facts=dict(chosen.numbers),
        mode=settings.plan_mode.value,
        naive_sessions=chosen.naive_sessions,
        rows_per_event=chosen.rows_per_event,
        batch=settings.batch or "",
        batches=dict(chosen.batches),
        judged_tickers=judged,
        unknown_tickers=unknown,
        **_describe_choice(lakehouse),
    )


def _describe_choice(lakehouse: Lakehouse) -> dict[str, Any]:
    """Describe how rows of the watchlist were chosen, as fields of the record."""
    settings = lakehouse.settings
    min_events, tickers = pilot_size(lakehouse)
    chosen = choose_events(lakehouse)
    is_told = settings.watchlist is None or settings.pilot_min_events is not None
    return {
        "min_events": max(1, min_events) if is_told else None,
        "is_ranked": bool(tickers or settings.pilot_budget),
        "rank_until": settings.plan_rank_until,
        "events": chosen.events,
        "chosen_on": chosen.chosen_on,
    }


def _find_unknown_tickers(tables: TableStore, plan: pl.DataFrame) -> tuple[int, dict[str, str]]:
    """Count the tickers of a plan that can be judged, and name those without a bar in any session.

    A ticker can be judged if anything has a bar on one of its planned dates.  With each unknown one
    comes the symbol that may be meant, empty: none.
    """
    if plan.is_empty():
        return 0, {}
    bars = tables.read_daily_bars(*session_range(plan)).select(KEY)
    keys = plan.lazy().select(KEY)
    dates, seen = pl.collect_all(
        [
            bars.select("session_date").unique(),
            bars.join(keys, on=KEY, how="semi").select("ticker").unique(),
        ]
    )
    judged = plan.join(dates, on="session_date", how="semi").select("ticker").unique()
    unknown = judged.join(seen, on="ticker", how="anti")["ticker"].to_list()
    if not unknown:
        return judged.height, {}
    known = bars.select("ticker").unique().collect()["ticker"]
    universe = tables.read_universe()
    listed = [] if universe is None else universe[0]["ticker"].unique().to_list()
    return judged.height, suggest_symbols(unknown, {*known, *listed} - {*unknown})
