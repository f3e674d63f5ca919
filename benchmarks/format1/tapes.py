"""Sessions made ready for a lake of receipts: the file of each, and its receipt."""

import datetime as dt
import hashlib
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from smallcaps_assets.core.states import COMPLETE, EMPTY
from smallcaps_assets.lake.sessions.parquet import normalise_conditions, to_arrow_trades
from smallcaps_assets.lake.sessions.preparing import MeasuredTape
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.schemas import TRADES

ZSTD_LEVEL: Final = 3
TRADES_TREE: Final = "trades"

_COMPRESSED: Final = ("id", "price", "size", "conditions.list.element", "sip_timestamp")
_DIFFERENCES: Final = ("sip_timestamp", "participant_timestamp", "trf_timestamp", "sequence_number")
_LEAVES: Final = [
    f"{name}.list.element" if isinstance(column.dtype, pl.List) else name
    for name, column in TRADES.columns.items()
]
_OPTIONS: Final[dict[str, Any]] = {
    "compression": {name: "ZSTD" if name in _COMPRESSED else "NONE" for name in _LEAVES},
    "compression_level": dict.fromkeys(_COMPRESSED, ZSTD_LEVEL),
    "column_encoding": dict.fromkeys(_DIFFERENCES, "DELTA_BINARY_PACKED"),
    "use_dictionary": [
        "ticker",
        "session_date",
        "price",
        "size",
        "exchange",
        "tape",
        "trf_id",
        "conditions.list.element",
        "correction",
        "trading_phase",
    ],
    "write_statistics": ["ticker", "session_date", "sip_timestamp"],
    "write_page_checksum": True,
    "store_schema": False,
}


class StoredSession(NamedTuple):
    """A session ready to be committed: its receipt, its file, and its tree."""

    receipt: Receipt
    content: bytes
    tree: str = TRADES_TREE


class ReceiptTape:
    """Trades of one ticker, of which each session becomes a file."""

    def __init__(self, trades: pl.DataFrame, source: str) -> None:
        self._tape = MeasuredTape(trades, source=source)
        self._rows = trades.height
        whole = normalise_conditions(TRADES.conform(trades))
        self._table, tickers = to_arrow_trades(whole), whole["ticker"]
        if whole.height and (tickers == tickers[0]).all():
            ones = pa.DictionaryArray.from_arrays(
                np.zeros(whole.height, np.int32), tickers[:1].to_arrow()
            )
            self._table = self._table.set_column(0, "ticker", ones)

    def prepare(
        self,
        ticker: str,
        session_date: dt.date,
        facts: FetchFacts,
        *,
        rows: slice | None = None,
        tree: str = TRADES_TREE,
    ) -> StoredSession:
        """Encode, hash and describe one session, in whatever state."""
        first, last, _ = (rows or slice(0, self._rows)).indices(self._rows)
        plain = replace(facts, state=COMPLETE if last > first else EMPTY)
        measured = self._tape.prepare(ticker, session_date, plain, rows=slice(first, last))
        receipt = replace(measured.receipt, state=facts.state)
        if last == first:
            return StoredSession(receipt, b"", tree)
        content = self.encode(first, last)
        sha256 = hashlib.sha256(content).hexdigest()
        return StoredSession(replace(receipt, bytes=len(content), sha256=sha256), content, tree)

    def encode(self, first: int, last: int) -> bytes:
        """Encode the rows from ``first`` to before ``last`` as a file."""
        sink = pa.BufferOutputStream()
        pq.write_table(self._table.slice(first, last - first), sink, **_OPTIONS)
        return bytes(sink.getvalue())
