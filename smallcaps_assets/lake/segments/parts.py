"""Parts: Parquet files with the rows of many ticker-sessions, by ticker, session and tape.

What belongs here: the bytes of parts, and reading rows of one by their place.  What does not: what
the rows are (``closing``), and which of them count (``reading``).
"""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from smallcaps_assets.core.segments.upkeep import PART_BYTES
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.sessions.parquet import (
    UNREADABLE,
    normalise_conditions,
    open_trades_writer,
    to_arrow_trades,
)
from smallcaps_assets.lake.storage.protocol import Storage
from smallcaps_assets.schemas import TRADES

ROW_GROUP: Final = 32_768
"""Rows of a row group at most: what is decoded for one session."""


class PartShape(NamedTuple):
    """How large things in a part are.

    Attributes:
        part_bytes: Size from which on a part ends with its session.
        group_rows: Rows of a row group at most.
        chunk_rows: Rows in memory until a segment is full: about what a part holds.
    """

    part_bytes: int = PART_BYTES
    group_rows: int = ROW_GROUP
    chunk_rows: int = 1_600_000


SHAPE: Final = PartShape()


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """A part in memory.

    Attributes:
        content: The whole file.
        first_row: Its first row among all that were encoded.
        rows: Rows in it.
    """

    content: bytes
    first_row: int
    rows: int


def encode_parts(
    trades: pl.DataFrame, ends: Sequence[int], shape: PartShape = SHAPE
) -> Iterator[EncodedPart]:
    """Yield the parts that hold some sessions; none is cut in two.

    Args:
        trades: ``schemas.TRADES`` by ticker, session and tape.
        ends: Row after the last one of each session, in order.
        shape: How large things are.

    Raises:
        SchemaError: The trades break their contract.
    """
    whole = normalise_conditions(TRADES.conform(trades))
    start = 0
    while start < whole.height:
        part = _encode_part(whole, start, ends, shape)
        yield part
        start += part.rows


def _encode_part(
    trades: pl.DataFrame, start: int, ends: Sequence[int], shape: PartShape
) -> EncodedPart:
    sink = pa.BufferOutputStream()
    row, last = start, trades.height
    with open_trades_writer(sink) as writer:
        while row < last:
            group = trades.slice(row, min(shape.group_rows, last - row))
            writer.write_table(to_arrow_trades(group), row_group_size=shape.group_rows)
            row += group.height
            if sink.tell() >= shape.part_bytes:
                last = min(last, ends[bisect_left(ends, row)])
    return EncodedPart(sink.getvalue().to_pybytes(), start, row - start)


class PartReader:
    """Reads rows of a part by their place; for one thread.

    Only the row groups that are needed are read, and checksums of their pages are compared.  The
    last ones are kept: who reads session after session meets each of them many times.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        """Open a part and read its footer.

        Raises:
            MissingPartitionError: There is none.
            DataError: It is damaged.
        """
        stored = storage.stat(key)
        if stored is None:
            raise MissingPartitionError(f"expected the part {key}, found none")
        self._key = key
        with self._refusing_damage():
            file = pa.PythonFile(_StoredFile(storage, key, stored.size), mode="r")
            self._file = pq.ParquetFile(file, page_checksum_verification=True)
            groups = range(self._file.num_row_groups)
            sizes = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._starts = list(accumulate(sizes, initial=0))
        self._kept: tuple[list[int], pl.DataFrame] = ([], TRADES.empty())

    @property
    def rows(self) -> int:
        """Count the rows by the footer."""
        return self._starts[-1]

    def read(self, places: Sequence[tuple[int, int]]) -> pl.DataFrame:
        """Read ``schemas.TRADES`` of some places, one after the other.

        Args:
            places: First row and number of rows of each, in rising order.

        Raises:
            DataError: The part is damaged, or ends before.
        """
        groups = sorted({group for place in places for group in self._find_groups(*place)})
        if not groups:
            return TRADES.empty()
        if groups != self._kept[0]:
            self._kept = (groups, self._decode(groups))
        trades = self._kept[1]
        sizes = [self._starts[group + 1] - self._starts[group] for group in groups]
        offsets = dict(zip(groups, accumulate(sizes, initial=0), strict=False))
        pieces = [
            trades.slice(offsets[group] + first - self._starts[group], rows)
            for first, rows in places
            for group in [bisect_right(self._starts, first) - 1]
        ]
        return pl.concat(pieces)

    def _decode(self, groups: list[int]) -> pl.DataFrame:
        with self._refusing_damage():
            trades = pl.DataFrame(self._file.read_row_groups(groups))
            if trades.schema != TRADES.schema:
                raise DataError(f"{self._key} is damaged: expected the columns of trades")
        return trades

    def _find_groups(self, first: int, rows: int) -> range:
        if first < 0 or first + rows > self.rows:
            raise DataError(f"expected rows up to {first + rows} in {self._key}, got {self.rows}")
        return range(bisect_right(self._starts, first) - 1, bisect_left(self._starts, first + rows))

    @contextmanager
    def _refusing_damage(self) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise DataError(f"{self._key} is damaged: {error}; run `smallcaps repair`") from error


class _StoredFile(io.RawIOBase):
    """An object of a storage as a file that can be read anywhere."""

    def __init__(self, storage: Storage, key: str, size: int) -> None:
        self._storage = storage
        self._key = key
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        wanted = self._size - self._place if size < 0 else size
        content = self._storage.load_range(self._key, self._place, wanted)
        self._place += len(content)
        return content
