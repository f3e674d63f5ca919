"""Request ranges of a plan.

What belongs here: how neighbouring sessions become one page chain.  What does not: which sessions
are planned (``windows``, ``months``), whether a plan is sound (``publication``), what they cost
(``core.budget.estimates``) and what is missing of them (``lake``).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.plan.intervals import (
    repeats_row_above,
    session_index_expression,
    sort_sessions,
)
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


@dataclass(frozen=True, slots=True)
class RangeRules:
    """How far neighbouring sessions become one page chain."""

    calendar: SessionCalendar
    max_rows: int
    max_sessions: int


def plan_request_ranges(
    sessions: pl.DataFrame, calendar: SessionCalendar, max_rows: int, max_sessions: int
) -> pl.DataFrame:
    """Cut the runs of neighbouring sessions of each ticker to request ranges of a bearable size.

    Runs are cut greedily: a range takes sessions as long as its rows stay within ``max_rows``
    and its sessions within ``max_sessions``; only a single session may hold more rows.  A
    session whose ``expected_rows`` is null counts with ``estimated_rows`` where the frame has
    that column, else with a tenth of ``max_rows``.

    Returns:
        ``schemas.REQUEST_RANGES``, sorted by its key; ``expected_rows`` is null when it is for
        one of the sessions, because a sum that lacks one would be too low.

    Raises:
        ConfigError: A limit is not positive.
        DataError: A date is no session, a key occurs twice, or expected rows are negative.
    """
    if max_rows < 1 or max_sessions < 1:
        raise ConfigError(f"expected limits above 0, got {max_rows} rows, {max_sessions} sessions")
    ordered = sort_sessions(sessions).with_columns(
        session_index=session_index_expression(calendar), weight=_weight(sessions, max_rows)
    )
    is_start = _find_run_starts(ordered)
    _check_sessions(ordered, is_start)
    starts = _cut_runs(
        np.flatnonzero(is_start.to_numpy()), ordered["weight"].to_numpy(), max_rows, max_sessions
    )
    return _gather_ranges(ordered, starts)


def _weight(sessions: pl.DataFrame, max_rows: int) -> pl.Expr:
    known = [name for name in ("expected_rows", "estimated_rows") if name in sessions.columns]
    unknown = pl.lit(max(1, max_rows // UNKNOWN_SHARE), pl.Int64)
    return pl.coalesce(*known, unknown).cast(pl.Int64)


def _find_run_starts(ordered: pl.DataFrame) -> pl.Series:
    """Mark the rows that do not follow the session above them."""
    ticker, index = pl.col("ticker"), pl.col("session_index")
    follows = (ticker == ticker.shift(1)) & (index == index.shift(1) + 1)
    return ordered.select(~follows.fill_null(value=False)).to_series()


def _check_sessions(ordered: pl.DataFrame, is_start: pl.Series) -> None:
    # A repeat starts a run, so looking at the starts alone is enough for it and for no session.
    problem = pl.col("session_index").is_null() | repeats_row_above()
    bad = ordered.filter(is_start & ordered.select(problem).to_series())
    bad = bad if bad.height else ordered.filter(pl.col("weight") < 0)
    if bad.height:
        raise DataError(
            f"request ranges: {bad.height} rows are no session, occur twice, or expect a negative "
            f"number of trades; first {bad.select('ticker', 'session_date').row(0)}"
        )


def _cut_runs(starts: Counts, weights: Counts, max_rows: int, max_sessions: int) -> Counts:
    """Cut the runs into ranges, and list the first rows of all of these, sorted.

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
