"""Month files of a lake of receipts, for sessions whose own files were removed.

What belongs here: the manifest and the index of a compacted month, and the rows of its sessions,
proven by their content hash.  What does not: which sessions (``old_lake``).
"""

import datetime as dt
import hashlib
import io
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.ticks.content_hash import hash_sessions
from smallcaps_assets.errors import DataError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.adoption.old_paths import MANIFEST_NAME, OldRoot
from smallcaps_assets.lake.segments.parts import PartReader
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.seals import parse_sealed
from smallcaps_assets.schemas import TRADES

MANIFEST_VERSION: Final = 1

Place = tuple[str, int]
"""The file that has a session, and its first row there."""


class MonthFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a month: its name in the folder, its rows, size and hash."""

    name: str
    rows: int
    bytes: int
    sha256: str


class MonthManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What makes up a compacted month.

    Attributes:
        month: The month, ``YYYY-MM``.
        source: Source the lake is bound to.
        schema_version: Version of the tables it was written by.
        sessions: Ticker-sessions with trades.
        rows: Their trades.
        content_hash: Hash over the keys and content hashes of its sessions.
        parts: The files of trades, by ticker and session.
        index: The file that says where in them each session lies.
        compacted_at: When it was written.
        manifest_version: Version of these fields.
    """

    month: str
    source: str
    schema_version: int
    sessions: int
    rows: int
    content_hash: str
    parts: tuple[MonthFile, ...]
    index: MonthFile
    compacted_at: dt.datetime
    manifest_version: int = MANIFEST_VERSION


class OldMonths:
    """The compacted months of a lake, one of which is kept open; for one thread."""

    def __init__(self, roots: Sequence[OldRoot], fs: FileSystem) -> None:
        """Bind to the months of a lake; nothing is read yet."""
        self._roots = roots
        self._fs = fs
        self._name = ""
        self._folder = Path()
        self._places: dict[tuple[str, dt.date, str], Place] = {}
        self._part = ""
        self._reader: PartReader | None = None

    def read(self, receipts: Sequence[Receipt]) -> pl.DataFrame:
        """Read ``schemas.TRADES`` of sessions of one month, one after the other, with proof.

        Args:
            receipts: Those of the sessions, which have rows, by ticker and session.

        Raises:
            DataError: The month is damaged there.
            LedgerMismatchError: Its manifest is damaged.
            MissingPartitionError: No month has one of the sessions, or a file of it is gone.
        """
        places = [(*self._find(receipt), receipt.rows) for receipt in receipts]
        pieces = [TRADES.empty()]
        for part, group in groupby(places, key=itemgetter(0)):
            pieces.append(self._open(part).read([(first, rows) for _, first, rows in group]))
        trades = pl.concat(pieces)
        found = hash_sessions(trades, [receipt.rows for receipt in receipts])
        wrong = [
            r.key for r, content in zip(receipts, found, strict=True) if content != r.content_hash
        ]
        if wrong:
            raise DataError(
                f"{wrong[0]} in {self._folder} does not have the content of its receipt"
            )
        return trades

    def _find(self, receipt: Receipt) -> Place:
        """Find a session in its month, which stays open until one of another month is asked for."""
        name = month_of(receipt.session_date)
        if name != self._name:
            self._places = self._index(name)
            self._name, self._part = name, ""
        try:
            return self._places[receipt.ticker, receipt.session_date, receipt.content_hash]
        except KeyError:
            raise MissingPartitionError(
                f"{receipt.key}: expected its file, or one of its month with the same content, "
                "found none"
            ) from None

    def _index(self, name: str) -> dict[tuple[str, dt.date, str], Place]:
        """Read where the sessions of a month lie; none: it has no manifest."""
        folders = [root.month_dir(name) for root in self._roots]
        found = [folder for folder in folders if self._fs.is_file(folder / MANIFEST_NAME)]
        if not found:
            return {}
        self._folder = found[0]
        path = self._folder / MANIFEST_NAME
        text = self._fs.read(path)
        manifest = parse_sealed(text, "manifest", MonthManifest, MANIFEST_VERSION, str(path))
        if manifest.month != name:
            raise LedgerMismatchError(f"manifest {path} is that of {manifest.month}")
        content = self._fs.read(self._folder / manifest.index.name)
        if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
            raise DataError(f"{self._folder / manifest.index.name} does not have its hash")
        index = pl.read_parquet(io.BytesIO(content), hive_partitioning=False, glob=False)
        keys = index.select("ticker", "session_date", "content_hash").rows()
        return dict(zip(keys, index.select("part", "first_row").rows(), strict=True))

    def _open(self, part: str) -> PartReader:
        if self._reader is None or part != self._part:
            self._reader = PartReader(LocalStorage(self._folder, self._fs), part)
            self._part = part
        return self._reader
