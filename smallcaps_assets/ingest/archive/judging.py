"""One session of an archive: read, judge, encode.  Runs in worker threads.

What does not belong here: threads, commits and what the lake has already (``importing``).
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallcaps_assets.core import states
from smallcaps_assets.core.archive.findings import ArchiveVerdict
from smallcaps_assets.core.archive.sessions import (
    ArchivedSession,
    FileRows,
    classify_file,
    judge_session,
    refuse_file,
)
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.core.ticks.bar_prices import FIGURES
from smallcaps_assets.errors import DataError
from smallcaps_assets.ingest.archive.outcomes import Action, ImportedSession
from smallcaps_assets.lake.interchange.archive_files import ArchivedFile, read_archive
from smallcaps_assets.lake.interchange.archives import SessionFiles
from smallcaps_assets.lake.ledger.import_records import ImportRecord
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts, ImportFacts

Bar = Mapping[str, Any]
"""A row of ``schemas.DAILY_BARS``."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A session of an archive with what is to be done about it.

    Attributes:
        record: What the ledger is to remember, where it is not stored in the lake.
        prepared: What is to be written; ``None``: nothing.
    """

    session: ImportedSession
    record: ImportRecord | None = None
    prepared: PreparedSession | None = None


@dataclass(frozen=True, slots=True)
class ArchiveJudge:
    """Turns sessions of an archive into what is to be done about them.

    Attributes:
        store: Encodes them; nothing is written here.  ``None``: judge, and prepare nothing.
        accepts_unproven: Store what is readable, agreeing or not.
    """

    calendar: SessionCalendar
    store: SegmentStore | None
    clock: Callable[[], dt.datetime]
    root: Path
    run_id: str
    accepts_unproven: bool

    def judge(self, session: SessionFiles, bar: Bar | None) -> Judged:
        """Read and judge one session, and encode it where it is to be stored."""
        archived = judge_session(
            [self._read(file, session.ticker) for file in session.files],
            session.ticker,
            session.session_date,
            bar,
            self.calendar,
        )
        action = self._choose_action(archived.verdict)
        described = replace(
            describe_session(session, action),
            verdict=archived.verdict,
            rows=archived.trades.height,
            findings=tuple(finding.describe() for finding in archived.findings),
            kinds=frozenset(finding.kind.value for finding in archived.findings),
        )
        prepared = None
        if action is not Action.LEFT and self.store is not None:
            prepared = self._prepare(self.store, session, archived, described, bar)
        if action in (Action.STORED, Action.ACCEPTED):
            return Judged(described, prepared=prepared)
        record = ImportRecord(
            session.key,
            archived.verdict.value,
            _identify(session, bar),
            rows=prepared.receipt.rows if prepared else 0,
            bytes=prepared.receipt.bytes if prepared else 0,
            bar_volume=_read_bar(bar)[0],
            bar_trade_count=_read_bar(bar)[1],
            findings=described.findings,
        )
        return Judged(described, record, prepared)

    def is_unchanged(self, session: SessionFiles, record: ImportRecord, bar: Bar | None) -> bool:
        """Say whether another look would find what the last one did, and do what it did."""
        if self.accepts_unproven and record.verdict == ArchiveVerdict.UNPROVEN:
            return False
        seen = (record.fingerprint, record.bar_volume, record.bar_trade_count)
        return seen == (_identify(session, bar), *_read_bar(bar))

    def _read(self, file: ArchivedFile, ticker: str) -> FileRows:
        try:
            rows = read_archive(file, self.root)
        except DataError as error:
            return refuse_file(file.facts, str(error))
        return classify_file(file.facts, rows, ticker, self.calendar)

    def _choose_action(self, verdict: ArchiveVerdict) -> Action:
        if verdict is ArchiveVerdict.PROVEN:
            return Action.STORED
        if verdict is ArchiveVerdict.UNUSABLE:
            return Action.LEFT
        return Action.ACCEPTED if self.accepts_unproven else Action.KEPT_APART

    def _prepare(
        self,
        store: SegmentStore,
        session: SessionFiles,
        archived: ArchivedSession,
        described: ImportedSession,
        bar: Bar | None,
    ) -> PreparedSession:
        gte_ns, lt_ns = day_bounds_ns(session.session_date, session.session_date)
        is_apart = described.action is Action.KEPT_APART
        facts = FetchFacts(
            state=states.IMPORTED_UNPROVEN if is_apart else states.COMPLETE,
            pages=0,
            requests=0,
            gte_ns=gte_ns,
            lt_ns=lt_ns,
            vendor_status="",
            run_id=self.run_id,
            started_at=self.clock(),
            bar_volume=_read_bar(bar)[0],
            bar_trade_count=_read_bar(bar)[1],
            volume=archived.volume,
            trade_count=archived.trade_count,
            is_imported=True,
            archive=ImportFacts(
                fingerprint=_identify(session, bar),
                verdict=archived.verdict.value,
                findings=described.findings,
                is_accepted_unproven=described.action is Action.ACCEPTED,
            ),
        )
        tree = Tree.IMPORTED if is_apart else Tree.TRADES
        return store.prepare(
            session.ticker, session.session_date, archived.trades, facts, tree=tree
        )


def _read_bar(bar: Bar | None) -> tuple[float | None, int | None]:
    """Read shares and trades of a daily bar, as far as they are known."""
    return (bar["volume"], bar["trade_count"]) if bar else (None, None)


def _identify(session: SessionFiles, bar: Bar | None) -> str:
    """Hash files and bar prices: what has an equal hash is judged alike."""
    prices = [bar[figure] for figure in FIGURES] if bar else None
    return hashlib.sha256(f"{session.fingerprint} {prices}".encode()).hexdigest()


def describe_session(session: SessionFiles, action: Action) -> ImportedSession:
    """Describe what becomes of a session, before anything else is known of it."""
    return ImportedSession(session.key, tuple(file.facts.name for file in session.files), action)


def recall_session(session: SessionFiles, record: ImportRecord) -> ImportedSession:
    """Recall what an earlier import found out about a session."""
    return replace(
        describe_session(session, Action.UNCHANGED),
        verdict=ArchiveVerdict(record.verdict),
        rows=record.rows,
        findings=record.findings,
    )
