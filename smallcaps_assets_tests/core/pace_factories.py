"""Runs of a download on a clock that nobody waits for: threads, pages, faults, a vendor in moods.

What belongs here: what a heartbeat would have noted of such a run.  What does not: anything of the
product but the values that it notes.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from smallcaps_assets.core.progress.pace import (
    CostMeter,
    Step,
    Work,
    choose_interval_s,
    measure_pace,
    predict_left,
)


@dataclass(frozen=True)
class Vendor:
    """How a vendor answers, and what is asked of it.

    Attributes:
        latency_s: Round trip of a page.
        row_s: Time of a trade.
        page_limit: Trades of a page.
        range_s: Time of a range besides its pages, as on a busy machine.
        requests_per_minute: Limit of the rate; 0: there is none.
        slower: Factor of all times once half of the sessions are done.
        fault_share: Answers that have to be asked for again.
        scatter: How unlike the sizes of sessions are; 0: all alike.
        promise: What daily bars say of a session over what it has.
    """

    latency_s: float = 1.0
    row_s: float = 2e-6
    page_limit: int = 50_000
    range_s: float = 0.0
    requests_per_minute: float = 0.0
    slower: float = 1.0
    fault_share: float = 0.03
    scatter: float = 1.0
    promise: float = 1.0


@dataclass(frozen=True)
class Fetched:
    """A range that came."""

    at_s: float
    promised: Work
    pages: int
    rows: int
    seconds: float


@dataclass
class SimulatedRun:
    """A run of 2,000 sessions by eight threads.

    Attributes:
        pages: When each page came, and its trades.
        ranges: When each range came.
        slowed_s: When the vendor became slower.
    """

    vendor: Vendor
    seed: int
    sessions: int = 2_000
    threads: int = 8
    pages: list[tuple[float, int]] = field(default_factory=list)
    ranges: list[Fetched] = field(default_factory=list)
    slowed_s: float = math.inf

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        waiting = list(self._draw_ranges(rng))[::-1]
        slot, done = 0.0, 0
        threads = [(0.0, number, 0.0, 0, 0, (0, 0)) for number in range(self.threads)]
        heapq.heapify(threads)
        while threads:
            now, number, begun, left, page, span = heapq.heappop(threads)
            if not left and span[0]:
                done += span[0]
                self._note(now, begun, page, span)
                if done >= self.sessions / 2 and math.isinf(self.slowed_s):
                    self.slowed_s = now
            if not left:
                if not waiting:
                    continue
                span, begun, page = waiting.pop(), now, 0
                left = max(1, math.ceil(span[1] / self.vendor.page_limit))
            rows = min(self.vendor.page_limit, span[1] - page * self.vendor.page_limit)
            slot, end = self._ask(now, slot, rows, rng)
            if rng.random() < self.vendor.fault_share:
                heapq.heappush(threads, (end + 0.6, number, begun, left, page, span))
                continue
            self.pages.append((end, rows))
            end += self.vendor.range_s if left == 1 else 0.0
            heapq.heappush(threads, (end, number, begun, left - 1, page + 1, span))
        self.pages.sort()
        self.ranges.sort(key=lambda fetched: fetched.at_s)

    def _ask(
        self, now: float, slot: float, rows: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Return the slot of the rate that a page takes, and when it comes."""
        vendor = self.vendor
        if vendor.requests_per_minute:
            slot = max(slot, now) + 60 / vendor.requests_per_minute
        factor = vendor.slower if now >= self.slowed_s else 1.0
        took = vendor.latency_s * rng.uniform(0.7, 1.3) + vendor.row_s * rows
        return slot, max(slot, now) + factor * took

    @property
    def end_s(self) -> float:
        """Return when all had come."""
        return self.ranges[-1].at_s

    def find_share(self, share: float) -> float:
        """Return when so many of the sessions had come."""
        done = 0
        for fetched in self.ranges:
            done += fetched.promised.sessions
            if done >= share * self.sessions:
                return fetched.at_s
        return self.end_s

    def foretell(self, at_s: float) -> float:
        """Return the error of the forecast made at a moment: +0.1 is a tenth too long."""
        meter, expected, found, planned = CostMeter(), Work(), Work(), Work()
        for fetched in self.ranges:
            if fetched.at_s > at_s:
                planned += fetched.promised
                continue
            whole = Work(fetched.promised.sessions, fetched.pages, fetched.rows)
            meter.learn(whole, fetched.seconds)
            expected += fetched.promised
            found += whole
        steps = list(self.step(at_s))
        came = sum((step.work for step in steps), Work())
        pace = measure_pace(steps, meter.costs)
        assert pace is not None
        left = predict_left(planned, expected, found, (came - found).bound(planned))
        return pace.predict_seconds(left) / (self.end_s - at_s) - 1

    def step(self, until_s: float) -> Iterator[Step]:
        """Yield what a heartbeat notes until a moment."""
        begun_s, place = 0.0, 0
        while begun_s < until_s:
            end_s = min(begun_s + choose_interval_s(begun_s), until_s)
            first = place
            while place < len(self.pages) and self.pages[place][0] <= end_s:
                place += 1
            came = self.pages[first:place]
            sessions = sum(
                whole.promised.sessions for whole in self.ranges if begun_s < whole.at_s <= end_s
            )
            yield Step(end_s - begun_s, Work(sessions, len(came), sum(rows for _, rows in came)))
            begun_s = end_s

    def _note(self, now: float, begun: float, pages: int, span: tuple[int, int]) -> None:
        promised = round(span[1] * self.vendor.promise)
        requests = max(1, math.ceil(promised / self.vendor.page_limit))
        work = Work(span[0], requests, promised)
        self.ranges.append(Fetched(now, work, pages, span[1], now - begun))

    def _draw_ranges(self, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Yield sessions and trades of ranges, ticker by ticker: small ones and large ones."""
        left = self.sessions
        while left:
            size = math.exp(rng.normal(0, 1.2 * self.vendor.scatter))
            for _ in range(10):
                sessions = min(left, int(rng.choice([1, 1, 3, 3, 3, 5, 5, 7])))
                day = 2_700 * size * math.exp(rng.normal(0, self.vendor.scatter))
                left -= sessions
                if sessions:
                    yield sessions, min(round(sessions * day), 300_000)
