"""Single ticker-sessions in compacted months: found by their content hash, read, and proven.

What belongs here: the way from a session to its rows in a month file, and what is wrong with a
whole month.  What does not: writing months (``store``), and reading many sessions at once
(``lake.reading.receipt_sources``).
"""

import datetime as dt
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.ticks.content_hash import hash_sessions
from smallcaps_assets.errors import DataError, LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.months.manifest import MonthFile
from smallcaps_assets.lake.months.parts import PartReader, find_wrong_sessions
from smallcaps_assets.lake.months.store import CompactedMonth, MonthStore
from smallcaps_assets.lake.paths.names import MANIFEST_NAME
from smallcaps_assets.lake.sessions.damages import DamageKind
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.disk_errors import is_broken


@dataclass(frozen=True, slots=True)
class MonthDamage:
    """Something that is wrong with a compacted month.

    Attributes:
        month: The month, ``YYYY-MM``.
        file: Name of the file.
        kind: What is wrong.
        message: What was expected and what is there.
        sessions: Ticker and session of those whose rows do not prove; none: their rows do.
    """

    month: str
    file: str
    kind: DamageKind
    message: str
    sessions: tuple[tuple[str, dt.date], ...] = ()


class _OpenMonth:
    """A month whose index and last file are kept open, for one thread."""

    def __init__(self, store: MonthStore, month: CompactedMonth) -> None:
        self.month = month
        self._fs = store.fs
        index = store.read_index(month)
        columns = ("content_hash", "part", "first_row", "rows")
        keys = index.select("ticker", "session_date").rows()
        self._places = dict(zip(keys, index.select(columns).rows(), strict=True))
        self._reader: PartReader | None = None

    def has(self, ticker: str, session_date: dt.date, content_hash: str) -> bool:
        """Return whether the month lists this very session."""
        place = self._places.get((ticker, session_date))
        return place is not None and place[0] == content_hash

    def read(self, ticker: str, session_date: dt.date) -> pl.DataFrame:
        """Return the rows of a session that it lists."""
        _, part, first_row, rows = self._places[ticker, session_date]
        path = self.month.folder / part
        if self._reader is None or self._reader.path != path:
            self.close()
            self._reader = PartReader(path, self._fs)
        return self._reader.read(first_row, rows)

    def close(self) -> None:
        """Close the file that is open."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None


class MonthSessions:
    """The sessions of the compacted months of a lake, for all threads of a process."""

    def __init__(self, store: MonthStore) -> None:
        """Bind to the months of a lake; nothing is read yet."""
        self.store = store
        self._local = threading.local()

    def read(
        self, ticker: str, session_date: dt.date, content_hash: str, *, verify: bool = True
    ) -> pl.DataFrame | None:
        """Return the rows of a session; ``None``: no month has it with that content.

        Args:
            ticker: Vendor's symbol.
            session_date: New York date.
            content_hash: Content hash by its receipt.
            verify: Compare the rows with it.

        Raises:
            DataError: The month is damaged there.
            LakeError: Its manifest is damaged, or a file of it is gone.
        """
        month = self._open(ticker, session_date, content_hash)
        if month is None:
            return None
        trades = month.read(ticker, session_date)
        if verify and hash_sessions(trades, [trades.height]) != [content_hash]:
            raise DataError(
                f"{encode_key(ticker, session_date)} in {month.month.folder} is damaged: expected "
                f"content {content_hash}; run `smallcaps repair`"
            )
        return trades

    def find_damages(self, receipt: Receipt, *, deep: bool) -> list[tuple[DamageKind, str]] | None:
        """Return what is wrong with a session in its month; ``None``: no month has it.

        Args:
            receipt: A receipt with rows.
            deep: Read and hash the rows; otherwise only the index is looked at.
        """
        try:
            month = self._open(receipt.ticker, receipt.session_date, receipt.content_hash)
            if month is None or not deep:
                return None if month is None else []
            trades = month.read(receipt.ticker, receipt.session_date)
        except (DataError, LakeError) as error:
            return [(name_damage(error), str(error))]
        if hash_sessions(trades, [trades.height]) == [receipt.content_hash]:
            return []
        message = f"expected content {receipt.content_hash} in the file of its month"
        return [(DamageKind.CONTENT_HASH, message)]

    def _open(self, ticker: str, session_date: dt.date, content_hash: str) -> _OpenMonth | None:
        """Return the month of a session, kept open until another is asked for."""
        found = self.store.find(f"{session_date:%Y-%m}")
        kept: _OpenMonth | None = getattr(self._local, "month", None)
        if found is None:
            return None
        if kept is None or kept.month != found:
            if kept is not None:
                kept.close()
            kept = self._local.month = _OpenMonth(self.store, found)
        return kept if kept.has(ticker, session_date, content_hash) else None


def find_month_damages(store: MonthStore, month: str) -> list[MonthDamage]:
    """Read every byte of a month, and return everything that is wrong with it.

    Raises:
        StorageError: The disk refuses for a reason that is no damage.
    """
    try:
        found = store.find(month)
        if found is None:
            return []
        index = store.read_index(found)
    except (DataError, LakeError) as error:
        name_damage(error)
        return [MonthDamage(month, MANIFEST_NAME, DamageKind.RECEIPT, str(error))]
    damages: list[MonthDamage] = []
    for part in found.manifest.parts:
        damages += _find_part_damages(store, found, part, index.filter(pl.col("part") == part.name))
    return damages


def _find_part_damages(
    store: MonthStore, month: CompactedMonth, part: MonthFile, sessions: pl.DataFrame
) -> Iterator[MonthDamage]:
    """Yield what is wrong with one file; its sessions are looked at only when its hash differs."""
    path = month.folder / part.name
    everything = tuple(sessions.select("ticker", "session_date").rows())
    try:
        content = store.fs.read(path)
    except LakeError as error:
        yield _describe(month, part, name_damage(error), str(error), everything)
        return
    found = hashlib.sha256(content).hexdigest()
    if found == part.sha256:
        return
    message = f"{path}: expected sha256 {part.sha256} of {part.bytes} bytes, got {found}"
    try:
        reader = PartReader(path, store.fs)
    except (DataError, LakeError) as error:
        yield _describe(month, part, DamageKind.UNREADABLE, f"{message}; {error}", everything)
        return
    wrong = find_wrong_sessions(reader, sessions)
    reader.close()
    yield _describe(month, part, DamageKind.SHA256, message, tuple(everything[n] for n in wrong))


def name_damage(error: DataError | LakeError) -> DamageKind:
    """Return the kind of damage that reading a month ended with.

    Raises:
        StorageError: It is none: the disk refuses for another reason.
    """
    if isinstance(error, MissingPartitionError):
        return DamageKind.MISSING_FILE
    if isinstance(error, StorageError) and not is_broken(error):
        raise error
    return DamageKind.UNREADABLE


def _describe(
    month: CompactedMonth,
    part: MonthFile,
    kind: DamageKind,
    message: str,
    sessions: Sequence[tuple[str, dt.date]],
) -> MonthDamage:
    return MonthDamage(month.name, part.name, kind, message, tuple(sessions))
