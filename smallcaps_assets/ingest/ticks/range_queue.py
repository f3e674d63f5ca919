"""The request ranges of a download that are not begun, in the order in which they are asked for.

What belongs here: which range is next.  What does not: what a range is (``fetching``), and whether
the vendor answers (``vendor_watch``).
"""

import datetime as dt
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from smallcaps_assets.ingest.ticks.fetching import RequestRange

LEAP: Final = 0.618
"""Part of the queue between two probes: multiples of the golden ratio never come back to where
they were, and any twenty of them are spread over all of it."""


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

        Args:
            turn: Number of the probe; each looks at another place.
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
    """Return a queue of ranges: newest and oldest first, to learn what the key may see.

    Sessions that failed before are asked for last, each run beginning with others of them: a
    download that gives up on them has come to all of them after some runs.

    Args:
        ranges: Ranges, each of sessions that all failed before or of none of them.
        failed: Ticker and session of those that failed before.
        run_id: Name of the run.
    """
    spans = list(ranges)
    fresh = [span for span in spans if (span.ticker, span.first_session) not in failed]
    known = [span for span in spans if (span.ticker, span.first_session) in failed]
    queue = RangeQueue()
    if fresh:
        ends = {max(fresh, key=session_order): None, min(fresh, key=session_order): None}
        queue.put([*ends, *(span for span in fresh if span not in ends)])
    queue.put_last(rotate(known, run_id))
    return queue


def rotate(spans: Sequence[RequestRange], run_id: str) -> list[RequestRange]:
    """Return ranges in their order, beginning with one that depends on the run."""
    start = zlib.crc32(run_id.encode()) % len(spans) if spans else 0
    return [*spans[start:], *spans[:start]]


def session_order(span: RequestRange) -> tuple[dt.date, str]:
    """Return what ranges are ordered by: last session, then ticker."""
    return span.last_session, span.ticker
