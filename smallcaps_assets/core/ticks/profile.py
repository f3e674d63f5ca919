"""The profile of a day: how many trades each quarter of an hour has, New York time, by phase.

What belongs here: counting trades into quarters, and quarters into phases.  What does not: which
files are read (``operations.report.profile``) and how a profile is drawn.
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.ticks.phases import AFTER_HOURS, CLOSED, PRE_MARKET, REGULAR

QUARTER_MIN: Final = 15
"""Minutes of a quarter: every phase begins and ends with one, on early closes too."""
QUARTERS: Final = 24 * 60 // QUARTER_MIN

COUNTS: Final = pl.Schema(
    {
        "ticker": pl.String,
        "session_date": pl.Date,
        "quarter": pl.UInt8,
        "trades": pl.UInt32,
    }
)
"""Trades of a session in a quarter of its day, those that have any; 0 begins at midnight."""
PROFILE: Final = pl.Schema({"trading_phase": pl.String, "quarter": pl.UInt8, "trades": pl.UInt64})
"""Trades of all sessions in a quarter, by phase; on early closes one quarter has two phases."""

_PHASE_STARTS: Final = {
    "pre_market_open": PRE_MARKET,
    "regular_open": REGULAR,
    "regular_close": AFTER_HOURS,
    "after_hours_close": CLOSED,
}


def count_quarters(trades: pl.LazyFrame) -> pl.LazyFrame:
    """Count trades by session and quarter: :data:`COUNTS`, in any order."""
    return (
        trades.select("ticker", "session_date", quarter=_quarter(pl.col("sip_timestamp")))
        .group_by("ticker", "session_date", "quarter")
        .agg(trades=pl.len().cast(pl.UInt32))
    )


def sum_profile(counts: pl.DataFrame, calendar: pl.DataFrame) -> pl.DataFrame:
    """Sum the counts of sessions, each quarter in the phase that its session has then.

    Returns:
        :data:`PROFILE`, sorted by quarter and phase.
    """
    starts = calendar.select("session_date", *(_quarter(pl.col(name)) for name in _PHASE_STARTS))
    phase = pl.lit(CLOSED)
    for name, label in _PHASE_STARTS.items():
        phase = pl.when(pl.col("quarter") >= pl.col(name)).then(pl.lit(label)).otherwise(phase)
    return (
        counts.join(starts, on="session_date", how="inner", validate="m:1")
        .group_by(phase.alias("trading_phase"), "quarter")
        .agg(pl.col("trades").cast(pl.UInt64).sum())
        .sort("quarter", "trading_phase")
        .match_to_schema(PROFILE)
    )


def _quarter(instant: pl.Expr) -> pl.Expr:
    """Find the quarter of an instant's New York day, by the clock on the wall."""
    local = instant.dt.convert_time_zone(NEW_YORK.key).dt
    minute = local.hour().cast(pl.Int32) * 60 + local.minute()
    return (minute // QUARTER_MIN).cast(pl.UInt8)
