"""What a download has left, and how long that will take: for `status` and for progress bars.

What belongs here: from the pulse, the steps and the ledger's counts to work and time. What does
not: how a pace is measured (``core.progress.pace``) and who writes the pulse
(``ingest.ticks.heartbeat``).

Everything here reads a handful of rows: it must cost the same with a million sessions.
"""

from dataclasses import dataclass
from typing import Literal

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.progress.pace import (
    Pace,
    Work,
    measure_pace,
    measure_slowness,
    predict_left,
)
from smallcaps_assets.lake.ledger.pulse import Pulse
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Totals

SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What the newest estimate said.

    Attributes:
        plan: Work of the whole plan.
        missing: Work of what was missing; ``None``: something landed or changed since.
        missing_bytes: What that takes on the disks.
        missing_runs: Runs that fetch it.
        costs: What things were taken to cost.
    """

    plan: Work
    missing: Work | None
    missing_bytes: int
    missing_runs: int
    costs: Calibration

    @property
    def runs(self) -> int:
        """How many runs fetch what is missing; one where the estimate holds no more."""
        return 1 if self.missing is None else self.missing_runs

    @property
    def begin_s(self) -> float:
        """Foretell what the runs take besides the work."""
        return self.costs.start_s * self.runs


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left and how long it will take.

    Attributes:
        left: Work of everything that is missing; ``None``: nothing tells.
        run_s: Seconds until the run at work is done; ``None``: none is, or it brought nothing yet.
        plan_s: Seconds for everything that is missing; ``None``: nothing tells.
        basis: What the seconds rest on; ``None``: nothing.
        pace: The pace behind them.
    """

    left: Work | None = None
    run_s: float | None = None
    plan_s: float | None = None
    basis: Literal["pace", "limit", "estimate"] | None = None
    pace: Pace | None = None


def forecast(
    ledger: LedgerReader,
    left_sessions: int,
    *,
    is_running: bool,
    requests_per_minute: float,
    told: Told | None = None,
) -> Forecast:
    """Forecast what is left and how long it will take.

    Args:
        ledger: Its pulse and its steps are read.
        left_sessions: Planned sessions that are not green.
        is_running: The process of the pulse is at work.
        requests_per_minute: Limit of the rate; 0: there is none.
        told: What the newest estimate said: the same figures as long as nothing landed since.
    """
    pulse = ledger.pulse()
    left = _find_left(pulse, left_sessions, told)
    if told is not None and told.missing is not None and not is_running:
        left = told.missing
    if left is None:
        return Forecast()
    steps = [] if pulse is None else ledger.recent_steps()
    # A run at work continues as it is; the next ones overlap as much as they have requests.
    slowness = 1.0
    if not is_running:
        steps = [step.overlap_fully() for step in steps]
        slowness = measure_slowness(left.requests / (1 if told is None else told.runs))
    pace = measure_pace(steps)
    least_s = _wait_for_rate(left, requests_per_minute)
    if pulse is None or pace is None:
        return _forecast_by_costs(left, least_s, told)
    run_s = None
    if is_running:
        run = _correct(pulse, pulse.planned)
        run_s = max(pace.predict_seconds(run), _wait_for_rate(run, requests_per_minute) or 0.0)
    begin_s = 0.0 if is_running or told is None or not left.requests else told.begin_s
    plan_s = begin_s + max(slowness * pace.predict_seconds(left), least_s or 0.0)
    return Forecast(left, run_s, plan_s, "pace", pace)


def predict_bytes(left: Work, totals: Totals, told: Told | None) -> int:
    """Predict the bytes that work will take on the disks, by the estimate and what is stored.

    Args:
        left: Work of what is missing.
        totals: What is stored: where it is larger than estimated, so is the rest.
        told: What the newest estimate said; its own figure where it still holds.
    """
    if told is not None and told.missing == left:
        return told.missing_bytes
    costs = Calibration() if told is None else told.costs
    stored = costs.predict_bytes(totals.rows, totals.sessions)
    correction = totals.bytes / stored if totals.rows and stored else 1.0
    files = costs.predict_bytes(left.rows, left.sessions) * correction
    return round(files + left.sessions * costs.block_bytes)


def _forecast_by_costs(left: Work, least_s: float | None, told: Told | None) -> Forecast:
    """Forecast the time of work before any of it was done, by the limit and by the estimate."""
    if told is None:
        return Forecast(left, plan_s=least_s, basis="limit" if least_s is not None else None)
    plan_s = told.costs.predict_seconds(left.requests, left.rows, left.sessions, told.runs)
    if least_s is None:
        return Forecast(left, plan_s=plan_s, basis="estimate")
    by_limit = told.begin_s + least_s
    return Forecast(
        left, plan_s=max(by_limit, plan_s), basis="limit" if by_limit >= plan_s else "estimate"
    )


def _find_left(pulse: Pulse | None, sessions: int, told: Told | None) -> Work | None:
    """Find the work of the missing sessions, by the pulse, else by the estimate.

    Either may speak of more or fewer sessions than are missing now: what failed is missing and
    no work of the run any more, and a plan may have changed.  Then its mean counts.
    """
    known = None if told is None else told.plan
    if pulse is not None:
        known = _correct(pulse, pulse.planned + pulse.others)
        if not known.sessions:
            known = pulse.found
    if not sessions or known is None or not known.sessions:
        return Work() if not sessions else None
    share = sessions / known.sessions
    return Work(sessions, round(known.requests * share), round(known.rows * share))


def _correct(pulse: Pulse, planned: Work) -> Work:
    """Correct planned work by the measure of what came so far."""
    return predict_left(planned, pulse.expected, pulse.found, pulse.under_way)


def _wait_for_rate(work: Work, requests_per_minute: float) -> float | None:
    """Count the seconds that the limit of requests takes at least; ``None``: there is none."""
    if not requests_per_minute:
        return None
    return SECONDS_PER_MINUTE * work.requests / requests_per_minute
