"""The ticker-sessions of a lake, as the download and the judges see them.

What belongs here: the way from sessions that were fetched, judged again or found damaged to
records, and back.  What does not: the order of a commit (``lake.segments.commit``), which entry
counts (``core.segments``), and repairs of whole months (``lake.upkeep.healing``).

An old answer stays where it is: a new one has a higher revision.  So nothing is ever replaced, and
what a process knows of a month is brought up to date by the records that are new.
"""

import dataclasses
import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.keys import decode_key, encode_key, key_expression, month_of
from smallcaps_assets.core.segments.entries import (
    KEY,
    NOT_COMMITTED,
    OFF_SESSION,
    SESSION,
    Entry,
    frame_entries,
    list_entries,
    lose_proof,
)
from smallcaps_assets.core.segments.indexing import share_bytes
from smallcaps_assets.core.segments.merging import is_green
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segments.closing import Draft, close_sessions
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.comparing import (
    compare_receipts,
    find_answers,
    is_stored,
    say_missing,
)
from smallcaps_assets.lake.segments.names import QUARANTINE, SEGMENTS, parse_key
from smallcaps_assets.lake.segments.reading import (
    Month,
    list_months,
    read_entries,
    refresh_month,
    require_whole,
    survey_month,
)
from smallcaps_assets.lake.segments.receipts import enter_receipt, make_receipt
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind, Orphan, OrphanKind
from smallcaps_assets.lake.sessions.preparing import MeasuredTape, PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.upkeep.proving import find_unproven
from smallcaps_assets.schemas import ENTRIES, TRADES

MONTHS_KEPT: Final = 24
"""Months of which the records stay in memory; work goes through them in order."""

UNCOUNTED: Final = 0
"""Revision of an answer that is kept and never counted: any that did has a higher one."""

Place = tuple[str, dt.date]
Key = tuple[str, dt.date, str]
Selected = list[tuple[Month, pl.DataFrame]]
_NO_EVIDENCE: Final[Mapping[str, bytes]] = MappingProxyType({})
_PLACES: Final = {"ticker": pl.String(), "session_date": pl.Date()}


