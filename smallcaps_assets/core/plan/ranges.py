"""Request ranges of a plan, and the facts that decide whether a plan is published.

What belongs here: how neighbouring sessions become one page chain, and what a plan must be.
What does not: which sessions are planned (``windows``, ``batches``), what they cost
(``core.budget.estimates``) and what is missing of them (``lake``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.keys import is_ticker_expression
from smallcaps_assets.core.plan.intervals import session_index_expression
from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.core.reference.daily_bars import show_offenders
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.schemas import REQUEST_RANGES

MAX_KEYS: Final = 100_000
"""Ticker-sessions of a plan: Dagster's advice for one partition set; 250,000 fail on SQLite."""

UNKNOWN_SHARE: Final = 10
"""A session of unknown size counts as this part of a range: ten of them fill one."""

SLICE_ROWS: Final = 1_000_000
"""Rows of a plan whose provenance is judged at once."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PlanFacts:
    """What a plan holds, for its check; counts of rows unless named else.

    Attributes:
        rows: Ticker-sessions.
        tickers: Distinct tickers.
        first_session: First session; ``None``: the plan is empty.
        last_session: Last session; ``None``: the plan is empty.
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


def plan_request_ranges(
    sessions: pl.DataFrame, calendar: SessionCalendar, max_rows: int, max_sessions: int
) -> pl.DataFrame:
    """Return the runs of neighbouring sessions of each ticker, cut to a bearable size.

    Runs are cut greedily: a range takes sessions as long as its rows stay within ``max_rows``
    and its sessions within ``max_sessions``; only a single session may hold more rows.  A
    session whose ``expected_rows`` is null counts with ``estimated_rows`` where the frame has
    that column, else with a tenth of ``max_rows``.

    Args:
        sessions: ``ticker, session_date, expected_rows`` (Int64, nullable), each key once.
        calendar: It says which sessions are neighbours.
        max_rows: Expected rows of a range.
        max_sessions: Sessions of a range.

    Returns:
        ``schemas.REQUEST_RANGES``, sorted by its key; ``expected_rows`` is null when it is for
        one of the sessions, because a sum that lacks one would be too low.

    Raises:
        ConfigError: A limit is not positive.
        DataError: A date is no session, a key occurs twice, or expected rows are negative.
    """
    if max_rows < 1 or max_sessions < 1:
        raise ConfigError(f"expected limits above 0, got {max_rows} rows, {max_sessions} sessions")
    ordered = _sort_sessions(sessions).with_columns(
        session_index=session_index_expression(calendar), weight=_weight(sessions, max_rows)
    )
    is_start = _find_run_starts(ordered)
    _check_sessions(ordered, is_start)
    starts = _cut_runs(
        np.flatnonzero(is_start.to_numpy()), ordered["weight"].to_numpy(), max_rows, max_sessions
    )
    return _gather_ranges(ordered, starts)


