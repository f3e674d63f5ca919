"""Content hashes of many sessions at once, as :func:`tape.hash_trades` gives each of them.

What belongs here: the same encoding over a table of several sessions; the columns are made
canonical once, and each session is a slice of them.  What does not: the encoding itself
(``tape``), which the tests hold both to.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.tape import HASH_HEADER
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import TRADES, VENDOR_COLUMNS

Blocks: TypeAlias = Callable[[int, int], Sequence[memoryview]]
"""From the first row and the one after the last to the canonical bytes of one column."""


def hash_sessions(trades: pl.DataFrame, sizes: Sequence[int]) -> list[str]:
    """Return the content hash of each of the sessions that lie one after the other.

    Args:
        trades: The vendor columns of ``schemas.TRADES``; further columns are ignored.
        sizes: Rows of each session, in order; together all rows.

    Raises:
        DataError: The sizes do not add up to the rows.
        SchemaError: A vendor column is missing or of another type.
    """
    if sum(sizes) != trades.height:
        raise DataError(f"expected {sum(sizes)} rows of {len(sizes)} sessions, got {trades.height}")
    columns = [(name.encode(), _slice_column(trades, name)) for name in VENDOR_COLUMNS]
    header = hashlib.sha256(HASH_HEADER)
    hashes, start = [], 0
    for size in sizes:
        digest = header.copy()
        for name, blocks in columns:
            digest.update(b"%s %d\n" % (name, size))
            for block in blocks(start, start + size):
                digest.update(block)
        hashes.append(digest.hexdigest())
        start += size
    return hashes


def _slice_column(trades: pl.DataFrame, name: str) -> Blocks:
    dtype = TRADES.columns[name].dtype
    if trades.schema.get(name) != dtype:
        raise SchemaError(f"{name}: expected {dtype}, got {trades.schema.get(name)}")
    values = trades[name].rechunk()
    if dtype == pl.String:
        return _slice_texts(values.fill_null(""))
    if dtype == pl.List:
        return _slice_lists(values)
    if dtype == pl.Float64:
        return _slice_fixed(values.fill_null(0.0).to_numpy().astype("<f8", copy=False))
    return _slice_fixed(_to_integers(values.to_physical()))


def _slice_fixed(values: npt.NDArray[np.generic]) -> Blocks:
    view = np.ascontiguousarray(values).view(np.uint8).data
    width = values.dtype.itemsize
    return lambda first, last: (view[first * width : last * width],)


def _slice_texts(texts: pl.Series) -> Blocks:
    lengths = _to_integers(texts.str.len_bytes())
    joined = memoryview(str(texts.str.join("").item()).encode() if len(texts) else b"")
    return _slice_ragged(lengths, joined, width=1)


def _slice_lists(lists: pl.Series) -> Blocks:
    lengths = lists.list.len().fill_null(0)
    values = _to_integers(lists.filter(lengths > 0).explode())
    return _slice_ragged(_to_integers(lengths), values.view(np.uint8).data, width=8)


def _slice_ragged(lengths: npt.NDArray[np.int64], values: memoryview, *, width: int) -> Blocks:
    """Return the lengths of some rows, then their values."""
    ends = np.concatenate([[0], np.cumsum(lengths)]) * width
    heads = _slice_fixed(lengths)
    return lambda first, last: (*heads(first, last), values[ends[first] : ends[last]])


def _to_integers(values: pl.Series) -> npt.NDArray[np.int64]:
    filled = values.fill_null(0) if values.null_count() else values
    return np.ascontiguousarray(filled.cast(pl.Int64).to_numpy().astype("<i8", copy=False))
