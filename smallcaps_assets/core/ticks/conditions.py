"""Sale conditions: which trades count for volume, for high and low, for open and close.

What belongs here: the vendor's update rules (of the consolidated tape) and the bars that follow
from them.  What does not: the verdict on a difference (``quality``).  Ids are those of
``/v3/reference/conditions`` with data type ``trade``; the same ids mean other things for quotes.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from smallcaps_assets.core.ticks.tape import read_integers, read_lists
from smallcaps_assets.schemas import DAILY_BARS

VALID_CORRECTIONS: Final = (0, 12)
"""Original trades and corrected values; 1, 7, 8, 10 and 11 are withdrawn or withdraw."""
WITHDRAWN_ORIGINALS: Final = (1, 7, 8)
"""Trades that were corrected, cancelled or in error: a bar from before that counts them."""


class ConditionRule(NamedTuple):
    """What a trade with this condition may update.

    A trade updates something only if all its conditions allow it.
    """

    id: int
    name: str
    updates_high_low: bool = True
    updates_open_close: bool = True
    updates_volume: bool = True


class TradedVolume(NamedTuple):
    """What a session traded by the vendor's rules.

    Attributes:
        volume: Shares, fractions included.
        trade_count: Trades that update volume.
    """

    volume: float
    trade_count: int


_EVERYTHING: Final = (True, True, True)
_NOT_OPEN_CLOSE: Final = (True, False, True)
_VOLUME_ONLY: Final = (False, False, True)
_NOT_VOLUME: Final = (True, True, False)
_NOTHING: Final = (False, False, False)

_NAMES: Final = {
    _EVERYTHING: {
        1: "Acquisition",
        3: "Automatic Execution",
        4: "Bunched Trade",
        6: "CAP Election",
        8: "Closing Prints",
        9: "Cross Trade",
        11: "Distribution",
        14: "Intermarket Sweep",
        18: "Market Center Reopening Trade",
        19: "Market Center Closing Trade",
        23: "Rule 155 Trade (AMEX)",
        24: "Rule 127 (NYSE Only)",
        25: "Opening Prints",
        27: "Stopped Stock (Regular Trade)",
        28: "Re-Opening Prints",
        30: "Sold Last",
        31: "Sold Last and Stopped Stock",
        34: "Split Trade",
        35: "Stock Option",
        36: "Yellow Flag Regular Trade",
        41: "Trade Thru Exempt",
        55: "Opening Reopening Trade Detail",
        57: "Short Sale Restriction Activated",
        58: "Short Sale Restriction Continued",
        59: "Short Sale Restriction Deactivated",
        60: "Short Sale Restriction In Effect",
        62: "Financial Status - Bankrupt",
        63: "Financial Status - Deficient",
        64: "Financial Status - Delinquent",
        65: "Financial Status - Bankrupt and Deficient",
        66: "Financial Status - Bankrupt and Delinquent",
        67: "Financial Status - Deficient and Delinquent",
        68: "Financial Status - Deficient, Delinquent, and Bankrupt",
        69: "Financial Status - Liquidation",
        70: "Financial Status - Creations Suspended",
        71: "Financial Status - Redemptions Suspended",
    },
    _NOT_OPEN_CLOSE: {
        5: "Bunched Sold Trade",
        10: "Derivatively Priced",
        17: "Market Center Opening Trade",
        22: "Prior Reference Price",
        32: "Sold (Out Of Sequence)",
        33: "Sold (Out of Sequence) and Stopped Stock",
    },
    _VOLUME_ONLY: {
        2: "Average Price Trade",
        7: "Cash Sale",
        12: "Form T/Extended Hours",
        13: "Extended Hours (Sold Out Of Sequence)",
        20: "Next Day",
        21: "Price Variation Trade",
        29: "Seller",
        37: "Odd Lot Trade",
        52: "Contingent Trade",
        53: "Qualified Contingent Trade",
    },
    _NOT_VOLUME: {38: "Corrected Consolidated Close (per listing market)"},
    _NOTHING: {15: "Market Center Official Close", 16: "Market Center Official Open"},
}

CONDITION_RULES: Final = {
    rule.id: rule
    for rule in sorted(
        ConditionRule(condition, name, *updates)
        for updates, names in _NAMES.items()
        for condition, name in names.items()
    )
}
"""Every trade condition by id.  The vendor gives 41 and those above 55 no rules: they count."""

UPDATE_RULES: Final = ("updates_high_low", "updates_open_close", "updates_volume")


def label_update_rules(trades: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``updates_high_low``, ``updates_open_close`` and ``updates_volume``, never null.

    A trade without conditions counts for everything, and so does an unknown condition: it is
    reported by ``measure_conditions`` instead of silently shrinking a bar.  Withdrawn trades
    (see ``VALID_CORRECTIONS``) count for nothing.
    """
    is_valid = pl.col("correction").fill_null(0).is_in(VALID_CORRECTIONS)
    return trades.with_columns(
        (is_valid & ~has_condition(_select_blocking(rule))).alias(rule) for rule in UPDATE_RULES
    )


