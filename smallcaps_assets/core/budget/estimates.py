"""What a plan costs: requests, bytes and hours, each with the arithmetic behind it.

Three methods: ``constants`` multiplies ticker-sessions by figures that people quote,
``calibrated`` counts the trades of the daily bars, ``measured`` extends what landed so far.
What belongs here: the methods.  What does not: how many trades a session holds
(``calibration``), verdicts on an estimate (``costs``) and what is planned (``core.plan.windows``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, size_expression
from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.figures import MB, format_bytes, format_hours
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, EventWindow
from smallcaps_assets.core.progress.pace import measure_slowness
from smallcaps_assets.errors import ConfigError, CoverageError

RAW_MB_PER_SESSION: Final = 50
STORED_RATIO: Final = 0.30
REQUESTS_PER_MINUTE: Final = 100.0
"""The constants people quote: megabytes of a session, what compression leaves, a usual rate."""

_MINUTES_PER_HOUR: Final = 60
_SECONDS_PER_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class Landed:
    """What a download has stored so far.

    Attributes:
        ticker_sessions: Proven sessions, empty ones included.
        rows: Trades stored.
        bytes_stored: Bytes of the files.
        requests: Requests spent, retries included.
    """

    ticker_sessions: int
    rows: int
    bytes_stored: int
    requests: int


@dataclass(frozen=True, slots=True)
class Growth:
    """How many times what landed a whole plan is, by the daily bars.

    Attributes:
        rows: Trades over trades.
        bytes: Bytes over bytes, that of files included.
        requests: Requests of the plan: those that landed tell of pieces, not of ranges.
    """

    rows: float
    bytes: float
    requests: int


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
    origin = " + ".join(terms) or "no events"
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


def label_costs(ranges: pl.DataFrame, calibration: Calibration) -> pl.DataFrame:
    """Add what each request range costs, so that sums over ranges are estimates.

    Args:
        ranges: ``schemas.REQUEST_RANGES``; where ``expected_rows`` is null, every session counts
            with ``trades_per_session``.
        calibration: What a trade and a file cost.

    Returns:
        The ranges with ``rows``, ``requests`` (one a page), ``bytes_raw``, ``bytes_stored`` and
        ``bytes_overhead`` (Int64).
    """
    sessions, rows = pl.col("session_count").cast(pl.Int64), pl.col("rows")
    pages = -(-rows // calibration.page_limit)
    stored = size_expression(
        rows,
        pl.col("expected_files"),
        pl.lit(calibration.bytes_per_trade),
        pl.lit(calibration.file_bytes),
    )
    return ranges.with_columns(
        rows=pl.coalesce("expected_rows", sessions * calibration.trades_per_session)
    ).with_columns(
        requests=pages.clip(lower_bound=1),
        bytes_raw=(rows * calibration.raw_bytes_per_trade).ceil().cast(pl.Int64),
        bytes_stored=stored.ceil().cast(pl.Int64),
        bytes_overhead=sessions * calibration.block_bytes,
    )


def estimate_calibrated(
    ranges: pl.DataFrame, calibration: Calibration, *, other_requests: int = 0, runs: int = 1
) -> Estimate:
    """Estimate from the trades of the daily bars, over merged ranges.

    Args:
        ranges: ``schemas.REQUEST_RANGES``; give :func:`plan_request_ranges` the
            ``estimated_rows`` of :func:`label_expected_rows` as ``expected_rows``, so that no
            session is left to the default.
        calibration: What a trade and a file cost.
        other_requests: Requests for reference data still to be fetched, daily bars above all.
        runs: Runs that fetch them.
    """
    costs = label_costs(ranges, calibration)
    sums = ("rows", "requests", "bytes_raw", "bytes_stored", "bytes_overhead")
    names = ("session_count", "expected_files", *sums)
    totals = costs.select(pl.col(names).cast(pl.Int64).sum()).row(0, named=True)
    unknown = costs.filter(pl.col("expected_rows").is_null()).select(pl.col("session_count").sum())
    requests = round(totals["requests"] * calibration.requests_per_page) + other_requests
    hours, pace = _spend(calibration, requests, totals["rows"], totals["session_count"], runs)
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
        rows=totals["rows"],
        runs=runs,
        arithmetic=arithmetic,
    )


def estimate_unmerged(
    ticker_sessions: int, planned: Estimate, calibration: Calibration, origin: str
) -> Estimate:
    """Estimate a plan in which nothing is merged, by the sizes of a calibrated one.

    Args:
        ticker_sessions: Sessions asked for, repeats counted again, a request or more for each.
        planned: The calibrated estimate of what is planned instead.
        calibration: What a request, a trade and a session take, and the rate.
        origin: Where the sessions come from, in words and numbers.

    Raises:
        ConfigError: ``ticker_sessions`` is negative.
    """
    if ticker_sessions < 0:
        raise ConfigError(f"expected 0 sessions or more, got {ticker_sessions}")
    ratio = ticker_sessions / planned.ticker_sessions if planned.ticker_sessions else 0.0
    raw, stored = round(planned.bytes_raw * ratio), round(planned.bytes_stored * ratio)
    rows = round(planned.rows * ratio)
    hours, pace = _spend(calibration, ticker_sessions, rows, ticker_sessions)
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
        rows=rows,
        arithmetic="; ".join(steps),
    )


def estimate_measured(
    ticker_sessions: int,
    landed: Landed,
    calibration: Calibration,
    *,
    growth: Growth | None = None,
) -> Estimate:
    """Extend what landed so far to a whole plan.

    Args:
        ticker_sessions: Sessions of the plan, those that landed included.
        landed: What landed, at least one session.
        calibration: What things take, and the bytes that are not stored.
        growth: The plan over what landed by the bars; ``None`` takes sessions over sessions,
            which errs when the busiest came first.

    Raises:
        CoverageError: Nothing has landed yet.
    """
    if landed.ticker_sessions < 1:
        raise CoverageError("nothing landed yet: expected at least one session to extend")
    share = ticker_sessions / landed.ticker_sessions
    grown = growth or Growth(share, share, round(landed.requests * share))
    rows, stored = round(landed.rows * grown.rows), round(landed.bytes_stored * grown.bytes)
    hours, pace = _spend(calibration, grown.requests, rows, ticker_sessions)
    steps = _explain_landed(landed, ticker_sessions)
    steps += f"; {landed.rows:,} x {grown.rows:.4g} = {rows:,} trades"
    steps += f" x {calibration.raw_bytes_per_trade:g} bytes raw"
    steps += f"; {landed.bytes_stored:,} bytes x {grown.bytes:.4g} = {format_bytes(stored)} stored"
    return Estimate(
        method="measured",
        ticker_sessions=ticker_sessions,
        requests=grown.requests,
        bytes_raw=round(rows * calibration.raw_bytes_per_trade),
        bytes_stored=stored,
        bytes_overhead=ticker_sessions * calibration.block_bytes,
        hours=hours,
        rows=rows,
        arithmetic=f"{steps}; {pace}",
    )


def _spend_requests(requests: int, requests_per_minute: float) -> tuple[float, str]:
    """Work out the hours that requests take at a rate, with the computation in words."""
    hours = requests / requests_per_minute / _MINUTES_PER_HOUR
    pace = f"{requests:,} requests / {requests_per_minute:,.4g} a minute / 60"
    return hours, f"{pace} = {format_hours(hours)}"


def _spend(
    calibration: Calibration, requests: int, rows: int, sessions: int, runs: int = 1
) -> tuple[float, str]:
    """Work out the hours of a download, by its work or by the rate, and say the computation."""
    hours = calibration.predict_seconds(requests, rows, sessions, runs) / _SECONDS_PER_HOUR
    free = replace(calibration, requests_per_minute=0.0, start_s=0.0)
    work_h = free.predict_seconds(requests, rows, sessions, runs) / _SECONDS_PER_HOUR
    slowness = measure_slowness(requests / runs)
    origin = (
        f"as {calibration.learned_sessions:,} sessions that landed showed"
        if calibration.learned_sessions
        else "believed before anything landed"
    )
    work = (
        f"{requests:,} requests x {calibration.request_s:.3g} s + {rows:,} trades x "
        f"{calibration.row_s * 1e6:.3g} us + {sessions:,} sessions x "
        f"{calibration.session_s * 1e3:.3g} ms{_tell_slowness(slowness)} = "
        f"{format_hours(work_h)} of work ({origin})"
    )
    noun = "run" if runs == 1 else "runs"
    start = f"{runs:,} {noun} x {calibration.start_s:.3g} s to begin and end"
    if not calibration.requests_per_minute:
        return hours, f"{work}; no limit of requests is set; {start}"
    limit = _spend_requests(requests, calibration.requests_per_minute)[1]
    return hours, f"{work}; {limit}; the longer counts; {start}"


def _tell_slowness(slowness: float) -> str:
    return f", x {slowness:.3g} since few requests of a run overlap" if slowness > 1 else ""


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
    ratio = calibration.requests_per_page
    spent = "" if ratio == 1 else f" x {ratio:.4g} as they took so far"
    return (
        f"sum over {ranges:,} ranges of max(1, trades / {calibration.page_limit:,} rounded up) = "
        f"{totals['requests']:,} requests{spent}, + {other_requests:,} for reference data"
    )


def _explain_bytes(totals: Mapping[str, int], calibration: Calibration) -> str:
    rows, sessions = f"{totals['rows']:,}", f"{totals['session_count']:,}"
    raw, stored, overhead = (
        format_bytes(totals[name]) for name in ("bytes_raw", "bytes_stored", "bytes_overhead")
    )
    files = totals["expected_files"]
    around = max(0.0, totals["bytes_stored"] - totals["rows"] * calibration.bytes_per_trade)
    each = around / files if files else 0.0
    return (
        f"{rows} x {calibration.raw_bytes_per_trade:g} bytes = {raw} raw; "
        f"{rows} x {calibration.bytes_per_trade:.4g} bytes + {files:,} files x "
        f"{each:,.0f} bytes of footers and dictionaries = {stored} stored; {sessions} x "
        f"{calibration.block_bytes:,} bytes = {overhead} of indices"
    )


def _explain_landed(landed: Landed, ticker_sessions: int) -> str:
    return (
        f"{landed.ticker_sessions:,} of {ticker_sessions:,} ticker-sessions landed with "
        f"{landed.rows:,} trades, {landed.bytes_stored:,} bytes and {landed.requests:,} requests"
    )
