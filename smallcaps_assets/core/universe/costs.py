"""What a universe costs: requests over chains that cross months, bytes, hours by rate and by CPU.

What belongs here: from a plan to its chains and their sums.  What does not: what a trade and a file
cost (``core.budget.calibration``), and what is known of a lake (``ingest.budget``).

A row of a plan knows the trades of a month; they are spread over its sessions.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.budget.calibration import ENTRY_BYTES, Calibration
from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.budget.estimates import estimate_calibrated
from smallcaps_assets.core.plan.ranges import RangeRules, plan_request_ranges
from smallcaps_assets.core.segments.indexing import explode_days
from smallcaps_assets.schemas import REQUEST_RANGES

UNIT_ROW_S: Final = 2.1e-6
"""Processor's seconds of a trade from wire to part, sessions apart."""
UNIT_SESSION_S: Final = 0.3e-3
"""Processor's seconds of a session that is committed with its unit, and is no event of its own."""
UNIT_INDEX_BYTES: Final = ENTRY_BYTES + 16
"""What a session takes in a record and, as a bit of its ticker and month, in the ledger."""
RATES: Final = {"100/min": 100 / 60, "50/s": 50.0, "100/s": 100.0}
"""Requests a second of usual plans of keys, by name."""

_SECONDS_PER_HOUR: Final = 3_600


def fill_expected(plan: pl.DataFrame, default_rows: int) -> pl.DataFrame:
    """Fill what the bars do not tell: by the usual session of the ticker, of all, or the default.

    Args:
        plan: ``schemas.UNIVERSE_PLAN``.
        default_rows: Trades of a session of which nothing is known.
    """
    sessions = pl.col("owed").bitwise_count_ones().cast(pl.Int64)
    is_known = pl.col("expected_rows").is_not_null()
    usual = pl.col("expected_rows").sum() / sessions.filter(is_known).sum()
    of_ticker, of_all = usual.over("ticker").fill_nan(None), usual.over(pl.lit(1)).fill_nan(None)
    rows = pl.coalesce(of_ticker, of_all, pl.lit(float(default_rows))) * sessions
    return plan.with_columns(pl.col("expected_rows").fill_null(rows.ceil().cast(pl.Int64)))


def plan_chains(plan: pl.DataFrame, rules: RangeRules) -> pl.DataFrame:
    """Cut what a plan owes into page chains, whatever the months; a batch at a time.

    Args:
        plan: ``schemas.UNIVERSE_PLAN``, whole or what is missing of it, trades filled in.
        rules: How far neighbouring sessions become one chain.

    Returns:
        ``schemas.REQUEST_RANGES`` by batch, then by their key.
    """
    chains = (
        plan_request_ranges(_spread(rows), rules.calendar, rules.max_rows, rules.max_sessions)
        for rows in plan.partition_by("batch", maintain_order=True)
    )
    return pl.concat([REQUEST_RANGES.empty(), *chains])


def calibrate_units(costs: Calibration) -> Calibration:
    """Make costs of sessions that are events of their own to those of sessions in units."""
    sized = replace(costs, block_bytes=UNIT_INDEX_BYTES)
    if costs.learned_sessions:
        return sized
    return replace(sized, row_s=UNIT_ROW_S, session_s=UNIT_SESSION_S)


def estimate_universe(
    plan: pl.DataFrame, rules: RangeRules, costs: Calibration, *, runs: int = 1
) -> Estimate:
    """Estimate what a plan, or what is missing of it, costs.

    Args:
        plan: ``schemas.UNIVERSE_PLAN``; trades may be unknown.
        rules: How far neighbouring sessions become one chain.
        costs: Of :func:`calibrate_units`.
        runs: Runs that fetch it.
    """
    chains = plan_chains(fill_expected(plan, costs.trades_per_session), rules)
    return estimate_calibrated(chains, costs, runs=runs)


def measure_hours(estimate: Estimate) -> dict[str, float]:
    """Measure the hours of requests at :data:`RATES`, and those of one processor's work: ``cpu``.

    The longest counts: several processes share a rate, and divide the work.
    """
    hours = {name: estimate.requests / rate / _SECONDS_PER_HOUR for name, rate in RATES.items()}
    work_s = UNIT_ROW_S * estimate.rows + UNIT_SESSION_S * estimate.ticker_sessions
    return {**hours, "cpu": work_s / _SECONDS_PER_HOUR}


def _spread(rows: pl.DataFrame) -> pl.DataFrame:
    """Spread the trades of months over their sessions, evenly and without a rest; sorted by key."""
    owed, expected, size = pl.col("owed"), pl.col("expected_rows"), pl.col("size")
    months = rows.sort("ticker", "month").with_columns(
        size=owed.bitwise_count_ones().cast(pl.Int64)
    )
    sessions = explode_days(months, "owed")
    # Sessions of a month lie together: a place in it is that in all, less where the month begins.
    begins = (months["size"].cum_sum() - months["size"]).gather(
        np.repeat(np.arange(months.height), months["size"])
    )
    place = pl.int_range(pl.len()) - begins
    share = expected * (place + 1) // size - expected * place // size
    return sessions.select("ticker", "session_date", expected_rows=share)
