"""What a download has in hand: from answers to stored sessions, a segment a month.

What belongs here: gathering, closing in the threads of the pool, and committing in the caller's.
What does not: when a segment closes (``lake.segments.writer``), the order of a commit
(``lake.segments.commit``), answers about stored sessions (``asking_again``).
"""

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from itertools import takewhile

import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.ingest.ticks.disk_room import Held
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.off_session import set_days_aside
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary
from smallcaps_assets.ingest.ticks.workload import Workload
from smallcaps_assets.lake.segment_store import Key
from smallcaps_assets.lake.segments.closing import Draft
from smallcaps_assets.lake.segments.writer import MOST_BYTES, Bundle, ClosingRules, SegmentWriter
from smallcaps_assets.lake.sessions.parquet import release_unused
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import TRADES


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """What a range was answered about dates that are no session.

    Attributes:
        days: Those of which all prints came.
        sent: Content hash of the prints of each that has any.
    """

    ticker: str
    days: list[dt.date]
    sent: dict[dt.date, str]


@dataclass(slots=True, eq=False)
class Hand:
    """Sessions between their answer and their outcome; for one thread.

    Attributes:
        lakehouse: The lake; the caller holds its lock.
        pool: Threads that encode.
        workload: Tells which months are done.
        summary: Learns how many prints are stored on dates that are no session.
        most_bytes: Bytes of rows, as they lie in memory, from which on it is full.
    """

    lakehouse: Lakehouse
    pool: Executor
    workload: Workload
    summary: DownloadSummary
    most_bytes: int = MOST_BYTES
    _writer: SegmentWriter[ClosedDays] = field(init=False)
    _closing: dict[Future[Draft], Bundle[ClosedDays]] = field(default_factory=dict)
    _stored: dict[Key, Receipt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        interval_s = self.lakehouse.settings.commit_interval_s
        rules = ClosingRules(interval_s=interval_s, most_bytes=self.most_bytes)
        self._writer = SegmentWriter(rules)

    @property
    def threads(self) -> int:
        """Count the threads that encode, or have encoded what is not committed yet."""
        return len(self._closing)

    @property
    def next(self) -> list[Future[Draft]]:
        """What is to be committed next, if anything was closed."""
        return list(self._closing)[:1]

    @property
    def is_full(self) -> bool:
        """Say whether no more may come before something is stored."""
        return self.measure().bytes > self.most_bytes

    def measure(self) -> Held:
        """Measure what is not stored yet."""
        bundles = [*self._writer, *self._closing.values()]
        sessions = sum(len(bundle.entries) for bundle in bundles)
        return Held(sessions, len(bundles), sum(bundle.bytes for bundle in bundles))

    def add(self, result: RangeResult) -> None:
        """Take what a range brought; the sessions of which it brought nothing are not among it."""
        prints = {p.receipt.session_date: p.receipt.content_hash for p in result.off_session}
        brought = [*result.sessions, *result.off_session]
        brought.sort(key=lambda prepared: prepared.receipt.session_date)
        entries = [self.lakehouse.sessions.enter(prepared) for prepared in brought]
        trades = pl.concat([TRADES.empty(), *(prepared.trades for prepared in brought)])
        closed = ClosedDays(result.span.ticker, result.closed_days, prints)
        self._writer.add(entries, trades, closed)

    def close_due(self) -> None:
        """Let threads encode what is full, done, or has waited long enough."""
        self._close(self._writer.take_due(self.workload.is_open))

    def commit(self) -> list[Receipt]:
        """Commit what is encoded, in the order of closing: parts, records, ledger.

        Returns:
            Its sessions as they are stored.

        Raises:
            StorageError: The storage refuses.  What has its record is stored, the rest is absent.
            PartitionConflictError: The lake is another by now.
        """
        lakehouse, store = self.lakehouse, self.lakehouse.sessions
        done = list(takewhile(Future.done, self._closing))
        if not (done or self._stored or store.untold):
            return []
        lakehouse.lock.check()
        for future in done:
            self._set_aside(self._closing[future])
        # Only now it is out of hand: an interrupt before commits it again, which is safe.
        self._stored |= store.commit_drafts([future.result() for future in done])
        for future in done:
            del self._closing[future]
        record_stored(lakehouse.ledger, store)
        stored, self._stored = self._stored, {}
        proven = [receipt for (_, _, kind), receipt in stored.items() if kind == SESSION]
        rows = sum(receipt.rows for receipt in stored.values())
        self.summary.off_session_rows += rows - sum(receipt.rows for receipt in proven)
        return proven

    def drain(self) -> list[Receipt]:
        """Commit everything in hand, as :meth:`commit` does."""
        self._close(self._writer.take_all())
        wait(self._closing)
        return self.commit()

    def take_back(self) -> None:
        """Encode here what no thread has begun to: they may wait for the vendor for long."""
        begun = {future: bundle for future, bundle in self._closing.items() if not future.cancel()}
        untouched = [bundle for future, bundle in self._closing.items() if future not in begun]
        self._closing = begun
        for bundle in [*untouched, *self._writer.take_all()]:
            future: Future[Draft] = Future()
            future.set_result(bundle.close())
            self._closing[future] = bundle

    def _close(self, bundles: Iterable[Bundle[ClosedDays]]) -> None:
        for bundle in bundles:
            self._closing[self.pool.submit(self._encode, bundle)] = bundle

    def _encode(self, bundle: Bundle[ClosedDays]) -> Draft:
        with self.lakehouse.client.processor:
            draft = bundle.close()
            release_unused()
        return draft

    def _set_aside(self, bundle: Bundle[ClosedDays]) -> None:
        """Set stored prints of closed days aside that the vendor sends otherwise now."""
        calendar, store = self.lakehouse.calendar, self.lakehouse.sessions
        for closed in bundle.origins:
            days = [d for d in closed.days if month_of(calendar.owner_of(d)) == bundle.month]
            set_days_aside(store, closed.ticker, days, closed.sent)
