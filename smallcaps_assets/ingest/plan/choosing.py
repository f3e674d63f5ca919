"""Which sessions the settings ask for, by each mode, whole or in batches, and why not.

What belongs here: from the pilot, or from plain tickers, to a candidate plan, and the words that
name rows and what to do where it must not be published.  What does not: its publication
(``publishing``), the bare facts and their verdict (``core.plan.publication``), and what it costs
(``ingest.budget.estimates``).
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

import polars as pl

from smallcaps_assets.core.budget.calibration import size_expression
from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.plan.batches import assign_batches
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import session_index_expression
from smallcaps_assets.core.plan.months import plan_months
from smallcaps_assets.core.plan.publication import PlanFacts, judge_plan, measure_plan
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.core.plan.windows import plan_windows, select_sessions
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import ConfigError, DataError, LakeError
from smallcaps_assets.ingest.budget.expectations import KEY, STORED, label_sessions
from smallcaps_assets.ingest.events.choice import choose_events
from smallcaps_assets.ingest.plan.selection import parse_tickers
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import PlanMode, parse_batch

SHOWN_ROWS: Final = 5
"""Rows that an explanation names."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenSessions:
    """A candidate plan.

    Attributes:
        plan: ``schemas.EVENT_WINDOW_PLAN``, sorted by its key.
        not_yet_available: ``ticker, session_date`` to be planned once they are published.
        naive_sessions: Sessions asked for when nothing is merged and windows are all alike.
        rows_per_event: Watchlist rows that name each event.
        batches: Batch of each ticker of the whole plan; empty: this is the whole one.
    """

    plan: pl.DataFrame
    not_yet_available: pl.DataFrame
    numbers: dict[str, Number]
    naive_sessions: int
    rows_per_event: dict[str, int]
    batches: Mapping[str, int] = field(default_factory=dict)


def choose_sessions(lakehouse: Lakehouse, pilot: pl.DataFrame | None) -> ChosenSessions:
    """Choose what the settings ask for: the whole plan, or the batches that they name.

    Without a pilot there are no events: the mode is ``sessions``.

    Raises:
        ConfigError: Tickers are none, or the plan has not as many tickers as batches.
    """
    whole = _choose(lakehouse, pilot, None)
    batch = lakehouse.settings.batch
    if batch is None:
        return whole
    wanted, count = parse_batch(batch)
    assigned = _assign_batches(lakehouse, whole.plan, count)
    tickers = {ticker for ticker, number in assigned.items() if number in wanted}
    if not tickers:
        raise ConfigError(
            f"SMALLCAPS_BATCH={batch}: the plan has {len(assigned)} tickers, so that batch is "
            f"empty: expected at most {len(assigned)} batches"
        )
    part = _choose(lakehouse, pilot, tickers)
    numbers = part.numbers | {
        "batch": batch,
        "whole_ticker_sessions": whole.plan.height,
        "planned_in_other_batches": _count_overlap(lakehouse, tickers, count),
    }
    return replace(part, numbers=numbers, batches=assigned)


def weigh_tickers(lakehouse: Lakehouse, plan: pl.DataFrame) -> pl.DataFrame:
    """Weigh the tickers of a plan as ``ticker, weight``: the bytes that are estimated of each.

    They are estimated by the bars and the default costs, so that what lands changes no batch.
    """
    calibration = lakehouse.default_costs
    labelled = label_sessions(lakehouse.tables, plan.select(KEY), STORED.to_frame())
    rows = pl.col("estimated_rows")
    stored = size_expression(
        rows,
        (rows > 0).cast(pl.Int64),
        pl.lit(calibration.bytes_per_trade),
        pl.lit(calibration.file_bytes),
    )
    return labelled.group_by("ticker").agg(weight=stored.sum())


def judge_choice(
    lakehouse: Lakehouse, chosen: ChosenSessions, pilot: pl.DataFrame | None
) -> tuple[PlanFacts, tuple[str, ...]]:
    """Measure a candidate, and explain why it must not be published; nothing when it may."""
    has_windows = lakehouse.settings.plan_mode is PlanMode.EVENT_WINDOWS
    facts = measure_plan(
        chosen.plan,
        lakehouse.calendar,
        last_available=lakehouse.last_available,
        windows=lakehouse.windows if has_windows else None,
    )
    if facts.rows == 0:
        return facts, (_explain_empty(lakehouse, chosen, pilot),)
    problems = judge_plan(facts)
    return facts, (
        (*problems, _advise(lakehouse, chosen.plan)) if facts.rows > MAX_KEYS else problems
    )


