"""Other ways to choose sessions, and to divide and compare plans.

What belongs here: unions of watchlists, whole months around events, batches of a plan and the
difference between two.  What does not: event windows (``windows``) and request ranges (``plan``).
"""

import heapq
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.bounds import PlanBounds
from smallcaps_assets.core.events import EVENT_ORDER
from smallcaps_assets.core.intervals import (
    build_plan,
    check_watchlist,
    clip_intervals,
    explode_events,
)
from smallcaps_assets.core.watchlist import build_watchlist
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, WATCHLIST

_KEY = list(EVENT_WINDOW_PLAN.key)


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


def merge_watchlists(*watchlists: pl.DataFrame) -> pl.DataFrame:
    """Return the union of watchlists; a row of several has the events of all.

    Returns:
        ``schemas.WATCHLIST``, sorted by its key.
    """
    rows = pl.concat([WATCHLIST.empty(), *map(WATCHLIST.conform, watchlists)])
    events = rows.lazy().explode("events").select(*_KEY, event="events")
    return build_watchlist(events).collect()


def plan_months(
    watchlist: pl.DataFrame, bounds: PlanBounds, *, months_before: int = 0, months_after: int = 0
) -> pl.DataFrame:
    """Return a plan of the whole calendar months of events.

    Args:
        watchlist: ``schemas.WATCHLIST``, in any order; rows on no session ask for nothing.
        bounds: What may be planned.
        months_before: Further months before that of the event.
        months_after: Further months after it.

    Returns:
        ``schemas.EVENT_WINDOW_PLAN``, sorted by its key; the offsets reach across the months.

    Raises:
        ConfigError: A number of months is negative.
        DataError: A row has no event, or an unknown one.
        CoverageError: A date lies outside the calendar.
    """
    if months_before < 0 or months_after < 0:
        raise ConfigError(f"expected months of 0 or more, got {months_before} and {months_after}")
    check_watchlist(watchlist, EVENT_ORDER.categories, bounds.calendar)
    dates = bounds.calendar.frame["session_date"]
    events = explode_events(watchlist, bounds.calendar)
    event_dates = dates.gather(events["event_index"])
    first = event_dates.dt.month_start().dt.offset_by(f"-{months_before}mo")
    last = event_dates.dt.month_start().dt.offset_by(f"{months_after}mo").dt.month_end()
    spans = events.with_columns(
        first_index=dates.search_sorted(first, side="left").cast(pl.Int32),
        last_index=dates.search_sorted(last, side="right").cast(pl.Int32) - 1,
    )
    wanted = clip_intervals(spans, bounds.first_index, bounds.last_available_index)
    return build_plan(wanted, bounds.calendar)


def split_batches(
    plan: pl.DataFrame, batches: int, weights: pl.DataFrame | None = None
) -> list[pl.DataFrame]:
    """Divide a plan into batches of whole tickers of about equal weight.

    The heaviest tickers are dealt first, each to the lightest batch; ties go by ticker, so one
    plan is always divided alike.

    Args:
        plan: ``ticker, session_date`` and more.
        batches: How many; fewer where the plan has fewer tickers.
        weights: ``ticker, weight``, summed by ticker, usually estimated bytes; a ticker that is
            not there weighs nothing.  ``None`` weighs every session alike.

    Returns:
        Disjoint parts that cover the plan, each in its order; none of them empty.

    Raises:
        ConfigError: ``batches`` is not positive.
    """
    if batches < 1:
        raise ConfigError(f"expected at least one batch, got {batches}")
    weighted = plan.select("ticker", weight=pl.lit(1)) if weights is None else weights
    heaviest = (
        plan.select(pl.col("ticker").unique())
        .join(weighted.group_by("ticker").agg(pl.col("weight").sum()), on="ticker", how="left")
        .select("ticker", pl.col("weight").fill_null(0))
        .sort("weight", "ticker", descending=[True, False])
    )
    dealt = _deal(heaviest["weight"].to_list(), min(batches, heaviest.height))
    numbered = plan.join(
        heaviest.select("ticker", batch=pl.Series(dealt, dtype=pl.UInt32)),
        on="ticker",
        validate="m:1",
        maintain_order="left",
    ).sort("batch", maintain_order=True)
    return numbered.partition_by("batch", maintain_order=True, include_key=False)


def diff_plans(old: pl.DataFrame, new: pl.DataFrame) -> PlanDifference:
    """Return what a new plan adds and drops, by ticker and session alone."""
    before, after = old.select(_KEY), new.select(_KEY)
    added = after.join(before, on=_KEY, how="anti").sort(_KEY)
    removed = before.join(after, on=_KEY, how="anti").sort(_KEY)
    return PlanDifference(added=added, removed=removed, kept=after.height - added.height)


def _deal(weights: list[float], batches: int) -> list[int]:
    """Return the batch of each weight, given the heaviest first."""
    loads = [(0.0, 0, batch) for batch in range(batches)]
    dealt = []
    for weight in weights:
        load, members, batch = heapq.heappop(loads)
        dealt.append(batch)
        heapq.heappush(loads, (load + weight, members + 1, batch))
    return dealt
