"""The download core: from keys of ticker-sessions to proven records, whatever asks for them.

It knows nothing of Dagster: a caller iterates over :class:`Outcome` and may stop at any time.
Each outcome is yielded after its commit, never before.  The shape of the partitions, the runs
and the words on the screen belong to ``defs`` and ``cli``.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from typing import Any

import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.reference.bar_facts import BarFacts
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
from smallcaps_assets.ingest.proof.judging import open_stored
from smallcaps_assets.ingest.proof.vendor_rows import fetch_sound_bars
from smallcaps_assets.ingest.ticks.asking_again import AskingAgain
from smallcaps_assets.ingest.ticks.disk_room import Room, open_room
from smallcaps_assets.ingest.ticks.failing import REFUSED_FOR, FailurePolicy, VendorWatch
from smallcaps_assets.ingest.ticks.fetching import RangeFetcher, RangeResult, end_pool, open_pool
from smallcaps_assets.ingest.ticks.hand import Hand
from smallcaps_assets.ingest.ticks.outcomes import (
    DownloadSummary,
    Outcome,
    describe_stored,
    split_finished,
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
from smallcaps_assets.lake.ledger.rows import Attempt, Failure
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""Longest wait between two looks at finished ranges, so that a commit is never overdue."""

SLICE = 50
"""Outcomes that are told before the pool is looked after again: whoever hears them takes time."""