def check_choice(lakehouse: Lakehouse) -> None:
    """Refuse settings that no plan can be made with, before anything is fetched for it.

    Raises:
        ConfigError: A window, a threshold, an event or a ticker is none, or no session lies in
            the dates.
        MissingPartitionError: Win rates are to choose events, and none were measured.
    """
    _ = lakehouse.windows, lakehouse.thresholds, choose_events(lakehouse)
    parse_tickers(lakehouse.settings.plan_tickers, "SMALLCAPS_PLAN_TICKERS")
    bounds = lakehouse.bounds
    if bounds.first and bounds.last and bounds.first_index > bounds.last_index:
        raise ConfigError(
            f"{lakehouse.describe_wanted()} has no XNYS session, because of a weekend or a "
            "holiday: choose other dates (--from and --to, SMALLCAPS_FIRST_SESSION, "
            "SMALLCAPS_LAST_SESSION)"
        )


def read_record(lakehouse: Lakehouse) -> PlanRecord | None:
    """Read the record of the published plan, ``None`` when none is, or none that can be read."""
    try:
        return lakehouse.tables.read_plan()[0]
    except (DataError, LakeError):
        return None


def count_batches(lakehouse: Lakehouse, plan: pl.DataFrame, most: int = MAX_KEYS) -> int:
    """Count how many batches it takes for each to hold at most ``most`` ticker-sessions.

    Batches are of about equal bytes, so a batch of many idle tickers may hold more sessions than
    its share; a single ticker is never divided.
    """
    weights = weigh_tickers(lakehouse, plan)
    sessions = plan.group_by("ticker").len()
    count = max(1, math.ceil(plan.height / most))
    while count < sessions.height:
        dealt = assign_batches(sessions, count, weights)
        batches = pl.DataFrame({"ticker": list(dealt), "batch": list(dealt.values())})
        sizes = sessions.join(batches, on="ticker").group_by("batch").agg(pl.col("len").sum())
        if sizes.filter(pl.col("len") > most).is_empty():
            return count
        count = max(count + 1, math.ceil(count * 1.2))
    return max(1, sessions.height)


def _choose(
    lakehouse: Lakehouse, pilot: pl.DataFrame | None, tickers: Collection[str] | None
) -> ChosenSessions:
    """Choose what the mode asks for, of some tickers or of all."""
    mode = lakehouse.settings.plan_mode
    if pilot is None or mode is PlanMode.SESSIONS:
        return _choose_plainly(lakehouse, tickers)
    rows = pilot if tickers is None else pilot.filter(pl.col("ticker").is_in(list(tickers)))
    if mode is PlanMode.EVENT_MONTHS:
        return _choose_months(lakehouse, rows)
    return _choose_windows(lakehouse, rows)


def _choose_windows(lakehouse: Lakehouse, pilot: pl.DataFrame) -> ChosenSessions:
    planned = plan_windows(pilot, lakehouse.windows, lakehouse.bounds)
    numbers: dict[str, Number] = {
        name: value for name, value in asdict(planned.facts).items() if isinstance(value, int)
    }
    return ChosenSessions(
        plan=planned.plan,
        not_yet_available=planned.not_yet_available,
        numbers=numbers,
        naive_sessions=planned.facts.naive_ticker_sessions,
        rows_per_event=_count_events(pilot),
    )


def _choose_months(lakehouse: Lakehouse, pilot: pl.DataFrame) -> ChosenSessions:
    settings, bounds = lakehouse.settings, lakehouse.bounds
    around = {
        "months_before": settings.plan_months_before,
        "months_after": settings.plan_months_after,
    }
    plan = plan_months(pilot, bounds, **around)
    later = plan_months(pilot, _after(bounds), **around).select(KEY)
    asked = int(plan["event_dates"].list.n_unique().sum())
    return ChosenSessions(
        plan=plan,
        not_yet_available=later,
        numbers={
            "watchlist_rows": pilot.height,
            "tickers": plan["ticker"].n_unique(),
            "undeduplicated_ticker_sessions": asked,
            "unique_ticker_sessions": plan.height,
            "not_yet_available": later.height,
            "non_session_events": _select_strays(lakehouse, pilot).height,
            **around,
        },
        naive_sessions=asked,
        rows_per_event=_count_events(pilot),
    )


def _choose_plainly(lakehouse: Lakehouse, tickers: Collection[str] | None) -> ChosenSessions:
    settings, bounds = lakehouse.settings, lakehouse.bounds
    wanted = parse_tickers(settings.plan_tickers, "SMALLCAPS_PLAN_TICKERS") or ()
    chosen = [ticker for ticker in wanted if tickers is None or ticker in tickers]
    first = lakehouse.first_wanted
    last = lakehouse.last_wanted
    plan = select_sessions(chosen, first, last, bounds)
    later = select_sessions(chosen, first, last, _after(bounds)).select(KEY)
    return ChosenSessions(
        plan=plan,
        not_yet_available=later,
        numbers={
            "tickers": plan["ticker"].n_unique(),
            "unique_ticker_sessions": plan.height,
            "not_yet_available": later.height,
        },
        naive_sessions=plan.height,
        rows_per_event={},
    )


