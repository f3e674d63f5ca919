"""The sessions that an export writes.

What belongs here: the file of a session and the receipt beside it, and whether an earlier export
has both already.  What does not: layouts (``export_folders``), and writing (``export``).

A lake has no receipts.  An export makes them of entries, so that what lies in its folders proves
itself.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, TypeAlias

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import Entry, list_entries
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, LakeError, MissingPartitionError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.locating import (
    Rows,
    SegmentReader,
    find_missing,
    list_stored,
    list_told,
    open_segments,
    select_rows,
)
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lake.segments.names import part_key
from smallcaps_assets.lake.segments.parts import PartReader
from smallcaps_assets.lake.segments.receipts import make_receipt
from smallcaps_assets.lake.sessions.parquet import encode_trades
from smallcaps_assets.lake.sessions.receipts import Receipt, encode_receipt, parse_receipt
from smallcaps_assets.lake.storage.files import FileSystem


class ExportedFile(NamedTuple):
    """A session as an export writes it.

    Attributes:
        content: Its Parquet file.
        receipt: What that proves.
        text: The file of the receipt.
    """

    content: bytes
    receipt: Receipt
    text: bytes


class _Part:
    """A part that is opened when its first session is read."""

    def __init__(self, segments: SegmentReader, key: str) -> None:
        self.source = segments.lake.source
        self._segments = segments
        self._key = key

    @cached_property
    def _reader(self) -> PartReader:
        return PartReader(self._segments.lake.storage, self._key)

    def read(self, entry: Entry) -> pl.DataFrame:
        """Read the rows of an entry, with proof."""
        trades = self._reader.read([(entry.first_row, entry.rows)])
        if hash_trades(trades) != entry.content_hash:
            key = encode_key(entry.ticker, entry.session_date)
            raise DataError(
                f"{key} in {self._key} is damaged: expected content {entry.content_hash}; run "
                "`smallcaps repair`"
            )
        return trades


class StoredSession:
    """A proven session with trades, in a part.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        place: What messages call it.
    """

    def __init__(self, part: _Part, entry: Entry) -> None:
        """Bind the session to its part; nothing is read yet."""
        self.ticker = entry.ticker
        self.session_date = entry.session_date
        self.place = encode_key(entry.ticker, entry.session_date)
        self._part = part
        self._entry = entry

    def recall(self, exported: bytes) -> Receipt | None:
        """Recognize the receipt of an earlier export; ``None``: the session is another one now."""
        try:
            told = parse_receipt(exported, where=self.place)
        except LakeError:
            return None  # Whatever it is, it is not what would be written.
        receipt = make_receipt(self._entry, self._part.source, told.bytes, told.sha256)
        return receipt if encode_receipt(receipt) == exported else None

    def read(self) -> ExportedFile:
        """Read the session, with proof.

        Raises:
            DataError: It is damaged.
            LedgerMismatchError: Its part is damaged.
            MissingPartitionError: Its part is gone.
        """
        content = encode_trades(self._part.read(self._entry))
        sha256 = hashlib.sha256(content).hexdigest()
        receipt = make_receipt(self._entry, self._part.source, len(content), sha256)
        return ExportedFile(content, receipt, encode_receipt(receipt))


class MissingSession:
    """A session that the ledger calls proven and no record has; attributes as above."""

    def __init__(self, ticker: str, session_date: dt.date) -> None:
        """Name the session."""
        self.ticker = ticker
        self.session_date = session_date
        self.place = encode_key(ticker, session_date)

    def recall(self, _exported: bytes) -> None:
        """Recognize nothing: there is nothing that it could be compared with."""

    def read(self) -> ExportedFile:
        """Refuse to read what is not there.

        Raises:
            MissingPartitionError: Always.
        """
        raise MissingPartitionError(
            f"{self.place}: the ledger calls it proven, and no record has it: run `smallcaps audit`"
        )


ExportSource: TypeAlias = StoredSession | MissingSession
"""What an export asks for a session."""


def iter_sources(
    layout: LakeLayout, fs: FileSystem, selection: Selection
) -> Iterator[ExportSource]:
    """Yield the proven sessions asked for that have trades, and behind them those that are missing.

    Sessions come part after part, in the order in which they lie there.

    Raises:
        LedgerMismatchError: The ledger or a record is damaged.
        MissingPartitionError: There is no ledger.
        PartitionConflictError: The lake is of format 1, or being taken over, or a newer version
            wrote it.
        StorageError: The disk refuses.
    """
    with LedgerReader(layout.ledger_file) as ledger:
        stored = list_stored(ledger, selection)
    segments = open_segments(layout, fs)
    told = []
    for month in segments.iter_months(selection):
        told.append(list_told(month))
        entries = selection.select(select_rows(month, Rows.PROVEN)).sort("part", "first_row")
        pieces = entries.partition_by("part", as_dict=True, maintain_order=True)
        for (part,), piece in pieces.items():
            rows = _Part(segments, part_key(month.name, part))
            yield from (StoredSession(rows, entry) for entry in list_entries(piece))
    yield from (MissingSession(*key) for key in find_missing(stored, told, selection))
