"""Facts about stored sessions, for the audits.

What belongs here: what trades say about themselves and against their daily bar, counted and
without judgement.  What does not: which of it is tolerable (``core.verdicts``), the verdict
(``audits``), opening and hashing files (``lake``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.sessions import NEW_YORK
from smallcaps_assets.core.ticks.conditions import label_update_rules, measure_conditions
from smallcaps_assets.core.ticks.phases import PHASES
from smallcaps_assets.schemas import DAILY_BARS, VENDOR_COLUMNS

ROUNDING_RATIO: Final = 1e-9
"""Sums of fractional shares differ in their last bits when added in another order."""

KEY: Final = DAILY_BARS.key


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What one session says of itself, and against its daily bar.

    Attributes:
        rows: Trades stored.
        unsorted_rows: Rows that belong before their predecessor in tape order.
        exact_duplicates: Rows equal to an earlier one in every vendor field.
        outside_day_rows: Rows that do not lie on the session's New York date.
        phase_rows: Rows by trading phase, 0 included.
        volume: Shares that update volume by the condition rules.
        trade_count: Trades that update volume.
        high: Highest price that may set it; ``None`` without such a trade.
        low: Lowest one.
        high_low_rows: Trades that may set high and low.
        price_outside_rows: Those of them outside high and low of the bar.
        bar_volume: Shares of the bar; ``None`` without a usable bar.
        bar_trade_count: Trades of the bar, where it knows them.
        volume_residual: ``volume - bar_volume``, rounding of sums left out.
        volume_residual_ratio: Its distance from 0, over the bar's volume.
        count_residual: ``trade_count - bar_trade_count``.
        conditions: Table of ``measure_conditions``; without rows where nothing differs.
    """

    rows: int
    unsorted_rows: int
    exact_duplicates: int
    outside_day_rows: int
    phase_rows: dict[str, int]
    volume: float
    trade_count: int
    high: float | None
    low: float | None
    high_low_rows: int
    price_outside_rows: int
    bar_volume: float | None
    bar_trade_count: int | None
    volume_residual: float | None
    volume_residual_ratio: float | None
    count_residual: int | None
    conditions: pl.DataFrame


def measure_session(trades: pl.DataFrame, bar: Mapping[str, object] | None) -> SessionFacts:
    """Measure one session; ``measure_sessions`` is for many.

    Args:
        trades: ``schemas.TRADES`` of one ticker-session in stored order; it may be empty.
        bar: Its row of ``schemas.DAILY_BARS``, or ``None`` where there is no bar.
    """
    key = trades.select(KEY).head(1) if trades.height else _ANY_KEY
    values = {name: [(bar or {}).get(name)] for name in DAILY_BARS.columns if name not in KEY}
    bars = pl.concat([key, pl.DataFrame(values, _BAR_SCHEMA)], how="horizontal")
    table = measure_sessions(trades, bars, key)
    facts = table.drop(*KEY, "bar_high", "bar_low").row(0, named=True)
    phase_rows = {phase: facts.pop(f"{phase}_rows") for phase in PHASES}
    conditions = measure_residual_conditions(trades, table)
    return SessionFacts(**facts, phase_rows=phase_rows, conditions=conditions)


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
        One row per session, sorted: its key, the numbers of :class:`SessionFacts` under their
        names, ``<phase>_rows`` for each phase, ``bar_high`` and ``bar_low``.
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

    Args:
        facts: At least ``volume``, ``trade_count``, ``bar_volume`` and ``bar_trade_count``, as
            receipts have them.
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
    """Return the sessions whose volume or count differs from their bar."""
    return facts.filter((pl.col("volume_residual") != 0) | (pl.col("count_residual") != 0))


def measure_residual_conditions(trades: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Count conditions in the sessions that differ from their bar, to tell which rule is off.

    Args:
        trades: ``schemas.TRADES``.
        facts: Table of ``measure_sessions`` over them.

    Returns:
        Table of ``conditions.measure_conditions``; tables of disjoint sessions are added up by
        ``conditions.merge_conditions``.
    """
    keys = select_residuals(facts).select(KEY).lazy()
    return measure_conditions(trades.lazy().join(keys, on=KEY, how="semi"))


_ANY_KEY: Final = pl.DataFrame({"ticker": [""], "session_date": [dt.date(1970, 1, 1)]})
"""Joins a session without rows to its bar."""
_BAR_SCHEMA: Final = {
    name: column.dtype for name, column in DAILY_BARS.columns.items() if name not in KEY
}


def _select_usable(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the numbers to compare with, null where there is nothing to compare.

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
    """Return the counts that follow from order and instants."""
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
    """Return the range of prices that may set high and low, and what lies outside the bar's."""
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
