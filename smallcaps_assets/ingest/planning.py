"""From the pilot to the published plan, its estimate and the ledger's list of what is wanted."""

import datetime as dt
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

import polars as pl

from smallcaps_assets.core.calibration import (
    Calibration,
    fit_bytes_per_trade,
    label_expected_rows,
)
from smallcaps_assets.core.costs import (
    Comparison,
    DiskVerdict,
    Estimate,
    compare_estimates,
    judge_disk,
)
from smallcaps_assets.core.estimates import (
    estimate_calibrated,
    estimate_constants,
    estimate_naive,
)
from smallcaps_assets.core.figures import GB, format_bytes
from smallcaps_assets.core.keys import hash_keys, key_expression
from smallcaps_assets.core.plan import judge_plan, measure_plan, plan_request_ranges
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.core.windows import plan_windows
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.made import MadeTable, judge_problems
from smallcaps_assets.ingest.proof import session_range
from smallcaps_assets.lake.tables import PlanRecord
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST

MIN_FITTED_FILES = 30
"""Files that must have landed before their sizes replace the default bytes per trade."""


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """What the published plan costs, by three methods, and whether it fits.

    Attributes:
        constants: Constants that people quote.
        calibrated: Trades of the daily bars over merged ranges, the whole plan.
        remaining: The same for what is still missing.
        comparison: Naive against optimised.
        disk: Verdict on the remaining bytes.
        ranges: ``schemas.REQUEST_RANGES`` of the whole plan.
    """

    constants: Estimate
    calibrated: Estimate
    remaining: Estimate
    comparison: Comparison
    disk: DiskVerdict
    ranges: pl.DataFrame


def make_plan(lakehouse: Lakehouse) -> MadeTable:
    """Write a candidate plan, judge it, and publish it only when it passes.

    Raises:
        MissingPartitionError: No pilot is published.
    """
    pilot = lakehouse.tables.read_table(PILOT_WATCHLIST)
    bounds = lakehouse.bounds
    planned = plan_windows(pilot, lakehouse.windows, bounds)
    facts = measure_plan(
        planned.plan,
        lakehouse.calendar,
        last_available=bounds.last_available,
        windows=lakehouse.windows,
    )
    numbers: dict[str, Number] = {
        name: value
        for name, value in asdict(planned.facts).items()
        if isinstance(value, int | float)
    }
    verdict = judge_problems(judge_plan(facts), numbers, facts.offenders)
    plan_hash = hash_keys(planned.plan.select(key_expression()).to_series())
    record = PlanRecord(
        plan_hash=plan_hash,
        sessions=planned.plan.height,
        tickers=planned.facts.tickers,
        created_at=lakehouse.clock(),
        windows={name: (w.before, w.after) for name, w in lakehouse.windows.items()},
        thresholds=asdict(lakehouse.thresholds),
        facts=dict(numbers),
    )
    lakehouse.tables.write_plan(
        planned.plan, record, planned.not_yet_available, is_published=verdict.passed
    )
    by_event = (
        planned.plan.explode("events")
        .group_by(event="events")
        .agg(sessions=pl.struct(EVENT_WINDOW_PLAN.key).n_unique())
        .sort(_event_number("event"))
    )
    return MadeTable(
        planned.plan.height,
        numbers | {"plan_hash": plan_hash},
        verdict,
        {"sessions_by_event": by_event, "offenders": facts.offenders},
    )


def estimate_plan(lakehouse: Lakehouse) -> PlanEstimate:
    """Estimate the published plan.

    Raises:
        MissingPartitionError: No plan is published.
    """
    _, plan = lakehouse.tables.read_plan()
    pilot = lakehouse.tables.read_table(PILOT_WATCHLIST)
    labelled = label_sessions(lakehouse, plan.select(EVENT_WINDOW_PLAN.key))
    sessions = labelled.with_columns(expected_rows="estimated_rows")
    calibration = calibrate(lakehouse)
    ranges = plan_ranges(lakehouse, sessions)
    calibrated = estimate_calibrated(ranges, calibration)
    stored = lakehouse.ledger.stored_sessions().select("ticker", "session_date")
    open_sessions = sessions.join(stored, on=["ticker", "session_date"], how="anti")
    remaining = estimate_calibrated(plan_ranges(lakehouse, open_sessions), calibration)
    by_event = pilot.explode("events").group_by("events").len().sort(_event_number("events"))
    return PlanEstimate(
        constants=estimate_constants(dict(by_event.iter_rows()), lakehouse.windows),
        calibrated=calibrated,
        remaining=remaining,
        comparison=compare_estimates(_estimate_naive(pilot, calibration), calibrated),
        disk=judge_disk(remaining, free_bytes(lakehouse)),
        ranges=ranges,
    )


def judge_estimate(lakehouse: Lakehouse, estimate: PlanEstimate) -> Verdict:
    """Judge whether what is missing fits the disk, and all of it the budget."""
    complaints = [] if estimate.disk.fits else [estimate.disk.arithmetic]
    budget_gb = lakehouse.settings.disk_budget_gb
    if budget_gb is not None and estimate.calibrated.bytes_stored > budget_gb * GB:
        planned = format_bytes(estimate.calibrated.bytes_stored)
        complaints.append(f"{planned} planned exceed the budget of {budget_gb:g} GB")
    numbers: dict[str, Number] = {
        "needed_bytes": estimate.disk.needed_bytes,
        "allowed_bytes": estimate.disk.allowed_bytes,
        "margin_bytes": estimate.disk.margin_bytes,
    }
    return Verdict(not complaints, "; ".join(complaints) or estimate.disk.arithmetic, numbers)