def build_daily_bar(trades: pl.LazyFrame) -> pl.LazyFrame:
    """Aggregate trades to daily bars by the vendor's rules.

    Volume, ``trade_count`` and ``vwap`` take every trade that updates volume, extended hours
    included; high and low, open and close take the trades that update them.  A session where no
    trade may do so (only odd lots, only extended hours) takes all trades that update volume:
    such a session traded, and a bar without prices would say otherwise.

    Args:
        trades: ``schemas.TRADES``, in any order; ties of ``sip_timestamp`` are broken by
            ``sequence_number``, then by the order given.

    Returns:
        ``schemas.DAILY_BARS``, sorted by its key; prices are null where nothing updates volume,
        ``vwap`` also where volume is 0.
    """
    counted = pl.col("updates_volume")
    size = pl.col("size").filter(counted)
    amount = (pl.col("price") * pl.col("size")).filter(counted)
    volume = size.sum()
    return (
        label_update_rules(trades)
        .sort(*DAILY_BARS.key, "sip_timestamp", "sequence_number", maintain_order=True)
        .group_by(DAILY_BARS.key, maintain_order=True)
        .agg(
            open=_select_prices("updates_open_close").first(),
            high=_select_prices("updates_high_low").max(),
            low=_select_prices("updates_high_low").min(),
            close=_select_prices("updates_open_close").last(),
            volume=volume,
            vwap=pl.when(volume > 0).then(amount.sum() / volume),
            trade_count=counted.sum().cast(pl.Int64),
        )
    )


class VolumeMeter:
    """What sessions that lie in one table traded, as their bars would have it.

    It is what ``build_daily_bar`` makes of them, at a small part of the cost: no prices, no
    order, and the conditions of all rows are looked at once.
    """

    def __init__(self, trades: pl.DataFrame) -> None:
        """Decide which trades count."""
        corrections = read_integers(trades["correction"])
        lengths, conditions = read_lists(trades["conditions"])
        blocking = np.flatnonzero(np.isin(conditions, _select_blocking("updates_volume")))
        updates = np.ones(trades.height, dtype=bool)
        updates[np.searchsorted(np.cumsum(lengths), blocking, side="right")] = False
        self._is_counted = updates & np.isin(corrections, VALID_CORRECTIONS)
        self._is_withdrawn = updates & np.isin(corrections, WITHDRAWN_ORIGINALS)
        self._sizes = trades["size"].to_numpy()

    def measure(self, first: int, last: int) -> TradedVolume:
        """Measure volume and count of the session that the rows ``[first, last)`` are."""
        sizes = self._sizes[first:last][self._is_counted[first:last]]
        return TradedVolume(float(sizes.sum()), sizes.size)

    def measure_originals(self, first: int, last: int) -> TradedVolume:
        """Measure the same with withdrawn originals counted, as an older bar has them."""
        applied = self.measure(first, last)
        sizes = self._sizes[first:last][self._is_withdrawn[first:last]]
        if not sizes.size:
            return applied
        volume = applied.volume + float(sizes.sum())
        return TradedVolume(volume, applied.trade_count + sizes.size)


def measure_volume(trades: pl.DataFrame) -> TradedVolume:
    """Measure volume and count of one session's trades; see :class:`VolumeMeter`."""
    return VolumeMeter(trades).measure(0, trades.height)


def measure_conditions(trades: pl.LazyFrame) -> pl.DataFrame:
    """Count trades by condition, and how the rules treat their volume.

    Returns:
        One row per condition id, sorted: ``condition_id`` (Int32; null: without conditions),
        ``name`` (null: none or unknown), ``is_known``, ``sessions``, ``rows``,
        ``counted_volume``, ``excluded_volume``.  A trade with several conditions is in the row
        of each of them.
    """
    size, counted = pl.col("size"), pl.col("updates_volume")
    measured = (
        label_update_rules(trades)
        .with_columns(pl.col("conditions").alias("condition_id"))
        .explode("condition_id", empty_as_null=True)
        .group_by("condition_id")
        .agg(
            sessions=pl.struct(DAILY_BARS.key).n_unique().cast(pl.Int64),
            rows=pl.len().cast(pl.Int64),
            counted_volume=size.filter(counted).sum(),
            excluded_volume=size.filter(~counted).sum(),
        )
    )
    return _label_conditions(measured.collect())


def merge_conditions(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add up tables of ``measure_conditions`` over disjoint sets of sessions."""
    counts = pl.col("sessions", "rows", "counted_volume", "excluded_volume")
    return _label_conditions(pl.concat(tables).group_by("condition_id").agg(counts.sum()))


def _label_conditions(measured: pl.DataFrame) -> pl.DataFrame:
    """Add ``name`` and ``is_known``."""
    names = {rule.id: rule.name for rule in CONDITION_RULES.values()}
    condition = pl.col("condition_id")
    return measured.sort("condition_id").select(
        condition,
        condition.replace_strict(names, default=None, return_dtype=pl.String).alias("name"),
        (condition.is_null() | condition.is_in(list(names))).alias("is_known"),
        "sessions",
        "rows",
        "counted_volume",
        "excluded_volume",
    )


def _select_blocking(update_rule: str) -> list[int]:
    """Select the conditions that forbid an update."""
    return [rule.id for rule in CONDITION_RULES.values() if not getattr(rule, update_rule)]


def has_condition(ids: Sequence[int]) -> pl.Expr:
    """Tell whether one of a trade's conditions is among ``ids``; false without conditions."""
    hits = pl.col("conditions").list.eval(pl.element().is_in(ids)).list.any()
    return hits.fill_null(value=False)


def _select_prices(update_rule: str) -> pl.Expr:
    """Select the prices that may update something, else all that update volume."""
    counted = pl.col("updates_volume")
    allowed = counted & pl.col(update_rule)
    return pl.col("price").filter(pl.when(allowed.any()).then(allowed).otherwise(counted))
