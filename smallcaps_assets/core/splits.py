"""Splits: the table, factors that make prices comparable across one, jumps that look like one.

Prices are stored unadjusted.  A factor counts only splits executed up to its own bar, so a
later split never changes an earlier bar.  What does not belong here: the rules (``events``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.bars import select_usable_bars
from smallcaps_assets.core.inputs import (
    SHOWN_ROWS,
    check_columns,
    check_tickers,
    parse_dates,
    parse_numbers,
)
from smallcaps_assets.errors import DataError
from smallcaps_assets.schemas import SPLITS

JUMP_TOLERANCE_RATIO: Final = 0.02
"""How far an overnight move may lie from n:1 and still look like a split."""
SMALLEST_JUMP: Final = 2
LARGEST_JUMP: Final = 50

_RATIO_TOLERANCE: Final = 1e-9
_VENDOR_EXTRAS: Final = ("id", "adjustment_type", "historical_adjustment_factor")


def merge_splits(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return splits from outside as the table, and how many repeated rows were dropped.

    A repeat is a row of the same ticker, date and ratio (1:10 and 2:20 are equal).  The
    vendor's other columns are dropped.

    Returns:
        ``schemas.SPLITS``, sorted by its key.

    Raises:
        SchemaError: A column is missing, unknown or of another type.
        DataError: A ratio is not positive and finite, a ticker or a date is none, or a ticker
            has two different splits on one date.
    """
    table = SPLITS.name
    check_columns(frame, required=list(SPLITS.columns), allowed=_VENDOR_EXTRAS, table=table)
    check_tickers(frame, table=table)
    splits = parse_dates(frame.select(list(SPLITS.columns)), "execution_date", table=table)
    splits = parse_numbers(splits, ["split_from", "split_to"], pl.Float64, table=table)
    _check_ratios(splits)
    kept = splits.sort(*SPLITS.key, "split_from", "split_to").unique(
        list(SPLITS.key), keep="first", maintain_order=True
    )
    return SPLITS.conform(kept), splits.height - kept.height


def label_split_factor(bars: pl.LazyFrame, splits: pl.LazyFrame | None) -> pl.LazyFrame:
    """Add ``split_factor``, shares today for one share before the first split on record.

    Price times factor, and volume divided by it, are comparable over the whole life of a
    ticker.  1 without a split.

    Args:
        bars: Rows of ``ticker`` and ``session_date``.
        splits: ``schemas.SPLITS``, or ``None`` when none is known.

    Returns:
        The bars, sorted by ticker and session.
    """
    if splits is None:
        return bars.sort("ticker", "session_date").with_columns(split_factor=pl.lit(1.0))
    factor = (pl.col("split_to") / pl.col("split_from")).cum_prod().over("ticker")
    factors = splits.sort("ticker", "execution_date").select(
        "ticker", "execution_date", split_factor=factor
    )
    return _join_last_split(bars, factors).with_columns(pl.col("split_factor").fill_null(1.0))


def measure_split_like_jumps(bars: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """Return overnight jumps that look like a split although none is on record.

    A jump is the open of a usable bar against the close of the usable bar before it, within 2 %
    of n:1 or 1:n, n from 2 to 50.

    Args:
        bars: ``schemas.DAILY_BARS``.
        splits: ``schemas.SPLITS``; its empty table when none is known.

    Returns:
        ``ticker``, ``session_date``, ``previous_close``, ``open``, ``jump`` (such as ``10:1``
        when the price rose tenfold), sorted by ticker and session.
    """
    before = pl.col("session_date", "close").shift(1).over("ticker").name.prefix("previous_")
    neighbours = select_usable_bars(bars.lazy()).sort("ticker", "session_date").with_columns(before)
    records = splits.lazy().select("ticker", "execution_date", split_date="execution_date")
    is_on_record = pl.col("split_date") > pl.col("previous_session_date")
    rise = pl.col("open") / pl.col("previous_close")
    fall = pl.col("previous_close") / pl.col("open")
    multiple = pl.max_horizontal(rise, fall)
    nearest = multiple.round().clip(SMALLEST_JUMP, LARGEST_JUMP)
    is_jump = (multiple / nearest - 1).abs() <= JUMP_TOLERANCE_RATIO * (1 + _RATIO_TOLERANCE)
    text = nearest.cast(pl.Int64).cast(pl.String)
    jump = pl.when(rise > 1).then(text + ":1").otherwise("1:" + text)
    return (
        _join_last_split(neighbours, records)
        .filter(is_jump, ~is_on_record.fill_null(value=False))
        .select("ticker", "session_date", "previous_close", "open", jump.alias("jump"))
        .collect()
    )


def _join_last_split(bars: pl.LazyFrame, splits: pl.LazyFrame) -> pl.LazyFrame:
    """Give each bar the columns of its ticker's newest split up to its session, or null."""
    return (
        bars.sort("ticker", "session_date")
        .join_asof(
            splits.sort("ticker", "execution_date"),
            left_on="session_date",
            right_on="execution_date",
            by="ticker",
            strategy="backward",
            check_sortedness=False,  # it cannot see the order inside a group and would warn
        )
        .drop("execution_date", strict=False)
    )


def _check_ratios(splits: pl.DataFrame) -> None:
    """Refuse ratios that are none, and two different ones of a ticker on a date."""
    ratio = pl.col("split_to") / pl.col("split_from")
    is_ratio = pl.all_horizontal(pl.col("split_from", "split_to") > 0) & ratio.is_finite()
    key = list(SPLITS.key)
    spread = ratio.max().over(key) > ratio.min().over(key) * (1 + _RATIO_TOLERANCE)
    for wrong, complaint in (
        (~(is_ratio & (ratio > 0)).fill_null(value=False), "without a positive finite ratio"),
        (spread, "that contradict another one of that ticker and date"),
    ):
        bad = splits.filter(wrong).sort(*key, "split_from", "split_to")
        if not bad.is_empty():
            shown = [" ".join(map(str, row)) for row in bad.head(SHOWN_ROWS).rows()]
            raise DataError(
                f"splits: {bad.height} rows {complaint}, first {shown}; expected one split a "
                "ticker and date: correct them in a file of splits"
            )
