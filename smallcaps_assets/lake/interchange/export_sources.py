"""The sessions that an export writes, from a lake of either format.

What belongs here: the file of a session and the receipt beside it, and whether an earlier export
has both already.  What does not: layouts (``export_folders``), and writing (``export``).

A lake of segments has no receipts.  An export makes them of entries, so that what lies in its
folders proves itself whatever lake it came from.
"""

import datetime as dt
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import Entry, list_entries
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, LakeError, MissingPartitionError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.sessions import MonthSessions
from smallcaps_assets.lake.months.store import MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.landing_files import StoredFile, list_stored_files
from smallcaps_assets.lake.reading.segment_sources import (
    Rows,
    SegmentReader,
    find_missing,
    list_stored,
    open_segments,
    select_rows,
)
from smallcaps_assets.lake.reading.sources import KEY, Selection
from smallcaps_assets.lake.segments.names import part_key
from smallcaps_assets.lake.segments.parts import PartReader
from smallcaps_assets.lake.segments.receipts import make_receipt
from smallcaps_assets.lake.sessions.parquet import encode_trades
from smallcaps_assets.lake.sessions.receipts import (
    Receipt,
    encode_receipt,
    parse_receipt,
)
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


class ExportSource(ABC):
    """One proven session with trades.

    Damage is a ``DataError`` or ``LedgerMismatchError``, and a file that is gone a
    ``MissingPartitionError``.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        place: What messages call it.
    """

    ticker: str
    session_date: dt.date
    place: str

    @abstractmethod
    def recall(self, exported: bytes) -> Receipt | None:
        """Recognize the receipt of an earlier export; ``None``: the session is another one now."""

    @abstractmethod
    def read(self) -> ExportedFile:
        """Read the session, with proof."""


def iter_sources(
    layout: LakeLayout, fs: FileSystem, selection: Selection
) -> Iterator[ExportSource]:
    """Yield the proven sessions asked for that have trades.

    Raises:
        LedgerMismatchError: The ledger or a record is damaged.
        MissingPartitionError: There is no ledger.
        PartitionConflictError: The lake is being taken over, or a newer version wrote it.
        StorageError: The disk refuses.
    """
    segments = open_segments(layout, fs)
    with LedgerReader(layout.ledger_file) as ledger:
        if segments is None:
            asked = (selection.tickers, selection.first, selection.last)
            sources = _iter_files(layout, fs, list_stored_files(layout, fs, ledger, *asked))
        else:
            sources = _iter_entries(segments, selection, list_stored(ledger, selection))
    yield from sources


def _iter_files(
    layout: LakeLayout, fs: FileSystem, files: Sequence[StoredFile]
) -> Iterator[ExportSource]:
    months = MonthSessions(MonthStore(layout, fs))
    for file in files:
        yield _LandingFile(layout, fs, months, file)


class _LandingFile(ExportSource):
    """A session with a receipt, and a file of its own unless its month alone has its rows."""

    def __init__(
        self, layout: LakeLayout, fs: FileSystem, months: MonthSessions, file: StoredFile
    ) -> None:
        self.ticker = file.ticker
        self.session_date = file.session_date
        self.place = str(file.path)
        self._receipt_file = layout.receipt_file(file.ticker, file.session_date)
        self._fs = fs
        self._months = months
        self._file = file

    def recall(self, exported: bytes) -> Receipt | None:
        text, receipt = self._told
        return receipt if text == exported else None

    def read(self) -> ExportedFile:
        text, receipt = self._told
        return ExportedFile(self._read(receipt), receipt, text)

    @cached_property
    def _told(self) -> tuple[bytes, Receipt]:
        text = self._fs.read(self._receipt_file)
        return text, parse_receipt(text, where=str(self._receipt_file))

    def _read(self, receipt: Receipt) -> bytes:
        """Read the file of a session; encode it again where a month file alone has its rows."""
        try:
            content = self._fs.read(self._file.path)
        except MissingPartitionError:
            key = (self.ticker, self.session_date, receipt.content_hash)
            trades = self._months.read(*key)
            if trades is None:
                raise
            return encode_trades(trades)
        if hashlib.sha256(content).hexdigest() != receipt.sha256:
            raise DataError(f"{self.place} is not the file of its receipt: run `smallcaps repair`")
        return content


def _iter_entries(
    segments: SegmentReader, selection: Selection, stored: pl.DataFrame
) -> Iterator[ExportSource]:
    """Yield sessions part after part, in the order in which they lie there, then what is missing.

    Args:
        segments: The lake.
        selection: What is asked for.
        stored: What the ledger calls proven of it.
    """
    told = []
    for month in segments.iter_months(selection):
        told.append(month.winners.select(KEY))
        entries = selection.select(select_rows(month, Rows.PROVEN)).sort("part", "first_row")
        pieces = entries.partition_by("part", as_dict=True, maintain_order=True)
        for (part,), piece in pieces.items():
            rows = _Part(segments, part_key(month.name, part))
            yield from (_Session(rows, entry) for entry in list_entries(piece))
    yield from (_Missing(*key) for key in find_missing(stored, told))


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


class _Session(ExportSource):
    """A session in a part, whose receipt is made of its entry."""

    def __init__(self, part: _Part, entry: Entry) -> None:
        self.ticker = entry.ticker
        self.session_date = entry.session_date
        self.place = encode_key(entry.ticker, entry.session_date)
        self._part = part
        self._entry = entry

    def recall(self, exported: bytes) -> Receipt | None:
        try:
            told = parse_receipt(exported, where=self.place)
        except LakeError:
            return None  # Whatever it is, it is not what would be written.
        receipt = make_receipt(self._entry, self._part.source, told.bytes, told.sha256)
        return receipt if encode_receipt(receipt) == exported else None

    def read(self) -> ExportedFile:
        content = encode_trades(self._part.read(self._entry))
        sha256 = hashlib.sha256(content).hexdigest()
        receipt = make_receipt(self._entry, self._part.source, len(content), sha256)
        return ExportedFile(content, receipt, encode_receipt(receipt))


class _Missing(ExportSource):
    """A session that the ledger calls proven and no record has."""

    def __init__(self, ticker: str, session_date: dt.date) -> None:
        self.ticker = ticker
        self.session_date = session_date
        self.place = encode_key(ticker, session_date)

    def recall(self, exported: bytes) -> Receipt | None:
        del exported  # It cannot be compared with anything.
        return None

    def read(self) -> ExportedFile:
        raise MissingPartitionError(
            f"{self.place}: the ledger calls it proven, and no record has it: run `smallcaps audit`"
        )
