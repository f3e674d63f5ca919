"""The files of trades of a compacted month: written session after session, and read back.

What belongs here: the bytes of the files and where in them a session lies.  What does not: where
the files lie and what makes them a month (``store``).

Row groups are small, and the rows are sorted by ticker, session and tape order, so a reader skips
nearly all of a file by the statistics of ``ticker``, ``session_date`` and ``sip_timestamp``.
"""

import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from smallcaps_assets.core.ticks.content_hash import hash_sessions
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.sessions.parquet import (
    UNREADABLE,
    ZSTD_LEVEL,
    open_trades_writer,
    to_arrow_trades,
)
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.schemas import TRADES, VENDOR_COLUMNS

ROW_GROUP: Final = 32_768
PART_BYTES: Final = 32 * 1024**2
"""Size from which on a month continues in another file; it bounds memory."""
BATCH_ROWS: Final = 8 * ROW_GROUP
BATCH_SESSIONS: Final = 512
"""Rows and sessions decoded at once; a larger session is decoded whole."""


@dataclass(frozen=True, slots=True)
class SessionBatch:
    """Some neighbouring sessions of a month.

    Attributes:
        trades: ``schemas.TRADES`` of them, one after the other.
        sessions: Columns ``ticker``, ``session_date``, ``rows`` and ``content_hash`` of each.
    """

    trades: pl.DataFrame
    sessions: pl.DataFrame


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """One file of a month, in memory.

    Attributes:
        content: The whole file.
        sessions: Columns ``ticker``, ``session_date``, ``first_row``, ``rows`` and
            ``content_hash`` of those in it.
        rows: Rows in it.
    """

    content: bytes
    sessions: pl.DataFrame
    rows: int


def encode_parts(
    batches: Iterable[SessionBatch], *, zstd_level: int = ZSTD_LEVEL, part_bytes: int = PART_BYTES
) -> Iterator[EncodedPart]:
    """Yield the files that hold some sessions; equal sessions give equal files.

    Args:
        batches: The sessions, sorted by ticker and session.
        zstd_level: Compression.
        part_bytes: Size from which on another file begins.
    """
    part = _OpenPart(zstd_level)
    for batch in batches:
        part.add(batch)
        if part.size >= part_bytes:
            yield part.finish()
            part = _OpenPart(zstd_level)
    if part.batches:
        yield part.finish()


class _OpenPart:
    """A file that is being written, in row groups of one size."""

    def __init__(self, zstd_level: int) -> None:
        self.batches: list[pl.DataFrame] = []
        self._sink = pa.BufferOutputStream()
        self._writer = open_trades_writer(self._sink, zstd_level=zstd_level)
        self._waiting = TRADES.empty()

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return int(self._sink.tell())

    def add(self, batch: SessionBatch) -> None:
        """Write what fills whole row groups, and keep the rest for the next ones."""
        self.batches.append(batch.sessions)
        trades = pl.concat([self._waiting, batch.trades])
        full = trades.height // ROW_GROUP * ROW_GROUP
        self._write(trades.head(full))
        # A copy: a slice would keep the whole batch in memory.
        self._waiting = trades.slice(full).rechunk()

    def finish(self) -> EncodedPart:
        """Write the rest and return the file."""
        self._write(self._waiting)
        self._writer.close()
        sessions = pl.concat(self.batches)
        ends = pl.col("rows").cum_sum()
        placed = sessions.with_columns(first_row=ends - pl.col("rows"))
        return EncodedPart(bytes(self._sink.getvalue()), placed, int(sessions["rows"].sum()))

    def _write(self, trades: pl.DataFrame) -> None:
        if trades.height:
            self._writer.write_table(to_arrow_trades(trades), row_group_size=ROW_GROUP)


