"""What the published plan costs, by two methods, and whether it fits.

What belongs here: from the published plan to its estimates, their words and their verdict. What
does not: the methods themselves (``core.budget.estimates``), what is planned
(``ingest.plan.publishing``) and pictures (``plots.plan``).
"""

import datetime as dt
from dataclasses import dataclass, replace

import polars as pl

from smallcaps_assets.core.budget.calibration import DEFAULT_TRADES_PER_SESSION, Calibration
from smallcaps_assets.core.budget.costs import (
    Comparison,
    DiskVerdict,
    Estimate,
    compare_estimates,
    judge_disk,
)
from smallcaps_assets.core.budget.estimates import (
    Growth,
    Landed,
    estimate_calibrated,
    estimate_constants,
    estimate_measured,
    estimate_unmerged,
)
from smallcaps_assets.core.figures import GB, format_bytes
from smallcaps_assets.core.keys import list_session_months, month_expression
from smallcaps_assets.core.plan.ranges import RangeRules
from smallcaps_assets.core.plan.spans import count_spans
from smallcaps_assets.core.plan.windows import EventWindow, widest_window
from smallcaps_assets.core.states import FAILED
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.ingest.budget.calibration import Holdings, gather_holdings, read_holdings
from smallcaps_assets.ingest.budget.expectations import KEY, label_sessions, plan_ranges
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import PlanMode


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an estimate stands on.

    Attributes:
        tables: Where bars are.
        rules: How sessions become request ranges.
        holdings: What landed and failed, and what things cost.
        free_bytes: Free bytes of the disks that take new sessions.
        last_asked: Last session whose bars the vendor can be asked for; ``None``: they come from
            a file.
    """

    tables: TableStore
    rules: RangeRules
    holdings: Holdings
    free_bytes: int
    last_asked: dt.date | None


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """What the published plan costs, by two methods, and whether it fits.

    Attributes:
        calibrated: Trades of the daily bars over merged ranges, the whole plan.
        measured: What landed, extended to the whole plan; ``None``: nothing landed yet.
        remaining: Calibrated, for what is still missing.
        comparison: Naive against optimised.
        disk: Verdict on the remaining bytes.
        ranges: ``schemas.REQUEST_RANGES`` of the whole plan.
        calibration: What a trade and a file were taken to cost.
    """

    calibrated: Estimate
    measured: Estimate | None
    remaining: Estimate
    comparison: Comparison
    disk: DiskVerdict
    ranges: pl.DataFrame
    calibration: Calibration


def gather_grounds(lakehouse: Lakehouse, ledger: LedgerReader | None = None) -> Grounds:
    """Gather what estimates stand on from a lake and its ledger, which may be open already.

    Raises:
        StorageError: A disk is gone.
    """
    costs = lakehouse.default_costs
    return Grounds(
        lakehouse.tables,
        lakehouse.range_rules,
        read_holdings(lakehouse.layout.ledger_file, costs)
        if ledger is None
        else gather_holdings(ledger, costs),
        lakehouse.free_space.measure(lakehouse.layout.lake_dir),
        None if lakehouse.settings.daily_bars is not None else lakehouse.last_available,
    )


def estimate_lake(lakehouse: Lakehouse) -> PlanEstimate:
    """Estimate the published plan.

    Raises:
        MissingPartitionError: No plan is published.
    """
    return estimate_plan(*lakehouse.tables.read_plan(), gather_grounds(lakehouse))


def estimate_plan(record: PlanRecord, plan: pl.DataFrame, grounds: Grounds) -> PlanEstimate:
    """Estimate a plan, published or refused."""
    stored, costs = grounds.holdings.stored, grounds.holdings.costs
    labelled = label_sessions(grounds.tables, plan.select(KEY), stored)
    sessions = _fill(labelled)
    ranges = plan_ranges(sessions, grounds.rules)
    calibrated = _explain_counts(labelled, estimate_calibrated(ranges, costs))
    remaining = _estimate_missing(sessions.select(KEY), grounds)
    naive = estimate_unmerged(
        record.naive_sessions or plan.height, calibrated, costs, _explain_naive(record)
    )
    return PlanEstimate(
        calibrated=calibrated,
        measured=_estimate_measured(calibrated, grounds),
        remaining=remaining,
        comparison=compare_estimates(naive, calibrated),
        disk=judge_disk(remaining, grounds.free_bytes),
        ranges=ranges,
        calibration=costs,
    )


def estimate_sessions(
    sessions: pl.DataFrame, grounds: Grounds, *, other_requests: int = 0, runs: int = 1
) -> Estimate:
    """Estimate fetching some sessions and nothing else, with requests for reference data on top."""
    labelled = label_sessions(grounds.tables, sessions, grounds.holdings.stored)
    ranges = plan_ranges(_fill(labelled), grounds.rules)
    costs = grounds.holdings.costs
    estimate = estimate_calibrated(ranges, costs, other_requests=other_requests, runs=runs)
    return _explain_counts(labelled, estimate)


def estimate_by_constants(record: PlanRecord) -> Estimate:
    """Estimate by the constants people quote, every event with the window it was planned with."""
    if record.mode != PlanMode.EVENT_WINDOWS or not record.rows_per_event:
        return estimate_constants({"sessions": record.sessions}, {"sessions": EventWindow(0, 0)})
    return estimate_constants(record.rows_per_event, _read_windows(record))


def judge_estimate(estimate: PlanEstimate, budget_gb: float | None) -> Verdict:
    """Judge whether what is missing fits the disk, and all of it the budget."""
    complaints = [] if estimate.disk.fits else [estimate.disk.arithmetic]
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
    """List the figures of an estimate by name."""
    calibrated, remaining = estimate.calibrated, estimate.remaining
    numbers: dict[str, Number] = {
        "ticker_sessions": calibrated.ticker_sessions,
        "request_ranges": estimate.ranges.height,
        "requests": calibrated.requests,
        "bytes_stored": calibrated.bytes_stored,
        "bytes_on_disk": calibrated.bytes_on_disk,
        "bytes_raw": calibrated.bytes_raw,
        "hours": calibrated.hours,
        "missing_sessions": remaining.ticker_sessions,
        "missing_requests": remaining.requests,
        "missing_bytes": remaining.bytes_stored,
        "missing_bytes_on_disk": remaining.bytes_on_disk,
        "missing_hours": remaining.hours,
        "missing_runs": remaining.runs,
        "naive_ticker_sessions": estimate.comparison.naive.ticker_sessions,
        "naive_requests": estimate.comparison.naive.requests,
        "naive_bytes": estimate.comparison.naive.bytes_stored,
        "saved_ratio": estimate.comparison.saved_ratio,
        "disk_margin_bytes": estimate.disk.margin_bytes,
        "bytes_per_trade": estimate.calibration.bytes_per_trade,
        "bytes_per_file": estimate.calibration.file_bytes,
        "learned_sessions": estimate.calibration.learned_sessions,
    }
    if estimate.measured is not None:
        numbers["measured_bytes"] = estimate.measured.bytes_stored
        numbers["measured_requests"] = estimate.measured.requests
    return numbers


def describe_estimate(estimate: PlanEstimate) -> str:
    """Describe the arithmetic of each method in Markdown."""
    parts = {
        "calibrated, the whole plan": estimate.calibrated.arithmetic,
        "calibrated, what is missing": estimate.remaining.arithmetic,
        "naive": estimate.comparison.naive.arithmetic,
        "naive against optimised": estimate.comparison.arithmetic,
        "disk": estimate.disk.arithmetic,
        "measured": estimate.measured.arithmetic if estimate.measured else "nothing landed yet",
    }
    return "\n\n".join(f"**{title}**: {text}" for title, text in parts.items())


def _fill(labelled: pl.DataFrame) -> pl.DataFrame:
    """Let every session count with what is estimated of it: no range is left to the default."""
    return labelled.with_columns(expected_rows="estimated_rows")


def _explain_counts(labelled: pl.DataFrame, estimate: Estimate) -> Estimate:
    """Explain in the arithmetic of an estimate where the numbers of trades come from."""
    lacking = labelled["expected_rows"].null_count()
    text = f"{labelled.height - lacking:,} sessions by the trade count of their daily bar" + (
        f", {lacking:,} by its volume, by the usual day of their ticker or at "
        f"{DEFAULT_TRADES_PER_SESSION:,} trades"
        if lacking
        else ""
    )
    return replace(estimate, arithmetic=f"{text}: {estimate.arithmetic}")


def _estimate_missing(plan: pl.DataFrame, grounds: Grounds) -> Estimate:
    """Estimate what a download would ask for now, in the ranges it would use."""
    holdings = grounds.holdings
    stored = holdings.find_stored(plan).select(*KEY, is_stored=pl.lit(value=True))
    owed = holdings.owed.select(*KEY, "state")
    known = plan.join(stored, on=KEY, how="left").join(owed, on=KEY, how="left")
    # Keys that are new to the partition set come after those that it has.
    is_new = pl.all_horizontal(pl.col("is_stored", "state").is_null())
    ordered = known.sort(is_new, *KEY)
    is_missing = ordered["is_stored"].is_null()
    labelled = ordered.filter(is_missing).select(
        *KEY, has_failed=(pl.col("state") == FAILED).fill_null(value=False)
    )
    labelled = labelled.sort(KEY)
    missing = labelled.select(KEY)
    runs = max(1, count_spans(is_missing))
    other_requests = _count_reference_requests(missing, grounds)
    return estimate_sessions(labelled, grounds, other_requests=other_requests, runs=runs)


def _estimate_measured(planned: Estimate, grounds: Grounds) -> Estimate | None:
    """Estimate the plan by what landed; ``None`` when nothing did."""
    stored, costs = grounds.holdings.stored, grounds.holdings.costs
    if stored.is_empty():
        return None
    rows, size = stored.select(pl.col("rows", "bytes").sum()).row(0)
    told = label_sessions(grounds.tables, stored, stored)["estimated_rows"]
    told_rows, told_files = int(told.sum()), int((told > 0).sum())
    told_bytes = costs.predict_bytes(told_rows, told_files)
    growth = None
    if told_rows and told_bytes:
        growth = Growth(
            planned.rows / told_rows, planned.bytes_stored / told_bytes, planned.requests
        )
    landed = Landed(stored.height, rows, size, stored.height)
    return estimate_measured(planned.ticker_sessions, landed, costs, growth=growth)


def _count_reference_requests(sessions: pl.DataFrame, grounds: Grounds) -> int:
    """Count the requests for the months of daily bars that are lacking, one per session."""
    if grounds.last_asked is None:
        return 0
    stored = grounds.tables.list_bar_months()
    months = sorted({*list_session_months(sessions)} - {*stored})
    due = grounds.rules.calendar.frame.filter(
        month_expression().is_in(months), pl.col("session_date") <= grounds.last_asked
    )
    return due.height


def _read_windows(record: PlanRecord) -> dict[str, EventWindow]:
    """Read from its record the windows that a plan was made with."""
    return {name: EventWindow(*sides) for name, sides in record.windows.items()}


def _explain_naive(record: PlanRecord) -> str:
    """Explain where the sessions of the naive plan come from."""
    rows = record.facts.get("watchlist_rows", 0)
    if record.mode == PlanMode.EVENT_WINDOWS and record.windows:
        widest = widest_window(_read_windows(record)).size
        return f"one window for all events: {rows:,} rows x {widest} sessions"
    if record.mode == PlanMode.EVENT_MONTHS:
        return f"each of {rows:,} rows asks for the sessions of its own months"
    return "every session by itself"
