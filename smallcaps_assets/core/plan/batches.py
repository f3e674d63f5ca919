"""Other ways to choose sessions, and to divide and compare plans.

What belongs here: unions of watchlists, whole months around events, batches of a plan and the
difference between two.  What does not: event windows (``windows``) and request ranges (``ranges``).
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import polars as pl

from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.events.watchlist import build_watchlist
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
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, WATCHLIST

_KEY = list(EVENT_WINDOW_PLAN.key)
_NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


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
    """Return the months that each event asks for, overlaps kept.

    Args:
        watchlist: ``schemas.WATCHLIST``, in any order; rows on no session ask for nothing.
        calendar: The sessions.
        months_before: Further months before that of the event.
        months_after: Further months after it.

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
    """Return, by ticker, the disjoint intervals of the months around events.

    Args:
        watchlist: As for :func:`label_months`, and so are the others.
        calendar: The sessions.
        months_before: Further months before that of the event.
        months_after: Further months after it.

    Returns:
        ``ticker, first_index, last_index`` (Int32, included), sorted.
    """
    spans = label_months(
        watchlist, calendar, months_before=months_before, months_after=months_after
    )
    return merge_intervals(spans.select("ticker", "first_index", "last_index"))


def split_batches(
    plan: pl.DataFrame, batches: int, weights: pl.DataFrame | None = None
) -> list[pl.DataFrame]:
    """Divide a plan into batches of whole tickers of about equal weight.

    Args:
        plan: ``ticker, session_date`` and more.
        batches: How many; fewer where the plan has fewer tickers.
        weights: As for :func:`assign_batches`; ``None`` weighs every session alike.

    Returns:
        Disjoint parts that cover the plan, each in its order; none of them empty.

    Raises:
        ConfigError: ``batches`` is not positive.
    """
    assigned = assign_batches(plan, batches, weights)
    numbered = plan.join(
        pl.DataFrame(
            {"ticker": list(assigned), "batch": list(assigned.values())},
            schema={"ticker": pl.String, "batch": pl.UInt32},
        ),
        on="ticker",
        validate="m:1",
        maintain_order="left",
    ).sort("batch", maintain_order=True)
    return numbered.partition_by("batch", maintain_order=True, include_key=False)


def assign_batches(
    plan: pl.DataFrame,
    batches: int,
    weights: pl.DataFrame | None = None,
    assigned: Mapping[str, int] = _NOBODY,
) -> dict[str, int]:
    """Return the batch of each ticker of a plan, counted from 1.

    The heaviest tickers are dealt first, each to the lightest batch; ties go by ticker, so one
    plan is always divided alike.  A ticker that was assigned before stays where it is: weights
    change while batches are downloaded, and a ticker that moved would be fetched by none.

    Args:
        plan: ``ticker, session_date`` and more.
        batches: How many.
        weights: ``ticker, weight``, summed by ticker, usually estimated bytes; a ticker that is
            not there weighs nothing.  ``None`` weighs every session alike.
        assigned: Batches of tickers, dealt earlier into as many.

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
    dealt = _deal(dict(heaviest.iter_rows()), batches, assigned)
    return dict(sorted(dealt.items()))


def diff_plans(old: pl.DataFrame, new: pl.DataFrame) -> PlanDifference:
    """Return what a new plan adds and drops, by ticker and session alone."""
    before, after = old.select(_KEY), new.select(_KEY)
    added = after.join(before, on=_KEY, how="anti").sort(_KEY)
    removed = before.join(after, on=_KEY, how="anti").sort(_KEY)
    return PlanDifference(added=added, removed=removed, kept=after.height - added.height)


def _deal(
    weights: Mapping[str, float], batches: int, assigned: Mapping[str, int]
) -> dict[str, int]:
    """Return the batch of each ticker, given the heaviest first."""
    dealt = {ticker: assigned[ticker] for ticker in weights if ticker in assigned}
    held = dict.fromkeys(range(1, batches + 1), (0.0, 0))
    for ticker, batch in dealt.items():
        load, members = held[batch]
        held[batch] = (load + weights[ticker], members + 1)
    loads = [(load, members, batch) for batch, (load, members) in held.items()]
    heapq.heapify(loads)
    for ticker, weight in weights.items():
        if ticker in dealt:
            continue
        load, members, batch = loads[0]
        dealt[ticker] = batch
        heapq.heapreplace(loads, (load + weight, members + 1, batch))
    return dealt
