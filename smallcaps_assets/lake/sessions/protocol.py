"""What the download and the judges need of a place where ticker-sessions are stored.

What belongs here: the operations, and what each promises.  What does not: how sessions lie, which
is a file and a receipt each (``lake.store``) or many in a segment (``lake.segment_store``).
"""

import datetime as dt
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.damages import Damage, Orphan
from smallcaps_assets.lake.sessions.preparing import MeasuredTape, PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt


@dataclass(frozen=True, slots=True)
class GroupRules:
    """When what was fetched is committed together.

    Attributes:
        sessions: From so many sessions on.
        rows: From so many trades on.
        interval_s: Longest time that an answer waits.
        held_bytes: From so many bytes in memory on.
    """

    sessions: float
    rows: float
    interval_s: float
    held_bytes: float = math.inf

    def is_due(self, sessions: int, rows: int, age_s: float, held_bytes: int = 0) -> bool:
        """Say whether something that waits is to be committed now."""
        is_large = rows >= self.rows or held_bytes >= self.held_bytes
        return is_large or sessions >= self.sessions or age_s > self.interval_s


class SessionStore(Protocol):
    """The ticker-sessions of one lake; what its disks refuse is a ``StorageError``."""

    def open_tape(self, trades: pl.DataFrame) -> MeasuredTape:
        """Make the trades of a ticker ready, whose sessions are then prepared one by one."""

    def prepare(
        self,
        ticker: str,
        session_date: dt.date,
        trades: pl.DataFrame,
        facts: FetchFacts,
        *,
        tree: Tree = Tree.TRADES,
    ) -> PreparedSession:
        """Make a session by itself ready to be committed: ``open_tape`` and its ``prepare``."""
        return self.open_tape(trades).prepare(ticker, session_date, facts, tree=tree)

    def commit(self, batch: Sequence[PreparedSession]) -> list[Receipt]:
        """Store sessions, each whole or not at all; doing it again is safe."""

    def restate(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Say something else of stored sessions whose rows stay."""

    def keep_revision(self, receipt: Receipt, other: PreparedSession | None = None) -> Path:
        """Keep an answer that does not count: the stored one, or another one; tell where."""

    def read_receipt(
        self, ticker: str, session_date: dt.date, *, tree: Tree = Tree.TRADES
    ) -> Receipt:
        """Read what is known of a stored session, or raise."""

    def find_receipt(self, key: str) -> Receipt | None:
        """Find what is known of a key; ``None`` when the session is not stored.

        Raises:
            LedgerMismatchError: What is there is damaged, edited, or another session's.
        """
        try:
            return self.read_receipt(*decode_key(key))
        except MissingPartitionError:
            return None

    def find_receipts(self, keys: Iterable[str]) -> list[Receipt]:
        """Find what is known of those of some keys that are stored and can be believed."""

    def find_content(self, ticker: str, session_date: dt.date, tree: Tree) -> str | None:
        """Find the content hash of something stored; empty: it cannot be believed."""

    def find_damages(self, receipt: Receipt) -> list[Damage]:
        """Find what is wrong with the rows of a stored session, as cheaply as that can be told."""

    def verify_session(
        self, receipt: Receipt, *, deep: bool = True, tree: Tree = Tree.TRADES
    ) -> list[Damage]:
        """Find everything that is wrong with a stored session."""

    def verify_sessions(
        self, receipts: Sequence[Receipt], *, tree: Tree = Tree.TRADES
    ) -> list[Damage]:
        """Find everything that is wrong with some neighbouring sessions, deeply."""

    def iter_receipts(
        self, *, tree: Tree = Tree.TRADES, damages: list[Damage] | None = None
    ) -> Iterator[Receipt]:
        """Yield what is known of everything stored; damage raises unless it is taken."""

    def iter_unproven(self) -> Iterator[Receipt]:
        """Yield the imported sessions that nothing proves."""

    def read_trades(
        self,
        ticker: str,
        session_date: dt.date,
        *,
        verify: bool = True,
        tree: Tree = Tree.TRADES,
    ) -> pl.DataFrame:
        """Read the trades of a stored session."""

    def read_sessions(self, receipts: Sequence[Receipt]) -> pl.DataFrame:
        """Read the trades of neighbouring sessions that were verified, in their order."""

    def find_orphans(self, planned_keys: Container[str]) -> list[Orphan]:
        """Find every file that belongs to nothing, and every session no one asked for."""

    def quarantine_orphan(self, path: Path) -> Path:
        """Move a file that belongs to nothing aside; tell where it lies now."""

    def quarantine(
        self,
        ticker: str,
        session_date: dt.date,
        *,
        tree: Tree = Tree.TRADES,
        evidence: Mapping[str, bytes],
    ) -> Path:
        """Take a session out of what is stored, so that it is asked for again; tell where."""

    def sweep(self) -> list[Path]:
        """Remove the temporary files that dead processes left."""
