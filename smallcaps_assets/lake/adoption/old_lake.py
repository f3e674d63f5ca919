"""A lake of receipts as it is taken over: what it has of each month, read with proof.

What belongs here: lists of all that has to be carried, and the rows of each, proven.  What does
not: what becomes of it (``months``), and the order of the whole (``takeover``).
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.adoption.entries import FROM_LEDGER
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import SessionRecord
from smallcaps_assets.lake.months.parts import cut_batches
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.batches import iter_batches
from smallcaps_assets.lake.segments.names import month_of
from smallcaps_assets.lake.sessions.damages import Orphan, walk_lake, walk_sessions
from smallcaps_assets.lake.sessions.parquet import decode_trades
from smallcaps_assets.lake.sessions.receipts import Receipt, parse_own_receipt
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.schemas import TRADES

HELD: Final = pl.Schema(
    {
        "tree": pl.String(),
        "ticker": pl.String(),
        "session_date": pl.Date(),
        "owner": pl.Date(),
        "month": pl.String(),
        "path": pl.String(),
    }
)
"""What lies in a folder of its own: its tree, or a name beside those of the trees, the session that
owns it, and the month of that one."""

Held = tuple[str, str, dt.date, dt.date, str, str]
"""A row of :data:`HELD`."""

REVISIONS: Final = "revisions"
LEDGER: Final = "ledger"
"""Names beside those of the trees: replaced answers, and what only the ledger knows."""


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
        store: Its sessions.
        ledger_file: Its ledger, which may be lost.
        calendar: The sessions, by which a closed day belongs to the next one.
        strays: What lies among the sessions and belongs to none.
    """

    store: LakeStore
    ledger_file: Path
    calendar: SessionCalendar
    strays: list[Path] = field(default_factory=list)

    def list_held(self) -> pl.DataFrame:
        """List everything that is held: :data:`HELD`, by month, ticker and session.

        Raises:
            StorageError: A disk refuses.
        """
        rows = [*self._walk_trees(), *self._walk_revisions(), *self._list_records()]
        held = pl.DataFrame(rows, HELD, orient="row")
        return held.sort("month", "ticker", "session_date", "tree", "path")

    def read_answer(
        self, ticker: str, session_date: dt.date, owner: dt.date, folder: Path
    ) -> Answer:
        """Read the receipt in the folder of a session, which ``owner`` owns.

        Raises:
            LedgerMismatchError: It is damaged, edited, or that of another session.
            MissingPartitionError: It is gone.
        """
        path = folder / RECEIPT_NAME
        text = self.store.fs.read(path)
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
        start = 0
        for sizes in cut_batches([answer.receipt.rows for answer in answers]):
            batch = list(answers[start : start + len(sizes)])
            start += len(sizes)
            try:
                yield batch, self._read_batch(batch)
            except (DataError, MissingPartitionError):
                yield self._read_singly(batch, refuse)

    def read_apart(self, answer: Answer) -> pl.DataFrame:
        """Read the rows of a session that lies outside ``trades``, proven by its receipt.

        Raises:
            DataError: It is damaged.
            MissingPartitionError: Its file is gone.
        """
        if not answer.receipt.rows:
            return TRADES.empty()
        path = answer.folder / TRADES_NAME
        content = self.store.fs.read(path)
        if hashlib.sha256(content).hexdigest() != answer.receipt.sha256:
            raise DataError(f"{path} does not have the hash that its receipt states")
        return decode_trades(content)

    def _read_batch(self, batch: Sequence[Answer]) -> pl.DataFrame:
        sessions = _frame(batch)
        filled = sessions.filter(pl.col("rows") > 0)
        store = self.store
        pieces = iter_batches(store.layout, store.fs, store.month_sessions, filled)
        return pl.concat([TRADES.empty(), *(piece.trades for piece in pieces)])

    def _read_singly(
        self, batch: Sequence[Answer], refuse: Callable[[Answer, str], None]
    ) -> tuple[list[Answer], pl.DataFrame]:
        sound, frames = [], [TRADES.empty()]
        for answer in batch:
            try:
                frames.append(self._read_batch([answer]))
                sound.append(answer)
            except (DataError, MissingPartitionError) as error:
                refuse(answer, str(error))
        return sound, pl.concat(frames)

    def _walk_trees(self) -> Iterator[Held]:
        for tree in Tree:
            for found in walk_lake(self.store.layout, self.store.fs, tree):
                if isinstance(found, Orphan):
                    self.strays.append(found.path)
                elif found.has_receipt:
                    yield self._hold(tree.value, found.ticker, found.session_date, str(found.path))

    def _walk_revisions(self) -> Iterator[Held]:
        fs = self.store.fs
        for folder in dict.fromkeys(root.revisions_dir for root in self.store.layout.roots):
            for found in walk_sessions(fs, folder):
                if isinstance(found, Orphan):
                    self.strays.append(found.path)
                    continue
                for name in sorted(found.names):
                    path = found.path / name
                    if fs.is_file(path / RECEIPT_NAME):
                        yield self._hold(REVISIONS, found.ticker, found.session_date, str(path))

    def _list_records(self) -> Iterator[Held]:
        if not self.store.fs.is_file(self.ledger_file):
            return
        with LedgerReader(self.ledger_file) as ledger:
            red = ledger.missing_keys().filter(pl.col("state").is_in(list(FROM_LEDGER)))
        for key, ticker, date in red.select("key", "ticker", "session_date").rows():
            yield self._hold(LEDGER, ticker, date, key)

    def _hold(self, tree: str, ticker: str, date: dt.date, path: str) -> Held:
        owner = self.calendar.owner_of(date)
        return tree, ticker, date, owner, month_of(owner), path


def _frame(answers: Sequence[Answer]) -> pl.DataFrame:
    """Frame receipts as the reader of batches takes them."""
    rows = [
        (one.ticker, one.session_date, one.rows, one.bytes, one.sha256, one.content_hash)
        for one in (answer.receipt for answer in answers)
    ]
    schema = {
        "ticker": pl.String,
        "session_date": pl.Date,
        "rows": pl.Int64,
        "bytes": pl.Int64,
        "sha256": pl.String,
        "content_hash": pl.String,
    }
    return pl.DataFrame(rows, schema, orient="row")
