"""What a session holds and what a trade costs: the numbers behind calibrated estimates.

What belongs here: trades of a session by its daily bar, bytes of a trade, and their fitting to
what was measured.  What does not: sums over a plan (``estimates``).
"""

import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.errors import ConfigError, DataError

DEFAULT_BYTES_PER_TRADE: Final = 15.2
"""Parquet with all vendor columns: 15.1 to 15.5 on files of 20,000 trades and more."""
DEFAULT_FILE_BYTES: Final = 3_700
"""Footer, dictionaries and page headers of a file: with 500 trades it has 22.6 bytes each."""
DEFAULT_BLOCK_BYTES: Final = 10_240
"""What a file system with blocks of 4 KB adds: a folder, a receipt, half a block of rounding."""
DEFAULT_RAW_BYTES_PER_TRADE: Final = 220
"""JSON of one trade as the vendor renders it, before its compression."""
DEFAULT_TRADES_PER_SESSION: Final = 2_700
"""Trades of a session nothing is known of: real files average 44 KB."""
DEFAULT_SHARES_PER_TRADE: Final = 190
"""Used when no bar has a trade count to fit to; prints of two tickers of 2013 average that."""

_ROUNDING_BYTES: Final = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one trade and one file cost; the defaults were measured on real files.

    Attributes:
        bytes_per_trade: Stored bytes that grow with the trades.
        file_bytes: Stored bytes of a file whatever its trades.
        block_bytes: Bytes the file system adds per session.
        raw_bytes_per_trade: Bytes on the wire, before compression.
        trades_per_session: Trades of a session nothing is known of.
        page_limit: Trades of a page, so of a request.
        requests_per_minute: Rate; 0 is unlimited.
    """

    bytes_per_trade: float = DEFAULT_BYTES_PER_TRADE
    file_bytes: float = DEFAULT_FILE_BYTES
    block_bytes: int = DEFAULT_BLOCK_BYTES
    raw_bytes_per_trade: float = DEFAULT_RAW_BYTES_PER_TRADE
    trades_per_session: int = DEFAULT_TRADES_PER_SESSION
    page_limit: int = 50_000
    requests_per_minute: float = 100.0

    def __post_init__(self) -> None:
        sizes = (self.bytes_per_trade, self.file_bytes, self.block_bytes, self.raw_bytes_per_trade)
        amounts = (*sizes, self.trades_per_session, self.requests_per_minute)
        is_valid = all(math.isfinite(amount) and amount >= 0 for amount in amounts)
        if not is_valid or self.page_limit < 1:
            raise ConfigError(f"expected amounts of 0 or more and a page limit above 0, got {self}")


@dataclass(frozen=True, slots=True)
class SizeFit:
    """Bytes of a file as ``file_bytes + bytes_per_trade * rows``.

    Attributes:
        bytes_per_trade: Bytes that grow with the trades.
        file_bytes: Bytes of a file whatever its trades.
        files: Files it was fitted to.
    """

    bytes_per_trade: float
    file_bytes: float
    files: int


def fit_bytes_per_trade(rows: pl.Series, sizes: pl.Series) -> SizeFit:
    """Fit the size of files to their rows by least squares.

    The fit gives the files back their total size.  Where it would make a file or a trade cost
    less than nothing (too few files, or all alike), the measured cost of a file is kept and the
    rest is laid on the trades.

    Args:
        rows: Trades of each file; files of none are left out, since there is no file.
        sizes: Bytes of each file.

    Raises:
        DataError: The series differ in length, hold a negative number, or no file has a trade.
    """
    if len(rows) != len(sizes):
        raise DataError(f"expected one size for each file, got {len(rows)} and {len(sizes)}")
    files = pl.DataFrame({"rows": rows, "size": sizes}).cast(pl.Float64).filter(pl.col("rows") != 0)
    if files.is_empty() or files.select(pl.any_horizontal(pl.all() < 0).any()).item():
        raise DataError("expected files with trades and sizes of 0 or more, got none or less")
    total_rows, total_size, slope = files.select(
        pl.col("rows").sum(),
        pl.col("size").sum(),
        slope=(pl.cov("rows", "size") / pl.col("rows").var()).fill_nan(None),
    ).row(0)
    mean_size = total_size / files.height
    file_bytes = mean_size - (slope or 0.0) * total_rows / files.height
    if slope is None or slope < 0 or file_bytes < -_ROUNDING_BYTES:
        file_bytes = min(DEFAULT_FILE_BYTES, mean_size)
    file_bytes = max(0.0, file_bytes)
    slope = (total_size - file_bytes * files.height) / total_rows
    return SizeFit(bytes_per_trade=slope, file_bytes=file_bytes, files=files.height)


def label_expected_rows(
    sessions: pl.DataFrame, bars: pl.DataFrame, *, default_rows: int = DEFAULT_TRADES_PER_SESSION
) -> pl.DataFrame:
    """Add how many trades each session should hold.

    ``expected_rows`` (Int64) is the ``trade_count`` of the daily bar, null without one.
    ``estimated_rows`` (Int64) is never null; the first that is known of: the trade count; the
    volume times the trades per share of the ticker's bars that have both (else of all such
    bars, else one per 190 shares); the median of what the ticker's bars give; the median of
    all; the default.

    Args:
        sessions: ``ticker, session_date`` and more; its order is kept.
        bars: ``schemas.DAILY_BARS``, each key once.
        default_rows: Trades of a session when no bar says anything.
    """
    counted = _estimate_bars(bars)
    usual = counted.group_by("ticker").agg(ticker_median=pl.col("bar_rows").median())
    median = counted["bar_rows"].median()
    labelled = sessions.join(
        counted.select("ticker", "session_date", "bar_rows", expected_rows="trade_count"),
        on=["ticker", "session_date"],
        how="left",
        validate="m:1",
        maintain_order="left",
    ).join(usual, on="ticker", how="left", validate="m:1", maintain_order="left")
    estimated = pl.coalesce("bar_rows", "ticker_median", pl.lit(median, pl.Float64), default_rows)
    return labelled.with_columns(estimated_rows=estimated.ceil().cast(pl.Int64)).drop(
        "bar_rows", "ticker_median"
    )


def _estimate_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the bars with ``bar_rows``: trades by count, else by volume, else null."""
    volume, count = pl.col("volume"), pl.col("trade_count")
    sound = bars.with_columns(
        volume=pl.when(volume.is_finite() & (volume >= 0)).then(volume),
        trade_count=pl.when(count >= 0).then(count),
    )
    has_both = (volume > 0) & count.is_not_null()
    fitted = count.filter(has_both).sum() / volume.filter(has_both).sum()
    overall = fitted.over(pl.lit(1))
    trades_per_share = pl.coalesce(
        fitted.over("ticker").fill_nan(None),
        overall.fill_nan(None),
        pl.lit(1 / DEFAULT_SHARES_PER_TRADE),
    )
    return sound.with_columns(bar_rows=pl.coalesce(count, volume * trades_per_share))
