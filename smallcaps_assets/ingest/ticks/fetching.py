"""One request range: ask, cut by session, judge, encode.  Runs in worker threads.

What does not belong here: threads, commits and the order of ranges (``download``).
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.core.ticks.conditions import VolumeMeter
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.tape import locate_sessions, read_instants
from smallcaps_assets.errors import NotEntitledError, SmallcapsError, VendorUnavailableError
from smallcaps_assets.ingest.proof.bars import BarFacts, BarJudge
from smallcaps_assets.lake.ledger.writer import tell_time
from smallcaps_assets.lake.paths.layout import Tree
from smallcaps_assets.lake.sessions.parquet import release_unused
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.polygon.client import FetchedTrades
from smallcaps_assets.polygon.http.config import MAX_PAGE_LIMIT
from smallcaps_assets.polygon.turns import PROCESSOR


@dataclass(frozen=True, slots=True)
class RequestRange:
    """A run of neighbouring sessions of one ticker, fetched by one page chain.

    What is asked for begins with the closed days that belong to its first session.

    Attributes:
        ticker: Vendor's symbol.
        first_session: First session.
        last_session: Last one, included.
        expected_rows: Trades by the daily bars; ``None``: a session has no count.
        estimated_rows: Trades by whatever else tells of them; ``None``: nothing does.
        purpose: For what it is asked.
        page_limit: Trades of a page where stored sessions are asked for again, cut otherwise
            than before; ``None``: they are asked for as usual.
        not_before: First date that the plan of the key may reach back to.
    """

    ticker: str
    first_session: dt.date
    last_session: dt.date
    expected_rows: int | None
    estimated_rows: int | None = None
    purpose: Purpose = Purpose.PLAN
    page_limit: int | None = None
    not_before: dt.date = dt.date.min

    def describe(self) -> str:
        """Return ticker and bounds for logs and the ledger."""
        return f"{self.ticker} {self.first_session}..{self.last_session}"

    def first_date(self, calendar: SessionCalendar) -> dt.date:
        """Return the first New York date that is asked for: a closed day, or the first session."""
        days = [*calendar.closed_days_before(self.first_session), self.first_session]
        return next((day for day in days if day >= self.not_before), self.first_session)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A session that the answer does not prove.

    Attributes:
        key: The session.
        state: What it becomes in the ledger.
        kind: Short word for summaries.
        message: What was expected and what came.
    """

    key: str
    state: str
    kind: str
    message: str


@dataclass(slots=True)
class RangeResult:
    """What one range brought.

    Attributes:
        sessions: Sessions ready to be committed.
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
    sessions: list[PreparedSession] = field(default_factory=list)
    off_session: list[PreparedSession] = field(default_factory=list)
    closed_days: list[dt.date] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Say whether no bar disputes any session of it."""
        are_green = all(session.receipt.state in states.GREEN for session in self.sessions)
        return are_green and not self.refusals


class TradeSource(Protocol):
    """What fetching needs of a vendor's client; flat files may be another one."""

    def fetch_trades(
        self,
        ticker: str,
        gte_ns: int,
        lt_ns: int,
        *,
        expected_rows: int | None,
        page_limit: int | None = None,
    ) -> FetchedTrades:
        """Return every trade of ``ticker`` in ``[gte_ns, lt_ns)``, or raise."""
        ...


@dataclass(frozen=True, slots=True)
class RangeFetcher:
    """Turns request ranges into sessions ready to be committed.

    Attributes:
        client: Where trades come from.
        store: Encodes sessions; it writes nothing here.
        calendar: The sessions.
        judge: What the daily bars say, and make of an answer.
        run_id: Name of the run, for the receipts.
        accept_empty: Believe the vendor's "no trades" against the daily bar.
        page_limit: Trades of a page, as a rule.
        clock: Tells the time in UTC.
    """

    client: TradeSource
    store: LakeStore
    calendar: SessionCalendar
    judge: BarJudge
    run_id: str
    accept_empty: bool = False
    page_limit: int = MAX_PAGE_LIMIT
    clock: Callable[[], dt.datetime] = tell_time

    @property
    def bars(self) -> BarFacts:
        """Return what the daily bars say."""
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
        with PROCESSOR:
            self._cut(result, label_trades(fetched.trades, self.calendar), facts)
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

    def __init__(self, store: LakeStore, trades: pl.DataFrame) -> None:
        self.tape = store.open_tape(trades)
        self.volumes = VolumeMeter(trades)
        self.instants = read_instants(trades, "sip_timestamp")


