"""Event windows: which sessions each event asks for.

What belongs here: the windows of the events, their merging by ticker, and the event-window plan
with its facts.  What does not: request ranges and checks of a plan (``ranges``), other ways to
choose sessions (``batches``), what a plan costs (``core.budget.estimates``).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_NAMES, IMPORTED_EVENT
from smallcaps_assets.core.keys import check_ticker, key_expression
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import (
    build_plan,
    check_watchlist,
    clip_intervals,
    count_sessions,
    expand_sessions,
    explode_events,
    merge_intervals,
    session_index_expression,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN

MAX_SIDE_SESSIONS: Final = 60
ALL_EVENTS: Final = (IMPORTED_EVENT, *EVENT_NAMES)
"""Every event a watchlist may name, in the order of lists."""

_EXAMPLES: Final = 5

WindowValue = int | Sequence[int] | Mapping[str, int]
"""How a window is written: one number for both sides, a pair, or ``{before, after}``."""


@dataclass(frozen=True, slots=True)
class EventWindow:
    """Sessions around an event, the event's own always among them."""

    before: int
    after: int

    def __post_init__(self) -> None:
        for side in (self.before, self.after):
            if type(side) is not int or not 0 <= side <= MAX_SIDE_SESSIONS:
                raise ConfigError(
                    f"bad event window {self.before!r}, {self.after!r}: expected whole sessions "
                    f"from 0 to {MAX_SIDE_SESSIONS} on each side"
                )

    @property
    def size(self) -> int:
        """The number of sessions in the window."""
        return self.before + 1 + self.after


