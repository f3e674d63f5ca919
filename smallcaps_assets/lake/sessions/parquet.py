"""Trades as the bytes of a Parquet file, and back.

What belongs here: encodings, compression, checksums.  What does not: where the bytes lie or
whether they are proven (``lake.segment_store``).

Every column is stored as readers want it, so that polars, DuckDB and pyarrow read the table of
the contract without help.  Most instants and sequence numbers are stored as differences, conditions
and the time of the participant byte by byte (the first bytes of all values, then the second ones),
and what repeats by dictionary; ``id`` is none of these.  Only pyarrow verifies the checksums of
pages, and nothing in the format guards its footer: what proves rows is their content hash.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from smallcaps_assets.core.ticks.tape import count_members
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import TRADES

_DIFFERENCES: Final = ("sip_timestamp", "trf_timestamp", "sequence_number")
_BYTE_BY_BYTE: Final = ("participant_timestamp", "conditions.list.element")
_REPEATING: Final = (
    "ticker",
    "session_date",
    "price",
    "size",
    "exchange",
    "tape",
    "trf_id",
    "correction",
    "trading_phase",
)
_FILTERED: Final = ("ticker", "session_date", "sip_timestamp")
"""Columns with statistics: a reader skips the file by them; of the others they are dead weight."""

_COMPRESSED: Final = {
    "id": 3,
    "conditions.list.element": 1,
    "participant_timestamp": 1,
    "price": 3,
    "size": 3,
    "sip_timestamp": 3,
}
"""What zstd makes smaller, and the level above which it costs more time than it saves space; the
rest is packed to the bit already, and would only take time."""

_BATCH: Final = 65_536
"""Values that the writer takes at once: with fewer it starts anew many times a row group."""

_LEAVES: Final = [
    f"{name}.list.element" if isinstance(column.dtype, pl.List) else name
    for name, column in TRADES.columns.items()
]
_OPTIONS: Final[dict[str, Any]] = {
    "compression_level": _COMPRESSED,
    "compression": {name: "ZSTD" if name in _COMPRESSED else "NONE" for name in _LEAVES},
    "column_encoding": {
        **dict.fromkeys(_DIFFERENCES, "DELTA_BINARY_PACKED"),
        **dict.fromkeys(_BYTE_BY_BYTE, "BYTE_STREAM_SPLIT"),
    },
    "write_batch_size": _BATCH,
    "use_dictionary": list(_REPEATING),
    "write_statistics": list(_FILTERED),
    "write_page_checksum": True,
    "store_schema": False,
}

UNREADABLE: Final = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    OSError,
    MemoryError,
    ValueError,
)
"""What pyarrow and polars raise on bytes that are no Parquet file, or no whole one."""


def normalise_conditions(trades: pl.DataFrame) -> pl.DataFrame:
    """Put null in place of an empty list of conditions.

    The vendor leaves the field out when there are none; null and ``[]`` mean the same.
    """
    lengths = count_members(trades["conditions"])
    if np.count_nonzero(lengths == 0) == trades["conditions"].null_count():
        return trades
    conditions = pl.col("conditions")
    return trades.with_columns(
        pl.when(conditions.list.len() > 0).then(conditions).alias("conditions")
    )


def encode_trades(trades: pl.DataFrame) -> bytes:
    """Encode trades as one file; equal trades give equal bytes.

    That holds for one version of pyarrow.

    Args:
        trades: ``schemas.TRADES``, in tape order.

    Raises:
        SchemaError: The trades break their contract.
    """
    whole = normalise_conditions(TRADES.conform(trades))
    table, tickers = to_arrow_trades(whole), whole["ticker"]
    if whole.height and (tickers == tickers[0]).all():
        ones = pa.DictionaryArray.from_arrays(
            np.zeros(whole.height, np.int32), tickers[:1].to_arrow()
        )
        table = table.set_column(0, "ticker", ones)
    # Arrow's own buffer: writing to one of Python's takes the interpreter lock for each page.
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **_OPTIONS)
    return bytes(sink.getvalue())


def release_unused() -> None:
    """Give memory back that encoding took and freed: Arrow would keep it, apart for each thread.

    It costs 2 ms after 50,000 trades and hardly anything after few.
    """
    pa.default_memory_pool().release_unused()


def open_trades_writer(sink: pa.NativeFile) -> pq.ParquetWriter:
    """Open a writer of several sessions into one file; it is whole when the writer is closed."""
    return pq.ParquetWriter(sink, _arrow_schema(), **_OPTIONS)


def to_arrow_trades(trades: pl.DataFrame) -> pa.Table:
    """Convert ``schemas.TRADES`` for a writer; polars would wake its threads for a frame."""
    return pa.table([series.rechunk().to_arrow() for series in trades], schema=_arrow_schema())


@functools.cache
def _arrow_schema() -> pa.Schema:
    """Name the types of a file; made when asked for, as importing must start no thread."""
    return TRADES.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def decode_sessions(contents: Sequence[bytes]) -> pl.DataFrame:
    """Decode the trades of several whole files, one after the other.

    Checksums of pages are not compared, as pyarrow would: the caller knows the hash of each file.

    Raises:
        SchemaError: One holds another table.
        DataError: One is damaged.
    """
    try:
        trades = pl.read_parquet(list(contents), hive_partitioning=False, glob=False)
    except UNREADABLE as error:
        raise DataError(f"expected Parquet files, got damaged bytes: {error}") from error
    if trades.schema != TRADES.schema:
        raise SchemaError(f"expected the columns of trades, got {trades.schema}")
    return trades


def decode_trades(content: bytes) -> pl.DataFrame:
    """Decode the trades of a whole Parquet file, comparing the checksum of every page.

    Returns:
        ``schemas.TRADES``, in tape order.

    Raises:
        SchemaError: It holds another table.
        DataError: It is damaged.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read()
        trades = pl.DataFrame(table)
    except UNREADABLE as error:
        raise DataError(f"expected a Parquet file, got damaged bytes: {error}") from error
    if table.num_rows != file.metadata.num_rows:
        raise DataError(
            f"expected {file.metadata.num_rows} rows by the footer, got {table.num_rows}: damaged"
        )
    if trades.schema != TRADES.schema:
        raise SchemaError(f"expected the columns of trades, got {trades.schema}")
    return TRADES.conform(trades)
