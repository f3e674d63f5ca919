"""What a universe costs, the whole of it and what is missing, and whether that fits the disk.

What belongs here: what the lake knows, put beside a plan.  What does not: the arithmetic
(``core.universe.costs``, ``core.budget``).
"""

import datetime as dt
import math
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.budget.costs import DiskVerdict, Estimate, judge_disk
from smallcaps_assets.core.universe.costs import (
    calibrate_units,
    estimate_universe,
    measure_hours,
)
from smallcaps_assets.core.universe.progress import PROVEN, measure_units, select_missing
from smallcaps_assets.core.universe.units import UNITS_A_RUN
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.ingest.budget.calibration import learn_costs
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.ticks.failing import REFUSED_FOR
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What a lake holds of the months of a plan, and what that teaches.

    Attributes:
        proven: Columns ``month``, ``ticker`` and ``proven`` bits, a row a month and ticker.
        costs: What a trade, a file and a request cost.
        refused_until: Newest date too far back for the key; ``None``: nobody learnt it lately.
    """

    proven: pl.DataFrame
    costs: Calibration
    refused_until: dt.date | None = None


@dataclass(frozen=True, slots=True)
class UniverseEstimate:
    """What a universe costs.

    Attributes:
        whole: All that it owes.
        missing: What of it is not proven.
        missing_units: Units that lack something.
        hours: Hours of what is missing: by usual rates, and ``cpu`` of one processor.
        disk: Verdict on the bytes that are missing.
        refused_until: Newest date too far back for the key; ``None``: nobody learnt it lately.
    """

    whole: Estimate
    missing: Estimate
    missing_units: int
    hours: dict[str, float]
    disk: DiskVerdict
    refused_until: dt.date | None = None


def gather_stored(lakehouse: Lakehouse, *plans: pl.DataFrame) -> Stored:
    """Gather what is proven in the months of plans, under records that are there.

    Raises:
        StorageError: A disk is gone.
    """
    default = lakehouse.default_costs
    months = pl.concat(plan["month"] for plan in plans).unique().to_list()
    if not months or not lakehouse.home.ledger_file.is_file():
        return Stored(PROVEN.to_frame(), calibrate_units(default))
    refresh_ledger(lakehouse, months, skips_damaged=True)
    with LedgerReader(lakehouse.home.ledger_file) as ledger:
        held = ledger.ticker_months(min(months), max(months))
        costs = learn_costs(ledger, default, _share(held))
        refused_until = ledger.refused_until(lakehouse.clock() - REFUSED_FOR)
    return Stored(held.select(PROVEN.names()), calibrate_units(costs), refused_until)


def estimate_plan(lakehouse: Lakehouse, plan: pl.DataFrame, stored: Stored) -> UniverseEstimate:
    """Estimate what a plan costs, and what is missing of it."""
    rules, costs = lakehouse.range_rules, stored.costs
    units = measure_units(plan, stored.proven).filter(pl.col("missing") > 0).height
    lacking = select_missing(plan, stored.proven)
    runs = max(1, math.ceil(units / UNITS_A_RUN))
    whole = estimate_universe(plan, rules, costs, runs=runs)
    missing = whole if lacking.equals(plan) else estimate_universe(lacking, rules, costs, runs=runs)
    free_bytes = lakehouse.free_space.measure(lakehouse.layout.lake_dir)
    return UniverseEstimate(
        whole=whole,
        missing=missing,
        missing_units=units,
        hours=measure_hours(missing),
        disk=judge_disk(missing, free_bytes),
        refused_until=stored.refused_until,
    )


def judge_room(estimate: UniverseEstimate) -> Verdict:
    """Judge whether what is missing fits the disk."""
    numbers: dict[str, Number] = {
        "needed_bytes": estimate.disk.needed_bytes,
        "allowed_bytes": estimate.disk.allowed_bytes,
        "margin_bytes": estimate.disk.margin_bytes,
    }
    return Verdict(estimate.disk.fits, estimate.disk.arithmetic, numbers)


def list_numbers(estimate: UniverseEstimate) -> dict[str, Number]:
    """List the figures of an estimate by name."""
    whole, missing = estimate.whole, estimate.missing
    return {
        "requests": whole.requests,
        "trades": whole.rows,
        "bytes_on_disk": whole.bytes_on_disk,
        "missing_units": estimate.missing_units,
        "missing_sessions": missing.ticker_sessions,
        "missing_requests": missing.requests,
        "missing_bytes_on_disk": missing.bytes_on_disk,
        "missing_hours": missing.hours,
        "refused_until": estimate.refused_until.isoformat() if estimate.refused_until else "",
        **{f"hours_{name.replace('/', '_a_')}": hours for name, hours in estimate.hours.items()},
    }


def _share(held: pl.DataFrame) -> pl.DataFrame:
    """Share the rows and bytes of each month and ticker among its proven sessions."""
    count = pl.col("proven").bitwise_count_ones()
    kept = held.filter(count > 0)
    return kept.select((pl.col(name) / count).cast(pl.Int64) for name in ("rows", "bytes"))
