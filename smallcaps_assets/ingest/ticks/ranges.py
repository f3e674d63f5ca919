"""Request ranges of a download: what is asked for at once, how it is cut, and their queue.

Does not belong here: sending them (``fetching``) and which sessions are wanted (``core.plan``).
"""

import dataclasses
import datetime as dt
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from smallcaps_assets.core import states
from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.keys import encode_key, month_of
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import NotEntitledError, VendorUnavailableError

LEAP: Final = 0.618
"""Part of the queue between two probes: multiples of the golden ratio never come back to where
they were, and any twenty of them are spread over all of it."""


@dataclass(frozen=True, slots=True)
class RequestRange:
    """A run of neighbouring sessions of one ticker, fetched by one page chain.

    What is asked for begins with the closed days that belong to its first session.

    Attributes:
        last_session: Last one, included.
        expected_rows: Trades by the daily bars; ``None``: a session has no count.
        estimated_rows: Trades by whatever else tells of them; ``None``: nothing does.
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
        """Describe the range by ticker and bounds, for logs and the ledger."""
        return f"{self.ticker} {self.first_session}..{self.last_session}"

    def first_date(self, calendar: SessionCalendar) -> dt.date:
        """Find the first New York date that is asked for: a closed day, or the first session."""
        days = [*calendar.closed_days_before(self.first_session), self.first_session]
        return next((day for day in days if day >= self.not_before), self.first_session)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A session that the answer does not prove.

    Attributes:
        state: What it becomes in the ledger.
        kind: Short word for summaries.
        message: What was expected and what came.
    """

    key: str
    state: str
    kind: str
    message: str


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


def refuse_range(
    span: RequestRange, calendar: SessionCalendar, state: str, kind: str, message: str
) -> list[Refusal]:
    """Make one refusal per session of a range, all for one reason."""
    dates = calendar.dates(span.first_session, span.last_session)
    return [Refusal(encode_key(span.ticker, date), state, kind, message) for date in dates]


def give_up_range(span: RequestRange, calendar: SessionCalendar) -> list[Refusal]:
    """Refuse sessions that failed before and are not asked for in this run."""
    message = (
        f"the vendor failed {span.ticker} again and again, so this session, which failed before, "
        "was not asked for in this run; run the same command again later"
    )
    return refuse_range(span, calendar, states.FAILED, VendorUnavailableError.kind, message)


def close_range(
    span: RequestRange, calendar: SessionCalendar, closed_until: dt.date
) -> list[Refusal]:
    """Refuse what lies too far back for the key, as the session ``closed_until`` did."""
    if span.page_limit is not None:
        return []  # What is asked for again is stored, and stays as it is.
    message = (
        f"the plan of the key does not reach back to {span.last_session}: the vendor refused "
        f"{closed_until}; a larger plan opens it"
    )
    return refuse_range(span, calendar, states.NOT_ENTITLED, NotEntitledError.kind, message)


class RangeQueue:
    """Ranges that wait: first those of which nothing bad is known, then those that failed."""

    def __init__(self) -> None:
        self._first: deque[RequestRange] = deque()
        self._next: deque[RequestRange] = deque()
        self._last: deque[RequestRange] = deque()

    def __len__(self) -> int:
        return len(self._first) + len(self._next) + len(self._last)

    def __iter__(self) -> Iterator[RequestRange]:
        yield from self._first
        yield from self._next
        yield from self._last

    def take(self) -> RequestRange:
        """Remove the next range and return it.

        Raises:
            IndexError: There is none.
        """
        if self._first:
            return self._first.popleft()
        if not self._next:
            self._next, self._last = self._last, self._next
        return self._next.popleft()

    def put_first(self, spans: Sequence[RequestRange]) -> None:
        """Add ranges before all others, in the order given."""
        self._first.extendleft(reversed(spans))

    def put(self, spans: Iterable[RequestRange]) -> None:
        """Add ranges of which nothing bad is known."""
        self._next.extend(spans)

    def put_last(self, spans: Iterable[RequestRange]) -> None:
        """Add ranges after all others, in the order given."""
        self._last.extend(spans)

    def postpone(self, ticker: str) -> None:
        """Move the ranges of a ticker behind all others."""
        moved = [span for span in self if span.ticker == ticker]
        self._first, self._next, self._last = (
            deque(span for span in spans if span.ticker != ticker)
            for spans in (self._first, self._next, self._last)
        )
        self.put_last(moved)

    def probe(self, turn: int) -> None:
        """Put a range from elsewhere first: what lies next may fail as its neighbours did.

        Each turn looks at another place.
        """
        if self._next:
            place = int(turn * LEAP % 1 * len(self._next))
            self._first.append(self._next[place])
            del self._next[place]

    def sort_newest_first(self) -> None:
        """Order the ranges by their last session, the newest first."""
        self._first, self._next, self._last = (
            deque(sorted(spans, key=session_order, reverse=True))
            for spans in (self._first, self._next, self._last)
        )


def queue_ranges(
    ranges: Iterable[RequestRange], failed: set[tuple[str, dt.date]], run_id: str
) -> RangeQueue:
    """Queue ranges: newest and oldest first, to learn what the key may see.

    The others come by month, so that what is fetched together can be stored together.

    Sessions that failed before (ticker and session) are in ranges of their own and asked for last,
    each run beginning with others of them: a download that gives up on them has come to all of them
    after some runs.
    """
    spans = sorted(ranges, key=lambda span: month_of(span.first_session))
    fresh = [span for span in spans if (span.ticker, span.first_session) not in failed]
    known = [span for span in spans if (span.ticker, span.first_session) in failed]
    queue = RangeQueue()
    if fresh:
        ends = {max(fresh, key=session_order): None, min(fresh, key=session_order): None}
        queue.put([*ends, *(span for span in fresh if span not in ends)])
    queue.put_last(rotate(known, run_id))
    return queue


def rotate(spans: Sequence[RequestRange], run_id: str) -> list[RequestRange]:
    """Rotate ranges in their order, to begin with one that depends on the run."""
    start = zlib.crc32(run_id.encode()) % len(spans) if spans else 0
    return [*spans[start:], *spans[:start]]


def session_order(span: RequestRange) -> tuple[dt.date, str]:
    """Name what ranges are ordered by: last session, then ticker."""
    return span.last_session, span.ticker


def _join_sessions(span: RequestRange, dates: Sequence[dt.date], bars: BarFacts) -> RequestRange:
    """Join neighbouring sessions to a part of their range, asked for as all of it was.

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