class Download:
    """One download of some ticker-sessions into one lake.

    The caller holds the lake's lock, and has refreshed the ledger.  Memory is bounded by
    ``workers`` ranges of about ``range_max_rows`` trades and what is in hand.

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
        self._told: deque[Outcome] = deque()
        self._hand: Hand
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
        finished, missing = split_finished(self._lakehouse, keys)
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
        """Fetch what is missing with a pool of threads, a segment a month, then ask again."""
        lakehouse = self._lakehouse
        self._prepare(missing, again)
        fetcher = self._open_fetcher()
        lakehouse.stop.clear()
        self.workload.enter("fetches")
        pool = open_pool(lakehouse.settings.workers)
        self._hand = Hand(lakehouse, pool, self.workload, self.summary)
        duty = self._tell_duty()
        try:
            yield from self._loop(pool, fetcher)
            yield from self._ask_again(self.asking, pool, fetcher)
        except self._interrupts:
            lakehouse.stop.set()
            self._hand.take_back()
            yield from self._flush()
            raise
        except GeneratorExit:
            # Whoever listened was interrupted: the next run tells of what is stored now.
            lakehouse.stop.set()
            if duty == self._tell_duty():
                self._hand.take_back()
                self._store_all()
            raise
        finally:
            lakehouse.stop.set()
            end_pool(pool)

    def _prepare(self, missing: pl.DataFrame, again: Sequence[Receipt]) -> None:
        """Read what the bars say, plan the ranges, and look at the disks."""
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
        self._room = open_room(lakehouse, bars, holdings.costs)

    def _open_fetcher(self) -> RangeFetcher:
        """Bring together what a range needs to become sessions."""
        lakehouse = self._lakehouse
        return RangeFetcher(
            lakehouse.client,
            lakehouse.sessions,
            lakehouse.calendar,
            self.asking.judge,
            self._run_id,
            accept_empty=self._accept_empty,
            page_limit=lakehouse.settings.page_limit,
            clock=lakehouse.clock,
        )

    def _tell_duty(self) -> tuple[int, bool]:
        """Tell which thread it is, and whether it holds the lock: what storing stands on."""
        return threading.get_ident(), self._lakehouse.lock.is_own

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
        """Keep the pool busy, settle what it finishes, and tell what is stored in slices."""
        while self._is_at_work():
            self._submit(pool, fetcher)
            pause_s = 0.0 if self._told else POLL_S
            futures: list[Future[Any]] = [*self._running, *self._hand.next]
            done, _ = wait(futures, timeout=pause_s, return_when=FIRST_COMPLETED)
            for future in self._running.keys() & done:
                self._settle(future, self._running.pop(future))
            self._hand.close_due()
            self._tell(self._hand.commit())
            if self.asking.is_due(self._lakehouse.settings.commit_interval_s):
                self._weigh()
            yield from self._take_told(SLICE)
        yield from self._flush()

    def _is_at_work(self) -> bool:
        is_asking = bool(self._waiting) and not self.summary.aborted
        return is_asking or bool(self._running or self._hand.next or self._told)

    def _submit(self, pool: ThreadPoolExecutor, fetcher: RangeFetcher) -> None:
        """Give the pool work; where a disk gets full, one range at a time, then none."""
        while self._waiting and self._has_turn() and not self.summary.aborted:
            span = self._waiting.take()
            closed_until = self._policy.closed_until
            if span.last_session <= closed_until:
                self.workload.drop(span)
                self._refuse(close_range(span, self._calendar, closed_until))
            elif span.first_session <= closed_until:
                parts = list(cut_range(span, self._calendar, fetcher.bars, closed_until))
                self._waiting.put_first(self._replace(span, parts)[::-1])
            elif span.page_limit is None and self._policy.is_given_up(span):
                self.workload.drop(span)
                self._refuse(give_up_range(span, self._calendar))
            elif self._room.fits([*self._running.values(), span], self._hand.measure()):
                span = self._policy.skip_closed_days(span)
                self.workload.start(span)
                self._running[pool.submit(fetcher.fetch, span)] = span
            else:
                self._waiting.put_first([span])
                if self._running:
                    return
                self._store_all()
                if not self._room.fits([span]):
                    self.summary.aborted = self._room.describe_lack(
                        list(self._waiting), self._expect_missing()
                    )

    def _has_turn(self) -> bool:
        """Say whether a thread is free, and room in memory for what it will bring."""
        at_work = len(self._running) + self._hand.threads
        return at_work < self._lakehouse.settings.workers and not self._hand.is_full

    def _settle(self, future: Future[RangeResult], span: RequestRange) -> None:
        """Take over what one range brought, or deal with its failure."""
        try:
            result = future.result()
        except InterruptedFetchError:
            return
        except (StorageError, PartitionConflictError):
            raise
        except SmallcapsError as error:
            self._fail(span, error, self._room.bars)
            return
        self._policy.note_answer(span)
        self._room.learn(result)
        self.summary.requests += result.requests
        if span.page_limit is None:
            self._hand.add(result)
            self._refuse(result.refusals)
        else:
            self.asking.hold(result)
        self.workload.finish(result)
        self._record_attempt(result)

    # -- failures ----------------------------------------------------------------------

    def _fail(self, span: RequestRange, error: SmallcapsError, bars: BarFacts) -> None:
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
        self._refuse(refusals)

    def _replace(self, span: RequestRange, parts: list[RequestRange]) -> list[RequestRange]:
        """Replace a range by its parts, which are to be fetched instead."""
        self.workload.drop(span)
        self.workload.add(parts)
        return parts

    def _refuse(self, refusals: Sequence[Refusal]) -> None:
        """Record sessions that stay open, and tell of them."""
        if not refusals:
            return
        self._lakehouse.ledger.record_failures(
            [Failure(r.key, r.state, r.kind, r.message, run_id=self._run_id) for r in refusals]
        )
        for refusal in refusals:
            logger.info("session failed key=%s kind=%s", refusal.key, refusal.kind)
            told = Outcome(refusal.key, refusal.state, kind=refusal.kind, message=refusal.message)
            self._told.append(told)

    # -- commits -----------------------------------------------------------------------

    def _tell(self, proven: Sequence[Receipt]) -> None:
        """Tell of sessions that were stored; disputed ones are asked for again before."""
        self._room.correct(proven)
        self.asking.add(receipt for receipt in proven if receipt.state == states.DISPUTED)
        self._told += [
            describe_stored(receipt, self._run_id)
            for receipt in proven
            if receipt.state != states.DISPUTED
        ]

    def _take_told(self, most: int) -> Iterator[Outcome]:
        """Yield what became of sessions, the oldest first."""
        for _ in range(min(most, len(self._told))):
            yield self._told.popleft()

    def _store_all(self) -> None:
        """Store everything in hand."""
        self._tell(self._hand.drain())
        self._weigh()

    def _flush(self) -> Iterator[Outcome]:
        """Store everything in hand, and yield what was not told yet."""
        self._store_all()
        yield from self._take_told(len(self._told))

    def _weigh(self) -> None:
        """Store of answers about stored sessions what counts."""
        if self.asking.answers:
            self._lakehouse.lock.check()
            self.summary.off_session_rows += self.asking.weigh()

    def _record_attempt(self, result: RangeResult) -> None:
        """Record what a range cost and brought."""
        attempt = replace(
            self._describe_attempt(result.span, result.requests),
            pages=result.pages,
            rows=result.rows,
            bytes=result.bytes_received,
            sessions=len(result.sessions),
        )
        self._lakehouse.ledger.record_attempt(attempt)

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
