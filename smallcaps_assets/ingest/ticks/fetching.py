"""One request range: ask, cut by session, judge, encode; and the threads in which that runs.

What does not belong here: commits and the order of ranges (``download``).
"""

import dataclasses
import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.core.ticks.conditions import VolumeMeter
from smallcaps_assets.core.ticks.disputes import LARGEST_LIMIT, Asking
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.sources import TradeSource
from smallcaps_assets.core.ticks.tape import locate_sessions, read_instants
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.ingest.ticks.ranges import Refusal, RequestRange
from smallcaps_assets.lake.ledger.writer import tell_time
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.parquet import release_unused
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts

FETCHERS: Final = "fetch"
"""How the names of the threads begin."""


@dataclass(slots=True)
class RangeResult:
    """What one range brought.

    Attributes:
        held_bytes: What its rows take in memory until they are stored.
        off_session: Prints on dates that are no session, ready to be committed.
        closed_days: Dates that are no session of which all prints are in ``off_session``, so that
            what the lake has of them otherwise is out of date.
        refusals: Sessions that stay open.
    """

    span: RequestRange
    requests: int = 0
    pages: int = 0
    bytes_received: int = 0
    rows: int = 0
    held_bytes: int = 0
    sessions: list[PreparedSession] = field(default_factory=list)
    off_session: list[PreparedSession] = field(default_factory=list)
    closed_days: list[dt.date] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Say whether no bar disputes any session of it."""
        are_green = all(session.receipt.state in states.GREEN for session in self.sessions)
        return are_green and not self.refusals


def open_pool(workers: int) -> ThreadPoolExecutor:
    """Open the threads that fetch."""
    return ThreadPoolExecutor(workers, thread_name_prefix=FETCHERS)


def end_pool(pool: ThreadPoolExecutor) -> None:
    """End the threads that fetch, and wait for them.

    A download that nobody reads to its end is ended by whichever thread collects garbage; that may
    be one of these, which cannot wait for itself.
    """
    is_own = threading.current_thread().name.startswith(FETCHERS)
    pool.shutdown(wait=not is_own, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class RangeFetcher:
    """Turns request ranges into sessions ready to be committed.

    Attributes:
        store: Encodes sessions; it writes nothing here.
        judge: What the daily bars say, and make of an answer.
        accept_empty: Believe the vendor's "no trades" against the daily bar.
        page_limit: Trades of a page, as a rule.
    """

    client: TradeSource
    store: SegmentStore
    calendar: SessionCalendar
    judge: BarJudge
    run_id: str
    accept_empty: bool = False
    page_limit: int = LARGEST_LIMIT
    clock: Callable[[], dt.datetime] = tell_time

    @property
    def bars(self) -> BarFacts:
        """What the daily bars say."""
        return self.judge.facts

    def fetch(self, span: RequestRange) -> RangeResult:
        """Fetch one range.

        Raises:
            VendorError: The page chain did not come to a proven end; nothing of it is kept.
        """
        started = self.clock()
        gte_ns, lt_ns = day_bounds_ns(span.first_date(self.calendar), span.last_session)
        fetched = self.client.fetch_trades(
            span.ticker,
            gte_ns,
            lt_ns,
            expected_rows=span.expected_rows,
            page_limit=span.page_limit or self.page_limit,
        )
        result = RangeResult(
            span,
            requests=fetched.requests,
            pages=fetched.pages,
            bytes_received=fetched.bytes_received,
            rows=fetched.trades.height,
        )
        facts = FetchFacts(
            state=states.COMPLETE,
            gte_ns=gte_ns,
            lt_ns=lt_ns,
            pages=fetched.pages,
            requests=fetched.requests,
            repeats_dropped=fetched.repeats_dropped,
            is_seam_ambiguous=fetched.is_seam_ambiguous,
            vendor_status=fetched.status,
            run_id=self.run_id,
            started_at=started,
        )
        with self.client.processor:
            labelled = label_trades(fetched.trades, self.calendar)
            result.held_bytes = int(labelled.estimated_size())
            self._cut(result, labelled, facts)
            release_unused()
        return result

    def _cut(self, result: RangeResult, trades: pl.DataFrame, facts: FetchFacts) -> None:
        """Cut a labelled answer by session and make each ready for its commit."""
        span, answer = result.span, _Answer(self.store, trades)
        first_date = span.first_date(self.calendar)
        cuts = locate_sessions(answer.instants, first_date, span.last_session)
        for session_date in self.calendar.dates(span.first_session, span.last_session):
            self._add(result, session_date, answer, cuts.pop(session_date, None), facts)
        for off_date, rows in cuts.items():
            off = self._prepare(span.ticker, off_date, answer, rows, facts, Tree.OFF_SESSION)
            result.off_session.append(off)
        # A session that stays open may have been answered wrongly, its closed days too.
        closed = {
            day
            for prepared in result.sessions
            for day in self.calendar.closed_days_before(prepared.receipt.session_date)
            if day >= first_date
        }
        result.closed_days.extend(sorted(closed | cuts.keys()))

    def _add(
        self,
        result: RangeResult,
        session_date: dt.date,
        answer: "_Answer",
        rows: slice | None,
        facts: FetchFacts,
    ) -> None:
        """Judge one session of the answer and add it to ``result``."""
        ticker = result.span.ticker
        if rows is not None:
            prepared = self._prepare(ticker, session_date, answer, rows, facts, Tree.TRADES)
            result.sessions.append(self._compare(prepared, result.span))
            return
        state = self.bars.judge_empty(ticker, session_date)
        is_disputed = state == states.EMPTY_DISPUTED
        if is_disputed and not self.accept_empty:
            result.refusals.append(self._dispute(ticker, session_date))
            return
        bar = self.bars.find(ticker, session_date)
        empty = replace(
            facts,
            state=states.EMPTY if is_disputed else state,
            is_accepted_empty=is_disputed,
            volume=0.0,
            trade_count=0,
            bar_volume=bar.volume if bar else None,
            bar_trade_count=bar.trade_count if bar else None,
        )
        result.sessions.append(answer.tape.prepare(ticker, session_date, empty, rows=slice(0, 0)))

    def _compare(self, prepared: PreparedSession, span: RequestRange) -> PreparedSession:
        """Compare a session with its bar; an answer that lacks some of it is remembered."""
        receipt = prepared.receipt
        limit = span.page_limit or self.page_limit
        asking = Asking(self.judge.today, limit, receipt.content_hash)
        judged = self.judge.judge(replace(receipt, askings=(asking,)))
        is_whole = not (judged.volume_deficit or judged.count_deficit)
        if is_whole and span.page_limit is None:
            judged = replace(judged, askings=())
        return dataclasses.replace(prepared, receipt=judged)

    def _dispute(self, ticker: str, session_date: dt.date) -> Refusal:
        bar = self.bars.find(ticker, session_date)
        volume = bar.volume if bar else 0
        return Refusal(
            encode_key(ticker, session_date),
            states.EMPTY_DISPUTED,
            "empty_disputed",
            f"the vendor sent no trades, the daily bar has a volume of {volume:g}; asked again "
            "at most once a day, three times, then accepted only by --accept-empty",
        )

    def _prepare(
        self,
        ticker: str,
        session_date: dt.date,
        answer: "_Answer",
        rows: slice,
        facts: FetchFacts,
        tree: Tree,
    ) -> PreparedSession:
        """Measure the labelled trades of one New York day by the vendor's rules, and encode."""
        own = answer.volumes.measure(rows.start, rows.stop)
        original = answer.volumes.measure_originals(rows.start, rows.stop)
        measured = replace(
            facts,
            volume=own.volume,
            trade_count=own.trade_count,
            original_volume=original.volume,
            original_trade_count=original.trade_count,
        )
        return answer.tape.prepare(ticker, session_date, measured, rows=rows, tree=tree)


class _Answer:
    """The labelled trades of one range, ready to be cut by session."""

    def __init__(self, store: SegmentStore, trades: pl.DataFrame) -> None:
        self.tape = store.open_tape(trades)
        self.volumes = VolumeMeter(trades)
        self.instants = read_instants(trades, "sip_timestamp")
