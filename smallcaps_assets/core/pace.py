"""How fast a download goes now, and when it will be done at that pace.

What belongs here: from what was fetched to costs, from the steps of a run to its pace, as pure
functions.  What does not: who notes the steps (``ingest.heartbeat``), where they are kept
(``lake.pulse``).

Sessions are no measure of work: one has no trade, another half a million.  So work is what the
fetching of ranges has shown a request and a trade to cost, and it is counted for what the daily
bars promise, done or to be done.

The pace is that of the last stretch in which it did not change.  A plain mean over the run would
carry a fast first half along for ever after the vendor slows down; a mean over the last minutes
would follow every large ticker.  So the steps are cut where their rate changes by more than their
own scatter explains, and again within the last part, until nothing more changes there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROWS_PER_REQUEST: Final = 50_000
"""Trades that take as long as the round trip of a request, before anything is known: a page."""
PRIOR_RANGES: Final = 5.0
"""How many ranges that first belief counts for."""
MEMORY_RANGES: Final = 500
"""Ranges after which a fetched one weighs a third of the newest."""

STEPS_OF_A_RUN: Final = 200
MIN_INTERVAL_S: Final = 1.0
MAX_INTERVAL_S: Final = 600.0
"""A run of minutes is noted by seconds, one of days by minutes: some hundreds of steps a day."""

MIN_STEPS: Final = 4
"""Steps of a stretch at least: fewer say nothing of their scatter."""
SURE_SIGMAS: Final = 4.0
"""A change of rate is one when it is so many times what scatter alone would make of it."""
SMALL_CHANGE: Final = 1.25
"""A rate that changes by a smaller factor is kept, because a longer stretch is worth more."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """Something to fetch, or fetched: what the daily bars promise of it.

    Attributes:
        sessions: Ticker-sessions.
        requests: Pages, retries left out.
        rows: Trades.
    """

    sessions: int = 0
    requests: int = 0
    rows: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.sessions + other.sessions, self.requests + other.requests, self.rows + other.rows
        )

    def __sub__(self, other: "Work") -> "Work":
        return Work(
            self.sessions - other.sessions, self.requests - other.requests, self.rows - other.rows
        )

    def bound(self, most: "Work") -> "Work":
        """Return this work, each part between nothing and that of ``most``."""
        return Work(
            min(max(self.sessions, 0), most.sessions),
            min(max(self.requests, 0), most.requests),
            min(max(self.rows, 0), most.rows),
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request and a trade cost, in seconds of one thread; only their ratio matters.

    Attributes:
        request_s: Round trip of a request, its wait for the rate and its retries included.
        row_s: A trade on the wire, decoded and encoded.
    """

    request_s: float = 1.0
    row_s: float = 1.0 / ROWS_PER_REQUEST

    def weigh(self, work: Work) -> float:
        """Return the cost of work."""
        return self.request_s * work.requests + self.row_s * work.rows


class CostMeter:
    """Learns what requests and trades cost from the time that ranges took.

    A line through the origin, fitted by least squares of relative errors, where new ranges count
    more than old ones and no cost is below nothing.
    """

    def __init__(self) -> None:
        self._squares = np.zeros((2, 2))
        self._products = np.zeros(2)
        self._count = 0.0

    def learn(self, requests: int, rows: int, seconds: float) -> None:
        """Take note of a fetched range.

        Args:
            requests: Requests sent for it.
            rows: Trades that came.
            seconds: From its start to its end.
        """
        if requests < 1 or seconds <= 0:
            return
        fade = 1.0 - 1.0 / MEMORY_RANGES
        size = np.array([requests, rows / ROWS_PER_REQUEST])
        weight = 1.0 / float(size.sum()) ** 2
        self._squares = self._squares * fade + weight * np.outer(size, size)
        self._products = self._products * fade + weight * seconds * size
        self._count = self._count * fade + 1.0

    @property
    def costs(self) -> Costs:
        """Return what a request and a trade cost, as far as it is known."""
        if not self._count:
            return Costs()
        mean = float(self._products.sum() / self._squares.sum())
        pull = PRIOR_RANGES / self._count * np.maximum(self._squares.diagonal(), 1e-12)
        squares = self._squares + np.diag(pull)
        request_s, page_s = np.linalg.solve(squares, self._products + pull * mean)
        if request_s < 0:
            request_s, page_s = 0.0, self._products[1] / self._squares[1, 1]
        elif page_s < 0:
            request_s, page_s = self._products[0] / self._squares[0, 0], 0.0
        return Costs(float(request_s), float(page_s) / ROWS_PER_REQUEST)


