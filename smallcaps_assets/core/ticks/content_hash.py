"""Content hashes: what a session holds, whatever the file and its settings.

What belongs here: the one canonical encoding of the vendor's fields, and hashes over it.  Columns
are made canonical once, and any session is a slice of them, so that many short sessions cost
little more than one long one.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.ticks.tape import read_lists, read_narrow
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import TRADES, VENDOR_COLUMNS

HASH_HEADER: Final = b"smallcaps trades 1\n"
"""Names the encoding below; another encoding needs another header."""

SHORT_SESSION: Final = 4_096
"""Rows up to which all bytes are put together first: each longer update gives the interpreter
lock away, and to get it back among many threads takes longer than a short session."""

NEIGHBOUR_ROWS: Final = 131_072
"""Rows of neighbouring sessions that are taken at once, up to the end of the last."""

Blocks: TypeAlias = Callable[[int, int], Sequence[memoryview]]
"""From the first row and the one after the last to the canonical bytes of one column."""


class TapeHasher:
    """The content hashes of sessions that lie in one table.

    The encoding knows neither chunks nor files: column by column, its name and row count, then
    little-endian values (integers and instants as 64 bits, lengths before texts and lists),
    null written as 0 or as empty.
    """

    def __init__(self, trades: pl.DataFrame) -> None:
        """Make the vendor columns of ``schemas.TRADES`` canonical; further columns are ignored.

        Raises:
            SchemaError: A vendor column is missing or of another type.
        """
        self._columns = [(name.encode(), _slice_column(trades, name)) for name in VENDOR_COLUMNS]

    def hash(self, first: int, last: int) -> str:
        """Hash all vendor fields of the rows ``[first, last)`` to sha256."""
        digest = hashlib.sha256(HASH_HEADER)
        parts = self._iter_parts(first, last)
        for part in (b"".join(parts),) if last - first <= SHORT_SESSION else parts:
            digest.update(part)
        return digest.hexdigest()

    def _iter_parts(self, first: int, last: int) -> Iterator[bytes | memoryview]:
        for name, blocks in self._columns:
            yield b"%s %d\n" % (name, last - first)
            yield from blocks(first, last)


def hash_trades(trades: pl.DataFrame) -> str:
    """Hash the content of one session; see :class:`TapeHasher`."""
    return TapeHasher(trades).hash(0, trades.height)


def hash_sessions(trades: pl.DataFrame, sizes: Sequence[int]) -> list[str]:
    """Hash each of the sessions of so many rows that lie one after the other.

    Neighbours are made canonical together, and not all at once: that would be a second copy.

    Raises:
        DataError: The sizes do not add up to the rows.
        SchemaError: A vendor column is missing or of another type.
    """
    if sum(sizes) != trades.height:
        raise DataError(
            f"expected {format_count(sum(sizes), 'row')} of {format_count(len(sizes), 'session')}, "
            f"got {trades.height:,}"
        )
    hashes = []
    for near in iter_neighbours(np.cumsum(sizes, dtype=np.int64).tolist()):
        start, end = near[0][0], near[-1][1]
        hasher = TapeHasher(trades.slice(start, end - start))
        hashes += [hasher.hash(first - start, last - start) for first, last in near]
    return hashes


def iter_neighbours(ends: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Yield the rows of sessions that lie one after the other, few enough of them to take at once.

    Args:
        ends: Row after the last one of each session, in order.

    Yields:
        First row, and row after the last one, of each of some sessions.
    """
    spans = pairwise([0, *ends])
    for _, near in groupby(spans, key=lambda span: span[0] // NEIGHBOUR_ROWS):
        yield list(near)


def hash_lake(hashes: Mapping[str, str]) -> str:
    """Hash a lake: sha256 over its sorted keys and the content hashes of their sessions."""
    lines = (f"{key} {content_hash}\n".encode() for key, content_hash in sorted(hashes.items()))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _slice_column(trades: pl.DataFrame, name: str) -> Blocks:
    """Make what cuts the canonical bytes of a column; see decision 15 for the calls.

    What is canonical already is not copied, and the rest not before it is asked for, so that a
    long tape is never in memory twice.
    """
    dtype = TRADES.columns[name].dtype
    values = trades[name] if name in trades.columns else None
    if values is None or values.dtype != dtype:
        raise SchemaError(f"{name}: expected {dtype}, got {trades.schema.get(name)}")
    whole = values.rechunk()
    if dtype == pl.String:
        return lambda first, last: _read_texts(whole.slice(first, last - first))
    if dtype == pl.List:
        return _slice_lists(whole)
    if dtype == pl.Float64:
        floats = whole.fill_null(0.0) if whole.null_count() else whole
        return _slice_fixed(floats.to_numpy(), "<f8")
    return _slice_fixed(read_narrow(whole), "<i8")


def _slice_fixed(values: npt.NDArray[Any], dtype: str) -> Blocks:
    return lambda first, last: (_view_bytes(values[first:last], dtype),)


def _read_texts(values: pl.Series) -> tuple[memoryview, memoryview]:
    """Read the length of every text in bytes, null counting as empty, and all texts in one."""
    whole = values.fill_null("") if values.null_count() else values
    texts: Any = whole.rechunk().to_arrow()
    _, offsets, content = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset :][: whole.len() + 1]
    return _view_bytes(np.diff(ends), "<i8"), memoryview(content or b"")[ends[0] : ends[-1]]


def _slice_lists(values: pl.Series) -> Blocks:
    lengths, members = read_lists(values)
    ends = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return lambda first, last: (
        _view_bytes(lengths[first:last], "<i8"),
        _view_bytes(members[ends[first] : ends[last]], "<i8"),
    )


def _view_bytes(values: npt.NDArray[Any], dtype: str) -> memoryview:
    """View values of a canonical type as their bytes; a copy where they are of another."""
    return np.ascontiguousarray(values, dtype=dtype).view(np.uint8).data