DEFAULT_WINDOWS: Final = {
    IMPORTED_EVENT: EventWindow(0, 0),
    "E1_VolExplosion": EventWindow(2, 2),
    "E2_GapUp": EventWindow(2, 2),
    "E3_PriceSpikeIntraday": EventWindow(1, 1),
    "E4_Parabolic": EventWindow(3, 3),
    "E5_BreakoutATH": EventWindow(2, 2),
    "E6_MultipleGreenDays": EventWindow(1, 1),
    "E7_FirstRedDay": EventWindow(2, 2),
    "E8_GapDownViolent": EventWindow(3, 3),
    "E9_CrashIntraday": EventWindow(1, 1),
    "E10_FirstGreenBounce": EventWindow(3, 3),
    "E11_VolumeBounce": EventWindow(3, 3),
}
"""Sessions on each side; an imported session without a named event asks for itself alone."""


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What became of the windows of a watchlist; counts of ticker-sessions unless named else.

    Attributes:
        tickers: Tickers in the plan.
        naive_ticker_sessions: One window for all events, as wide as the widest: rows times it.
        undeduplicated_ticker_sessions: Every event its own window, overlaps counted again.
        unique_ticker_sessions: In the plan.
        clipped_before: Unique, dropped because they lie before the first session wanted.
        clipped_after: Unique, dropped because they lie after the last session wanted.
        not_yet_available: Unique, wanted, and not closed or not published yet.
        non_session_events: Watchlist rows dated on no session; they make no window.
        non_session_keys: The first few of those rows.
    """

    watchlist_rows: int
    tickers: int
    naive_ticker_sessions: int
    undeduplicated_ticker_sessions: int
    unique_ticker_sessions: int
    clipped_before: int
    clipped_after: int
    not_yet_available: int
    non_session_events: int
    non_session_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlan:
    """The sessions to fetch around the events of a watchlist.

    Attributes:
        plan: ``schemas.EVENT_WINDOW_PLAN``, sorted by its key.
        not_yet_available: ``ticker, session_date`` to be planned once they are published.
    """

    plan: pl.DataFrame
    not_yet_available: pl.DataFrame
    facts: WindowFacts


def parse_windows(overrides: Mapping[str, WindowValue]) -> dict[str, EventWindow]:
    """Parse ``overrides`` and put them in their place among the default windows.

    An event is named in full or by its number (``E6``), in any case.

    Raises:
        ConfigError: A name is unknown or given twice, or a window is not one.
    """
    names = {spelling: event for event in ALL_EVENTS for spelling in _spell(event)}
    chosen: dict[str, EventWindow] = {}
    for name, value in overrides.items():
        event = names.get(name.strip().lower())
        if event is None or event in chosen:
            problem = "given twice" if event else "unknown"
            raise ConfigError(
                f"event window {name!r} is {problem}: expected each of {', '.join(ALL_EVENTS)} "
                "at most once"
            )
        chosen[event] = _parse_window(name, value)
    return {**DEFAULT_WINDOWS, **chosen}


def widest_window(windows: Mapping[str, EventWindow]) -> EventWindow:
    """Build the one window that would serve every event, as earlier downloaders had it."""
    return EventWindow(
        max(window.before for window in windows.values()),
        max(window.after for window in windows.values()),
    )


def merge_windows(
    watchlist: pl.DataFrame, windows: Mapping[str, EventWindow], calendar: SessionCalendar
) -> pl.DataFrame:
    """Merge the windows, by ticker, into the disjoint, non-adjoining intervals that they cover.

    Each row counts with the widest window of its events, so nothing is exploded: this is the
    way to a plan of millions of rows when its provenance is not needed.

    Returns:
        ``ticker, first_index, last_index`` (Int32, included), sorted.  An index may lie outside
        the calendar by the length of a window; :func:`expand_sessions` leaves those out.

    Raises:
        DataError: A row has no event, or one without a window.
        CoverageError: A date lies outside the calendar.
    """
    check_watchlist(watchlist, windows, calendar)
    index = session_index_expression(calendar)
    intervals = watchlist.select(
        "ticker",
        first_index=index - _widest_side({name: side.before for name, side in windows.items()}),
        last_index=index + _widest_side({name: side.after for name, side in windows.items()}),
    )
    return merge_intervals(intervals.drop_nulls("first_index"))


def plan_windows(
    watchlist: pl.DataFrame, windows: Mapping[str, EventWindow], bounds: PlanBounds
) -> WindowPlan:
    """Plan the unique sessions covered by any event's window, with the events that asked.

    The watchlist may be in any order, and ``windows`` has one for each of its events.  Windows are
    clipped to the bounds, and the clipped part is counted.

    Raises:
        DataError: A row has no event, or one without a window.
        CoverageError: A date lies outside the calendar.
    """
    merged = merge_windows(watchlist, windows, bounds.calendar)
    spans = _label_spans(watchlist, windows, bounds.calendar)
    wanted = clip_intervals(spans, bounds.first_index, bounds.last_available_index)
    return WindowPlan(
        plan=build_plan(wanted, bounds.calendar),
        not_yet_available=expand_sessions(_select_waiting(merged, bounds), bounds.calendar),
        facts=_measure_windows(watchlist, windows, bounds, merged),
    )


def select_sessions(
    tickers: Iterable[str], first: dt.date, last: dt.date, bounds: PlanBounds
) -> pl.DataFrame:
    """Plan every session of some tickers from ``first`` to ``last``: the way around events.

    Returns:
        ``schemas.EVENT_WINDOW_PLAN``, sorted by its key, with empty lists: no event asked.

    Raises:
        ConfigError: No ticker is given, or ``last`` lies before ``first``.
        DataError: A ticker is not one.
    """
    chosen = sorted({check_ticker(ticker) for ticker in tickers})
    if not chosen or last < first:
        raise ConfigError(
            f"expected tickers and first <= last, got {len(chosen)} tickers, {first}, {last}"
        )
    wanted = PlanBounds(first, bounds.last_available, bounds.calendar, last)
    first_index = max(wanted.first_index, bounds.first_index)
    last_index = min(wanted.last_available_index, bounds.last_available_index)
    intervals = pl.DataFrame({"ticker": chosen}).with_columns(
        first_index=pl.lit(first_index, pl.Int32), last_index=pl.lit(last_index, pl.Int32)
    )
    keys = expand_sessions(intervals, bounds.calendar)
    return EVENT_WINDOW_PLAN.conform(
        keys.with_columns(
            events=pl.lit(pl.Series([[]], dtype=pl.List(pl.String))).first(),
            event_dates=pl.lit(pl.Series([[]], dtype=pl.List(pl.Date))).first(),
            offsets=pl.lit(pl.Series([[]], dtype=pl.List(pl.Int16))).first(),
        )
    )


def _spell(event: str) -> tuple[str, str]:
    """Spell an event by its full name and by its number, in lower case."""
    return event.lower(), event.lower().partition("_")[0]


def _parse_window(name: str, value: WindowValue) -> EventWindow:
    match value:
        case {"before": before, "after": after, **rest} if not rest:
            sides = (before, after)
        case [before, after] | (before, after):
            sides = (before, after)
        case int():
            sides = (value, value)
        case _:
            raise ConfigError(
                f"event window {name!r}: expected sessions on each side as 2, as [1, 3] or as "
                f"{{before = 1, after = 3}}, got {value!r}"
            )
    try:
        return EventWindow(*sides)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _widest_side(sides: Mapping[str, int]) -> pl.Expr:
    """Find the largest of the values that ``sides`` gives to the events of a row."""
    side = pl.element().replace_strict(list(sides), list(sides.values()), return_dtype=pl.Int32)
    return pl.col("events").list.eval(side).list.max()


def _label_spans(
    watchlist: pl.DataFrame, windows: Mapping[str, EventWindow], calendar: SessionCalendar
) -> pl.DataFrame:
    """Label every event of the watchlist with its window, sorted by ticker."""
    event, index = pl.col("event"), pl.col("event_index")
    before = {name: window.before for name, window in windows.items()}
    after = {name: window.after for name, window in windows.items()}
    return explode_events(watchlist, calendar).with_columns(
        first_index=index - event.replace_strict(before, return_dtype=pl.Int32),
        last_index=index + event.replace_strict(after, return_dtype=pl.Int32),
    )


def _measure_windows(
    watchlist: pl.DataFrame,
    windows: Mapping[str, EventWindow],
    bounds: PlanBounds,
    merged: pl.DataFrame,
) -> WindowFacts:
    calendar = bounds.calendar
    outside = watchlist.filter(session_index_expression(calendar).is_null())
    counts = watchlist["events"].explode().value_counts()
    planned = clip_intervals(merged, bounds.first_index, bounds.last_available_index)
    before = clip_intervals(merged, -MAX_SIDE_SESSIONS, bounds.first_index - 1)
    after = clip_intervals(merged, bounds.last_index + 1, calendar.frame.height + MAX_SIDE_SESSIONS)
    waiting = _select_waiting(merged, bounds)
    sizes = {event: window.size for event, window in windows.items()}
    asked = counts.select(
        (pl.col("count").cast(pl.Int64) * pl.col("events").replace_strict(sizes)).sum()
    )
    return WindowFacts(
        watchlist_rows=watchlist.height,
        tickers=planned["ticker"].n_unique(),
        naive_ticker_sessions=watchlist.height * widest_window(windows).size,
        undeduplicated_ticker_sessions=int(asked.item()),
        unique_ticker_sessions=count_sessions(planned),
        clipped_before=count_sessions(before),
        clipped_after=count_sessions(after),
        not_yet_available=count_sessions(waiting),
        non_session_events=outside.height,
        non_session_keys=tuple(outside.head(_EXAMPLES).select(key_expression()).to_series()),
    )


def _select_waiting(merged: pl.DataFrame, bounds: PlanBounds) -> pl.DataFrame:
    """Select the parts of intervals that are wanted and not available yet."""
    first_index = max(bounds.first_index, bounds.last_available_index + 1)
    return clip_intervals(merged, first_index, bounds.last_index)
