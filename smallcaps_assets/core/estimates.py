"""What a plan costs: requests, bytes and hours, each with the arithmetic behind it.

Three methods: ``constants`` multiplies ticker-sessions by figures that people quote,
``calibrated`` counts the trades of the daily bars, ``measured`` extends what landed so far.
What belongs here: the methods.  What does not: how many trades a session holds
(``calibration``), verdicts on an estimate (``costs``) and what is planned (``windows``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.calibration import (
    DEFAULT_BYTES_PER_TRADE,
    Calibration,
    SizeFit,
    fit_bytes_per_trade,
    label_expected_rows,
)
from smallcaps_assets.core.costs import (
    DISK_SHARE,
    Comparison,
    DiskVerdict,
    Estimate,
    compare_estimates,
    compare_published,
    judge_disk,
)
from smallcaps_assets.core.figures import GB, MB, TB, format_bytes, format_hours
from smallcaps_assets.core.windows import DEFAULT_WINDOWS, EventWindow
from smallcaps_assets.errors import ConfigError, CoverageError

__all__ = [
    "DEFAULT_BYTES_PER_TRADE",
    "DISK_SHARE",
    "GB",
    "MB",
    "TB",
    "Calibration",
    "Comparison",
    "DiskVerdict",
    "Estimate",
    "Landed",
    "SizeFit",
    "compare_estimates",
    "compare_published",
    "estimate_calibrated",
    "estimate_constants",
    "estimate_measured",
    "estimate_naive",
    "estimate_unmerged",
    "fit_bytes_per_trade",
    "judge_disk",
    "label_costs",
    "label_expected_rows",
]

RAW_MB_PER_SESSION: Final = 50
STORED_RATIO: Final = 0.30
REQUESTS_PER_MINUTE: Final = 100.0
"""The constants people quote: megabytes of a session, what compression leaves, a usual rate."""

NAIVE_WINDOW_SESSIONS: Final = 7
"""One window for all events: the widest, three sessions on each side."""

UNLIMITED_REQUESTS_PER_MINUTE: Final = 6_000.0
"""Pace assumed without a limit: the vendor recommends to stay below 100 requests a second."""

_MINUTES_PER_HOUR: Final = 60
_SECONDS_PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Landed:
    """What a download has stored so far.

    Attributes:
        ticker_sessions: Sessions with a receipt, empty ones included.
        rows: Trades stored.
        bytes_stored: Bytes of the files.
        requests: Requests spent, retries included.
        elapsed_s: Seconds spent fetching; 0: unknown, and the configured rate counts.
    """

    ticker_sessions: int
    rows: int
    bytes_stored: int
    requests: int
    elapsed_s: float = 0.0


def estimate_constants(
    counts: Mapping[str, int], windows: Mapping[str, EventWindow] = DEFAULT_WINDOWS
) -> Estimate:
    """Estimate by the constants people quote, every event with its own window.

    Args:
        counts: Watchlist rows per event; nothing is merged, so overlaps count again.
        windows: Windows of the events.

    Raises:
        ConfigError: An event has no window, or a count is negative.
    """
    if unknown := [name for name, count in counts.items() if name not in windows or count < 0]:
        raise ConfigError(f"expected counts of 0 or more for {', '.join(windows)}, got {unknown}")
    total = sum(count * windows[name].size for name, count in counts.items())
    terms = (
        f"{name.partition('_')[0]} {count:,} x {windows[name].size}"
        for name, count in counts.items()
    )
    return _apply_constants(total, " + ".join(terms) or "no events")


def estimate_naive(rows: int, window_sessions: int = NAIVE_WINDOW_SESSIONS) -> Estimate:
    """Estimate by the constants with one window for all events.

    Args:
        rows: Rows of the watchlist.
        window_sessions: Sessions of the window, the event's own included.

    Raises:
        ConfigError: A number is negative.
    """
    if rows < 0 or window_sessions < 0:
        raise ConfigError(f"expected 0 or more, got {rows} rows and {window_sessions} sessions")
    return _apply_constants(rows * window_sessions, f"{rows:,} rows x {window_sessions} sessions")


def label_costs(ranges: pl.DataFrame, calibration: Calibration) -> pl.DataFrame:
    """Add what each request range costs, so that sums over ranges are estimates.

    Args:
        ranges: ``schemas.REQUEST_RANGES``; where ``expected_rows`` is null, every session counts
            with ``trades_per_session``.
        calibration: What a trade and a file cost.

    Returns:
        The ranges with ``rows``, ``requests``, ``bytes_raw``, ``bytes_stored`` and
        ``bytes_overhead`` (Int64).
    """
    sessions, rows = pl.col("session_count").cast(pl.Int64), pl.col("rows")
    pages = -(-rows // calibration.page_limit)
    stored = rows * calibration.bytes_per_trade + sessions * calibration.file_bytes
    return ranges.with_columns(
        rows=pl.coalesce("expected_rows", sessions * calibration.trades_per_session)
    ).with_columns(
        requests=pages.clip(lower_bound=1),
        bytes_raw=(rows * calibration.raw_bytes_per_trade).ceil().cast(pl.Int64),
        bytes_stored=stored.ceil().cast(pl.Int64),
        bytes_overhead=sessions * calibration.block_bytes,
    )


def estimate_calibrated(
    ranges: pl.DataFrame, calibration: Calibration, *, other_requests: int = 0
) -> Estimate:
    """Estimate from the trades of the daily bars, over merged ranges.

    Args:
        ranges: ``schemas.REQUEST_RANGES``; give :func:`plan_request_ranges` the
            ``estimated_rows`` of :func:`label_expected_rows` as ``expected_rows``, so that no
            session is left to the default.
        calibration: What a trade and a file cost.
        other_requests: Requests for reference data still to be fetched, daily bars above all.
    """
    costs = label_costs(ranges, calibration)
    names = ("session_count", "rows", "requests", "bytes_raw", "bytes_stored", "bytes_overhead")
    totals = costs.select(pl.col(names).cast(pl.Int64).sum()).row(0, named=True)
    unknown = costs.filter(pl.col("expected_rows").is_null()).select(pl.col("session_count").sum())
    requests = totals["requests"] + other_requests
    hours, pace = _spend_requests(requests, calibration.requests_per_minute)
    arithmetic = "; ".join(
        [
            _explain_trades(totals, int(unknown.item()), calibration),
            _explain_requests(totals, costs.height, other_requests, calibration),
            _explain_bytes(totals, calibration),
            pace,
        ]
    )
    return Estimate(
        method="calibrated",
        ticker_sessions=totals["session_count"],
        requests=requests,
        bytes_raw=totals["bytes_raw"],
        bytes_stored=totals["bytes_stored"],
        bytes_overhead=totals["bytes_overhead"],
        hours=hours,
        arithmetic=arithmetic,
    )


def estimate_unmerged(
    ticker_sessions: int, planned: Estimate, calibration: Calibration, origin: str
) -> Estimate:
    """Estimate a plan in which nothing is merged, by the sizes of a calibrated one.

    Args:
        ticker_sessions: Sessions asked for, repeats counted again, a request or more for each.
        planned: The calibrated estimate of what is planned instead.
        calibration: The rate.
        origin: Where the sessions come from, in words and numbers.

    Raises:
        ConfigError: ``ticker_sessions`` is negative.
    """
    if ticker_sessions < 0:
        raise ConfigError(f"expected 0 sessions or more, got {ticker_sessions}")
    ratio = ticker_sessions / planned.ticker_sessions if planned.ticker_sessions else 0.0
    raw, stored = round(planned.bytes_raw * ratio), round(planned.bytes_stored * ratio)
    hours, pace = _spend_requests(ticker_sessions, calibration.requests_per_minute)
    steps = (
        f"{origin} = {ticker_sessions:,} ticker-sessions, {ratio:.4g} times those planned",
        f"{format_bytes(planned.bytes_stored)} x {ratio:.4g} = {format_bytes(stored)} stored",
        f"one request each: {pace}",
    )
    return Estimate(
        method=planned.method,
        ticker_sessions=ticker_sessions,
        requests=ticker_sessions,
        bytes_raw=raw,
        bytes_stored=stored,
        bytes_overhead=round(planned.bytes_overhead * ratio),
        hours=hours,
        arithmetic="; ".join(steps),
    )


def estimate_measured(
    ticker_sessions: int,
    landed: Landed,
    calibration: Calibration,
    *,
    rows_ratio: float | None = None,
) -> Estimate:
    """Extend what landed so far to a whole plan.

    Args:
        ticker_sessions: Sessions of the plan, those that landed included.
        landed: What landed, at least one session.
        calibration: The rate when no time was measured, and the bytes that are not stored.
        rows_ratio: Trades of the plan over those of the sessions that landed, both by daily
            bars; ``None`` takes sessions over sessions, which errs when the busiest came first.

    Raises:
        CoverageError: Nothing has landed yet.
    """
    if landed.ticker_sessions < 1:
        raise CoverageError("nothing landed yet: expected at least one session to extend")
    share = ticker_sessions / landed.ticker_sessions
    growth = share if rows_ratio is None else rows_ratio
    requests = round(landed.requests * share)
    rows, stored = round(landed.rows * growth), round(landed.bytes_stored * growth)
    hours, pace = _spend_requests(requests, _measure_rate(landed, calibration))
    steps = _explain_landed(landed, ticker_sessions)
    steps += f"; {landed.requests:,} x {share:.4g} = {requests:,} requests"
    steps += f"; {landed.rows:,} x {growth:.4g} = {rows:,} trades"
    steps += f" x {calibration.raw_bytes_per_trade:g} bytes raw"
    steps += f"; {landed.bytes_stored:,} bytes x {growth:.4g} = {format_bytes(stored)} stored"
    return Estimate(
        method="measured",
        ticker_sessions=ticker_sessions,
        requests=requests,
        bytes_raw=round(rows * calibration.raw_bytes_per_trade),
        bytes_stored=stored,
        bytes_overhead=ticker_sessions * calibration.block_bytes,
        hours=hours,
        arithmetic=f"{steps}; {pace}",
    )


def _apply_constants(total: int, origin: str) -> Estimate:
    raw = total * RAW_MB_PER_SESSION * MB
    stored = round(raw * STORED_RATIO)
    hours, pace = _spend_requests(total, REQUESTS_PER_MINUTE)
    steps = (
        f"{origin} = {total:,} ticker-sessions",
        f"x {RAW_MB_PER_SESSION} MB = {format_bytes(raw)} raw",
        f"x {STORED_RATIO:.2f} = {format_bytes(stored)} stored",
        f"one request each: {pace}",
    )
    return Estimate(
        method="constants",
        ticker_sessions=total,
        requests=total,
        bytes_raw=raw,
        bytes_stored=stored,
        hours=hours,
        arithmetic="; ".join(steps),
    )


def _measure_rate(landed: Landed, calibration: Calibration) -> float:
    """Return the requests a minute that were reached, or the rate that is set."""
    if landed.elapsed_s > 0 and landed.requests > 0:
        return landed.requests / landed.elapsed_s * _SECONDS_PER_MINUTE
    return calibration.requests_per_minute


def _spend_requests(requests: int, requests_per_minute: float) -> tuple[float, str]:
    """Return the hours that requests take at a rate, and the computation in words."""
    rate = requests_per_minute or UNLIMITED_REQUESTS_PER_MINUTE
    hours = requests / rate / _MINUTES_PER_HOUR
    limit = "" if requests_per_minute else " (no limit is set, this pace is assumed)"
    pace = f"{requests:,} requests / {rate:,.4g} a minute{limit} / 60 = {format_hours(hours)}"
    return hours, pace


def _explain_trades(totals: Mapping[str, int], unknown: int, calibration: Calibration) -> str:
    text = f"{totals['rows']:,} trades expected in {totals['session_count']:,} ticker-sessions"
    if not unknown:
        return text
    return (
        f"{text}, {unknown:,} of them unknown and taken at {calibration.trades_per_session:,} each"
    )


def _explain_requests(
    totals: Mapping[str, int], ranges: int, other_requests: int, calibration: Calibration
) -> str:
    return (
        f"sum over {ranges:,} ranges of max(1, trades / {calibration.page_limit:,} rounded up) = "
        f"{totals['requests']:,} requests, + {other_requests:,} for reference data"
    )


def _explain_bytes(totals: Mapping[str, int], calibration: Calibration) -> str:
    rows, files = f"{totals['rows']:,}", f"{totals['session_count']:,}"
    raw, stored, overhead = (
        format_bytes(totals[name]) for name in ("bytes_raw", "bytes_stored", "bytes_overhead")
    )
    return (
        f"{rows} x {calibration.raw_bytes_per_trade:g} bytes = {raw} raw; "
        f"{rows} x {calibration.bytes_per_trade:.4g} bytes + {files} files x "
        f"{calibration.file_bytes:,.0f} bytes = {stored} stored; "
        f"{files} x {calibration.block_bytes:,} bytes = {overhead} of folders, receipts and blocks"
    )


def _explain_landed(landed: Landed, ticker_sessions: int) -> str:
    return (
        f"{landed.ticker_sessions:,} of {ticker_sessions:,} ticker-sessions landed with "
        f"{landed.rows:,} trades, {landed.bytes_stored:,} bytes and {landed.requests:,} requests"
    )
