"""One flat file of the vendor: a day of trades as csv.gz, read by ticker.

What belongs here: where each ticker lies in the file, and its rows as wire columns.  What does
not: which files there are (``folder``), gzip (``seekable``).
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.emulator.replay.seekable import SeekableGzip
from smallcaps_assets.emulator.source import SourceError
from smallcaps_assets.emulator.tape import TAPE_COLUMNS

BLOCK_BYTES: Final = 8 * 1024 * 1024
_REQUIRED: Final = {"ticker", "size", *TAPE_COLUMNS} - {"decimal_size"}


@dataclass(slots=True)
class FlatFile:
    """A flat file whose index is made when it is first needed.

    One that is damaged, or no flat file of trades, is a ``SourceError``.

    Attributes:
        path: The csv.gz.
    """

    path: Path
    _stream: SeekableGzip = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _header: bytes = field(default=b"", init=False)
    _spans: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._stream = SeekableGzip(self.path)

    @property
    def tickers(self) -> list[str]:
        """The tickers in the order of the file."""
        self._ensure_index()
        return list(self._spans)

    def read_trades(self, ticker: str) -> pl.DataFrame:
        """Read a ticker's rows as ``TAPE_COLUMNS``, in the order of the file."""
        self._ensure_index()
        if ticker not in self._spans:
            return pl.DataFrame(schema=TAPE_COLUMNS)
        return self._parse(self._stream.read(*self._spans[ticker])).drop("ticker")

    def iter_trades(self) -> Iterator[pl.DataFrame]:
        """Yield all rows, ``ticker`` and ``TAPE_COLUMNS``, some whole tickers at a time."""
        self._ensure_index()
        start = end = min((first for first, _ in self._spans.values()), default=0)
        for _, last in self._spans.values():
            if last - start > BLOCK_BYTES and end > start:
                yield self._parse(self._stream.read(start, end))
                start = end
            end = last
        if end > start:
            yield self._parse(self._stream.read(start, end))

    def _ensure_index(self) -> None:
        with self._lock:
            if not self._header:
                self._header, self._spans = self._build_index()

    def _build_index(self) -> tuple[bytes, dict[str, tuple[int, int]]]:
        """Build the index: the header line, and where each ticker's lines begin and end."""
        lines = _iter_whole_lines(self._stream.iter_blocks())
        offset, first = next(lines, (0, b""))
        header, _, rest = first.partition(b"\n")
        if missing := sorted(_REQUIRED - set(header.decode().strip().split(","))):
            raise SourceError(f"{self.path}: expected flat-file columns, missing {missing}")
        spans = _find_tickers(rest)
        runs = [
            (t, offset + len(header) + 1 + s, offset + len(header) + 1 + e) for t, s, e in spans
        ]
        for start, block in lines:
            runs += [(ticker, start + s, start + e) for ticker, s, e in _find_tickers(block)]
        return header + b"\n", self._merge_runs(runs)

    def _merge_runs(self, runs: list[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
        merged: dict[str, tuple[int, int]] = {}
        for ticker, start, end in runs:
            before = merged.get(ticker, (start, start))
            if before[1] != start:
                raise SourceError(f"{self.path}: not sorted by ticker: {ticker} occurs twice")
            merged[ticker] = (before[0], end)
        return merged

    def _parse(self, lines: bytes) -> pl.DataFrame:
        rows = pl.read_csv(
            self._header + lines, infer_schema=False, empty_string_is_null=False, glob=False
        )
        try:
            return rows.select("ticker", *(_convert(name) for name in TAPE_COLUMNS))
        except pl.exceptions.InvalidOperationError as error:
            raise SourceError(f"{self.path}: a row is no trade: {error}") from error


def _iter_whole_lines(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the place of each block, cut at line ends, and the block."""
    offset, held = 0, b""
    for block in blocks:
        held += block
        cut = held.rfind(b"\n") + 1
        if cut and len(held) >= BLOCK_BYTES:
            yield offset, held[:cut]
            offset, held = offset + cut, held[cut:]
    if held:
        yield offset, held


def _find_tickers(block: bytes) -> list[tuple[str, int, int]]:
    """Find each run of one ticker's lines: ticker, begin and end in the block."""
    if not block:
        return []
    tickers = pl.read_csv(
        block, has_header=False, columns=[0], infer_schema=False, glob=False
    ).to_series()
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + 1
    if len(ends) < len(tickers):
        ends = np.append(ends, len(block))
    runs = tickers.rle().struct.unnest()
    last = np.cumsum(runs["len"].to_numpy()) - 1
    run_ends = ends[last].tolist()
    run_starts = [0, *run_ends[:-1]]
    return list(zip(runs["value"].to_list(), run_starts, run_ends, strict=True))


def _convert(name: str) -> pl.Expr:
    """Convert the text of the file to a wire column; zero stands for absent, as in the file."""
    text = pl.col(name)
    if name == "size":
        return text.str.split(".").list.first().cast(pl.Int64)
    if name == "decimal_size":
        return _write_decimals()
    if name in {"id", "conditions"}:
        return text
    return (
        pl.when(text == "").then(pl.lit("0")).otherwise(text).cast(TAPE_COLUMNS[name]).alias(name)
    )


def _write_decimals() -> pl.Expr:
    """Write sizes as text where the file has decimals, with one decimal at least."""
    text = pl.col("size")
    trimmed = text.str.strip_chars_end("0")
    padded = pl.when(trimmed.str.ends_with(".")).then(trimmed + "0").otherwise(trimmed)
    return pl.when(text.str.contains(".", literal=True)).then(padded).alias("decimal_size")