class SegmentStore:
    """The ticker-sessions of one lake; what its storage refuses is a ``StorageError``."""

    def __init__(self, lake: SegmentLake, calendar: SessionCalendar) -> None:
        """Bind the store to a lake, and to the calendar by which a closed day has an owner."""
        self.lake = lake
        self._calendar = calendar
        self._months: dict[str, Month] = {}
        self._untold: list[Record] = []
        self._lost: dict[Key, int] = {}
        self._lock = threading.RLock()

    def open_tape(self, trades: pl.DataFrame) -> MeasuredTape:
        """Make the trades of a ticker ready; its sessions are then prepared as slices of them.

        Raises:
            SchemaError: The trades break their contract.
        """
        return MeasuredTape(trades, source=self.lake.source)

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

    def enter(self, session: PreparedSession) -> Entry:
        """Make the entry of a session as it was prepared."""
        is_off = session.tree is Tree.OFF_SESSION
        owner = self._calendar.owner_of(session.receipt.session_date) if is_off else None
        return enter_receipt(session.receipt, owner)

    def commit(self, batch: Sequence[PreparedSession]) -> list[Receipt]:
        """Store sessions, those of one month in one segment; return them as they are stored.

        One that heals a red session has a revision above it.

        Raises:
            DataError: A session occurs twice.
            StorageError: The storage refuses.  What has its record is stored, the rest is absent,
                and committing all of it again is safe.
        """
        with self._lock:
            entries = [self.enter(session) for session in batch]
            drafts = close_sessions(entries, [session.trades for session in batch])
            stored = self.commit_drafts(drafts)
            return [stored[entry.key] for entry in entries]

    def commit_drafts(self, drafts: Sequence[Draft]) -> dict[Key, Receipt]:
        """Store sessions of :meth:`enter` that were closed, as :meth:`commit` does.

        Returns:
            Each session as it is stored, by ticker, date and kind.

        Raises:
            StorageError: The storage refuses, as in :meth:`commit`.
        """
        with self._lock:
            return self._commit([self._raise_above_red(draft) for draft in drafts])

    def restate(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Say something else of stored sessions whose rows stay; return them as they are stored.

        Raises:
            MissingPartitionError: One is not stored.
            StorageError: The storage refuses; each session is as it was, or as it is told.
        """
        with self._lock:
            return self._say([self._locate(enter_receipt(receipt)) for receipt in receipts])

    def keep_revision(self, receipt: Receipt, other: PreparedSession | None = None) -> Path:
        """Keep an answer that does not count, once; the stored one stays where it is.

        Args:
            receipt: What is known of the stored session.
            other: An answer beside it, which came later; ``None``: it is the stored one.

        Returns:
            Month and beginning of the content hash.
        """
        month = month_of(self._calendar.owner_of(receipt.session_date))
        if other is None:
            return Path(month, receipt.content_hash[:8])
        with self._lock:
            told = replace(enter_receipt(other.receipt), revision=UNCOUNTED)
            if find_answers(self._read(month), told).is_empty():
                self._commit(close_sessions([told], [other.trades]))
        return Path(month, other.receipt.content_hash[:8])

    def read_receipt(
        self, ticker: str, session_date: dt.date, *, tree: Tree = Tree.TRADES
    ) -> Receipt:
        """Read what is known of a stored session.

        Raises:
            MissingPartitionError: The session is not stored.
            LedgerMismatchError: A record of its month is damaged.
        """
        with self._lock:
            return self._describe(self._require(ticker, session_date, tree))

    def find_receipt(self, key: str) -> Receipt | None:
        """Find what is known of a key; ``None``: the session is not stored."""
        return next(iter(self.find_receipts([key])), None)

    def find_receipts(self, keys: Iterable[str]) -> list[Receipt]:
        """Find what is known of those of some keys that are stored.

        Raises:
            LedgerMismatchError: A record of their months is damaged.
        """
        return [
            self._describe(entry, survey)
            for survey, told in self._select(map(decode_key, keys), Tree.TRADES, self._read)
            for entry in list_entries(told)
            if is_stored(entry, Tree.TRADES)
        ]

    def find_content(self, ticker: str, session_date: dt.date, tree: Tree) -> str | None:
        """Find the content hash of what is stored; ``None``: nothing is."""
        with self._lock:
            try:
                return self._require(ticker, session_date, tree).content_hash
            except MissingPartitionError:
                return None

    def find_damages(self, receipt: Receipt) -> list[Damage]:
        """Find what is wrong with a stored session, in a month of which every record is whole."""
        with self._lock:
            self._read(month_of(receipt.session_date))
        return self.verify_session(receipt)

    @property
    def untold(self) -> list[Record]:
        """The records that were committed and of which the ledger was not told yet."""
        with self._lock:
            return list(self._untold)

    def note_told(self, records: Sequence[Record]) -> None:
        """Take note that the ledger knows these of :attr:`untold`, the oldest ones."""
        with self._lock:
            del self._untold[: len(records)]

    def note_lost(self, lost: pl.DataFrame) -> None:
        """Let new answers settle what lost its proof: ``Ledger.lost_proof`` with its revisions."""
        told = lost.select("ticker", "session_date", pl.lit(SESSION), "revision")
        self._lost = {row[:3]: row[3] for row in told.iter_rows()}

    def sweep(self) -> list[Path]:
        """Remove the temporary files that dead processes left on a disk."""
        storage = self.lake.storage
        return storage.sweep("") if isinstance(storage, LocalStorage) else []

    def iter_receipts(
        self, *, tree: Tree = Tree.TRADES, damages: list[Damage] | None = None
    ) -> Iterator[Receipt]:
        """Yield everything that is stored, by month.

        Args:
            tree: Among what it belongs.
            damages: Given: records that are damaged are left out; which sessions they had is told
                by the parts that no record names, and by the ledger.

        Raises:
            LedgerMismatchError: A record is damaged, and ``damages`` is not given.
        """
        read = self._read if damages is None else partial(survey_month, self.lake)
        for month in list_months(self.lake):
            survey = read(month)
            for entry in list_entries(survey.winners):
                if is_stored(entry, tree):
                    yield self._describe(entry, survey)

    def read_trades(
        self, ticker: str, session_date: dt.date, *, tree: Tree = Tree.TRADES
    ) -> pl.DataFrame:
        """Read the trades of a stored session, and compare them with their content hash.

        Returns:
            ``schemas.TRADES``, in tape order.

        Raises:
            MissingPartitionError: The session is not stored, or its part is gone.
            DataError: The part is damaged.
        """
        with self._lock:
            entry = self._require(ticker, session_date, tree)
        if not entry.rows:
            return TRADES.empty()
        month, framed = month_of(entry.owner), frame_entries([entry])
        for reason in find_unproven(self.lake, month, framed).values():
            raise DataError(f"{encode_key(ticker, session_date)}: {reason}")
        return read_entries(self.lake, month, framed)

    def verify_session(self, receipt: Receipt) -> list[Damage]:
        """Find everything that is wrong with a stored session, whatever other records say."""
        return self.verify_sessions([receipt])

    def verify_sessions(
        self, receipts: Sequence[Receipt], *, tree: Tree = Tree.TRADES
    ) -> list[Damage]:
        """Find everything that is wrong with some sessions; those of one part are read together.

        Args:
            receipts: What is believed of them.
            tree: Among what they belong.
        """
        selected = self._survey_sessions(receipts, tree)
        return [*compare_receipts(receipts, selected, tree), *self._verify_rows(selected)]

    def read_sessions(self, receipts: Sequence[Receipt]) -> pl.DataFrame:
        """Read the trades of sessions that were verified, by month, ticker, session and tape.

        Raises:
            MissingPartitionError: A part is gone.
            DataError: A part is damaged.
        """
        selected = self._survey_sessions(receipts, Tree.TRADES)
        frames = [read_entries(self.lake, survey.name, told) for survey, told in selected]
        return pl.concat([TRADES.empty(), *frames])

    def find_orphans(self, planned_keys: Container[str]) -> list[Orphan]:
        """Find parts that no record names, sessions that nobody asks for, and files of no segment.

        A damaged record names nothing, so its parts are among them.
        """
        orphans = self.find_foreign()
        for month in list_months(self.lake):
            survey = survey_month(self.lake, month)
            message = "no record names it: its writer was killed, or its record is lost"
            orphans += [
                Orphan(Path(stored.key), OrphanKind.STRAY, message)
                for stored in survey.strays.values()
            ]
            fetched = survey.winners.filter(pl.col("kind") == SESSION, pl.col("archive").is_null())
            orphans += [
                Orphan(Path(key), OrphanKind.UNPLANNED, "no plan and no import asks for it")
                for key in fetched.select(key_expression()).to_series()
                if key not in planned_keys
            ]
        return orphans

    def find_foreign(self) -> list[Orphan]:
        """Find files among the segments whose names are none of theirs."""
        files = self.lake.storage.list_keys(SEGMENTS)
        strange = [Path(file.key) for file in files if parse_key(file.key) is None]
        message = "its name is not one of a segment, so nothing reads it"
        return [Orphan(path, OrphanKind.FOREIGN, message) for path in strange]

    def quarantine_orphan(self, path: Path) -> Path:
        """Move a file that is not one of a segment aside; tell where it lies now.

        A stray stays: upkeep removes it once nobody can name it any more.
        """
        key, storage = path.as_posix(), self.lake.storage
        moved = f"{QUARANTINE}orphans/{self.lake.naming.make()}/{key}"
        storage.save({moved: storage.load(key)})
        storage.remove(key)
        return Path(moved)

    def quarantine(
        self,
        ticker: str,
        session_date: dt.date,
        *,
        tree: Tree = Tree.TRADES,
        evidence: Mapping[str, bytes] = _NO_EVIDENCE,
    ) -> Path:
        """Say that a session has lost its proof, so that it is asked for again.

        Returns:
            The folder of its evidence.
        """
        with self._lock:
            entry = self._require(ticker, session_date, tree)
            folder = f"{QUARANTINE}sessions/{self.lake.naming.make()}"
            self.lake.storage.save({f"{folder}/{name}": text for name, text in evidence.items()})
            self._say([lose_proof(entry)])
            return Path(folder)

    # -- months ------------------------------------------------------------------------

    def forget(self) -> None:
        """Read all months again when they are next asked for."""
        with self._lock:
            self._months.clear()

    def _survey(self, month: str) -> Month:
        """Bring a month up to date; the ones used last stay in memory."""
        known = self._months.pop(month, None)
        read = survey_month(self.lake, month) if known is None else refresh_month(self.lake, known)
        self._months[month] = read
        while len(self._months) > MONTHS_KEPT:
            del self._months[next(iter(self._months))]
        return read

    def _read(self, month: str) -> Month:
        """Bring a month up to date, or refuse it: what a damaged record says would be missed."""
        return require_whole(self._survey(month))

    def _recall(self, month: str) -> Month:
        """Recall a month as it was last read."""
        known = self._months.get(month)
        return self._read(month) if known is None else require_whole(known)

    def _find(self, key: Key, owner: dt.date) -> Entry | None:
        """Find the entry of a session that counts, by what is known of its month."""
        known = self._recall(month_of(owner))
        ticker, date, kind = key
        is_key = (pl.col("ticker") == ticker) & (pl.col("session_date") == date)
        found = list_entries(known.winners.filter(is_key, pl.col("kind") == kind))
        return found[0] if found else None

    def _require(self, ticker: str, session_date: dt.date, tree: Tree) -> Entry:
        kind = OFF_SESSION if tree is Tree.OFF_SESSION else SESSION
        entry = self._find((ticker, session_date, kind), self._owner_of(session_date, tree))
        if entry is None or not is_stored(entry, tree):
            raise MissingPartitionError(say_missing(ticker, session_date, tree))
        return entry

    def _owner_of(self, date: dt.date, tree: Tree) -> dt.date:
        return self._calendar.owner_of(date) if tree is Tree.OFF_SESSION else date

    def _survey_sessions(self, receipts: Iterable[Receipt], tree: Tree) -> Selected:
        """Select what whole records say of some sessions, however damaged others are."""
        places = [(one.ticker, one.session_date) for one in receipts]
        return self._select(places, tree, self._survey)

    def _select(
        self, places: Iterable[Place], tree: Tree, read: Callable[[str], Month]
    ) -> Selected:
        """Select the entries of some sessions that count, with the month that they lie in.

        The lock is let go of before any of their rows are read: threads verify side by side.
        """
        kind = OFF_SESSION if tree is Tree.OFF_SESSION else SESSION
        by_month: dict[str, list[Place]] = defaultdict(list)
        for ticker, date in places:
            by_month[month_of(self._owner_of(date, tree))].append((ticker, date))
        selected = []
        with self._lock:
            for month, asked in by_month.items():
                survey, framed = read(month), pl.DataFrame(asked, _PLACES, orient="row")
                told = survey.winners.join(framed, on=list(_PLACES), how="semi")
                selected.append((survey, told.filter(pl.col("kind") == kind)))
        return selected

    # -- entries -----------------------------------------------------------------------

    def _locate(self, told: Entry) -> Entry:
        """Say where the rows of an answer lie, which may count no more, above what counts now."""
        counts = self._require(told.ticker, told.session_date, Tree.TRADES)
        answers = list_entries(find_answers(self._read(month_of(told.owner)), told))
        if not answers:
            raise MissingPartitionError(say_missing(*told.key[:2], Tree.TRADES))
        newer = replace(told, revision=max(told.revision, counts.revision + 1))
        return replace(newer, part=answers[-1].part, first_row=answers[-1].first_row)

    def _raise_above_red(self, draft: Draft) -> Draft:
        """Give entries a revision above the red ones that they heal, and not below a lost one."""
        is_red = ~is_green()
        red = self._recall(draft.month).winners.filter(is_red).select(*KEY, "revision")
        floors = {row[:3]: row[3] + 1 for row in red.iter_rows()}
        if not floors and not self._lost:
            return draft
        rows = zip(draft.entries.select(KEY).iter_rows(), draft.entries["revision"], strict=True)
        raised = [
            max(revision, floors.get(key, 1), self._lost.get(key, 1)) for key, revision in rows
        ]
        revision = pl.Series(raised, dtype=ENTRIES.columns["revision"].dtype)
        return dataclasses.replace(draft, entries=draft.entries.with_columns(revision=revision))

    def _say(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Store entries whose rows are in parts that are there."""
        by_month: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_month[month_of(entry.owner)].append(replace(entry, committed_at=NOT_COMMITTED))
        stored = self._commit([Draft(m, frame_entries(e)) for m, e in by_month.items()])
        return [stored[entry.key] for entry in entries]

    def _commit(self, drafts: Sequence[Draft]) -> dict[Key, Receipt]:
        records = commit_segments(self.lake, drafts)
        self._untold += records
        surveys = {draft.month: self._read(draft.month) for draft in drafts}
        return {
            entry.key: self._describe(entry, surveys[record.header.month])
            for record in records
            for entry in list_entries(record.entries)
        }

    def _describe(self, entry: Entry, survey: Month | None = None) -> Receipt:
        """Make the receipt of an entry, with its share of the part's bytes."""
        known = survey or self._months[month_of(entry.owner)]
        facts = known.told_parts.get(entry.part or "")
        size = share_bytes(facts.bytes, facts.rows, entry.first_row, entry.rows) if facts else 0
        return make_receipt(entry, self.lake.source, size)

    def _verify_rows(self, selected: Iterable[tuple[Month, pl.DataFrame]]) -> list[Damage]:
        """Verify the rows of entries; a part that is gone shows without being read."""
        damages = []
        for survey, told in selected:
            there = told.filter(pl.col("rows") > 0, pl.col("part").is_in([*survey.parts]))
            for entries in there.sort("part", "first_row").partition_by("part"):
                for number, reason in find_unproven(self.lake, survey.name, entries).items():
                    ticker, date = entries.select(*_PLACES).row(number)
                    damages.append(Damage(ticker, date, DamageKind.CONTENT_HASH, reason))
        return damages
