"""The work of one download as it continues: what is left, and what it is for.

What belongs here: counting ranges while the download's loop moves them, and the one place that
gives them their purpose; whoever asks for another one sets ``RequestRange.purpose``.  What does
not: the pace that follows (``core.progress.pace``), who tells it to others (``heartbeat``), rooms
and retries.

The loop counts and the heartbeat reads, so each change happens under a lock.
"""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.budget.calibration import DEFAULT_TRADES_PER_SESSION
from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.progress.pace import Work
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.lake.ledger.reader import LedgerReader

Key = tuple[str, dt.date]
PlanRanges = Callable[[pl.DataFrame], pl.DataFrame]

UNASKED = (states.PLANNED, states.NOT_YET_AVAILABLE, states.IMPORTED_UNPROVEN)
"""States of sessions that nobody asked the vendor for."""
PURPOSES = {
    states.QUARANTINED: Purpose.REPAIR,
    states.EMPTY_DISPUTED: Purpose.AGAIN,
    states.DISPUTED: Purpose.AGAIN,
}
DECIDING = (Purpose.REPAIR, Purpose.AGAIN, Purpose.RESUME, Purpose.PLAN)
"""Purposes, the one first that a range has if any session of it has."""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A workload at one moment.

    Attributes:
        planned: What the bars promise of ranges that did not come yet.
        expected: What they promised of those that came.
        found: What came of these.
        running: What the bars promise of the ranges that threads fetch.
        ranges_running: How many these are.
        stage: What the loop does: ``reads``, ``fetches`` or ``commits``.
    """

    planned: Work
    expected: Work
    found: Work
    running: Work
    ranges_running: int
    ranges_waiting: int
    stage: str


class Workload:
    """The ranges of one download by how far they are."""

    def __init__(self, calendar: SessionCalendar, page_limit: int) -> None:
        """Begin with nothing to do."""
        self._calendar = calendar
        self._page_limit = page_limit
        self._lock = threading.Lock()
        self._planned = Work()
        self._expected = Work()
        self._found = Work()
        self._ranges = 0
        self._started: set[RequestRange] = set()
        self._months: Counter[str] = Counter()
        self._stage = "reads"
        self._begun_at: float | None = None
        self._ended_at: float | None = None

    def weigh(self, span: RequestRange) -> Work:
        """Weigh the work that the bars promise of a range."""
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
                self._months.update(self._list_months(span))

    def start(self, span: RequestRange) -> None:
        """Count a range as given to a thread."""
        with self._lock:
            self._started.add(span)
            if self._begun_at is None:
                self._begun_at = time.monotonic()

    def end(self) -> None:
        """Note that all of it is settled: what the run does now is no work of a range."""
        self._ended_at = time.monotonic()

    def measure_worked_s(self) -> float:
        """Measure the seconds from the first range to the end of the last, or until now."""
        if self._begun_at is None:
            return 0.0
        return (self._ended_at or time.monotonic()) - self._begun_at

    def drop(self, span: RequestRange) -> None:
        """Count a range no longer: it failed, or is not asked for, or is cut in parts."""
        work = self.weigh(span)
        with self._lock:
            self._planned -= work
            self._ranges -= 1
            self._months.subtract(self._list_months(span))
            self._started.discard(span)

    def finish(self, result: RangeResult) -> None:
        """Count a range as come."""
        work = self.weigh(result.span)
        with self._lock:
            self._expected += work
            self._found += Work(work.sessions, result.pages, result.rows)
        self.drop(result.span)

    def is_open(self, month: str) -> bool:
        """Say whether a range is left that has a session of a month."""
        return self._months[month] > 0

    def read(self) -> WorkloadFacts:
        """Tell how far the work is."""
        with self._lock:
            running = list(self._started)
            return WorkloadFacts(
                self._planned,
                self._expected,
                self._found,
                sum(map(self.weigh, running), Work()),
                len(running),
                self._ranges - len(running),
                self._stage,
            )

    def _list_months(self, span: RequestRange) -> set[str]:
        dates = self._calendar.dates(span.first_session, span.last_session)
        return {month_of(date) for date in dates}


def name_purposes(
    purposes: Mapping[Key, Purpose],
    calendar: SessionCalendar,
    ranges: pl.DataFrame,
    estimated_rows: pl.Series,
) -> Iterator[RequestRange]:
    """Yield the request ranges (``schemas.REQUEST_RANGES``) of missing sessions with their purpose.

    Sessions without a purpose are asked for the first time, by the plan.
    """
    columns = ("ticker", "first_session", "last_session", "expected_rows")
    both = zip(ranges.select(columns).iter_rows(), estimated_rows, strict=True)
    for (ticker, first, last, expected), rows in both:
        dates = calendar.dates(first, last)
        found = [purposes.get((ticker, date), Purpose.PLAN) for date in dates]
        # A session that is asked for again decides for what its whole range is.
        purpose = min(found, key=DECIDING.index)
        yield RequestRange(ticker, first, last, expected, rows, purpose)


def find_purposes(
    ledger: LedgerReader, missing: pl.DataFrame, plan_ranges: PlanRanges
) -> dict[Key, Purpose]:
    """Find out which of the sessions that are missing are not asked for the first time.

    A session that nobody asked for is the plan's, unless a part of its range of the plan was
    asked before: then it costs a request that the plan's estimate does not count.
    """
    again = {
        (ticker, date): PURPOSES.get(state, Purpose.RESUME)
        for ticker, date, state in missing.select(*KEY, "state").iter_rows()
        if state not in UNASKED
    }
    return {**_find_begun(ledger, missing, plan_ranges), **again}


def _find_begun(
    ledger: LedgerReader, missing: pl.DataFrame, plan_ranges: PlanRanges
) -> dict[Key, Purpose]:
    """Find the unasked sessions whose range of the plan was begun before."""
    stored = ledger.stored_sessions().filter("is_planned").select(*KEY, is_asked=pl.lit(value=True))
    is_asked = ~pl.col("state").is_in(UNASKED)
    unstored = ledger.missing_keys().select(*KEY, is_asked=is_asked)
    plan = pl.concat([stored, unstored]).join(missing, on="ticker", how="semi").sort(KEY)
    if not plan["is_asked"].any():
        return {}
    begun = (
        plan.join_asof(
            plan_ranges(plan).select("ticker", "first_session"),
            left_on="session_date",
            right_on="first_session",
            by="ticker",
            check_sortedness=False,
        )
        .filter(pl.col("is_asked").any().over("ticker", "first_session"))
        .join(missing, on=KEY, how="semi")
        .filter(~pl.col("is_asked"))
    )
    return dict.fromkeys(begun.select(KEY).iter_rows(), Purpose.RESUME)
