"""The work of one download as it goes on: what is left, what came, what it cost.

What belongs here: counting ranges while the download's loop moves them.  What does not: the pace
that follows (``core.progress.pace``), who tells it to others (``heartbeat``), rooms and retries.

The loop counts and the heartbeat reads, so each change happens under a lock.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from smallcaps_assets.core.budget.calibration import DEFAULT_TRADES_PER_SESSION
from smallcaps_assets.core.progress.pace import CostMeter, Costs, Work
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.ingest.ticks.fetching import RangeResult, RequestRange


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A workload at one moment.

    Attributes:
        planned: What the bars promise of ranges that did not come yet.
        expected: What they promised of those that came.
        found: What came of these.
        costs: What a request and a trade cost.
        running: What the bars promise of the ranges that threads fetch.
        ranges_running: How many these are.
        ranges_waiting: Ranges not begun.
        stage: What the loop does: ``reads``, ``fetches`` or ``commits``.
    """

    planned: Work
    expected: Work
    found: Work
    costs: Costs
    running: Work
    ranges_running: int
    ranges_waiting: int
    stage: str


class Workload:
    """The ranges of one download by how far they are."""

    def __init__(self, calendar: SessionCalendar, page_limit: int) -> None:
        """Begin with nothing to do.

        Args:
            calendar: It says how many sessions a range has.
            page_limit: Trades of a page.
        """
        self._calendar = calendar
        self._page_limit = page_limit
        self._lock = threading.Lock()
        self._planned = Work()
        self._expected = Work()
        self._found = Work()
        self._ranges = 0
        self._started: dict[RequestRange, float] = {}
        self._meter = CostMeter()
        self._stage = "reads"

    def weigh(self, span: RequestRange) -> Work:
        """Return the work that the bars promise of a range."""
        sessions = len(self._calendar.dates(span.first_session, span.last_session))
        rows = span.estimated_rows if span.expected_rows is None else span.expected_rows
        if rows is None:
            rows = sessions * DEFAULT_TRADES_PER_SESSION
        return Work(sessions, max(1, -(-rows // self._page_limit)), rows)

    def enter(self, stage: str) -> None:
        """Note what the loop does now."""
        self._stage = stage

    def add(self, spans: Iterable[RequestRange]) -> None:
        """Count ranges that are to be fetched."""
        for span in spans:
            work = self.weigh(span)
            with self._lock:
                self._planned += work
                self._ranges += 1

    def start(self, span: RequestRange) -> None:
        """Count a range as given to a thread."""
        with self._lock:
            self._started[span] = time.monotonic()

    def drop(self, span: RequestRange) -> None:
        """Count a range no longer: it failed, or is not asked for, or is cut in parts."""
        work = self.weigh(span)
        with self._lock:
            self._planned -= work
            self._ranges -= 1
            self._started.pop(span, None)

    def finish(self, result: RangeResult) -> None:
        """Count a range as come."""
        work = self.weigh(result.span)
        with self._lock:
            started = self._started.get(result.span, time.monotonic())
            asked = Work(work.sessions, result.requests, result.rows)
            self._meter.learn(asked, time.monotonic() - started)
            self._expected += work
            self._found += Work(work.sessions, result.pages, result.rows)
        self.drop(result.span)

    def read(self) -> WorkloadFacts:
        """Return how far the work is."""
        with self._lock:
            running = list(self._started)
            return WorkloadFacts(
                self._planned,
                self._expected,
                self._found,
                self._meter.costs,
                sum(map(self.weigh, running), Work()),
                len(running),
                self._ranges - len(running),
                self._stage,
            )
