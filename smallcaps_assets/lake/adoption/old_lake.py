"""A lake of receipts as it is taken over: what it has of each month, read with proof.

What belongs here: lists of all that has to be carried, and the rows of each, proven.  What does
not: what becomes of it (``months``), and the order of the whole (``takeover``).
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import DataError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.adoption.entries import FROM_LEDGER
from smallcaps_assets.lake.adoption.old_months import OldMonths
from smallcaps_assets.lake.adoption.old_paths import TREES, Kind, OldRoot, walk_sessions
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import SessionRecord
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.sessions.parquet import decode_sessions
from smallcaps_assets.lake.sessions.receipts import Receipt, parse_own_receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.schemas import TRADES

BATCH_ROWS: Final = 262_144
BATCH_SESSIONS: Final = 512
"""Rows and sessions decoded at once; a larger session is decoded whole."""

DAMAGES: Final = (DataError, LedgerMismatchError, MissingPartitionError)
"""What reading a damaged session ends with; of another error the takeover does."""

HELD: Final = pl.Schema(
    {
        "kind": pl.String(),
        "ticker": pl.String(),
        "session_date": pl.Date(),
        "owner": pl.Date(),
        "month": pl.String(),
        "path": pl.String(),
    }
)
"""What lies in a folder of its own: what it is, the session that owns it, the month of that one."""

Held = tuple[str, str, dt.date, dt.date, str, str]
"""A row of :data:`HELD`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A receipt that proves itself, and where it lies.

    Attributes:
        receipt: The receipt.
        owner: Session that owns the rows.
        folder: Its folder.
    """

    receipt: Receipt
    owner: dt.date
    folder: Path


@dataclass(frozen=True)
class OldLake:
    """A lake of receipts, for reading.

    Attributes:
        roots: Its roots; the first that has a session counts.
        fs: Their disks.
        ledger_file: Its ledger, which may be lost.
        calendar: The sessions, by which a closed day belongs to the next one.
        strays: What lies among the sessions and belongs to none.
    """

    roots: Sequence[OldRoot]
    fs: FileSystem
    ledger_file: Path
    calendar: SessionCalendar
    strays: list[Path] = field(default_factory=list)

    @cached_property
    def months(self) -> OldMonths:
        """Its compacted months."""
        return OldMonths(self.roots, self.fs)

    def list_held(self) -> pl.DataFrame:
        """List everything that is held: :data:`HELD`, by month, ticker and session.

        Raises:
            StorageError: A disk refuses.
        """
        rows = [*self._walk_trees(), *self._walk_revisions(), *self._list_records()]
        held = pl.DataFrame(rows, HELD, orient="row")
        return held.sort("month", "ticker", "session_date", "kind", "path")

    def read_answer(
        self, ticker: str, session_date: dt.date, owner: dt.date, folder: Path
    ) -> Answer:
        """Read the receipt in the folder of a session, which ``owner`` owns.

        Raises:
            LedgerMismatchError: It is damaged, edited, or that of another session.
            MissingPartitionError: It is gone.
        """
        path = folder / RECEIPT_NAME
        text = self.fs.read(path)
        receipt = parse_own_receipt(text, ticker, session_date, where=str(path))
        return Answer(receipt, owner, folder)

    def read_records(self, keys: Sequence[str]) -> list[SessionRecord]:
        """Look up what the ledger knows of keys."""
        with LedgerReader(self.ledger_file) as ledger:
            return list(ledger.records(keys).values())

    def read_rows(
        self, answers: Sequence[Answer], refuse: Callable[[Answer, str], None]
    ) -> Iterator[tuple[list[Answer], pl.DataFrame]]:
        """Yield sessions of the lake some at a time, each proven; damaged ones are left out.

        Args:
            answers: Sessions that count, in the order of their owners and tickers.
            refuse: Called with each that is damaged, and what is wrong with it.

        Raises:
            StorageError: A disk refuses.
        """
        for batch in _cut_batches(answers):
            try:
                yield batch, self._read_batch(batch)
            except DAMAGES:
                yield self._read_singly(batch, refuse)

    def read_apart(self, answer: Answer) -> pl.DataFrame:
        """Read the rows of a session that lies outside ``trades``, proven by its receipt.

        Raises:
            DataError: It is damaged.
            MissingPartitionError: Its file is gone.
        """
        if not answer.receipt.rows:
            return TRADES.empty()
        return self._read_files([answer])

    def _read_batch(self, batch: Sequence[Answer]) -> pl.DataFrame:
        """Read sessions of one month, each from its own file, or from that of the month."""
        pieces = [TRADES.empty()]
        for has_file, group in groupby((a for a in batch if a.receipt.rows), key=self._has_file):
            own = list(group)
            receipts = [answer.receipt for answer in own]
            pieces.append(self._read_files(own) if has_file else self.months.read(receipts))
        return pl.concat(pieces)

    def _has_file(self, answer: Answer) -> bool:
        return self.fs.size(answer.folder / TRADES_NAME) == answer.receipt.bytes

    def _read_files(self, answers: Sequence[Answer]) -> pl.DataFrame:
        return decode_sessions([self._read_file(answer) for answer in answers])

    def _read_file(self, answer: Answer) -> bytes:
        path = answer.folder / TRADES_NAME
        content = self.fs.read(path)
        if hashlib.sha256(content).hexdigest() != answer.receipt.sha256:
            raise DataError(f"{path} does not have the hash that its receipt states")
        return content

    def _read_singly(
        self, batch: Sequence[Answer], refuse: Callable[[Answer, str], None]
    ) -> tuple[list[Answer], pl.DataFrame]:
        sound, frames = [], [TRADES.empty()]
        for answer in batch:
            try:
                frames.append(self._read_batch([answer]))
                sound.append(answer)
            except DAMAGES as error:
                refuse(answer, str(error))
        return sound, pl.concat(frames)

    def _walk_trees(self) -> Iterator[Held]:
        """Yield the sessions of all trees; what a root before has too is a stray."""
        for kind in TREES:
            seen: set[tuple[str, dt.date]] = set()
            for root in self.roots:
                for found in walk_sessions(
                    self.fs, root.folder / kind.value, root.folder, self.strays
                ):
                    place = (found.ticker, found.session_date)
                    if RECEIPT_NAME in found.names and place in seen:
                        self.strays.append(found.path)
                    elif RECEIPT_NAME in found.names:
                        seen.add(place)
                        yield self._hold(kind, *place, str(found.path))

    def _walk_revisions(self) -> Iterator[Held]:
        for folder in dict.fromkeys(root.revisions_dir for root in self.roots):
            for found in walk_sessions(self.fs, folder, folder.parent, self.strays):
                for name in sorted(found.names):
                    path = found.path / name
                    if self.fs.is_file(path / RECEIPT_NAME):
                        place = (found.ticker, found.session_date)
                        yield self._hold(Kind.REVISIONS, *place, str(path))

    def _list_records(self) -> Iterator[Held]:
        if not self.fs.is_file(self.ledger_file):
            return
        with LedgerReader(self.ledger_file) as ledger:
            red = ledger.missing_keys().filter(pl.col("state").is_in(list(FROM_LEDGER)))
        for key, ticker, date in red.select("key", "ticker", "session_date").rows():
            yield self._hold(Kind.LEDGER, ticker, date, key)

    def _hold(self, kind: Kind, ticker: str, date: dt.date, path: str) -> Held:
        owner = self.calendar.owner_of(date)
        return kind.value, ticker, date, owner, month_of(owner), path


def _cut_batches(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """Yield runs of sessions that are together a batch at most, or one larger session alone."""
    run: list[Answer] = []
    total = 0
    for answer in answers:
        rows = answer.receipt.rows
        if run and (total + rows > BATCH_ROWS or len(run) == BATCH_SESSIONS):
            yield run
            run, total = [], 0
        run.append(answer)
        total += rows
    if run:
        yield run
