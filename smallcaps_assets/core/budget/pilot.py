"""The pilot: the part of a watchlist that is worth fetching first, and fits.

What belongs here: ranking tickers, choosing them by number or by disk, and the ladder of sizes.
What does not: the events themselves (``core.events.rules``) and the cost of a range
(``estimates``).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, label_expected_rows
from smallcaps_assets.core.budget.costs import DISK_SHARE, DiskVerdict, judge_disk
from smallcaps_assets.core.budget.estimates import estimate_calibrated, label_costs
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import clip_intervals, count_sessions, expand_sessions
from smallcaps_assets.core.plan.months import label_months, merge_months
from smallcaps_assets.core.plan.ranges import plan_request_ranges
from smallcaps_assets.core.plan.windows import EventWindow, merge_windows
from smallcaps_assets.errors import ConfigError

LADDER_SIZES = (100, 30, 15)
"""Sizes reported when none are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class PilotInputs:
    """What the cost of a pilot depends on.

    Attributes:
        windows: Windows of the events.
        bounds: What may be planned.
        bars: Of ``schemas.DAILY_BARS`` the key, ``volume`` and ``trade_count``.
        calibration: What a trade and a file cost.
        free_bytes: Free bytes of the disk, or the budget where that is less.
        max_rows: Expected rows of a request range.
        max_sessions: Sessions of a request range.
        share: Share of the free bytes that may be used.
        months: Months before and after that of an event, for plans of whole months; ``None``
            plans event windows.
    """

    windows: Mapping[str, EventWindow]
    bounds: PlanBounds
    bars: pl.DataFrame
    calibration: Calibration
    free_bytes: int
    max_rows: int
    max_sessions: int
    share: float = DISK_SHARE
    months: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One size of the pilot.

    Attributes:
        tickers: Tickers, the highest ranked.
        rows: Their rows of the watchlist.
        ticker_sessions: Sessions their events ask for, overlaps counted again.
        unique_ticker_sessions: Sessions to fetch.
        requests: Requests over merged ranges.
        bytes_stored: Bytes of the files.
        hours: Time the request rate takes at best.
        verdict: Whether they fit the disk.
    """

    tickers: int
    rows: int
    ticker_sessions: int
    unique_ticker_sessions: int
    requests: int
    bytes_stored: int
    hours: float
    verdict: DiskVerdict


@dataclass(frozen=True, slots=True, eq=False)
class PilotChoice:
    """The pilot that a disk budget allows.

    Attributes:
        tickers: How many tickers fit; 0: not even the first one does.
        watchlist: ``schemas.PILOT_WATCHLIST`` of those.
        ladder: The sizes tried, the chosen one among them.
    """

    tickers: int
    watchlist: pl.DataFrame
    ladder: tuple[Rung, ...]


def rank_pilot(watchlist: pl.DataFrame, min_events: int | None) -> pl.DataFrame:
    """Rank the tickers by number of sessions with enough events, ties by ticker.

    Args:
        watchlist: ``schemas.WATCHLIST``.
        min_events: Events a session needs; 0 or ``None`` is any.

    Returns:
        ``ticker, sessions`` (UInt32), best first; tickers without such a session are left out.
    """
    return (
        _select_rows(watchlist, min_events)
        .group_by("ticker")
        .agg(sessions=pl.len())
        .sort("sessions", "ticker", descending=[True, False])
    )


def select_pilot(
    watchlist: pl.DataFrame,
    min_events: int | None,
    tickers: int | None,
    *,
    rank_until: dt.date | None = None,
) -> pl.DataFrame:
    """Select the rows with enough events of the highest-ranked tickers, order kept.

    Args:
        watchlist: ``schemas.WATCHLIST``.
        min_events: Events a session needs; 0 or ``None`` is any.
        tickers: How many tickers; 0 or ``None`` is all.
        rank_until: Only events before this date count in the ranking; ``None``: all do.

    Raises:
        ConfigError: A number is negative.
    """
    if (min_events or 0) < 0 or (tickers or 0) < 0:
        raise ConfigError(f"expected 0 or more, got {min_events} events and {tickers} tickers")
    counting = watchlist
    if rank_until is not None:
        counting = watchlist.filter(pl.col("session_date") < rank_until)
    ranked = rank_pilot(counting, min_events)
    return _select_top(_select_rows(watchlist, min_events), ranked, tickers or ranked.height)


def list_candidates(
    watchlist: pl.DataFrame, min_events: int | None, inputs: PilotInputs
) -> pl.DataFrame:
    """List the sessions that pilots may hold, so that their bars can be given to the others.

    Args:
        watchlist: ``schemas.WATCHLIST``.
        min_events: Events a session needs; 0 or ``None`` is any.
        inputs: What may be planned; its bars do not matter.

    Returns:
        ``ticker, session_date``, sorted.
    """
    return _list_sessions(_select_rows(watchlist, min_events), inputs)


def build_ladder(
    watchlist: pl.DataFrame,
    min_events: int | None,
    inputs: PilotInputs,
    sizes: Sequence[int] = LADDER_SIZES,
) -> tuple[Rung, ...]:
    """Estimate what pilots of several sizes cost, in the order given.

    A size above the number of tickers is taken as all of them; equal ones are told once.

    Raises:
        ConfigError: A size is not positive.
    """
    if any(size < 1 for size in sizes):
        raise ConfigError(f"expected sizes above 0, got {list(sizes)}")
    ranked = rank_pilot(watchlist, min_events)
    rows = _select_rows(watchlist, min_events)
    ranges = _plan_ranges(rows, inputs)
    tried = dict.fromkeys(min(size, ranked.height) for size in sizes)
    return tuple(
        _measure_rung(_select_top(rows, ranked, size), ranges, inputs) for size in tried if size
    )


def choose_pilot(
    watchlist: pl.DataFrame,
    min_events: int | None,
    inputs: PilotInputs,
    sizes: Sequence[int] = LADDER_SIZES,
    *,
    most: int | None = None,
) -> PilotChoice:
    """Choose the largest pilot whose calibrated estimate fits the disk.

    Every ticker costs what it costs whatever the others, so the sums along the ranking are the
    estimates of all sizes and none has to be tried.

    Args:
        watchlist: ``schemas.WATCHLIST``.
        min_events: Events a session needs; 0 or ``None`` is any.
        inputs: What the cost depends on.
        sizes: Sizes of the ladder, beside the chosen one.
        most: Tickers at most; 0 or ``None`` is no limit.
    """
    ranked = rank_pilot(watchlist, min_events)
    rows = _select_rows(watchlist, min_events)
    costs = label_costs(_plan_ranges(rows, inputs), inputs.calibration)
    needed = costs.group_by("ticker").agg(
        needed=(pl.col("bytes_stored") + pl.col("bytes_overhead")).sum()
    )
    reached = ranked.join(
        needed, on="ticker", how="left", validate="1:1", maintain_order="left"
    ).select(pl.col("needed").fill_null(0).cum_sum())
    allowed = int(inputs.free_bytes * inputs.share)
    fitting = int(reached.select((pl.col("needed") <= allowed).sum()).item())
    tickers = min(fitting, most or fitting)
    tried = sorted({*sizes, tickers or 1}, reverse=True)
    return PilotChoice(
        tickers=tickers,
        watchlist=_select_top(rows, ranked, tickers),
        ladder=build_ladder(watchlist, min_events, inputs, tried),
    )


def _select_rows(watchlist: pl.DataFrame, min_events: int | None) -> pl.DataFrame:
    return watchlist.filter(pl.col("event_count") >= (min_events or 0))


def _select_top(rows: pl.DataFrame, ranked: pl.DataFrame, tickers: int) -> pl.DataFrame:
    return rows.join(ranked.head(tickers), on="ticker", how="semi", maintain_order="left")


def _plan_ranges(rows: pl.DataFrame, inputs: PilotInputs) -> pl.DataFrame:
    """Plan the request ranges of all candidates, every session with a number of trades."""
    bounds = inputs.bounds
    sessions = label_expected_rows(
        _list_sessions(rows, inputs),
        inputs.bars,
        default_rows=inputs.calibration.trades_per_session,
    )
    filled = sessions.with_columns(expected_rows="estimated_rows")
    return plan_request_ranges(filled, bounds.calendar, inputs.max_rows, inputs.max_sessions)


def _list_sessions(rows: pl.DataFrame, inputs: PilotInputs) -> pl.DataFrame:
    """List the unique sessions that rows of the watchlist ask for and may have."""
    bounds = inputs.bounds
    merged = _merge(rows, inputs)
    wanted = clip_intervals(merged, bounds.first_index, bounds.last_available_index)
    return expand_sessions(wanted, bounds.calendar)


def _merge(rows: pl.DataFrame, inputs: PilotInputs) -> pl.DataFrame:
    """Merge the intervals that the events of ``rows`` ask for."""
    calendar = inputs.bounds.calendar
    if inputs.months is None:
        return merge_windows(rows, inputs.windows, calendar)
    before, after = inputs.months
    return merge_months(rows, calendar, months_before=before, months_after=after)


def _count_asked(rows: pl.DataFrame, inputs: PilotInputs) -> int:
    """Count the sessions that the events of ``rows`` ask for, overlaps more than once."""
    if inputs.months is None:
        sizes = {name: window.size for name, window in inputs.windows.items()}
        asked = rows["events"].explode().replace_strict(sizes, return_dtype=pl.Int64)
        return int(asked.sum())
    before, after = inputs.months
    calendar = inputs.bounds.calendar
    return count_sessions(label_months(rows, calendar, months_before=before, months_after=after))


def _measure_rung(rows: pl.DataFrame, ranges: pl.DataFrame, inputs: PilotInputs) -> Rung:
    estimate = estimate_calibrated(ranges.join(rows, on="ticker", how="semi"), inputs.calibration)
    return Rung(
        tickers=rows["ticker"].n_unique(),
        rows=rows.height,
        ticker_sessions=_count_asked(rows, inputs),
        unique_ticker_sessions=estimate.ticker_sessions,
        requests=estimate.requests,
        bytes_stored=estimate.bytes_stored,
        hours=estimate.hours,
        verdict=judge_disk(estimate, inputs.free_bytes, inputs.share),
    )
