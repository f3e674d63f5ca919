"""How fast a download goes now, and when it will be done at that pace.

What belongs here: from what was fetched to costs, from the steps of a run to its pace, as pure
functions.  What does not: who notes the steps (``ingest.ticks.heartbeat``), where they are kept
(``lake.ledger.pulse``).

Sessions are no measure of work: one has no trade, another half a million.  So work is what the
fetching of ranges has shown a request and a trade to cost, and it is counted for what the daily
bars promise, done or to be done.

The pace is that of the last stretch in which it did not change.  A plain mean over the run would
carry a fast first half along for ever after the vendor slows down; a mean over the last minutes
would follow every large ticker.  So the steps are cut where their rate changes by more than their
own scatter explains, and again within the last part, until nothing more changes there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

ROWS_PER_REQUEST: Final = 50_000
"""Trades that take as long as the round trip of a request, before anything is known: a page."""
SESSIONS_PER_REQUEST: Final = 10
"""Sessions that take as long, before anything is known."""
PARTS: Final = 3
SWEEPS: Final = 40
"""Rounds of the fit; it changes by less than a thousandth long before."""
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
SMALL_CHANGE: Final = 1.4
"""A rate that changes by a smaller factor is kept, because a longer stretch is worth more."""

_TINY: Final = 1e-9


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
    """What work costs, in seconds of one thread; only the ratios matter.

    Attributes:
        request_s: Round trip of a request, its wait for the rate and its retries included.
        row_s: A trade on the wire, decoded and encoded.
        session_s: A session, whatever it holds: a file to be made, a share of its range.
    """

    request_s: float = 1.0
    row_s: float = 1.0 / ROWS_PER_REQUEST
    session_s: float = 1.0 / SESSIONS_PER_REQUEST

    def weigh(self, work: Work) -> float:
        """Return the cost of work."""
        return (
            self.request_s * work.requests + self.row_s * work.rows + self.session_s * work.sessions
        )


class CostMeter:
    """Learns what requests, trades and sessions cost from the time that ranges took.

    A plane through the origin, fitted by least squares of relative errors, where new ranges count
    more than old ones and no cost is below nothing.
    """

    def __init__(self) -> None:
        # Sums of squares and products of what ranges hold, and of that and their seconds.
        self._squares = [[0.0] * PARTS for _ in range(PARTS)]
        self._products = [0.0] * PARTS
        self._count = 0.0

    def learn(self, work: Work, seconds: float) -> None:
        """Take note of a fetched range.

        Args:
            work: What came of it, with all of its requests.
            seconds: From its start to its end.
        """
        if work.requests < 1 or seconds <= 0:
            return
        fade = 1.0 - 1.0 / MEMORY_RANGES
        parts = (
            float(work.requests),
            work.rows / ROWS_PER_REQUEST,
            work.sessions / SESSIONS_PER_REQUEST,
        )
        weight = 1.0 / sum(parts) ** 2
        for row, left in enumerate(parts):
            self._products[row] = self._products[row] * fade + weight * left * seconds
            for column, right in enumerate(parts):
                before = self._squares[row][column] * fade
                self._squares[row][column] = before + weight * left * right
        self._count = self._count * fade + 1.0

    @property
    def costs(self) -> Costs:
        """Return what work costs, as far as it is known.

        Before much is known, all are pulled towards the mean that one cost for a request, for a
        page of trades and for some sessions would have.
        """
        if not self._count:
            return Costs()
        mean = sum(self._products) / sum(map(sum, self._squares))
        pulls = [
            PRIOR_RANGES / self._count * max(self._squares[part][part], _TINY)
            for part in range(PARTS)
        ]
        # Each cost in turn takes its best value for the others; the form is convex.
        found = [mean] * PARTS
        for _ in range(SWEEPS):
            for part in range(PARTS):
                others = sum(
                    self._squares[part][other] * found[other]
                    for other in range(PARTS)
                    if other != part
                )
                wanted = self._products[part] + pulls[part] * mean - others
                found[part] = max(0.0, wanted / (self._squares[part][part] + pulls[part]))
        return Costs(found[0], found[1] / ROWS_PER_REQUEST, found[2] / SESSIONS_PER_REQUEST)


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
    seconds = [step.seconds for step in real]
    done = [costs.weigh(step.work) for step in real]
    while done and done[-1] <= 0:
        done.pop()
    if not done:
        return None
    first = _find_last_change(seconds[: len(done)], done)
    span = math.fsum(seconds[first : len(done)])
    return Pace(math.fsum(done[first:]) / span, costs, span)


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


def _find_last_change(seconds: Sequence[float], done: Sequence[float]) -> int:
    """Return the first step of the last stretch of one rate."""
    first = 0
    while (found := _find_change(seconds[first:], done[first:])) is not None:
        first += found
    return first


def _find_change(seconds: Sequence[float], done: Sequence[float]) -> int | None:
    """Return where the rate changes most beyond doubt; ``None``: nowhere.

    Work comes in lumps, so that the rate of a stretch is known to the root of the lumps in it.
    How large a lump is shows in the scatter of the steps around the rate of their side.
    """
    count = len(done)
    if count < 2 * MIN_STEPS:
        return None
    times, sums = list(accumulate(seconds)), list(accumulate(done))
    lump = _measure_lump(seconds, done)
    best, best_sigmas = None, SURE_SIGMAS
    for cut in range(MIN_STEPS, count - MIN_STEPS + 1):
        before_s, before = times[cut - 1], sums[cut - 1]
        after_s, after = times[-1] - before_s, sums[-1] - before
        # Half a lump more on each side: a side without any work has a rate all the same.
        ratio = math.log((after + lump / 2) / after_s * before_s / (before + lump / 2))
        sigmas = abs(ratio) / math.sqrt(lump / (before + lump) + lump / (after + lump))
        if sigmas > best_sigmas and abs(ratio) >= math.log(SMALL_CHANGE):
            best, best_sigmas = cut, sigmas
    return best


def _measure_lump(seconds: Sequence[float], done: Sequence[float]) -> float:
    """Return the size of the lumps in which work comes, by the scatter of neighbouring steps.

    Neighbours differ by scatter alone, except at the few places where the rate changes.
    """
    squares = [
        (work / span - last_work / last_span) ** 2 / (1 / span + 1 / last_span)
        for (last_span, span), (last_work, work) in zip(
            pairwise(seconds), pairwise(done), strict=True
        )
    ]
    total = math.fsum(done)
    mean = math.fsum(squares) / len(squares)
    return max(mean * math.fsum(seconds) / total, _TINY * total)