@dataclass(frozen=True, slots=True)
class Step:
    """What a download did between two looks.

    Attributes:
        seconds: Time between them, the process at work.
        work: Work done.
    """

    seconds: float
    work: Work


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of the last stretch in which it did not change.

    Attributes:
        cost_per_s: Cost of the work done a second.
        costs: What work costs.
        seconds: Length of the stretch.
    """

    cost_per_s: float
    costs: Costs
    seconds: float

    def predict_seconds(self, work: Work) -> float:
        """Return how long work will take."""
        return self.costs.weigh(work) / self.cost_per_s


def measure_pace(steps: Sequence[Step], costs: Costs) -> Pace | None:
    """Return the present pace; ``None`` before anything was done.

    Steps at the end in which nothing was done are a pause and no pace: they are left out, and
    whoever shows the pace says that it pauses.

    Args:
        steps: Of one or several runs, in the order of time.
        costs: What work costs.
    """
    real = [step for step in steps if step.seconds > 0]
    seconds = np.array([step.seconds for step in real], dtype=np.float64)
    done = np.array([costs.weigh(step.work) for step in real], dtype=np.float64)
    busy = np.flatnonzero(done > 0)
    if not busy.size:
        return None
    seconds, done = seconds[: busy[-1] + 1], done[: busy[-1] + 1]
    first = _find_last_change(seconds, done)
    span = float(seconds[first:].sum())
    return Pace(float(done[first:].sum()) / span, costs, span)


def predict_left(planned: Work, expected: Work, found: Work, under_way: Work) -> Work:
    """Return the work left in the measure of what really comes.

    Args:
        planned: What the bars promise of all ranges that are not fetched whole.
        expected: What they promised of those that are.
        found: What came of these.
        under_way: What came already of ranges that are not fetched whole.
    """
    requests = _scale(planned.requests, expected.requests, found.requests) - under_way.requests
    rows = _scale(planned.rows, expected.rows, found.rows) - under_way.rows
    is_any = bool(planned.sessions or planned.requests)
    return Work(planned.sessions, max(requests, int(is_any)), max(rows, 0))


def _scale(planned: int, expected: int, found: int) -> int:
    """Return a promise, corrected by how promises were kept so far."""
    return round(planned * found / expected) if expected and found else planned


def choose_interval_s(elapsed_s: float) -> float:
    """Return the seconds between two notes of a run: a share of it, within bounds."""
    return min(max(elapsed_s / STEPS_OF_A_RUN, MIN_INTERVAL_S), MAX_INTERVAL_S)


def _find_last_change(seconds: Numbers, done: Numbers) -> int:
    """Return the first step of the last stretch of one rate."""
    first = 0
    while (found := _find_change(seconds[first:], done[first:])) is not None:
        first += found
    return first


def _find_change(seconds: Numbers, done: Numbers) -> int | None:
    """Return where the rate changes most beyond doubt; ``None``: nowhere.

    Work comes in lumps, so that the rate of a stretch is known to the root of the lumps in it.
    How large a lump is shows in the scatter of the steps around the rate of their side.
    """
    count = seconds.size
    if count < 2 * MIN_STEPS:
        return None
    times, sums = seconds.cumsum(), done.cumsum()
    cuts = np.arange(MIN_STEPS, count - MIN_STEPS + 1)
    before_s, before = times[cuts - 1], sums[cuts - 1]
    after_s, after = times[-1] - before_s, sums[-1] - before
    lump = _measure_lump(seconds, done)
    # Half a lump more on each side: a side without any work has a rate all the same.
    ratios = np.log((after + lump / 2) / after_s) - np.log((before + lump / 2) / before_s)
    doubts = np.sqrt(lump / (before + lump) + lump / (after + lump))
    sigmas = np.abs(ratios) / doubts
    sigmas[np.abs(ratios) < np.log(SMALL_CHANGE)] = 0.0
    best = int(sigmas.argmax())
    return int(cuts[best]) if sigmas[best] > SURE_SIGMAS else None


def _measure_lump(seconds: Numbers, done: Numbers) -> float:
    """Return the size of the lumps in which work comes, by the scatter of neighbouring steps.

    Neighbours differ by scatter alone, except at the few places where the rate changes.
    """
    rates = done / seconds
    squares = (rates[1:] - rates[:-1]) ** 2 / (1 / seconds[1:] + 1 / seconds[:-1])
    total = float(done.sum())
    return max(float(squares.mean()) * float(seconds.sum()) / total, 1e-9 * total)
