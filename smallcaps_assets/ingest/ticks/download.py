"""The download core: from keys of ticker-sessions to proven records, whatever asks for them.

It knows nothing of Dagster: a caller iterates over :class:`Outcome` and may stop at any time.
Each outcome is yielded after its commit, never before.  The shape of the partitions, the runs
and the words on the screen belong to ``defs`` and ``cli``.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property

import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.core.ticks.disputes import allow_requests
from smallcaps_assets.errors import (
    InterruptedFetchError,
    NotEntitledError,
    PartitionConflictError,
    SmallcapsError,
    StorageError,
    VendorError,
)
from smallcaps_assets.ingest.budget.calibration import gather_holdings
from smallcaps_assets.ingest.budget.expectations import label_sessions, plan_ranges, read_bar_facts
from smallcaps_assets.ingest.proof.judging import StoredJudge
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.ingest.proof.vendor_rows import fetch_sound_bars
from smallcaps_assets.ingest.ticks.asking_again import AskingAgain
from smallcaps_assets.ingest.ticks.disk_room import Room, open_room
from smallcaps_assets.ingest.ticks.failing import REFUSED_FOR, FailurePolicy, VendorWatch
from smallcaps_assets.ingest.ticks.fetching import RangeFetcher, RangeResult, end_pool, open_pool
from smallcaps_assets.ingest.ticks.off_session import store_off_session
from smallcaps_assets.ingest.ticks.outcomes import (
    DownloadSummary,
    Outcome,
    describe_reused,
    describe_stored,
)
from smallcaps_assets.ingest.ticks.ranges import (
    RangeQueue,
    Refusal,
    RequestRange,
    close_range,
    cut_range,
    give_up_range,
    queue_ranges,
    refuse_range,
)
from smallcaps_assets.ingest.ticks.workload import Workload, find_purposes, name_purposes
from smallcaps_assets.lake.ledger.rows import (
    Attempt,
    Failure,
    SessionRecord,
    describe_session,
)
from smallcaps_assets.lake.segments.parts import SHAPE
from smallcaps_assets.lake.segments.writer import MOST_BYTES
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""Longest wait between two looks at finished ranges, so that a commit is never overdue."""


