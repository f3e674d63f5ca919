"""Minute bars of all phases, whose sums equal the prints exactly.

What belongs here: bars of one minute from labelled prints, and the sums that prove them.  What does
not: bars by activity (``information_bars``), features of them (``microstructure``).

A minute without volume prints has no row.  The closing auction is printed from 16:00:00 on and so
lies in the first minute after hours: ``has_auction_print`` says so.
"""

from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.research.kernels import (
    AUCTION_ROLE,
    PRICE_ROLE,
    RANGE_ROLE,
    SUMMED,
    TRF_ROLE,
    Integers,
    sum_bars,
)
from smallcaps_assets.core.research.prints import (
    find_halts,
    label_prints,
    mark_changes,
    sign_prints,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.ticks.conditions import label_update_rules
from smallcaps_assets.core.ticks.tape import read_instants
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.schemas import INSTANT
from smallcaps_assets.schemas_research import MINUTE_BARS

MINUTE_NS: Final = 60_000_000_000
SUM_RATIO: Final = 1e-9
"""Distance of two sums of floats, over the larger one, that their order explains."""
SUMS: Final = ("volume", "dollar")


def prepare_prints(
    trades: pl.DataFrame, calendar: SessionCalendar
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prepare whole sessions with classes and signs, and their halts.

    Args:
        trades: ``prints.PRINT_COLUMNS`` of whole sessions, sorted by ticker, session and tape
            order.
        calendar: Sessions and their phases.

    Returns:
        The same rows in the same order, without the columns that the classes stand for, and
        ``schemas_research.HALTS``.
    """
    prints = label_prints(trades).drop("conditions", "correction", "is_late_report")
    halts = find_halts(prints, calendar)
    return sign_prints(prints, halts, calendar), halts


def build_minute_bars(prints: pl.DataFrame) -> pl.DataFrame:
    """Aggregate prints to minutes.

    Args:
        prints: :func:`prepare_prints`.

    Returns:
        ``schemas_research.MINUTE_BARS``, sorted by its key.
    """
    counted = select_counted(prints)
    instants = read_instants(counted, "sip_timestamp")
    minutes = instants - instants % MINUTE_NS
    is_first = mark_changes(pl.Series(minutes)) | mark_changes(counted["session"])
    lasts = np.flatnonzero(np.append(is_first[1:], counted.height > 0))
    minute = pl.Series(minutes[lasts]).cast(INSTANT)
    bars = counted[lasts].select("ticker", "session_date", "trading_phase")
    sums = aggregate_prints(counted, lasts)
    return MINUTE_BARS.conform(
        bars.hstack(sums).with_columns(
            pl.col("trading_phase").cast(pl.String),
            minute=minute,
            known_timestamp=pl.Series(minutes[lasts] + MINUTE_NS).cast(INSTANT),
        )
    )


def select_counted(prints: pl.DataFrame) -> pl.DataFrame:
    """Keep the volume prints, and the columns that bars are made of."""
    unused = ("is_volume_print", "is_live_print", "is_reopening_print")
    return prints.filter("is_volume_print").drop(unused)


def aggregate_prints(counted: pl.DataFrame, lasts: Integers) -> pl.DataFrame:
    """Aggregate volume prints to bars that follow one another.

    Args:
        counted: The volume prints of :func:`prepare_prints`.
        lasts: Last print of each bar.

    Returns:
        One row a bar: ``kernels.SUMMED``, ``vwap`` and ``has_auction_print``; null: undefined.
    """
    roles = (
        RANGE_ROLE * pl.col("is_range_print").cast(pl.Int8)
        + PRICE_ROLE * pl.col("is_price_print").cast(pl.Int8)
        + AUCTION_ROLE * pl.col("is_auction_print").cast(pl.Int8)
        + TRF_ROLE * pl.col("trf_id").is_not_null().cast(pl.Int8)
    )
    inputs = counted.select("price", "size", roles=roles.cast(pl.Int8), sign="sign")
    price, size, role, sign = (column.to_numpy() for column in inputs)
    sums = sum_bars(price, size, role, sign, lasts)
    bars = pl.DataFrame(sums, schema=list(SUMMED)).fill_nan(None)
    return bars.with_columns(
        pl.col("trade_count", "price_count").cast(pl.Int64),
        vwap=pl.when(pl.col("volume") > 0).then(pl.col("dollar") / pl.col("volume")),
        has_auction_print=_has_auction(counted, lasts),
    )


def sum_prints(trades: pl.LazyFrame) -> pl.LazyFrame:
    """Sum the volume prints of each session by the vendor's rules, a way of their own.

    Args:
        trades: ``price``, ``size``, ``conditions``, ``correction`` and the key of sessions.

    Returns:
        ``ticker``, ``session_date``, ``volume``, ``dollar``, ``trade_count``; a session without
        volume prints has no row.
    """
    counted = label_update_rules(trades).filter("updates_volume")
    return counted.group_by("ticker", "session_date").agg(
        volume=pl.col("size").sum(),
        dollar=(pl.col("price") * pl.col("size")).sum(),
        trade_count=pl.len().cast(pl.Int64),
    )


def judge_sums(bars: pl.LazyFrame, expected: pl.DataFrame) -> Verdict:
    """Judge whether bars hold every volume print of their sessions, exactly once.

    Args:
        bars: ``ticker``, ``session_date``, ``volume``, ``dollar`` and ``trade_count`` of bars.
        expected: :func:`sum_prints`.

    Returns:
        Passed if counts are equal and sums are, but for the rounding of floats.
    """
    keys = ["ticker", "session_date"]
    sums = bars.group_by(keys).agg(pl.col(*SUMS, "trade_count").sum()).collect()
    joined = expected.join(sums, on=keys, how="full", coalesce=True, suffix="_of_bars")
    differs = [_differs(name) for name in SUMS]
    is_off = pl.col("trade_count").ne_missing(pl.col("trade_count_of_bars"))
    offenders = joined.filter(pl.any_horizontal(is_off, *differs)).sort(keys)
    numbers = {"sessions": expected.height, "sessions_that_differ": offenders.height}
    summary = (
        f"{offenders.height:,} of {expected.height:,} sessions have bars whose sums are not those "
        "of their prints; expected 0"
    )
    return Verdict(offenders.is_empty(), summary, {**numbers}, offenders)


def _has_auction(counted: pl.DataFrame, lasts: Integers) -> pl.Series:
    """Tell whether an auction print is in each bar, be it one of 0 shares."""
    before = np.cumsum(counted["is_auction_print"].to_numpy())[lasts]
    return pl.Series(np.diff(before, prepend=0) > 0)


def _differs(name: str) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name}_of_bars")
    return ((one - other).abs() > SUM_RATIO * one.abs()).fill_null(value=True)
