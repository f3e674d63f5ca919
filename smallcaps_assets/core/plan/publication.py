"""Whether a plan may be published, and how two of them differ.

Does not belong here: making one (``windows``, ``ranges``) and publishing it (``ingest.plan``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.keys import is_ticker_expression
from smallcaps_assets.core.plan.intervals import (
    is_after_row_above,
    repeats_row_above,
    session_index_expression,
    sort_sessions,
)
from smallcaps_assets.core.plan.ranges import SLICE_ROWS
from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.core.reference.daily_bars import show_offenders
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN

_KEY = list(EVENT_WINDOW_PLAN.key)


@dataclass(frozen=True, slots=True, eq=False)
class PlanFacts:
    """What a plan holds, for its check; counts of rows unless named else.

    Attributes:
        unsorted_rows: Before the row above them.
        duplicate_keys: Beyond the first of their ticker and session.
        bad_tickers: With a ticker that is none.
        non_session: On a date that is no session.
        not_available: After the last available session.
        uneven_lists: With events, dates and offsets of different length.
        without_event: That no event asked for.
        wrong_offsets: With an offset that is not the distance in sessions to its event.
        outside_window: With an offset outside the window of its event.
        offenders: First rows of each problem: ``ticker``, ``session_date``, ``problem``.
    """

    rows: int
    tickers: int
    first_session: dt.date | None
    last_session: dt.date | None
    unsorted_rows: int
    duplicate_keys: int
    bad_tickers: int
    non_session: int
    not_available: int
    uneven_lists: int
    without_event: int
    wrong_offsets: int
    outside_window: int
    offenders: pl.DataFrame


def measure_plan(
    plan: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    last_available: dt.date,
    windows: Mapping[str, EventWindow] | None = None,
) -> PlanFacts:
    """Measure ``schemas.EVENT_WINDOW_PLAN`` before it is published.

    ``windows`` are those it was made with; ``None`` for a plan of sessions or of months, whose rows
    need no event and no window.
    """
    problems = {
        "unsorted_rows": _select_unsorted(plan),
        "duplicate_keys": sort_sessions(plan).filter(repeats_row_above()),
        "bad_tickers": plan.filter(~is_ticker_expression()),
        "non_session": plan.filter(session_index_expression(calendar).is_null()),
        "not_available": plan.filter(pl.col("session_date") > last_available),
        **_measure_provenance(plan, calendar, windows),
    }
    dates = plan.select(first=pl.col("session_date").min(), last=pl.col("session_date").max())
    first, last = dates.row(0)
    counts = {name: rows.height for name, rows in problems.items()}
    return PlanFacts(
        rows=plan.height,
        tickers=plan["ticker"].n_unique(),
        first_session=first,
        last_session=last,
        **counts,
        offenders=pl.concat(show_offenders(rows, name) for name, rows in problems.items()),
    )


def judge_plan(facts: PlanFacts) -> tuple[str, ...]:
    """List the reasons why a plan must not be published; none when it may."""
    complaints = {
        "expected at least one session, got none": facts.rows == 0,
        f"{facts.unsorted_rows} rows are out of order": facts.unsorted_rows > 0,
        f"{facts.duplicate_keys} rows repeat a ticker and session": facts.duplicate_keys > 0,
        f"{facts.bad_tickers} rows have a text that is not a ticker": facts.bad_tickers > 0,
        f"{facts.non_session} rows lie on no session": facts.non_session > 0,
        f"{facts.not_available} rows are not available yet": facts.not_available > 0,
        f"{facts.uneven_lists} rows have lists of different length": facts.uneven_lists > 0,
        f"{facts.without_event} rows have no event": facts.without_event > 0,
        f"{facts.wrong_offsets} rows have a wrong offset": facts.wrong_offsets > 0,
        f"{facts.outside_window} rows lie outside their window": facts.outside_window > 0,
    }
    return tuple(text for text, is_true in complaints.items() if is_true)


@dataclass(frozen=True, slots=True, eq=False)
class PlanDifference:
    """What changes when a plan replaces another.

    Attributes:
        added: ``ticker, session_date`` of the new plan alone, sorted: all there is to fetch.
        removed: Those of the old plan alone, sorted; their data stay in the lake.
        kept: Ticker-sessions of both.
    """

    added: pl.DataFrame
    removed: pl.DataFrame
    kept: int


def diff_plans(old: pl.DataFrame, new: pl.DataFrame) -> PlanDifference:
    """Find what a new plan adds and drops, by ticker and session alone."""
    before, after = old.select(_KEY), new.select(_KEY)
    added = after.join(before, on=_KEY, how="anti").sort(_KEY)
    removed = before.join(after, on=_KEY, how="anti").sort(_KEY)
    return PlanDifference(added=added, removed=removed, kept=after.height - added.height)


def _select_unsorted(plan: pl.DataFrame) -> pl.DataFrame:
    return plan.filter(~is_after_row_above())


def _measure_provenance(
    plan: pl.DataFrame, calendar: SessionCalendar, windows: Mapping[str, EventWindow] | None
) -> dict[str, pl.DataFrame]:
    """Collect the faulty rows by problem, slice by slice to bound memory."""
    slices = list(plan.iter_slices(SLICE_ROWS)) or [plan]
    parts = [_find_provenance_problems(rows, calendar, windows) for rows in slices]
    return {name: pl.concat(part[name] for part in parts) for name in parts[0]}


def _find_provenance_problems(
    plan: pl.DataFrame, calendar: SessionCalendar, windows: Mapping[str, EventWindow] | None
) -> dict[str, pl.DataFrame]:
    length = pl.col("events").list.len()
    is_even = (length == pl.col("event_dates").list.len()) & (
        length == pl.col("offsets").list.len()
    )
    members = (
        plan.with_row_index("row")
        .filter(is_even & (length > 0))
        .explode("events", "event_dates", "offsets")
    )
    distance = session_index_expression(calendar) - session_index_expression(
        calendar, "event_dates"
    )
    is_wrong = pl.col("offsets").cast(pl.Int32).ne_missing(distance)
    return {
        "uneven_lists": plan.filter(~is_even),
        "without_event": plan.filter(length == 0) if windows is not None else plan.clear(),
        "wrong_offsets": members.filter(is_wrong).unique("row"),
        "outside_window": members.filter(_is_outside(windows or {})).unique("row")
        if windows is not None
        else members.clear(),
    }


def _is_outside(windows: Mapping[str, EventWindow]) -> pl.Expr:
    """Tell whether an offset lies outside its event's window; an unknown event has none."""
    event, offset = pl.col("events"), pl.col("offsets")
    before = {name: -window.before for name, window in windows.items()}
    after = {name: window.after for name, window in windows.items()}
    is_inside = offset.is_between(
        event.replace_strict(before, default=None, return_dtype=pl.Int16),
        event.replace_strict(after, default=None, return_dtype=pl.Int16),
    )
    return ~is_inside.fill_null(value=False)
