"""Facts about stored sessions, for the audits.

What belongs here: what trades say about themselves and against their daily bar, counted and
without judgement.  What does not: which of it is tolerable (``core.verdicts``), the verdict
(``audits``), opening and hashing files (``lake``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.ticks.conditions import label_update_rules, measure_conditions
from smallcaps_assets.core.ticks.phases import PHASES
from smallcaps_assets.schemas import DAILY_BARS, VENDOR_COLUMNS

ROUNDING_RATIO: Final = 1e-9
"""Sums of fractional shares differ in their last bits when added in another order."""

KEY: Final = DAILY_BARS.key


def measure_sessions(
    trades: pl.DataFrame, bars: pl.DataFrame, sessions: pl.DataFrame
) -> pl.DataFrame:
    """Measure many sessions at once.

    Args:
        trades: ``schemas.TRADES`` of the sessions, each in stored order.
        bars: ``schemas.DAILY_BARS``; a bar without a volume is no bar, and prices of a bar
            with volume 0 are no prices.
        sessions: ``ticker, session_date`` of every session read, those without trades too:
            an empty session is compared with its bar like any other.

    Returns:
        One row per session, sorted: its key and

        * ``rows``, ``<phase>_rows`` for each phase; ``unsorted_rows``: those that belong before
          their predecessor in tape order; ``exact_duplicates``: equal to an earlier one in every
          vendor field; ``outside_day_rows``: not on the session's New York date;
        * ``volume``, ``trade_count``: shares and trades that update volume by the condition rules;
        * ``high``, ``low``, ``high_low_rows``: of trades that may set them, null without one;
          ``price_outside_rows``: those of them outside high and low of the bar;
        * ``bar_volume``, ``bar_trade_count``, ``bar_high``, ``bar_low``: null without a usable bar;
        * what :func:`label_residuals` adds.
    """
    usable = _select_usable(bars)
    counted = (
        label_update_rules(trades.lazy())
        .join(usable.lazy(), on=KEY, how="left", validate="m:1", maintain_order="left")
        .group_by(KEY, maintain_order=True)
        .agg(**_count_rows(), **_measure_prices(), **_measure_volume())
        .collect()
    )
    counts = pl.col(pl.Int64, pl.UInt32).cast(pl.Int64).fill_null(0)
    return (
        sessions.select(KEY)
        .join(counted, on=KEY, how="left", validate="1:1")
        .join(_count_duplicates(trades), on=KEY, how="left", validate="1:1")
        .with_columns(counts, pl.col("volume").fill_null(0.0))
        .join(usable, on=KEY, how="left", validate="1:1")
        .pipe(label_residuals)
        .sort(KEY)
    )


def label_residuals(facts: pl.DataFrame) -> pl.DataFrame:
    """Add ``volume_residual``, ``volume_residual_ratio`` and ``count_residual``.

    Null means that there is no bar to compare with.  A residual within the rounding of sums is
    0.  Where the bar has no volume but the tape does, the ratio is 1.
    """
    volume, bar_volume = pl.col("volume"), pl.col("bar_volume")
    difference = volume - bar_volume
    is_rounding = difference.abs() <= ROUNDING_RATIO * pl.max_horizontal(volume, bar_volume)
    residual = pl.when(is_rounding).then(0.0).otherwise(difference)
    base = pl.when(bar_volume > 0).then(bar_volume).otherwise(volume)
    return facts.with_columns(
        volume_residual=residual,
        volume_residual_ratio=pl.when(is_rounding).then(0.0).otherwise(difference.abs() / base),
        count_residual=pl.col("trade_count") - pl.col("bar_trade_count"),
    )


def select_residuals(facts: pl.DataFrame) -> pl.DataFrame:
    """Select the sessions whose volume or count differs from their bar."""
    return facts.filter((pl.col("volume_residual") != 0) | (pl.col("count_residual") != 0))


def measure_residual_conditions(trades: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Count conditions in the sessions that differ from their bar, to tell which rule is off.

    Tables of disjoint sessions are added up by ``conditions.merge_conditions``.
    """
    keys = select_residuals(facts).select(KEY).lazy()
    return measure_conditions(trades.lazy().join(keys, on=KEY, how="semi"))


def _select_usable(bars: pl.DataFrame) -> pl.DataFrame:
    """Select the numbers to compare with, null where there is nothing to compare.

    NaN must go first: it compares as greater than everything.
    """
    volume = pl.col("volume").fill_nan(None)
    prices = pl.when(volume > 0).then(pl.col("high", "low").fill_nan(None))
    return bars.select(
        *KEY,
        prices.name.prefix("bar_"),
        bar_volume=volume,
        bar_trade_count="trade_count",
    )


def _count_rows() -> dict[str, pl.Expr]:
    """Count rows by order and instants: all, unsorted, outside the day, and by phase."""
    sip = pl.col("sip_timestamp")
    step = sip.to_physical().diff()
    is_tie_broken = pl.col("sequence_number").fill_null(0).diff() < 0
    day = sip.dt.convert_time_zone(NEW_YORK.key).dt.date()
    phases = {f"{phase}_rows": (pl.col("trading_phase") == phase).sum() for phase in PHASES}
    return {
        "rows": pl.len(),
        "unsorted_rows": ((step < 0) | ((step == 0) & is_tie_broken)).sum(),
        "outside_day_rows": (day != pl.col("session_date")).sum(),
    } | phases


def _measure_prices() -> dict[str, pl.Expr]:
    """Measure the range of prices that may set high and low, and what lies outside the bar's."""
    eligible = pl.col("updates_high_low")
    price = pl.col("price")
    is_above = price > pl.col("bar_high") * (1 + ROUNDING_RATIO)
    is_below = price < pl.col("bar_low") * (1 - ROUNDING_RATIO)
    return {
        "high": price.filter(eligible).max(),
        "low": price.filter(eligible).min(),
        "high_low_rows": eligible.sum(),
        "price_outside_rows": (eligible & (is_above | is_below)).sum(),
    }


def _measure_volume() -> dict[str, pl.Expr]:
    counted = pl.col("updates_volume")
    return {"volume": pl.col("size").filter(counted).sum(), "trade_count": counted.sum()}


def _count_duplicates(trades: pl.DataFrame) -> pl.DataFrame:
    """Count rows equal to an earlier one; a cheap look at some fields leaves few to compare."""
    some_fields = pl.struct(*KEY, "sip_timestamp", "sequence_number", "price")
    copies = pl.len().cast(pl.Int64) - 1
    return (
        trades.filter(some_fields.is_duplicated())
        .group_by(*KEY, *VENDOR_COLUMNS)
        .agg(exact_duplicates=copies)
        .group_by(KEY)
        .agg(pl.col("exact_duplicates").sum())
    )
