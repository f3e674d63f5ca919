"""The watchlist: built from events, read from outside, and facts for its check.

One row is a ticker and session with at least one event, its events in E order.  What does not
belong here: the rules that find events (``rules``) and what is fetched around them
(``core.plan.windows``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_NAMES, EVENT_ORDER, IMPORTED_EVENT
from smallcaps_assets.core.parsing import (
    SHOWN_ROWS,
    check_calendar_start,
    check_tickers,
    parse_dates,
    parse_flags,
)
from smallcaps_assets.core.reference.daily_bars import show_offenders
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import WATCHLIST

DATE_COLUMNS: Final = ("date", "trading_day", "session_date")
"""Names under which a watchlist from outside may hold its date; exactly one of them."""

KNOWN_COLUMNS: Final = ("ticker", *DATE_COLUMNS, "events", "event_count", "info_rich")
"""Columns of a watchlist from outside that mean something; others are ignored."""

_SEPARATORS: Final = r"[,|;]"
_DECORATION: Final = r"[\[\]\s'\"]"
_KEY: Final = list(WATCHLIST.key)
_NAMES: Final = {
    alias: name
    for name in (IMPORTED_EVENT, *EVENT_NAMES)
    for alias in (name.lower(), name.partition("_")[0].lower())
}
"""Event names by what a file may call them: in any case, whole or as ``E1``."""


@dataclass(frozen=True)
class WatchlistImport:
    """What happened to the rows of a watchlist from outside.

    ``rows_read = rows_kept + repeated_rows + rows_not_wanted``.

    Attributes:
        rows_not_wanted: Rows dropped because their ``info_rich`` is false.
        repeated_rows: Rows merged into an earlier one of the same ticker and session.
        repeated_names: Event names merged into an equal one of the same ticker and session.
        rows_without_events: Rows that name no event and were given ``E0_Imported``.
        wrong_counts: Rows whose ``event_count`` differs from the events of the merged row.
        ignored_columns: Columns of the input that mean nothing here.
    """

    rows_read: int
    rows_kept: int
    rows_not_wanted: int
    repeated_rows: int
    repeated_names: int
    rows_without_events: int
    wrong_counts: int
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class WatchlistFacts:
    """What the watchlist holds, for its check.

    Attributes:
        rows_per_event: Rows that name each known event, in E order, zeros included.
        duplicate_keys: Rows beyond the first of their ticker and session.
        unknown_events: Rows that name an event nobody knows, or none.
        wrong_counts: Rows whose ``event_count`` is not the number of their events.
        non_session: Rows on a date that is no session; they make no event window.
        offenders: First rows of each problem: ``ticker``, ``session_date``, ``problem``.
    """

    rows: int
    tickers: int
    rows_per_event: dict[str, int]
    duplicate_keys: int
    unknown_events: int
    wrong_counts: int
    non_session: int
    offenders: pl.DataFrame


def build_watchlist(events: pl.LazyFrame) -> pl.LazyFrame:
    """Gather ``ticker``, ``session_date``, ``event`` to ``schemas.WATCHLIST``, sorted by its key.

    They may come in any order; repeats count once, and a row has its events in E order.
    """
    ordered = events.with_columns(pl.col("event").cast(EVENT_ORDER)).unique()
    return (
        ordered.sort(*_KEY, "event")
        .group_by(_KEY, maintain_order=True)
        .agg(
            pl.col("event").cast(pl.String).alias("events"),
            pl.len().cast(pl.UInt32).alias("event_count"),
        )
    )


def narrow_watchlist(watchlist: pl.DataFrame, events: Collection[str]) -> pl.DataFrame:
    """Keep some events alone, and the rows that name one of them; order is kept.

    Args:
        watchlist: ``schemas.WATCHLIST``.
        events: Full names.
    """
    wanted = pl.element().filter(pl.element().is_in(list(events)))
    kept = watchlist.with_columns(pl.col("events").list.eval(wanted))
    counted = kept.with_columns(event_count=pl.col("events").list.len().cast(pl.UInt32))
    return counted.filter(pl.col("event_count") > 0)


def parse_watchlist(frame: pl.DataFrame) -> tuple[pl.DataFrame, WatchlistImport]:
    """Parse a watchlist from outside into the table, and tell what was merged on the way.

    Columns: ``ticker``; one of ``date``, ``trading_day`` and ``session_date``; optionally
    ``events`` (a list, or text separated by ``,``, ``|`` or ``;``), ``event_count`` (counted
    again) and ``info_rich`` (rows where it is false are dropped).  Others are ignored.

    Returns:
        ``schemas.WATCHLIST``, sorted by its key.

    Raises:
        SchemaError: A column is missing or of another type.
        CoverageError: A date lies before the exchange calendar.
        DataError: No row is left, an event is unknown, or a ticker or a date is not valid.
    """
    table = WATCHLIST.name
    dated = _rename_date(frame)
    check_tickers(dated, table=table)
    dated = parse_dates(dated, "session_date", table=table)
    check_calendar_start(dated, table=table)
    wanted = _select_wanted(dated)
    if wanted.is_empty():
        raise DataError(
            f"watchlist: expected at least one row to fetch, got none of {frame.height} rows"
        )
    named = _parse_events(wanted)
    watchlist = WATCHLIST.conform(build_watchlist(_list_events(named)).collect())
    return watchlist, WatchlistImport(
        rows_read=frame.height,
        rows_kept=watchlist.height,
        rows_not_wanted=frame.height - wanted.height,
        repeated_rows=wanted.height - watchlist.height,
        repeated_names=_count_names(named) - _count_names(watchlist),
        rows_without_events=named.filter("is_unnamed").height,
        wrong_counts=_count_wrong_counts(wanted, watchlist),
        ignored_columns=tuple(name for name in frame.columns if name not in KNOWN_COLUMNS),
    )


def measure_watchlist(watchlist: pl.DataFrame, calendar: SessionCalendar) -> WatchlistFacts:
    """Gather the facts about ``schemas.WATCHLIST``."""
    per_event = watchlist.explode("events")["events"].value_counts()
    rows_per_event = dict.fromkeys((IMPORTED_EVENT, *EVENT_NAMES), 0) | {
        name: rows for name, rows in per_event.iter_rows() if name in EVENT_ORDER.categories
    }
    names = pl.element().is_in(EVENT_ORDER.categories.implode())
    is_known = pl.col("events").list.eval(names).list.all() & (pl.col("events").list.len() > 0)
    problems = {
        "duplicate key": watchlist.filter(~pl.struct(_KEY).is_first_distinct()),
        "unknown event": watchlist.filter(~is_known),
        "wrong event_count": watchlist.filter(pl.col("events").list.len() != pl.col("event_count")),
        "no session": watchlist.join(calendar.frame, on="session_date", how="anti"),
    }
    return WatchlistFacts(
        rows=watchlist.height,
        tickers=watchlist["ticker"].n_unique(),
        rows_per_event=rows_per_event,
        duplicate_keys=problems["duplicate key"].height,
        unknown_events=problems["unknown event"].height,
        wrong_counts=problems["wrong event_count"].height,
        non_session=problems["no session"].height,
        offenders=pl.concat(show_offenders(rows, name) for name, rows in problems.items()),
    )


def judge_watchlist(facts: WatchlistFacts) -> tuple[str, ...]:
    """List the reasons why the watchlist is wrong; none when it is not.

    Rows on dates that are no session do not make it wrong: they are reported and make no window.
    """
    complaints = {
        "expected at least one row, got none": facts.rows == 0,
        f"{facts.duplicate_keys} rows repeat a ticker and session": facts.duplicate_keys > 0,
        f"{facts.unknown_events} rows name an unknown event or none": facts.unknown_events > 0,
        f"{facts.wrong_counts} rows count their events wrong": facts.wrong_counts > 0,
    }
    return tuple(text for text, is_true in complaints.items() if is_true)


def merge_watchlists(*watchlists: pl.DataFrame) -> pl.DataFrame:
    """Unite watchlists, sorted by key; a row of several has the events of all."""
    rows = pl.concat([WATCHLIST.empty(), *map(WATCHLIST.conform, watchlists)])
    events = rows.lazy().explode("events").select(*_KEY, event="events")
    return build_watchlist(events).collect()


def _rename_date(frame: pl.DataFrame) -> pl.DataFrame:
    dates = [name for name in DATE_COLUMNS if name in frame.columns]
    if "ticker" not in frame.columns or len(dates) != 1:
        raise SchemaError(
            f"watchlist: expected columns ticker and one of {DATE_COLUMNS}, got {frame.columns}"
        )
    return frame.rename({dates[0]: "session_date"})


def _select_wanted(rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows whose ``info_rich`` is false, where there is such a column."""
    if "info_rich" not in rows.columns:
        return rows
    rows = parse_flags(rows, "info_rich")
    wanted = rows["info_rich"]
    if wanted.dtype != pl.Boolean() or wanted.null_count():
        raise SchemaError(
            "watchlist: expected info_rich to be true or false in every row, got "
            f"{wanted.dtype} with {wanted.null_count()} nulls"
        )
    return rows.filter(wanted)