def split_range(
    span: RequestRange, calendar: SessionCalendar, bars: BarFacts
) -> Iterator[RequestRange]:
    """Yield the two halves of a range of several sessions, the earlier first.

    A failing session fails alone, so a range that fails is asked for again in halves until
    the failure is left with the session that causes it.  Halves are no ranges of the plan.
    """
    dates = calendar.dates(span.first_session, span.last_session)
    failed = span
    if span.purpose is Purpose.PLAN:
        failed = dataclasses.replace(span, purpose=Purpose.RESUME)
    return cut_range(failed, calendar, bars, dates[len(dates) // 2 - 1])


def cut_range(
    span: RequestRange, calendar: SessionCalendar, bars: BarFacts, last: dt.date
) -> Iterator[RequestRange]:
    """Yield the part of a range up to ``last``, which lies before its end, and the rest."""
    dates = calendar.dates(span.first_session, span.last_session)
    early = [date for date in dates if date <= last]
    for part in (early, dates[len(early) :]):
        yield _join_sessions(span, part, bars)


def split_sessions(
    span: RequestRange, calendar: SessionCalendar, bars: BarFacts
) -> Iterator[RequestRange]:
    """Yield a range for each session of a range."""
    for date in calendar.dates(span.first_session, span.last_session):
        yield _join_sessions(span, [date], bars)


def _join_sessions(span: RequestRange, dates: Sequence[dt.date], bars: BarFacts) -> RequestRange:
    """Return the part of a range that neighbouring sessions are, asked for as all of it was.

    Its expected rows are unknown where one session's are.
    """
    counts = [bar.trade_count for date in dates if (bar := bars.find(span.ticker, date))]
    known = [count for count in counts if count is not None]
    expected = sum(known) if len(known) == len(dates) else None
    return dataclasses.replace(
        span,
        first_session=dates[0],
        last_session=dates[-1],
        expected_rows=expected,
        estimated_rows=None,
    )


def refuse_range(
    span: RequestRange, calendar: SessionCalendar, error: SmallcapsError, state: str
) -> list[Refusal]:
    """Return one refusal per session of a range that failed as a whole."""
    return [
        Refusal(encode_key(span.ticker, date), state, error.kind, str(error))
        for date in calendar.dates(span.first_session, span.last_session)
    ]


def give_up_range(span: RequestRange, calendar: SessionCalendar) -> list[Refusal]:
    """Return the refusals of sessions that failed before and are not asked for in this run."""
    message = (
        f"the vendor failed {span.ticker} again and again, so this session, which failed before, "
        "was not asked for in this run; run the same command again later"
    )
    return [
        Refusal(encode_key(span.ticker, date), states.FAILED, VendorUnavailableError.kind, message)
        for date in calendar.dates(span.first_session, span.last_session)
    ]


def close_range(
    span: RequestRange, calendar: SessionCalendar, closed_until: dt.date
) -> list[Refusal]:
    """Return the refusals of a range that lies before what the key is entitled to.

    A range that is asked for again has none.

    Args:
        span: The range.
        calendar: The sessions.
        closed_until: Newest session that the vendor refused for lying too far back.
    """
    if span.page_limit is not None:
        return []  # What is asked for again is stored, and stays as it is.
    message = (
        f"the plan of the key does not reach back to {span.last_session}: the vendor refused "
        f"{closed_until}; a larger plan opens it"
    )
    return [
        Refusal(encode_key(span.ticker, date), states.NOT_ENTITLED, NotEntitledError.kind, message)
        for date in calendar.dates(span.first_session, span.last_session)
    ]
