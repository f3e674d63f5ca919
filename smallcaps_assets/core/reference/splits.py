"""Splits: the table, factors that make prices comparable across one, jumps that look like one.

Prices are stored unadjusted. A factor counts only splits executed up to its own bar, so a later
split never changes an earlier bar. What does not belong here: the rules (``core.events.rules``).

The vendor may list two different splits of a ticker on one date.  Neither is believed: the date is
kept with a ratio of null, an *unknown split*, and prices on both sides of it are never compared.
"""

import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import is_symbol_expression
from smallcaps_assets.core.parsing import (
    SHOWN_ROWS,
    check_columns,
    check_tickers,
    parse_dates,
    parse_numbers,
)
from smallcaps_assets.core.reference.daily_bars import select_usable_bars
from smallcaps_assets.errors import DataError
from smallcaps_assets.schemas import SPLITS

JUMP_TOLERANCE_RATIO: Final = 0.02
"""How far an overnight move may lie from n:1 and still look like a split."""
SMALLEST_JUMP: Final = 2
LARGEST_JUMP: Final = 50
MISFIT_RATIO: Final = 0.25
"""Overnight move, up or down by this ratio, that a record must not leave behind."""
MADE_JUMP_RATIO: Final = 0.10
"""The same where prices lie closer together without the record than with it."""

_RATIO: Final = ("split_from", "split_to")
_RATIO_TOLERANCE: Final = 1e-9
_VENDOR_EXTRAS: Final = ("id", "adjustment_type", "historical_adjustment_factor")


@dataclass(frozen=True, eq=False)
class VendorSplits:
    """Splits of the vendor, and what of its records is not believed.

    Attributes:
        splits: ``schemas.SPLITS``, sorted by its key; a date whose records are set aside is there
            once, with a ratio of null.
        repeated: Records equal to another one, dropped.
        set_aside: ``ticker``, ``execution_date``, ``split_from``, ``split_to``, ``problem`` of the
            records that are not believed.
    """

    splits: pl.DataFrame
    repeated: int
    garbage: int
    set_aside: pl.DataFrame


