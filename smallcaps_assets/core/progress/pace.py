"""How fast a download goes now, and when it will be done at that pace.

What belongs here: from the steps of a run to its pace, as pure functions.  What does not: who
notes the steps (``ingest.ticks.heartbeat``), where they are kept (``lake.ledger.pulse``).

Sessions are no measure of work: one has no trade, another half a million.  So work is counted in
requests, trades and sessions, each with a fixed weight, and the pace is the plain mean of the last
minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

ROWS_PER_REQUEST: Final = 50_000
"""Trades that take as long as the round trip of a request: a page."""
SESSIONS_PER_REQUEST: Final = 10
"""Sessions that take as long: their files, and their share of a range."""
WINDOW_S: Final = 300.0
"""Length of the moving average, in seconds of work; `status` tells its rates over as much."""

FULL_OVERLAP: Final = 8
"""Requests of a run from which on more of them at once make it no faster."""

STEPS_OF_A_RUN: Final = 200
MIN_INTERVAL_S: Final = 1.0
MAX_INTERVAL_S: Final = 60.0
"""A run of minutes is noted by seconds, one of days by minutes: a fifth of the window at most."""


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
        """Keep each part of this work between nothing and that of ``most``."""
        return Work(
            min(max(self.sessions, 0), most.sessions),
            min(max(self.requests, 0), most.requests),
            min(max(self.rows, 0), most.rows),
        )

    @property
    def cost(self) -> float:
        """Weigh this work: what it takes, in requests."""
        rows, sessions = self.rows / ROWS_PER_REQUEST, self.sessions / SESSIONS_PER_REQUEST
        return self.requests + rows + sessions


@dataclass(frozen=True, slots=True)
class Step:
    """What a download did between two looks.

    Attributes:
        seconds: Time between them, the process at work.
        work: Work done.
        run_requests: Requests of the whole run that it is a step of.
    """

    seconds: float
    work: Work
    run_requests: int = FULL_OVERLAP

    def overlap_fully(self) -> "Step":
        """Say how long the same would have taken in a run with enough requests at once."""
        return replace(self, seconds=self.seconds / measure_slowness(self.run_requests))


@dataclass(frozen=True, slots=True)
class Pace:
    """The mean pace of the last minutes.

    Attributes:
        cost_per_s: Cost of the work done a second.
        seconds: Time that it is the mean of.
    """

    cost_per_s: float
    seconds: float

    def predict_seconds(self, work: Work) -> float:
        """Foretell how long work will take."""
        return work.cost / self.cost_per_s


def measure_pace(steps: Sequence[Step]) -> Pace | None:
    """Average the last :data:`WINDOW_S` of steps in time; ``None`` before anything was done.

    Steps at the end in which nothing was done are a pause and no pace: they are left out, and
    whoever shows the pace says that it pauses.
    """
    seconds = done = 0.0
    for step in reversed(steps):
        if seconds >= WINDOW_S:
            break
        if done or step.work.cost > 0:
            seconds += step.seconds
            done += step.work.cost
    return Pace(done / seconds, seconds) if done and seconds else None


def measure_slowness(requests: float) -> float:
    """Tell how many times longer the same work takes in a run of few requests.

    Threads overlap what requests wait for, and the processor's work only as far as it has cores:
    of a request by itself about half is gained by others beside it.  So a lake that grew in many
    small runs does not overstate what one large run takes.

    Args:
        requests: Requests of the run.

    Returns:
        From 16/9 for one request down to 1 for :data:`FULL_OVERLAP`.
    """
    lanes = min(max(requests, 1.0), FULL_OVERLAP)
    return (1 + 1 / lanes) / (1 + 1 / FULL_OVERLAP)


def predict_left(planned: Work, expected: Work, found: Work, under_way: Work) -> Work:
    """Predict the work left in the measure of what really comes.

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
    """Correct a promise by how promises were kept so far."""
    return round(planned * found / expected) if expected and found else planned


def choose_interval_s(elapsed_s: float) -> float:
    """Choose the seconds between two notes of a run: a share of it, within bounds."""
    return min(max(elapsed_s / STEPS_OF_A_RUN, MIN_INTERVAL_S), MAX_INTERVAL_S)