def measure_plan(
    plan: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    last_available: dt.date,
    windows: Mapping[str, EventWindow] | None = None,
) -> PlanFacts:
    """Return the facts about ``schemas.EVENT_WINDOW_PLAN``.

    Args:
        plan: The candidate.
        calendar: The sessions.
        last_available: Newest session that is closed and published.
        windows: Windows the plan was made with; ``None`` for a plan of sessions or of months,
            whose rows need no event and no window.
    """
    problems = {
        "unsorted_rows": _select_unsorted(plan),
        "duplicate_keys": _sort_sessions(plan).filter(_repeats_row_above()),
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
    """Return why a plan must not be published; nothing when it may."""
    complaints = {
        "expected at least one session, got none": facts.rows == 0,
        f"{facts.unsorted_rows} rows are out of order": facts.unsorted_rows > 0,
        f"{facts.duplicate_keys} rows repeat a ticker and session": facts.duplicate_keys > 0,
        f"{facts.bad_tickers} rows have a ticker that is none": facts.bad_tickers > 0,
        f"{facts.non_session} rows lie on no session": facts.non_session > 0,
        f"{facts.not_available} rows are not available yet": facts.not_available > 0,
        f"{facts.uneven_lists} rows have lists of different length": facts.uneven_lists > 0,
        f"{facts.without_event} rows have no event": facts.without_event > 0,
        f"{facts.wrong_offsets} rows have a wrong offset": facts.wrong_offsets > 0,
        f"{facts.outside_window} rows lie outside their window": facts.outside_window > 0,
    }
    return tuple(text for text, is_true in complaints.items() if is_true)


def _is_after_row_above() -> pl.Expr:
    """Return whether a row's key is at least the one above it; the first row's is."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    above = ticker.shift(1)
    is_after = (ticker > above) | ((ticker == above) & (session_date >= session_date.shift(1)))
    return is_after.fill_null(value=True)


def _repeats_row_above() -> pl.Expr:
    """Return whether a row has the key of the one above it; the first row has not."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    is_repeat = (ticker == ticker.shift(1)) & (session_date == session_date.shift(1))
    return is_repeat.fill_null(value=False)


def _select_unsorted(plan: pl.DataFrame) -> pl.DataFrame:
    return plan.filter(~_is_after_row_above())


def _sort_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions sorted by key; most are, and a look costs less than a sort."""
    is_sorted = sessions.select(_is_after_row_above().all()).item()
    return sessions if is_sorted else sessions.sort("ticker", "session_date")


def _weight(sessions: pl.DataFrame, max_rows: int) -> pl.Expr:
    known = [name for name in ("expected_rows", "estimated_rows") if name in sessions.columns]
    unknown = pl.lit(max(1, max_rows // UNKNOWN_SHARE), pl.Int64)
    return pl.coalesce(*known, unknown).cast(pl.Int64)


def _find_run_starts(ordered: pl.DataFrame) -> pl.Series:
    """Return which rows do not follow the session above them."""
    ticker, index = pl.col("ticker"), pl.col("session_index")
    follows = (ticker == ticker.shift(1)) & (index == index.shift(1) + 1)
    return ordered.select(~follows.fill_null(value=False)).to_series()


def _check_sessions(ordered: pl.DataFrame, is_start: pl.Series) -> None:
    # A repeat starts a run, so looking at the starts alone is enough for it and for no session.
    problem = pl.col("session_index").is_null() | _repeats_row_above()
    bad = ordered.filter(is_start & ordered.select(problem).to_series())
    bad = bad if bad.height else ordered.filter(pl.col("weight") < 0)
    if bad.height:
        raise DataError(
            f"request ranges: {bad.height} rows are no session, occur twice, or expect a negative "
            f"number of trades; first {bad.select('ticker', 'session_date').row(0)}"
        )


def _cut_runs(starts: Counts, weights: Counts, max_rows: int, max_sessions: int) -> Counts:
    """Return the sorted first rows of all ranges.

    All runs are cut at once, one range of each per turn, so there are as many turns as the
    longest run has ranges.
    """
    reached = np.concatenate([[0], np.cumsum(weights)])
    ends = np.append(starts[1:], len(weights))
    found = []
    while starts.size:
        found.append(starts)
        # The furthest end whose rows still fit; at least one session, at most the limit.
        fitting = np.searchsorted(reached, reached[starts] + max_rows, side="right") - 1
        following = np.clip(fitting, starts + 1, starts + max_sessions)
        is_left = following < ends
        starts, ends = following[is_left], ends[is_left]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def _gather_ranges(ordered: pl.DataFrame, starts: Counts) -> pl.DataFrame:
    ends = np.append(starts[1:], ordered.height)[: len(starts)]
    expected = ordered["expected_rows"]
    ranges = pl.DataFrame(
        {
            "ticker": ordered["ticker"].gather(starts),
            "first_session": ordered["session_date"].gather(starts),
            "last_session": ordered["session_date"].gather(ends - 1),
            "session_count": (ends - starts).astype(np.uint32),
            "expected_rows": np.add.reduceat(expected.fill_null(0).to_numpy(), starts),
            "is_unknown": np.logical_or.reduceat(expected.is_null().to_numpy(), starts),
            "expected_files": np.add.reduceat(
                (expected.fill_null(1) > 0).to_numpy(), starts, dtype=np.uint32
            ),
        }
    )
    known = pl.when(~pl.col("is_unknown")).then("expected_rows")
    return REQUEST_RANGES.conform(ranges.with_columns(expected_rows=known).drop("is_unknown"))


def _measure_provenance(
    plan: pl.DataFrame, calendar: SessionCalendar, windows: Mapping[str, EventWindow] | None
) -> dict[str, pl.DataFrame]:
    """Return the faulty rows by problem, found slice by slice to bound memory."""
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
    """Return whether an offset lies outside its event's window; an unknown event has none."""
    event, offset = pl.col("events"), pl.col("offsets")
    before = {name: -window.before for name, window in windows.items()}
    after = {name: window.after for name, window in windows.items()}
    is_inside = offset.is_between(
        event.replace_strict(before, default=None, return_dtype=pl.Int16),
        event.replace_strict(after, default=None, return_dtype=pl.Int16),
    )
    return ~is_inside.fill_null(value=False)