def merge_splits(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Merge the splits of a file into the table, and count the repeated rows that were dropped.

    A repeat is a row of the same ticker, date and ratio (1:10 and 2:20 are equal).  The
    vendor's other columns are dropped.

    Returns:
        ``schemas.SPLITS``, sorted by its key.

    Raises:
        SchemaError: A column is missing, unknown or of another type.
        DataError: A ratio is not positive and finite, a ticker or a date is not valid, or a ticker
            has two different splits on one date.
    """
    table = SPLITS.name
    check_columns(frame, required=list(SPLITS.columns), allowed=_VENDOR_EXTRAS, table=table)
    check_tickers(frame, table=table)
    splits = parse_dates(frame.select(list(SPLITS.columns)), "execution_date", table=table)
    splits = parse_numbers(splits, ["split_from", "split_to"], pl.Float64, table=table)
    _check_ratios(splits)
    kept = _drop_repeats(splits)
    return SPLITS.conform(kept), splits.height - kept.height


def sift_splits(records: pl.DataFrame) -> VendorSplits:
    """Part records as the vendor sent them, in our columns, by what of them can be believed."""
    sound = records.filter(is_symbol_expression())
    problem = (
        pl.when(_is_no_ratio())
        .then(pl.lit("no positive ratio"))
        .when(_is_contradicted())
        .then(pl.lit("contradicts another record"))
    )
    judged = sound.with_columns(problem=problem).sort(*SPLITS.key, "split_from", "split_to")
    # One bad record makes the whole date unknown: nothing says that the other one is right.
    is_doubtful = pl.col("problem").is_not_null().any().over(list(SPLITS.key))
    believed = judged.filter(~is_doubtful).drop("problem")
    set_aside = judged.filter(is_doubtful)
    kept = _drop_repeats(believed)
    nothing = pl.lit(None, pl.Float64)
    unknown = set_aside.select(list(SPLITS.key)).unique()
    unknown = unknown.with_columns(split_from=nothing, split_to=nothing)
    return VendorSplits(
        splits=SPLITS.conform(pl.concat([kept, unknown])).sort(SPLITS.key),
        repeated=believed.height - kept.height,
        garbage=records.height - sound.height,
        set_aside=set_aside.with_columns(pl.col("problem").fill_null("beside such a record")),
    )


def decide_splits(splits: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """Put ``decided`` in place of all other splits of their keys; the result is sorted by key.

    A decided 1 for 1 says that there was none.
    """
    others = splits.join(decided, on=list(SPLITS.key), how="anti")
    return pl.concat([others, decided]).sort(SPLITS.key)


def label_split_factor(bars: pl.LazyFrame, splits: pl.LazyFrame | None) -> pl.LazyFrame:
    """Add ``split_factor`` and ``split_era``, what makes bars of a ticker comparable; sort by key.

    The factor is shares today for one share before the first split on record, 1 without a split.
    Price times factor, and volume divided by it, are comparable within an era: eras are divided by
    splits of which the ratio is unknown, and counted from 0.
    """
    if splits is None:
        first = pl.lit(0, pl.UInt32)
        ordered = bars.sort("ticker", "session_date")
        return ordered.with_columns(split_factor=pl.lit(1.0), split_era=first)
    steps = _count_splits(splits).select("ticker", "execution_date", "split_factor", "split_era")
    return _join_last_split(bars, steps)


def measure_split_like_jumps(bars: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """Measure overnight jumps that splits should explain and do not.

    A jump is the open of a usable bar against the close of the usable bar before it, after the
    splits on record between them were applied.  Without a record, and with one of 1 for 1, it is
    listed within 2 % of n:1 or 1:n, n from 2 to 50.  A record is listed where it leaves a move of
    25 % or more, or one of 10 % or more where prices lie closer together without it.  Across an
    unknown split nothing is compared.

    Returns:
        ``ticker``, ``session_date``, ``previous_close``, ``open``, ``jump`` (such as ``10:1``
        when the price rose tenfold, splits counted in), ``split`` (the newest record between the
        two bars, ``1 for 10``; null: none), ``problem``; sorted by ticker and session.
    """
    neighbours = _label_moves(bars, splits)
    is_split = pl.col("step").log().abs() > _RATIO_TOLERANCE
    move, raw = pl.col("move").log().abs(), pl.col("raw_move").log().abs()
    leaves = is_split & (move >= math.log1p(MISFIT_RATIO) * (1 - _RATIO_TOLERANCE))
    makes = is_split & (move > raw) & (move >= math.log1p(MADE_JUMP_RATIO))
    multiple = pl.max_horizontal(pl.col("move"), 1 / pl.col("move"))
    nearest = multiple.round().clip(SMALLEST_JUMP, LARGEST_JUMP)
    is_whole = (multiple / nearest - 1).abs() <= JUMP_TOLERANCE_RATIO * (1 + _RATIO_TOLERANCE)
    problem = (
        pl.when(makes)
        .then(pl.lit("the split on record makes it"))
        .when(leaves)
        .then(pl.lit("the split on record does not fit"))
        .when(~is_split & is_whole & pl.col("split").is_not_null())
        .then(pl.lit("a split of 1 for 1 is on record"))
        .when(~is_split & is_whole)
        .then(pl.lit("no split is on record"))
    )
    size = pl.when(is_whole).then(nearest).otherwise(multiple.round(2)).cast(pl.String)
    text = size.str.strip_suffix(".0")
    jump = pl.when(pl.col("move") > 1).then(text + ":1").otherwise("1:" + text)
    shown = ("ticker", "session_date", "previous_close", "open")
    return (
        neighbours.with_columns(problem=problem)
        .filter(pl.col("problem").is_not_null())
        .with_columns(jump=jump)
        .select(*shown, "jump", "split", "problem")
        .collect()
    )


def _label_moves(bars: pl.DataFrame, splits: pl.DataFrame) -> pl.LazyFrame:
    """Keep usable bars that have a comparable one before them, with their moves.

    Columns: ``raw_move`` (open over the close before), ``move`` (the same with splits counted in),
    ``step`` (factor of the splits between) and ``split`` (the newest of them; null: none).
    """
    ratio = [pl.col(name).cast(pl.String).str.strip_suffix(".0") for name in _RATIO]
    records = _count_splits(splits.lazy()).select(
        *("ticker", "execution_date", "split_factor", "split_era"),
        split_date="execution_date",
        split=pl.format("{} for {}", ratio[1], ratio[0]),
    )
    joined = _join_last_split(select_usable_bars(bars.lazy()), records)
    before = ("session_date", "close", "split_factor", "split_era")
    shifted = joined.with_columns(pl.col(before).shift(1).over("ticker").name.prefix("previous_"))
    raw, step = pl.col("open") / pl.col("previous_close"), pl.col("split_factor")
    is_between = pl.col("split_date") > pl.col("previous_session_date")
    return (
        shifted.filter(pl.col("split_era") == pl.col("previous_split_era"))
        .with_columns(
            raw_move=raw,
            step=step / pl.col("previous_split_factor"),
            split=pl.when(is_between).then("split"),
        )
        .with_columns(move=pl.col("raw_move") * pl.col("step"))
    )


def _count_splits(splits: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``split_factor`` and ``split_era`` as they are from each split on."""
    ratio = pl.col("split_to") / pl.col("split_from")
    return splits.sort("ticker", "execution_date").with_columns(
        split_factor=ratio.fill_null(1.0).cum_prod().over("ticker"),
        split_era=ratio.is_null().cast(pl.UInt32).cum_sum().over("ticker"),
    )


def _drop_repeats(splits: pl.DataFrame) -> pl.DataFrame:
    ordered = splits.sort(*SPLITS.key, "split_from", "split_to")
    return ordered.unique(list(SPLITS.key), keep="first", maintain_order=True)


def _join_last_split(bars: pl.LazyFrame, splits: pl.LazyFrame) -> pl.LazyFrame:
    """Give each bar the columns of its ticker's newest split up to its session.

    Before the first one the factor is 1, the era 0, and the rest null.
    """
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
        .with_columns(pl.col("split_factor").fill_null(1.0), pl.col("split_era").fill_null(0))
    )


def _is_no_ratio() -> pl.Expr:
    ratio = pl.col("split_to") / pl.col("split_from")
    is_positive = pl.all_horizontal(pl.col(_RATIO) > 0)
    return ~(is_positive & ratio.is_finite() & (ratio > 0)).fill_null(value=False)


def _is_contradicted() -> pl.Expr:
    """Tell whether another row of the ticker and date has another ratio."""
    key, ratio = list(SPLITS.key), pl.col("split_to") / pl.col("split_from")
    return ratio.max().over(key) > ratio.min().over(key) * (1 + _RATIO_TOLERANCE)


def _check_ratios(splits: pl.DataFrame) -> None:
    """Refuse ratios that are none, and two different ones of a ticker on a date."""
    for wrong, complaint in (
        (_is_no_ratio(), "without a positive finite ratio"),
        (_is_contradicted(), "that contradict another one of that ticker and date"),
    ):
        bad = splits.filter(wrong).sort(*SPLITS.key, *_RATIO)
        if not bad.is_empty():
            shown = [" ".join(map(str, row)) for row in bad.head(SHOWN_ROWS).rows()]
            raise DataError(
                f"splits: {bad.height} rows {complaint}, first {shown}; expected one split a "
                "ticker and date: correct the file"
            )