def _parse_events(rows: pl.DataFrame) -> pl.DataFrame:
    """Parse ``events`` beside the keys to known names; ``is_unnamed`` is for rows without any."""
    raw = _split_names(rows)
    names = pl.col("events").list.eval(_name_element())
    parsed = raw.with_columns(names)
    unknown = raw.filter(parsed["events"].list.eval(pl.element().is_null()).list.any())
    if not unknown.is_empty():
        shown = unknown["events"].head(SHOWN_ROWS).to_list()
        raise DataError(
            f"watchlist: {unknown.height} rows name unknown events, first {shown}; known are "
            f"{[IMPORTED_EVENT, *EVENT_NAMES]}"
        )
    is_unnamed = parsed["events"].list.len() == 0
    imported = pl.lit([IMPORTED_EVENT])
    return parsed.with_columns(
        is_unnamed=is_unnamed,
        events=pl.when(is_unnamed).then(imported).otherwise(pl.col("events")),
    )


def _split_names(rows: pl.DataFrame) -> pl.DataFrame:
    """Split ``events`` beside the keys into a list of names as they stand in the file."""
    dtype = rows.schema.get("events")
    events = pl.col("events")
    if dtype is None or rows["events"].null_count() == rows.height:
        events = pl.lit([], dtype=pl.List(pl.String))
    elif dtype == pl.String():
        bare = events.str.replace_all(_DECORATION, "").str.replace_all(_SEPARATORS, ",")
        events = bare.str.split(",")
    elif dtype not in (pl.List(pl.String), pl.List(pl.Null)):
        raise SchemaError(f"watchlist: expected events as a list of text or text, got {dtype}")
    not_blank = pl.element().filter(pl.element() != "")
    listed = events.cast(pl.List(pl.String)).fill_null([]).list.eval(not_blank).alias("events")
    return rows.select(*_KEY, listed)


def _name_element() -> pl.Expr:
    """Look up the known name of each element, null where there is none."""
    bare = pl.element().str.strip_chars().str.to_lowercase()
    return bare.replace_strict(_NAMES, default=None, return_dtype=pl.String)


def _count_names(rows: pl.DataFrame) -> int:
    return int(rows.select(pl.col("events").list.len().cast(pl.Int64).sum()).item())


def _list_events(named: pl.DataFrame) -> pl.LazyFrame:
    return named.lazy().explode("events").select(*_KEY, event="events")


def _count_wrong_counts(rows: pl.DataFrame, watchlist: pl.DataFrame) -> int:
    """Count the rows that state another count of events than their merged row has."""
    if "event_count" not in rows.columns:
        return 0
    if not (rows.schema["event_count"].is_numeric() or rows["event_count"].is_null().all()):
        raise SchemaError(
            f"watchlist: expected event_count as a number, got {rows.schema['event_count']}"
        )
    stated = rows.select(*_KEY, stated=pl.col("event_count").cast(pl.Float64))
    both = stated.join(watchlist, on=_KEY, how="left", validate="m:1")
    return both.filter(pl.col("stated") != pl.col("event_count")).height