def estimate_numbers(estimate: PlanEstimate) -> dict[str, Number]:
    """Return the figures of an estimate by name."""
    calibrated, remaining = estimate.calibrated, estimate.remaining
    return {
        "ticker_sessions": calibrated.ticker_sessions,
        "request_ranges": estimate.ranges.height,
        "requests": calibrated.requests,
        "bytes_stored": calibrated.bytes_stored,
        "bytes_raw": calibrated.bytes_raw,
        "hours": calibrated.hours,
        "missing_sessions": remaining.ticker_sessions,
        "missing_requests": remaining.requests,
        "missing_bytes": remaining.bytes_stored,
        "missing_hours": remaining.hours,
        "naive_ticker_sessions": estimate.comparison.naive.ticker_sessions,
        "naive_requests": estimate.comparison.naive.requests,
        "saved_ratio": estimate.comparison.saved_ratio,
        "constants_bytes": estimate.constants.bytes_stored,
        "disk_margin_bytes": estimate.disk.margin_bytes,
    }


def describe_estimate(estimate: PlanEstimate) -> str:
    """Return the arithmetic of each method as Markdown."""
    parts = {
        "calibrated, the whole plan": estimate.calibrated.arithmetic,
        "calibrated, what is missing": estimate.remaining.arithmetic,
        "naive against optimised": estimate.comparison.arithmetic,
        "disk": estimate.disk.arithmetic,
        "constants (quoted, far too high for small caps)": estimate.constants.arithmetic,
    }
    return "\n\n".join(f"**{title}**: {text}" for title, text in parts.items())


def default_calibration(lakehouse: Lakehouse) -> Calibration:
    """Return what a trade and a file cost before anything has landed."""
    settings = lakehouse.settings
    return Calibration(
        page_limit=settings.page_limit, requests_per_minute=settings.requests_per_minute
    )


def calibrate(lakehouse: Lakehouse) -> Calibration:
    """Return what a trade and a file cost, from this lake once enough has landed."""
    stored = lakehouse.ledger.stored_sessions().filter(pl.col("rows") > 0)
    if stored.height < MIN_FITTED_FILES:
        return default_calibration(lakehouse)
    fit = fit_bytes_per_trade(stored["rows"], stored["bytes"])
    return replace(
        default_calibration(lakehouse),
        bytes_per_trade=fit.bytes_per_trade,
        file_bytes=fit.file_bytes,
    )


def label_sessions(lakehouse: Lakehouse, sessions: pl.DataFrame) -> pl.DataFrame:
    """Add what the daily bars say of the trades of each session."""
    if sessions.is_empty():
        return sessions.with_columns(
            expected_rows=pl.lit(None, pl.Int64), estimated_rows=pl.lit(None, pl.Int64)
        )
    first, last = session_range(sessions)
    tickers = sessions.lazy().select("ticker").unique()
    stored = lakehouse.tables.read_daily_bars(first, last).join(tickers, on="ticker", how="semi")
    bars = stored.collect()
    idle = _frame_idle(sessions, bars, lakehouse.tables.read_covered_sessions(first, last))
    return label_expected_rows(sessions, pl.concat([bars, idle]))


def _frame_idle(
    sessions: pl.DataFrame, bars: pl.DataFrame, covered: Collection[dt.date]
) -> pl.DataFrame:
    """Return bars without trades: the vendor listed all that traded, and these were not there."""
    idle = sessions.filter(pl.col("session_date").is_in(list(covered))).join(
        bars, on=["ticker", "session_date"], how="anti"
    )
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), pl.lit(None, pl.Float64))
    counts = {"volume": pl.lit(0.0), "trade_count": pl.lit(0, pl.Int64)}
    return idle.select("ticker", "session_date", **prices, **counts).select(bars.columns)


def plan_ranges(lakehouse: Lakehouse, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the request ranges of sessions, cut as a download would cut them."""
    settings = lakehouse.settings
    return plan_request_ranges(
        sessions, lakehouse.calendar, settings.range_max_rows, settings.range_max_sessions
    )


def free_bytes(lakehouse: Lakehouse) -> int:
    """Return the free bytes of the disk the lake is on, before its folder is there as well."""
    folder = lakehouse.layout.data_dir
    while not folder.exists():
        folder = folder.parent
    return lakehouse.fs.free_bytes(folder)


def _event_number(column: str) -> pl.Expr:
    """Return the number of an event, so that E10 comes after E9."""
    return pl.col(column).str.extract(r"^E(\d+)_").cast(pl.Int8)


def _estimate_naive(pilot: pl.DataFrame, calibration: Calibration) -> Estimate:
    """Return what one window for all events costs: nothing merged, a request per session.

    Bytes are those of sessions of average size, so that both sides are measured alike.
    """
    naive = estimate_naive(pilot.height)
    size = calibration.file_bytes + calibration.bytes_per_trade * calibration.trades_per_session
    hours = naive.requests / (calibration.requests_per_minute or 6_000) / 60
    return replace(naive, bytes_stored=round(naive.ticker_sessions * size), hours=hours)
