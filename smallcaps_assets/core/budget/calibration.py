"""What a session holds and what a trade costs: the numbers behind calibrated estimates.

What belongs here: trades of a session by its daily bar, bytes of a trade, and their fitting to
what was measured.  What does not: sums over a plan (``estimates``).
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from smallcaps_assets.core.progress.pace import measure_slowness
from smallcaps_assets.errors import ConfigError, DataError

DEFAULT_BYTES_PER_TRADE: Final = 20.0
"""Parquet with all vendor columns, sessions of 80 to 1,600 trades on emulated markets."""
REPLAY_BYTES_PER_TRADE: Final = 8.5
"""The same of flat files with stamps of milliseconds, ids that count up and one time per print."""
DEFAULT_FILE_BYTES: Final = 300
"""What a session with hardly any trade adds to a part; it shares pages and dictionaries."""
FILE_GROWTH: Final = 0.1
"""Share of that by which dictionaries grow with each e-fold of trades; alike on all tapes."""
ENTRY_BYTES: Final = 256
"""What a session takes in the record of a segment."""
INDEX_BYTES: Final = 16 * 1024
"""What ledger, catalog and Dagster take in the data folder for one session."""
COMMIT_BYTES: Final = 96 * 1024
"""What a commit takes however few sessions it has: a record, and pages of the ledger's log."""
DEFAULT_RAW_BYTES_PER_TRADE: Final = 220
"""JSON of one trade as the vendor renders it, before its compression."""
DEFAULT_TRADES_PER_SESSION: Final = 2_700
"""Trades of a session nothing is known of: real files average 44 KB."""
DEFAULT_SHARES_PER_TRADE: Final = 190
"""Used when no bar has a trade count to fit to; prints of two tickers of 2013 average that."""

DEFAULT_LATENCY_S: Final = 0.15
"""Round trip of a request, one thread's: what an answer takes over a usual line."""
DEFAULT_ROW_S: Final = 4.5e-6
"""Processor's seconds of a trade from wire to file: 2 us on busy sessions, 5 us on small ones."""
DEFAULT_SESSION_S: Final = 5e-3
"""Processor's seconds of a session: its commit, and its event in Dagster."""
DEFAULT_START_S: Final = 0.3
"""What a run takes besides: plan and bars are read, the catalog is built; idle, 0.2 to 0.4."""

SECONDS_PER_MINUTE: Final = 60
PRIOR_FILES: Final = 0.5
"""Files that the belief in the costs before anything landed counts for."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one trade and one file cost; the defaults were measured on real files.

    Attributes:
        bytes_per_trade: Stored bytes that grow with the trades.
        file_bytes: Stored bytes of a file with hardly any trade; :func:`size_expression` says
            how it grows.
        block_bytes: Bytes the file system and the indices of the lake add per session.
        raw_bytes_per_trade: Bytes on the wire, before compression.
        trades_per_session: Trades of a session nothing is known of.
        page_limit: Trades of a page, so of a request.
        requests_per_minute: Rate; 0 is unlimited.
        requests_per_page: Requests that a page takes: more than one where the vendor has to be
            asked again, or sends less than a page.
        request_s: Seconds that a download takes for a request, all of its threads at work.
        row_s: The same for a trade.
        session_s: The same for a session.
        start_s: Seconds that each run of a download takes whatever it asks for.
        learned_sessions: Sessions that landed and taught this; 0: it is believed beforehand.
    """

    bytes_per_trade: float = DEFAULT_BYTES_PER_TRADE
    file_bytes: float = DEFAULT_FILE_BYTES
    block_bytes: int = INDEX_BYTES
    raw_bytes_per_trade: float = DEFAULT_RAW_BYTES_PER_TRADE
    trades_per_session: int = DEFAULT_TRADES_PER_SESSION
    page_limit: int = 50_000
    requests_per_minute: float = 100.0
    requests_per_page: float = 1.0
    request_s: float = DEFAULT_LATENCY_S
    row_s: float = DEFAULT_ROW_S
    session_s: float = DEFAULT_SESSION_S
    start_s: float = DEFAULT_START_S
    learned_sessions: int = 0

    def __post_init__(self) -> None:
        sizes = (self.bytes_per_trade, self.file_bytes, self.block_bytes, self.raw_bytes_per_trade)
        times = (self.request_s, self.row_s, self.session_s, self.start_s)
        counts = (self.requests_per_page, self.trades_per_session, self.requests_per_minute)
        amounts = (*sizes, *times, *counts)
        is_valid = all(math.isfinite(amount) and amount >= 0 for amount in amounts)
        if not is_valid or self.page_limit < 1:
            raise ConfigError(f"expected amounts of 0 or more and a page limit above 0, got {self}")

    def predict_bytes(self, rows: float, files: int) -> float:
        """Predict the bytes of files with so many trades in all."""
        if not files:
            return 0.0
        growth = 1 + FILE_GROWTH * math.log1p(rows / files)
        return rows * self.bytes_per_trade + files * self.file_bytes * growth

    def predict_seconds(self, requests: float, rows: float, sessions: int, runs: int = 1) -> float:
        """Foretell how long a download takes: by its work, or by the rate where that is slower.

        One that asks for nothing takes no time.  Sessions that lie apart take several runs, and the
        few requests of each overlap less.
        """
        if not requests:
            return 0.0
        work = self.request_s * requests + self.row_s * rows + self.session_s * sessions
        work *= measure_slowness(requests / max(runs, 1))
        if self.requests_per_minute:
            work = max(work, requests / self.requests_per_minute * SECONDS_PER_MINUTE)
        return self.start_s * runs + work


