"""Replay: a source that serves the vendor's flat files.

What belongs here: which files there are and what their rows answer.  What does not: the files
themselves (``flatfile``).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.core.ticks.conditions import build_daily_bar
from smallcaps_assets.emulator.cache import ByteCache
from smallcaps_assets.emulator.market.synthetic import DEFAULT_CACHE_BYTES
from smallcaps_assets.emulator.replay.flatfile import FlatFile
from smallcaps_assets.emulator.source import SourceError
from smallcaps_assets.emulator.tape import TAPE_COLUMNS, Span, Tape, WireRow

_ROOTS: Final = ("us_stocks_sip/trades_v1", "trades_v1", ".")
BAR_NAMES: Final = {
    "T": "ticker",
    "o": "open",
    "h": "high",
    "l": "low",
    "c": "close",
    "v": "volume",
    "vw": "vwap",
    "n": "trade_count",
}
"""What the vendor calls the columns of a bar."""


class Replay:
    """The flat files below a folder, ``.../trades_v1/YYYY/MM/YYYY-MM-DD.csv.gz``.

    A file is read when its date is first asked for.  Bars are built from its trades; there are no
    splits and no renamings, and every ticker found is an active listing.  The folder is
    ``trades_v1`` or one above it.

    Raises:
        SourceError: There is no flat file.
    """

    is_immutable = True

    def __init__(self, folder: Path, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.folder = folder.resolve()
        self.name = f"replay={self.folder.as_posix()}"
        self._files = _find_files(self.folder)
        self._bars: dict[dt.date, list[WireRow]] = {}
        self._tapes: ByteCache[tuple[str, dt.date], Tape] = ByteCache(
            cache_bytes, lambda tape: tape.size_bytes
        )

    @property
    def dates(self) -> list[dt.date]:
        """The dates there are files for, sorted."""
        return list(self._files)

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield one tape for each file whose New York day meets the span."""
        dates = [date for date in self._files if _overlaps(date, span)]
        for date in reversed(dates) if span.is_descending else dates:
            yield self._find_tape(ticker, date)

    def read_trades(self, ticker: str, date: dt.date) -> pl.DataFrame:
        """Read the trades of a ticker on a date as ``TAPE_COLUMNS``, in the order of the file."""
        if date not in self._files:
            return pl.DataFrame(schema=TAPE_COLUMNS)
        return self._files[date].read_trades(ticker)

    def read_grouped_bars(self, session_date: dt.date) -> Sequence[WireRow]:
        """Read the bars of a date, built from the whole file once."""
        if session_date not in self._files:
            return ()
        if session_date not in self._bars:
            frames = self._files[session_date].iter_trades()
            rows = [row for frame in frames for row in _build_bars(frame, session_date)]
            self._bars[session_date] = sorted(rows, key=lambda row: str(row["T"]))
        return self._bars[session_date]

    def read_ticker_bars(
        self, ticker: str, first: dt.date, last: dt.date
    ) -> Sequence[tuple[dt.date, WireRow]]:
        """Read a ticker's bars, each built from its own rows."""
        bars: list[tuple[dt.date, WireRow]] = []
        for date in self._files:
            if first <= date <= last:
                trades = self.read_trades(ticker, date).with_columns(ticker=pl.lit(ticker))
                bars.extend((date, row) for row in _build_bars(trades, date))
        return bars

    def read_splits(self) -> Sequence[WireRow]:
        """Read nothing: flat files of trades know no splits."""
        return ()

    def read_listings(self) -> Sequence[WireRow]:
        """Make a listing for every ticker that occurs; this reads all files."""
        first_seen: dict[str, dt.date] = {}
        for date, file in self._files.items():
            for ticker in file.tickers:
                first_seen.setdefault(ticker, date)
        return [
            {
                "ticker": ticker,
                "name": ticker,
                "market": "stocks",
                "locale": "us",
                "active": True,
                "list_date": str(first_seen[ticker]),
            }
            for ticker in sorted(first_seen)
        ]

    def read_changes(self, ticker: str) -> Sequence[tuple[dt.date, str]]:
        """Read nothing: flat files of trades know no renamings."""
        del ticker
        return ()

    def _find_tape(self, ticker: str, date: dt.date) -> Tape:
        def render() -> Tape:
            return Tape.from_frame(self._files[date].read_trades(ticker))

        return self._tapes.get_or_make((ticker, date), render)


def _find_files(folder: Path) -> dict[dt.date, FlatFile]:
    """Find the flat files of a folder by date, sorted."""
    for root in _ROOTS:
        paths = sorted((folder / root).glob("[0-9]*/[0-9]*/*.csv.gz"))
        if paths:
            return {_parse_date(path): FlatFile(path) for path in paths}
    raise SourceError(f"no flat files: expected {folder}/.../YYYY/MM/YYYY-MM-DD.csv.gz")


def _parse_date(path: Path) -> dt.date:
    try:
        return dt.date.fromisoformat(path.name.removesuffix(".csv.gz"))
    except ValueError as error:
        raise SourceError(f"{path}: expected a name like 2024-01-03.csv.gz") from error


def _overlaps(date: dt.date, span: Span) -> bool:
    start, end = day_bounds_ns(date, date)
    return start < span.lt_ns and span.gte_ns < end


def _build_bars(trades: pl.DataFrame, date: dt.date) -> list[WireRow]:
    """Build the bars of ``ticker`` and ``TAPE_COLUMNS`` as the vendor sends them."""
    size = pl.coalesce(pl.col("decimal_size").cast(pl.Float64), pl.col("size").cast(pl.Float64))
    ids = pl.col("conditions").str.split(",").list.eval(pl.element().cast(pl.Int32))
    rows = trades.lazy().with_columns(
        session_date=pl.lit(date),
        size=size,
        conditions=pl.when(pl.col("conditions") != "").then(ids),
    )
    bars = build_daily_bar(rows).select(**BAR_NAMES).collect()
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in bars.filter(pl.col("n") > 0).iter_rows(named=True)
    ]