def _after(bounds: PlanBounds) -> PlanBounds:
    """Bound what is wanted and not available yet."""
    index = bounds.calendar.index_of(bounds.last_available) + 1
    following = bounds.calendar.frame["session_date"][index]
    first = max(following, bounds.first or following)
    last = bounds.last if bounds.last is None else max(bounds.last, first)
    is_wanted = bounds.last is None or bounds.last >= first
    newest = bounds.calendar.last if is_wanted else bounds.last_available
    return PlanBounds(first, newest, bounds.calendar, last)


def _select_strays(lakehouse: Lakehouse, pilot: pl.DataFrame) -> pl.DataFrame:
    return pilot.filter(session_index_expression(lakehouse.calendar).is_null())


def _count_events(pilot: pl.DataFrame) -> dict[str, int]:
    events = pilot.explode("events").select(event=pl.col("events").cast(EVENT_ORDER))
    counts = events.group_by("event").len().sort("event")
    return {str(event): count for event, count in counts.iter_rows()}


def _assign_batches(lakehouse: Lakehouse, plan: pl.DataFrame, count: int) -> dict[str, int]:
    """Assign a batch to each ticker, by estimated bytes, as an earlier batch had it."""
    record = read_record(lakehouse)
    is_alike = record is not None and record.batch and parse_batch(record.batch)[1] == count
    assigned = record.batches if record is not None and is_alike else {}
    return assign_batches(plan, count, weigh_tickers(lakehouse, plan), assigned)


def _count_overlap(lakehouse: Lakehouse, tickers: Collection[str], count: int) -> int:
    """Count the tickers that are also in the published batch of another division."""
    record = read_record(lakehouse)
    if record is None or not record.batch:
        return 0
    wanted, parts = parse_batch(record.batch)
    held = {ticker for ticker, number in record.batches.items() if number in wanted}
    return len(held & set(tickers)) if parts != count else 0


def _advise(lakehouse: Lakehouse, plan: pl.DataFrame) -> str:
    """Advise what to do about a plan that is too large."""
    batch = lakehouse.settings.batch
    if batch:
        parts = f"Take smaller batches than {batch}"
    else:
        count = count_batches(lakehouse, plan)
        parts = (
            f"Plan it in batches: the same command with --batch 1/{count}, then `smallcaps "
            f"download`, then --batch 2/{count} and so on"
        )
    return (
        f"{plan.height:,} ticker-sessions are more than the {MAX_KEYS:,} that one plan may hold; "
        f"nothing was published, and the plan in force stays.  {parts}; or take fewer tickers "
        "(--pilot, SMALLCAPS_PILOT_MIN_EVENTS) or dates (--from, --to). All sessions of many "
        "tickers are no plan of event windows: `smallcaps plan --universe` (--tickers-file FILE "
        "for some) makes a partition of a month and 60 tickers, in the same lake"
    )


def _explain_empty(lakehouse: Lakehouse, chosen: ChosenSessions, pilot: pl.DataFrame | None) -> str:
    """Explain why a candidate holds no session."""
    waiting = chosen.not_yet_available.sort("session_date", "ticker")
    if waiting.height:
        return (
            f"none of the {waiting.height:,} sessions asked for is published yet, the first is "
            f"{_name_rows(waiting.head(1))}: the newest published one is "
            f"{lakehouse.last_available}; plan again later, or ask for earlier dates"
        )
    wanted = lakehouse.describe_wanted()
    if pilot is None:
        return f"expected at least one session, got none: {wanted} has no XNYS session"
    strays = _select_strays(lakehouse, pilot)
    if strays.height == pilot.height:
        return (
            f"expected at least one session, got none: no row of the watchlist is dated on an "
            f"XNYS session, but on weekends and holidays: {_name_rows(strays)}"
        )
    return (
        f"expected at least one session, got none: {wanted} holds none of those around the "
        f"{pilot.height:,} rows of the watchlist: {_name_rows(pilot)}; see "
        "SMALLCAPS_FIRST_SESSION and SMALLCAPS_LAST_SESSION, or --from and --to"
    )


def _name_rows(rows: pl.DataFrame) -> str:
    """Name the first rows by ticker and date."""
    names = rows.head(SHOWN_ROWS).select(key_expression()).to_series().str.replace("_", " ")
    more = f" and {rows.height - SHOWN_ROWS:,} more" if rows.height > SHOWN_ROWS else ""
    return ", ".join(names) + more