class Download:
    """One download of some ticker-sessions into one lake.

    The caller holds the lake's lock, and has refreshed the ledger.  Memory is bounded by
    ``workers`` ranges of about ``range_max_rows`` trades and one group of sessions.

    Attributes:
        summary: Counts so far.
        workload: Ranges by how far they are.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        *,
        run_id: str,
        interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
        accept_empty: bool = False,
        accept_disputed: bool = False,
        asks_again: bool = False,
    ) -> None:
        """Prepare a download; nothing is asked.

        Args:
            lakehouse: The lake.
            run_id: Name of the run.
            interrupts: Exceptions that mean "stop now, keep what is finished".
            accept_empty: Believe the vendor's "no trades" against the daily bar.
            accept_disputed: Take what is still disputed at the end for complete.
            asks_again: Ask for finished sessions again too.
        """
        self.summary = DownloadSummary()
        self.workload = Workload(lakehouse.calendar, lakehouse.settings.page_limit)
        self._lakehouse = lakehouse
        self._calendar = lakehouse.calendar
        self._run_id = run_id
        self._interrupts = interrupts
        self._accept_empty = accept_empty
        self._accept_disputed = accept_disputed
        self._asks_again = asks_again
        self._waiting = RangeQueue()
        self._running: dict[Future[RangeResult], RequestRange] = {}
        self._batch: list[RangeResult] = []
        self._batch_since = time.monotonic()
        self._room: Room
        settings = lakehouse.settings
        watch = VendorWatch(settings.outage_after, settings.workers)
        self._policy = FailurePolicy(lakehouse.calendar, watch, run_id)

    @cached_property
    def asking(self) -> AskingAgain:
        """Look again at what bars dispute; where sessions lie is known once the lock is held."""
        lakehouse, settings = self._lakehouse, self._lakehouse.settings
        return AskingAgain(
            open_stored(lakehouse),
            lakehouse.calendar,
            lambda dates: fetch_sound_bars(
                lakehouse.client, dates, settings.workers, lakehouse.stop
            ),
            settings.range_max_rows,
            settings.range_max_sessions,
            self._asks_again,
        )

    def run(self, keys: Sequence[str]) -> Iterator[Outcome]:
        """Yield the outcome of each of ``keys``, finished ones first and without a request.

        Sessions that were not reached (the download was aborted) have no outcome; the summary
        counts them.

        Raises:
            StorageError: The disk refuses; what was committed stays.
            PartitionConflictError: An emulator of another market answers.
        """
        finished, missing = self._split_keys(keys)
        again = self._find_disputed(missing)
        if self._asks_again:
            again += self._lakehouse.sessions.find_receipts([outcome.key for outcome in finished])
        known = {receipt.key for receipt in again}
        for outcome in finished:
            if outcome.key not in known:
                yield self._count(outcome)
        for outcome in self._hold_back(missing):
            yield self._count(outcome)
        if missing or again:
            for outcome in self._fetch_all(_frame_sessions(missing), again):
                missing.pop(outcome.key, None)
                yield self._count(outcome)
        self.summary.unreached = list(missing)
        logger.info("download finished run=%s %s", self._run_id, self.summary.describe())

    # -- what is there already ---------------------------------------------------------

    def _split_keys(self, keys: Sequence[str]) -> tuple[list[Outcome], dict[str, str]]:
        """Split keys into finished sessions and the states of the others.

        A process that died before it had replaced a session leaves one that the ledger calls open
        and a record proven; the ledger learns it here, and it is not asked again.
        """
        ledger = self._lakehouse.ledger
        records = ledger.records(keys)
        plain = {*ledger.find_unlisted(key for key in keys if key not in records)}
        for receipt in self._lakehouse.sessions.find_receipts(plain):
            records[receipt.key] = describe_session(receipt)
        is_open = [key for key in keys if key not in records or records[key].state not in GREEN]
        late = [
            receipt
            for receipt in self._lakehouse.sessions.find_receipts(ledger.find_told(is_open))
            if not _is_known(receipt, records.get(receipt.key))
        ]
        if late:
            ledger.record_receipts(late)
            records |= ledger.records([receipt.key for receipt in late])
        finished, missing = [], {}
        for key in keys:
            record = records.get(key)
            if record is None or record.state not in GREEN:
                missing[key] = record.state if record else states.PLANNED
                continue
            finished.append(describe_reused(key, record))
        return finished, missing

    def _find_disputed(self, missing: dict[str, str]) -> list[Receipt]:
        """Take what is disputed out of ``missing``; return its receipts.

        One whose rows are gone stays: it is asked for like any other.
        """
        keys = [key for key, state in missing.items() if state == states.DISPUTED]
        stored = self._lakehouse.sessions.find_receipts(keys)
        found = [receipt for receipt in stored if receipt.rows]
        for receipt in found:
            del missing[receipt.key]
        return found

    def _hold_back(self, missing: dict[str, str]) -> Iterator[Outcome]:
        """Yield, and take out of ``missing``, disputed sessions that are not due again yet."""
        if self._accept_empty:
            return
        today = self._lakehouse.clock().date()
        disputed = [k for k, state in missing.items() if state == states.EMPTY_DISPUTED]
        for key in disputed:
            if self._lakehouse.ledger.is_ask_due(key, today):
                continue
            del missing[key]
            yield Outcome(
                key,
                states.EMPTY_DISPUTED,
                kind="empty_disputed",
                message="disputed and not due to be asked again; --accept-empty accepts it",
            )

    # -- the loop ----------------------------------------------------------------------

    def _fetch_all(self, missing: pl.DataFrame, again: Sequence[Receipt]) -> Iterator[Outcome]:
        """Fetch what is missing with a pool of threads, committing in groups, then ask again."""
        lakehouse = self._lakehouse
        stored = _frame_sessions({receipt.key: receipt.state for receipt in again})
        bars = read_bar_facts(lakehouse.tables, pl.concat([missing, stored]))
        self.asking.open_judge(bars)
        self.asking.add(again)
        holdings = gather_holdings(lakehouse.ledger, lakehouse.default_costs)
        if missing.height:
            labelled = label_sessions(lakehouse.tables, missing, holdings.stored)
            self._waiting = self._plan_ranges(labelled, holdings.stored)
        self.workload.add(self._waiting)
        fetcher = RangeFetcher(
            lakehouse.client,
            lakehouse.sessions,
            lakehouse.calendar,
            self.asking.judge,
            self._run_id,
            accept_empty=self._accept_empty,
            page_limit=lakehouse.settings.page_limit,
            clock=lakehouse.clock,
        )
        lakehouse.stop.clear()
        self.workload.enter("fetches")
        pool = open_pool(lakehouse.settings.workers)
        try:
            self._room = open_room(lakehouse, bars, holdings.costs)
            yield from self._loop(pool, fetcher)
            yield from self._ask_again(self.asking, pool, fetcher)
        except self._interrupts:
            lakehouse.stop.set()
            yield from self._flush()
            raise
        finally:
            lakehouse.stop.set()
            end_pool(pool)

    def _ask_again(
        self, asking: AskingAgain, pool: ThreadPoolExecutor, fetcher: RangeFetcher
    ) -> Iterator[Outcome]:
        """Look again at what its bars dispute, and yield what became of it."""
        budget = allow_requests(self.summary.requests)
        if asking.receipts and not self.summary.aborted:
            asking.correct_dates()
            asking.refresh_bars(budget)
            asking.reconsider()
        while ranges := [] if self.summary.aborted else asking.plan(budget):
            self._waiting.put(ranges)
            self.workload.add(ranges)
            # Its bars may be newer than those of the first answers.
            yield from self._loop(pool, replace(fetcher, judge=asking.judge))
            asking.reconsider()
        if self._accept_disputed:
            asking.accept()
        for receipt in asking.receipts.values():
            yield describe_stored(receipt, self._run_id)

    def _loop(self, pool: ThreadPoolExecutor, fetcher: RangeFetcher) -> Iterator[Outcome]:
        """Keep the pool busy and settle what it finishes."""
        while (self._waiting and not self.summary.aborted) or self._running:
            yield from self._submit(pool, fetcher)
            done, _ = wait(self._running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield from self._settle(future, self._running.pop(future))
            if self._is_flush_due():
                yield from self._flush()
        yield from self._flush()

    def _submit(self, pool: ThreadPoolExecutor, fetcher: RangeFetcher) -> Iterator[Outcome]:
        """Give the pool work; where a disk gets full, one range at a time, then none."""
        workers = self._lakehouse.settings.workers
        while self._waiting and len(self._running) < workers and not self.summary.aborted:
            span = self._waiting.take()
            closed_until = self._policy.closed_until
            if span.last_session <= closed_until:
                self.workload.drop(span)
                yield from self._refuse(close_range(span, self._calendar, closed_until))
            elif span.first_session <= closed_until:
                parts = list(cut_range(span, self._calendar, fetcher.bars, closed_until))
                self._waiting.put_first(self._replace(span, parts)[::-1])
            elif span.page_limit is None and self._policy.is_given_up(span):
                self.workload.drop(span)
                yield from self._refuse(give_up_range(span, self._calendar))
            elif self._room.fits([*self._running.values(), span], self._batch):
                span = self._policy.skip_closed_days(span)
                self.workload.start(span)
                self._running[pool.submit(fetcher.fetch, span)] = span
            else:
                self._waiting.put_first([span])
                if self._running:
                    return
                yield from self._flush()
                if not self._room.fits([span], []):
                    self.summary.aborted = self._room.describe_lack(
                        list(self._waiting), self._expect_missing()
                    )

    def _settle(self, future: Future[RangeResult], span: RequestRange) -> Iterator[Outcome]:
        """Take over what one range brought, or deal with its failure."""
        try:
            result = future.result()
        except InterruptedFetchError:
            return
        except (StorageError, PartitionConflictError):
            raise
        except SmallcapsError as error:
            yield from self._fail(span, error, self._room.bars)
            return
        self._policy.note_answer(span)
        self._room.learn(result)
        self.workload.finish(result)
        if not self._batch:
            self._batch_since = time.monotonic()
        self._batch.append(result)

    # -- failures ----------------------------------------------------------------------

    def _fail(self, span: RequestRange, error: SmallcapsError, bars: BarFacts) -> Iterator[Outcome]:
        """Abort, ask again in parts, or refuse the sessions of a range that failed."""
        requests = error.requests if isinstance(error, VendorError) else 0
        self.summary.requests += requests
        attempt = self._describe_attempt(span, requests)
        self._lakehouse.ledger.record_attempt(replace(attempt, kind=error.kind, message=str(error)))
        reason = self._policy.note_failure(span, error, self._waiting)
        self.summary.aborted = self.summary.aborted or reason
        if span.page_limit is not None:
            # What is stored stays as it is; the next run asks again.
            self.workload.drop(span)
            self.asking.requests += requests
            return
        if not self.summary.aborted:
            known = self._policy.learnt_until
            parts = self._policy.cut(span, error, bars, self._waiting)
            if (learnt := self._policy.learnt_until) > known:
                self._lakehouse.ledger.record_refused(learnt)
            if parts:
                self._policy.put_parts(self._replace(span, parts), self._waiting)
                return
        self.workload.drop(span)
        is_closed = isinstance(error, NotEntitledError)
        state = states.NOT_ENTITLED if is_closed else states.FAILED
        refusals = refuse_range(span, self._calendar, state, error.kind, str(error))
        yield from self._refuse(refusals)

    def _replace(self, span: RequestRange, parts: list[RequestRange]) -> list[RequestRange]:
        """Replace a range by its parts, which are to be fetched instead."""
        self.workload.drop(span)
        self.workload.add(parts)
        return parts

    def _refuse(self, refusals: Sequence[Refusal]) -> Iterator[Outcome]:
        """Record sessions that stay open, and yield them."""
        self._lakehouse.ledger.record_failures(
            [Failure(r.key, r.state, r.kind, r.message, run_id=self._run_id) for r in refusals]
        )
        for refusal in refusals:
            logger.info("session failed key=%s kind=%s", refusal.key, refusal.kind)
            yield Outcome(refusal.key, refusal.state, kind=refusal.kind, message=refusal.message)

    # -- commits -----------------------------------------------------------------------

    def _is_flush_due(self) -> bool:
        """Say whether a segment's worth waits, or anything for long."""
        rows = sum(result.rows for result in self._batch)
        held = sum(result.held_bytes for result in self._batch)
        age_s = time.monotonic() - self._batch_since
        is_large = rows >= SHAPE.chunk_rows or held >= MOST_BYTES
        is_old = age_s > self._lakehouse.settings.commit_interval_s
        return bool(self._batch) and (is_large or is_old)

    def _flush(self) -> Iterator[Outcome]:
        """Commit what the pool finished: parts, records, ledger, then the outcomes."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        ledger, store = self._lakehouse.ledger, self._lakehouse.sessions
        self._lakehouse.lock.check()
        first = [result for result in batch if result.span.page_limit is None]
        # A green session is never asked for again: what belongs to it is on the disk before it.
        self.summary.off_session_rows += store_off_session(
            store, [r for r in batch if r.span.page_limit is None or r.is_whole]
        )
        proven = store.commit([prepared for result in first for prepared in result.sessions])
        record_stored(ledger, store)
        self._room.correct(proven)
        self.asking.weigh([result for result in batch if result.span.page_limit is not None])
        for result in batch:
            self.summary.requests += result.requests
            ledger.record_attempt(
                replace(
                    self._describe_attempt(result.span, result.requests),
                    pages=result.pages,
                    rows=result.rows,
                    bytes=result.bytes_received,
                    sessions=len(result.sessions),
                )
            )
        self.workload.enter("fetches")
        self.asking.add(receipt for receipt in proven if receipt.state == states.DISPUTED)
        for receipt in proven:
            if receipt.state != states.DISPUTED:
                yield describe_stored(receipt, self._run_id)
        yield from self._refuse([refusal for result in first for refusal in result.refusals])

    def _describe_attempt(self, span: RequestRange, requests: int) -> Attempt:
        """Describe a range as an entry of the attempts, which are the history of the lake."""
        return Attempt(
            span.ticker,
            span.first_session,
            span.last_session,
            requests=requests,
            run_id=self._run_id,
            purpose=span.purpose,
            expected_requests=self.workload.weigh(span).requests,
        )

    def _plan_ranges(self, missing: pl.DataFrame, landed: pl.DataFrame) -> RangeQueue:
        """Plan the request ranges; sessions that failed before are in ranges of their own."""
        failed = set(missing.filter("has_failed").select("ticker", "session_date").iter_rows())
        self._policy.expect_failures(failed)
        lakehouse = self._lakehouse
        if not self._asks_again:
            self._policy.recall(lakehouse.ledger.refused_until(lakehouse.clock() - REFUSED_FOR))
        rules = lakehouse.range_rules
        purposes = find_purposes(
            lakehouse.ledger,
            missing,
            lambda plan: plan_ranges(label_sessions(lakehouse.tables, plan, landed), rules),
        )
        ranges = plan_ranges(missing, rules)
        estimated = plan_ranges(missing.with_columns(expected_rows="estimated_rows"), rules)
        asked = name_purposes(purposes, self._calendar, ranges, estimated["expected_rows"])
        return queue_ranges(asked, failed, self._run_id)

    def _expect_missing(self) -> list[int | None]:
        """Tell the expected trades of every planned session that is missing."""
        missing = self._lakehouse.ledger.missing_keys()
        bars = read_bar_facts(self._lakehouse.tables, missing)
        counts: list[int | None] = bars.expect_rows(missing)["expected_rows"].to_list()
        return counts

    def _count(self, outcome: Outcome) -> Outcome:
        self.summary.add(outcome)
        return outcome


def open_stored(lakehouse: Lakehouse) -> StoredJudge:
    """Open what is stored to judge it by bars; the caller holds the lock."""
    return StoredJudge(
        lakehouse.tables,
        lakehouse.ledger,
        lakehouse.sessions,
        lakehouse.thresholds,
        lakehouse.settings.bars_prove,
        lakehouse.settings.page_limit,
        lakehouse.clock,
    )


def _is_known(receipt: Receipt, record: SessionRecord | None) -> bool:
    """Say whether the ledger has the state and the rows of a receipt."""
    if record is None:
        return False
    return (record.state, record.content_hash) == (receipt.state, receipt.content_hash)


def _frame_sessions(missing: Mapping[str, str]) -> pl.DataFrame:
    """Frame keys as ``ticker, session_date, state, has_failed``, sorted by session."""
    rows = [(*decode_key(key), state, state == states.FAILED) for key, state in missing.items()]
    schema = {
        "ticker": pl.String,
        "session_date": pl.Date,
        "state": pl.String,
        "has_failed": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").sort("ticker", "session_date")
