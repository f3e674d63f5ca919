"""Intervals of session indexes: what windows and request ranges are made of.

An interval is one row ``ticker, first_index, last_index`` (Int32, both ends included; an index
counts sessions of the calendar, so neighbours differ by one whatever weekend or holiday lies
between).  What belongs here: merging, clipping, counting and expanding intervals, and the plan
with its provenance.  What does not: which event asks for which interval (``windows``).
"""

import datetime as dt
from collections.abc import Collection, Iterator
from typing import Final

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import DataError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, WATCHLIST

CHUNK_ROWS: Final = 2_000_000
"""Rows of provenance built at once: it bounds memory, whatever the size of the plan."""

_STRIDE: Final = 1 << 20
"""Distance between two tickers on one line of indexes; a calendar is far shorter."""


def session_index_expression(calendar: SessionCalendar, column: str = "session_date") -> pl.Expr:
    """Look up the session index of the dates in ``column``; null for one that is no session."""
    return pl.col(column).replace_strict(
        calendar.frame["session_date"],
        calendar.frame["session_index"],
        default=None,
        return_dtype=pl.Int32,
    )


def check_watchlist(
    watchlist: pl.DataFrame, events: Collection[str], calendar: SessionCalendar
) -> None:
    """Refuse a watchlist whose rows cannot be planned.

    Raises:
        SchemaError: It breaks ``schemas.WATCHLIST``.
        DataError: A row has no event, or one that is not among ``events``.
        CoverageError: A date lies outside the calendar, which cannot say what it is.
    """
    WATCHLIST.conform(watchlist)
    for date in (watchlist["session_date"].min(), watchlist["session_date"].max()):
        if isinstance(date, dt.date):
            calendar.is_session(date)
    if (watchlist["events"].list.len() == 0).any():
        raise DataError("watchlist: expected at least one event in each row, got an empty list")
    if foreign := set(watchlist["events"].explode().unique()) - set(events):
        raise DataError(
            f"watchlist: nothing is planned for {sorted(map(str, foreign))}: expected events "
            f"among {', '.join(events)}"
        )