class PartReader:
    """Reads sessions from a file of a month, each row group once when they are asked in order.

    Checksums of pages are compared.  It is for one thread.
    """

    def __init__(self, path: Path, fs: FileSystem) -> None:
        """Open the file and read its footer.

        Raises:
            MissingPartitionError: There is none.
            DataError: It is damaged.
        """
        if fs.is_link(path) or not fs.is_file(path):
            raise MissingPartitionError(f"expected a file of a compacted month, found none: {path}")
        self.path = path
        with self._refusing_damage():
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            groups = range(self._file.num_row_groups)
            sizes = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._starts = list(accumulate(sizes, initial=0))
        self._cached = (-1, TRADES.empty())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, first_row: int, rows: int) -> pl.DataFrame:
        """Return ``schemas.TRADES`` of some neighbouring rows.

        Raises:
            DataError: The file is damaged there, or ends before.
        """
        end = first_row + rows
        if first_row < 0 or end > self._starts[-1]:
            raise DataError(f"expected rows up to {end} in {self.path}, got {self._starts[-1]}")
        group = bisect_right(self._starts, first_row) - 1
        pieces = []
        while self._starts[group] < end:
            start = self._starts[group]
            low = max(first_row - start, 0)
            pieces.append(self._read_group(group).slice(low, end - start - low))
            group += 1
        return pl.concat(pieces)

    def _read_group(self, group: int) -> pl.DataFrame:
        if self._cached[0] != group:
            with self._refusing_damage():
                trades = pl.DataFrame(self._file.read_row_group(group))
                if trades.schema != TRADES.schema or trades.height != self._height(group):
                    raise DataError(f"{self.path} is damaged: expected row groups of trades")
            self._cached = (group, trades)
        return self._cached[1]

    def _height(self, group: int) -> int:
        return self._starts[group + 1] - self._starts[group]

    @contextmanager
    def _refusing_damage(self) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise DataError(f"{self.path} is damaged: {error}; run `smallcaps repair`") from error


def find_wrong_sessions(reader: PartReader, sessions: pl.DataFrame) -> dict[int, str]:
    """Return which sessions of a file do not read back as what they are listed as.

    Args:
        reader: The file.
        sessions: Columns ``first_row``, ``rows`` and ``content_hash``, in the order of the file.

    Returns:
        What is wrong, by the number of the row in ``sessions``; empty: everything is proven.
    """
    wrong: dict[int, str] = {}
    places = sessions.select("first_row", "rows", "content_hash").rows()
    for number, (first_row, rows, content_hash) in enumerate(places):
        try:
            found = hash_sessions(reader.read(first_row, rows), [rows])[0]
        except DataError as error:
            wrong[number] = str(error)
            continue
        if found != content_hash:
            wrong[number] = f"expected content {content_hash}, got {found}"
    return wrong


def hash_part(content: bytes, sessions: pl.DataFrame) -> list[str]:
    """Return the content hashes of the sessions of a whole file, decoded piece by piece.

    Args:
        content: The file.
        sessions: Columns ``first_row`` and ``rows``, in the order of the file, without gaps.

    Raises:
        DataError: It is damaged, or has another number of rows.
    """
    hashes: list[str] = []
    start = 0
    try:
        trades = pl.scan_parquet(io.BytesIO(content), glob=False).select(VENDOR_COLUMNS)
        for sizes in cut_batches(sessions["rows"].to_list()):
            piece = trades.slice(start, sum(sizes)).collect()
            hashes += hash_sessions(piece, sizes)
            start += piece.height
        rows = trades.select(pl.len()).collect().item()
    except UNREADABLE as error:
        raise DataError(f"expected a file of trades, got damaged bytes: {error}") from error
    if rows != start:
        raise DataError(f"expected a file of {start} trades, got {rows}")
    return hashes


def cut_batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield runs of sizes that are together a batch at most, or one larger size alone."""
    run: list[int] = []
    total = 0
    for size in sizes:
        if run and (total + size > BATCH_ROWS or len(run) == BATCH_SESSIONS):
            yield run
            run, total = [], 0
        run.append(size)
        total += size
    if run:
        yield run
