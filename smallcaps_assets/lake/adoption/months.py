"""One month of a lake of receipts, stored as segments: each session with its proof, or named.

What belongs here: which entries a month becomes, in which order.  What does not: reading it
(``old_lake``), single conversions (``entries``), and the order of the whole (``takeover``).

What counts goes first.  Imports that nothing proves and replaced answers are further segments,
whose entries lose against it.  An entry names the receipt that it was made of, so a takeover that
was killed continues with what has none yet.
"""

import datetime as dt
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.segments.entries import Entry
from smallcaps_assets.core.states import DISPUTED, QUARANTINED
from smallcaps_assets.errors import DataError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.adoption.entries import adopt_receipt, adopt_record, enter_damage
from smallcaps_assets.lake.adoption.old_lake import DAMAGES, Answer, OldLake
from smallcaps_assets.lake.adoption.old_paths import Kind
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.segments.writer import ClosingRules, SegmentWriter
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets.schemas import TRADES

Piece = tuple[list[Entry], pl.DataFrame]
"""Entries, and the rows of them all."""

_NEVER: Final = ClosingRules(interval_s=math.inf)
"""Nobody waits for what is taken over: a segment closes when it is full."""


@dataclass(slots=True)
class MonthFacts:
    """What a month was taken over with.

    Attributes:
        month: The month, ``YYYY-MM``.
        sessions: Sessions stored by this call, those without trades among them.
        rows: Trades of them.
        apart: Further entries: prints on closed days, imports without proof, replaced answers, red
            sessions.
        known: Receipts of which an earlier call had stored an entry.
        damaged: Key and reason of what could not be proven.
        lost: Keys of the sessions among it that counted: red now, and to be asked for again.
    """

    month: str
    sessions: int = 0
    rows: int = 0
    apart: int = 0
    known: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def adopt_month(old: OldLake, lake: SegmentLake, month: str, held: pl.DataFrame) -> MonthFacts:
    """Store all that a lake of receipts holds of a month; doing it again stores what is missing.

    Args:
        old: The lake of receipts.
        lake: The lake of segments.
        month: The month, ``YYYY-MM``.
        held: What it holds of it: rows of ``old_lake.HELD``.

    Raises:
        DataError: What was stored does not hold all that was read.
        LedgerMismatchError: A record of the month is damaged.
        StorageError: A disk refuses; doing it again continues.
    """
    known = {*read_month(lake, month).entries["adopted"].drop_nulls()}
    work = _Work(old, known, MonthFacts(month))
    work.read_receipts(held)
    _store(lake, work.enter_counting())
    for kind, layer in work.list_layers():
        _store(lake, work.enter_apart(kind, layer))
    _store(lake, [(work.list_red(), TRADES.empty())])
    lacking = work.stored - {*read_month(lake, month).entries["adopted"]}
    if lacking:
        raise DataError(
            f"expected entries of {len(work.stored)} receipts of {month}, but {len(lacking)} have "
            "none: find out what changes files of the lake, and run the same command again"
        )
    return work.facts


def remove_month(old: OldLake, lake: SegmentLake, month: str, held: pl.DataFrame) -> int:
    """Remove the files of a month that was taken over, after every byte of it was proven again.

    What is damaged was not taken over, and stays.

    Args:
        old: The lake of receipts.
        lake: The lake of segments.
        month: The month, ``YYYY-MM``.
        held: What it held of it: rows of ``old_lake.HELD``.

    Returns:
        Folders of sessions that stay.

    Raises:
        DataError: A segment of the month is not what it says; nothing was removed.
        StorageError: A disk refuses; doing it again continues.
    """
    survey = read_month(lake, month)
    for finding in audit_month(lake, survey):
        if finding.kind != "stray":
            raise DataError(f"{finding.file} of {month}: {finding.message}; nothing was removed")
    sound = {*survey.entries.filter(pl.col("state") != QUARANTINED)["adopted"]}
    kept = 0
    for _, ticker, date, owner, _, path in held.filter(pl.col("kind") != Kind.LEDGER).rows():
        try:
            answer = old.read_answer(ticker, date, owner, Path(path))
        except MissingPartitionError:
            continue  # An earlier call has removed it.
        except LedgerMismatchError:
            answer = None
        if answer is not None and answer.receipt.receipt_sha256 in sound:
            _remove_session(old.fs, answer.folder)
        else:
            kept += 1
    if not kept:
        _remove_month_files(old, month)
    return kept


def _remove_month_files(old: OldLake, month: str) -> None:
    for folder in filter(old.fs.is_folder, (root.month_dir(month) for root in old.roots)):
        old.fs.remove_tree(folder)


def _remove_session(fs: FileSystem, folder: Path) -> None:
    """Remove a session; without its receipt a file is not data, so a kill leaves no damage."""
    fs.remove(folder / RECEIPT_NAME)
    fs.remove(folder / TRADES_NAME)
    fs.remove_folder(folder)