def explode_events(watchlist: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Explode a checked watchlist into ``ticker, event, event_index``, sorted by ticker.

    ``event`` sorts in E order.  Rows dated on no session are left out.
    """
    events = watchlist.sort("ticker").select(
        "ticker",
        event=pl.col("events").cast(pl.List(EVENT_ORDER)),
        event_index=session_index_expression(calendar),
    )
    return events.drop_nulls("event_index").explode("event")


def merge_intervals(intervals: pl.DataFrame) -> pl.DataFrame:
    """Merge intervals into disjoint ones that cover the same sessions and never adjoin, sorted.

    All tickers are laid on one line of integers, far apart, so one running maximum merges them
    all; nothing is expanded to sessions.
    """
    tickers = intervals["ticker"].unique().sort()
    start = _line_start(tickers)
    line = intervals.select(
        first=start + pl.col("first_index"), last=start + pl.col("last_index")
    ).sort("first")
    reached = line["last"].cum_max()
    is_start = line["first"] > reached.shift(1, fill_value=-_STRIDE) + 1
    merged = pl.DataFrame(
        {
            "first": line["first"].filter(is_start),
            "last": reached.filter(is_start.shift(-1, fill_value=True)),
        }
    )
    # An index may lie a window's length before the calendar: half a stride keeps it positive.
    origin = (pl.col("first") + _STRIDE // 2) // _STRIDE
    return merged.select(
        ticker=tickers.gather(merged.select(origin).to_series()),
        first_index=(pl.col("first") - origin * _STRIDE).cast(pl.Int32),
        last_index=(pl.col("last") - origin * _STRIDE).cast(pl.Int32),
    )


def clip_intervals(intervals: pl.DataFrame, first_index: int, last_index: int) -> pl.DataFrame:
    """Clip intervals to their parts inside ``[first_index, last_index]``, further columns kept."""
    return intervals.with_columns(
        pl.col("first_index").clip(lower_bound=first_index),
        pl.col("last_index").clip(upper_bound=last_index),
    ).filter(pl.col("first_index") <= pl.col("last_index"))


def expand_sessions(intervals: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """List ``ticker, session_date`` of every session of ``intervals``, in their order."""
    inside = clip_intervals(intervals, 0, calendar.frame.height - 1)
    first, last = pl.col("first_index"), pl.col("last_index")
    sessions = inside.select(
        "ticker", session_index=pl.int_ranges(first, last + 1, dtype=pl.Int32)
    ).explode("session_index")
    return sessions.select(
        "ticker", session_date=calendar.frame["session_date"].gather(sessions["session_index"])
    )


def count_sessions(intervals: pl.DataFrame) -> int:
    """Count the sessions that intervals hold together, repeats included."""
    return int(intervals.select(_size().sum()).item())


def build_plan(
    spans: pl.DataFrame, calendar: SessionCalendar, *, chunk_rows: int = CHUNK_ROWS
) -> pl.DataFrame:
    """Gather the unique sessions of spans and, for each, the events that asked for it.

    Spans are intervals inside the calendar with ``event`` (an Enum in E order) and
    ``event_index``, the session of the event; sorted by ticker.  So many rows of provenance are
    built at once, rounded up to whole tickers.

    Returns:
        ``schemas.EVENT_WINDOW_PLAN``, sorted by its key; the lists by event date, then in E order.
    """
    parts = [_build_chunk(chunk, calendar) for chunk in _iter_chunks(spans, chunk_rows)]
    return EVENT_WINDOW_PLAN.conform(pl.concat([EVENT_WINDOW_PLAN.empty(), *parts]))


def _line_start(tickers: pl.Series) -> pl.Expr:
    code = pl.col("ticker").cast(pl.Enum(tickers)).to_physical()
    return code.cast(pl.Int64) * _STRIDE


def _size() -> pl.Expr:
    return (pl.col("last_index") - pl.col("first_index") + 1).cast(pl.Int64)


def _iter_chunks(spans: pl.DataFrame, chunk_rows: int) -> Iterator[pl.DataFrame]:
    """Yield whole tickers, about ``chunk_rows`` rows of provenance at a time."""
    reached = _size().cum_sum() - _size()
    chunk = (reached // chunk_rows).first().over("ticker")
    yield from spans.with_columns(chunk=chunk).partition_by(
        "chunk", maintain_order=True, include_key=False
    )


def _build_chunk(spans: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    dates = calendar.frame["session_date"]
    tickers = spans["ticker"].unique().sort()
    members = (
        spans.select(
            "event",
            "event_index",
            line=pl.int_ranges(
                _line_start(tickers) + pl.col("first_index"),
                _line_start(tickers) + pl.col("last_index") + 1,
            ),
        )
        .explode("line")
        .sort("line", "event_index", "event")
    )
    offset = (pl.col("line") % _STRIDE - pl.col("event_index")).cast(pl.Int16)
    event_date = pl.col("event_index").replace_strict(
        calendar.frame["session_index"], dates, return_dtype=pl.Date
    )
    plan = (
        members.with_columns(offsets=offset, event_dates=event_date)
        .group_by("line", maintain_order=True)
        .agg(events="event", event_dates="event_dates", offsets="offsets")
    )
    return plan.select(
        ticker=tickers.gather(plan["line"] // _STRIDE),
        session_date=dates.gather(plan["line"] % _STRIDE),
        events=pl.col("events").cast(pl.List(pl.String)),
        event_dates="event_dates",
        offsets="offsets",
    )


def is_after_row_above() -> pl.Expr:
    """Tell whether a row's key is at least the one above it; the first row's is."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    above = ticker.shift(1)
    is_after = (ticker > above) | ((ticker == above) & (session_date >= session_date.shift(1)))
    return is_after.fill_null(value=True)


def repeats_row_above() -> pl.Expr:
    """Tell whether a row has the key of the one above it; the first row has not."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    is_repeat = (ticker == ticker.shift(1)) & (session_date == session_date.shift(1))
    return is_repeat.fill_null(value=False)


def sort_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sort the sessions by key; most are sorted, and a look costs less than a sort."""
    is_sorted = sessions.select(is_after_row_above().all()).item()
    return sessions if is_sorted else sessions.sort("ticker", "session_date")