def assume_costs(*, is_replay: bool) -> Calibration:
    """Assume what things cost before anything has landed; a replay of flat files costs less."""
    return Calibration(bytes_per_trade=REPLAY_BYTES_PER_TRADE) if is_replay else Calibration()


@dataclass(frozen=True, slots=True)
class SizeFit:
    """Bytes of a file, as :func:`size_expression` puts them together.

    Attributes:
        bytes_per_trade: Bytes that grow with the trades.
        file_bytes: Bytes of a file with hardly any trade.
        files: Files it was fitted to.
    """

    bytes_per_trade: float
    file_bytes: float
    files: int


def size_expression(
    rows: pl.Expr, files: pl.Expr, bytes_per_trade: pl.Expr, file_bytes: pl.Expr
) -> pl.Expr:
    """Predict the bytes of files with trades: a part per file, and a part per trade.

    A file is more than its trades: footer, page headers and dictionaries, of which the last grow
    with the logarithm of the trades.

    Args:
        rows: Trades in all.
        files: Files that hold them, about equally; none: no trade is expected, and no file.
        bytes_per_trade: Bytes that grow with the trades.
        file_bytes: Bytes of a file with hardly any trade.
    """
    mean = pl.when(files > 0).then(rows / files).otherwise(0.0)
    return rows * bytes_per_trade + files * file_bytes * _grow(mean)


def fit_bytes_per_trade(
    rows: pl.Series, sizes: pl.Series, prior: Calibration | None = None
) -> SizeFit:
    """Fit the size of files to their rows: by relative errors, then to their total size.

    The belief of what a file takes besides its trades counts as much as half a file: so one file
    already teaches what a trade takes, and files that are all alike do not turn the parts around.

    Args:
        rows: Trades of each file; files of none are left out, since there is no file.
        sizes: Bytes of each file.
        prior: What is believed beforehand; the default costs by default.

    Raises:
        DataError: The series differ in length, hold a negative number, or no file has a trade.
    """
    if len(rows) != len(sizes):
        raise DataError(f"expected one size for each file, got {len(rows)} and {len(sizes)}")
    files = pl.DataFrame({"rows": rows, "size": sizes}).cast(pl.Float64).filter(pl.col("rows") != 0)
    if files.is_empty() or files.select(pl.any_horizontal(pl.all() < 0).any()).item():
        raise DataError("expected files with trades and sizes of 0 or more, got none or less")
    before = _bring_to_total(prior or Calibration(), files)
    parts = files.select(
        "size",
        file=_grow(pl.col("rows")) * before.file_bytes,
        trades=pl.col("rows") * before.bytes_per_trade,
    )
    file = _solve_file_share(parts)
    # What is left to the total lies with the trades of the large files, which hardly weigh above.
    around, told, size = (float(parts[name].sum()) for name in ("file", "trades", "size"))
    if size < around * file:
        file = size / around
    return SizeFit(
        bytes_per_trade=before.bytes_per_trade * max(0.0, size - around * file) / told,
        file_bytes=before.file_bytes * file,
        files=files.height,
    )


def _bring_to_total(prior: Calibration, files: pl.DataFrame) -> Calibration:
    """Bring what is believed to the total size of files, by its trades alone.

    What a file takes besides its trades is a matter of the format, and alike on every tape.
    """
    around = files.select(_grow(pl.col("rows")).sum()).item() * prior.file_bytes
    left = float(files["size"].sum()) - around
    if left <= 0:
        return prior
    return replace(prior, bytes_per_trade=left / float(files["rows"].sum()))


def _grow(rows: pl.Expr) -> pl.Expr:
    """Tell how many times its smallest cost a file of so many trades takes besides them."""
    return 1 + FILE_GROWTH * rows.log1p()


def _solve_file_share(parts: pl.DataFrame) -> float:
    """Work out how many times what is believed a file takes besides its trades, by relative errors.

    Args:
        parts: ``size``, ``file`` and ``trades`` of each file.
    """
    sized = parts.filter(pl.col("size") > 0)
    file, trades = (sized[name] / sized["size"] for name in ("file", "trades"))
    squares = float((file * file).sum()) + PRIOR_FILES, float((trades * trades).sum()) + PRIOR_FILES
    both = float((file * trades).sum())
    wanted = float(file.sum()) + PRIOR_FILES, float(trades.sum()) + PRIOR_FILES
    area = squares[0] * squares[1] - both * both
    file_share = (wanted[0] * squares[1] - wanted[1] * both) / area
    trades_share = (wanted[1] * squares[0] - wanted[0] * both) / area
    if trades_share < 0:
        return wanted[0] / squares[0]
    return max(0.0, file_share)


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
    """Estimate ``bar_rows`` of the bars: trades by count, else by volume, else null."""
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