@dataclass(slots=True)
class _Work:
    """A month under way.

    Attributes:
        old: The lake of receipts.
        known: Hashes of receipts that have an entry.
        facts: What was done.
        answers: Receipts without an entry that prove themselves, by kind.
        stored: Hashes of all receipts that have to have an entry at the end.
        red: Entries of what is damaged.
        records: Keys that only the ledger knows.
        counted: Keys that have a receipt among the sessions, damaged or not.
        imported: Keys that an import has and does not prove.
        floors: Revision above those of the replaced answers, by key.
    """

    old: OldLake
    known: set[str]
    facts: MonthFacts
    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    stored: set[str] = field(default_factory=set)
    red: list[Entry] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    floors: dict[str, int] = field(default_factory=dict)

    def read_receipts(self, held: pl.DataFrame) -> None:
        """Read all receipts of the month."""
        for kind, ticker, date, owner, _, path in held.rows():
            key = encode_key(ticker, date)
            if kind == Kind.LEDGER:
                self.records.append(key)
                continue
            if kind == Kind.TRADES:
                self.counted.add(key)
            elif kind == Kind.IMPORTED:
                self.imported.add(key)
            try:
                self._sort_in(kind, self.old.read_answer(ticker, date, owner, Path(path)))
            except (LedgerMismatchError, MissingPartitionError) as error:
                self.facts.damaged.append((key, str(error)))
                if kind in (Kind.TRADES, Kind.OFF_SESSION):
                    self._enter_red(ticker, date, owner, path)
                if kind == Kind.TRADES:
                    self.facts.lost.append(key)

    def enter_counting(self) -> Iterator[Piece]:
        """Yield the sessions that count, some at a time."""
        answers = self.answers[Kind.TRADES]
        for sound, trades in self.old.read_rows(answers, self._refuse):
            entries = [self._enter(answer) for answer in sound]
            self.facts.sessions += len(entries)
            self.facts.rows += trades.height
            yield entries, trades

    def list_layers(self) -> Iterator[tuple[str, list[Answer]]]:
        """Yield what lies apart, by kind, so that no layer has a session twice."""
        yield from ((kind, self.answers[kind]) for kind in (Kind.OFF_SESSION, Kind.IMPORTED))
        stacks: dict[str, list[Answer]] = defaultdict(list)
        for answer in self.answers[Kind.REVISIONS]:
            stacks[answer.receipt.key].append(answer)
        for depth in range(max(map(len, stacks.values()), default=0)):
            yield Kind.REVISIONS, [stack[depth] for stack in stacks.values() if depth < len(stack)]

    def enter_apart(self, kind: str, layer: Sequence[Answer]) -> Iterator[Piece]:
        """Yield sessions that lie outside those that count, one at a time."""
        for answer in layer:
            try:
                trades = self.old.read_apart(answer)
            except DAMAGES as error:
                self._refuse(answer, str(error), is_red=kind == Kind.OFF_SESSION)
                continue
            owner = answer.owner if kind == Kind.OFF_SESSION else None
            self.facts.apart += 1
            yield [adopt_receipt(answer.receipt, self.old.calendar, owner=owner)], trades

    def list_red(self) -> list[Entry]:
        """List the entries of sessions of which nothing can be proven."""
        open_keys = set(self.records) - self.counted - self.imported
        for record in self.old.read_records(sorted(open_keys)):
            entry = adopt_record(record)
            self.red.append(replace(entry, revision=self.floors.get(record.key, 1)))
        for key in sorted(self.floors.keys() - self.counted - open_keys):
            # An old answer must not count again because the one that replaced it is gone.
            ticker, date = decode_key(key)
            self._enter_red(ticker, date, date, f"replaced answers of {key}")
        entries = [entry for entry in self.red if entry.adopted not in self.known]
        self.facts.apart += len(entries)
        return entries

    def _sort_in(self, kind: str, answer: Answer) -> None:
        receipt = answer.receipt
        if kind == Kind.REVISIONS:
            floor = self.floors.get(receipt.key, 1)
            self.floors[receipt.key] = max(floor, receipt.revision + 1)
        self.stored.add(receipt.receipt_sha256)
        if receipt.receipt_sha256 in self.known:
            self.facts.known += 1
        else:
            self.answers[kind].append(answer)

    def _enter(self, answer: Answer) -> Entry:
        """Make the entry of a session that counts: above its replaced answers and imports."""
        receipt = answer.receipt
        floor = self.floors.get(receipt.key, 1)
        if receipt.state == DISPUTED and receipt.key in self.imported:
            floor = max(floor, 2)
        return adopt_receipt(receipt, self.old.calendar, revision=floor)

    def _refuse(self, answer: Answer, reason: str, *, is_red: bool = True) -> None:
        """Take a session whose rows do not prove out of what has to be stored."""
        receipt = answer.receipt
        self.facts.damaged.append((receipt.key, reason))
        self.stored.discard(receipt.receipt_sha256)
        if is_red:
            floor = max(self.floors.get(receipt.key, 1), receipt.revision + 1)
            if answer.owner == receipt.session_date:
                self.facts.lost.append(receipt.key)
            place = (receipt.ticker, receipt.session_date, receipt.receipt_sha256)
            self.red.append(enter_damage(*place, owner=answer.owner, revision=floor))

    def _enter_red(self, ticker: str, date: dt.date, owner: dt.date, where: str) -> None:
        """Enter a session of which no receipt can be read, made of what is named."""
        floor = self.floors.get(encode_key(ticker, date), 1)
        adopted = hashlib.sha256(where.encode()).hexdigest()
        self.red.append(enter_damage(ticker, date, adopted, owner=owner, revision=floor))


def _store(lake: SegmentLake, pieces: Iterable[Piece]) -> None:
    """Store sessions in segments that are as full as they can be."""
    writer: SegmentWriter[None] = SegmentWriter(_NEVER)
    for entries, trades in pieces:
        if entries:
            writer.add(entries, trades)
        for bundle in writer.take_due():
            commit_segments(lake, [bundle.close()])
    for bundle in writer.take_all():
        commit_segments(lake, [bundle.close()])
