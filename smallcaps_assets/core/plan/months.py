"""Plans of whole months.

Does not belong here: windows around events (``windows``).
"""

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import (
    build_plan,
    check_watchlist,
    clip_intervals,
    explode_events,
    merge_intervals,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import ConfigError


def plan_months(
    watchlist: pl.DataFrame, bounds: PlanBounds, *, months_before: int = 0, months_after: int = 0
) -> pl.DataFrame:
    """Plan the whole calendar months of events; the arguments are those of :func:`label_months`.

    Returns:
        ``schemas.EVENT_WINDOW_PLAN``, sorted by its key; the offsets reach across the months.
    """
    spans = label_months(
        watchlist, bounds.calendar, months_before=months_before, months_after=months_after
    )
    wanted = clip_intervals(spans, bounds.first_index, bounds.last_available_index)
    return build_plan(wanted, bounds.calendar)


def label_months(
    watchlist: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    months_before: int = 0,
    months_after: int = 0,
) -> pl.DataFrame:
    """Label each event with the months that it asks for, its own and some before and after.

    Overlaps are kept; rows of ``schemas.WATCHLIST`` on no session ask for nothing.

    Returns:
        ``ticker, event, event_index, first_index, last_index``, sorted by ticker.

    Raises:
        ConfigError: A number of months is negative.
        DataError: A row has no event, or an unknown one.
        CoverageError: A date lies outside the calendar.
    """
    if months_before < 0 or months_after < 0:
        raise ConfigError(f"expected months of 0 or more, got {months_before} and {months_after}")
    check_watchlist(watchlist, EVENT_ORDER.categories, calendar)
    dates = calendar.frame["session_date"]
    events = explode_events(watchlist, calendar)
    event_dates = dates.gather(events["event_index"])
    first = event_dates.dt.month_start().dt.offset_by(f"-{months_before}mo")
    last = event_dates.dt.month_start().dt.offset_by(f"{months_after}mo").dt.month_end()
    return events.with_columns(
        first_index=dates.search_sorted(first, side="left").cast(pl.Int32),
        last_index=dates.search_sorted(last, side="right").cast(pl.Int32) - 1,
    )


def merge_months(
    watchlist: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    months_before: int = 0,
    months_after: int = 0,
) -> pl.DataFrame:
    """Merge what :func:`label_months` gives to disjoint intervals by ticker, sorted."""
    spans = label_months(
        watchlist, calendar, months_before=months_before, months_after=months_after
    )
    return merge_intervals(spans.select("ticker", "first_index", "last_index"))
