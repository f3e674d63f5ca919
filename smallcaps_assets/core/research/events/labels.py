"""Labels: what became of a trade after a decision, decided by the order of the prints.

What belongs here: entry, walk and exit over the prints of one ticker.  What does not: what was
known before (``decisions``), what the trade costs (``costs``), how labels overlap (``weights``).

Whether a label is cut depends on which sessions are proven alone, before a price is looked at: else
quick outcomes would survive a hole and slow ones would vanish.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.research.events.parameters import LabelRules

TOLERANCE: Final = 1e-9

PROFIT, STOP, TIME = "profit", "stop", "time"
CUT, NO_ENTRY, NO_EXIT, NO_TARGET = "cut", "no_entry", "no_exit", "no_target"
OUTCOMES: Final = (PROFIT, STOP, TIME, CUT, NO_ENTRY, NO_EXIT, NO_TARGET)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Walk(NamedTuple):
    """Where a walk over prices ended: the place in the path, and why."""

    place: int
    outcome: str


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """The continuous prints of one ticker over some sessions, and the sessions themselves.

    A continuous print is a live print of the regular phase that is of no auction.

    Attributes:
        times: Nanoseconds since 1970 UTC, never falling.
        prices: USD, multiplied by the split factor of their session.
        halts: Start and end of each halt, a row each, nanoseconds.
        proven: Places in the calendar of the sessions that the lake holds whole.
        factors: Split factor and era by place in the calendar.
    """

    times: Integers
    prices: Floats
    halts: Integers
    proven: frozenset[int]
    factors: Mapping[int, tuple[float, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """The regular phase of each session, by place in the calendar, nanoseconds."""

    opens: Integers
    closes: Integers

    def find_session(self, instant: int) -> int:
        """Find the session in whose regular phase, or before whose open, an instant lies."""
        return int(np.searchsorted(self.closes, instant, side="right"))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a label needs of a decision.

    Attributes:
        session: Place of the event's session in the calendar.
        entry_session: Place of the session of entry.
        instant: First instant of an entry, nanoseconds.
        sigma: Daily volatility; NaN: unknown.
        half_spread: Half spread, a fraction of the price.
        is_intraday: The entry is in the session of the event.
    """

    session: int
    entry_session: int
    instant: int
    sigma: float
    half_spread: float
    is_intraday: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The label of a bought trade; a sold one mirrors it, because both barriers are equal.

    Attributes:
        outcome: One of ``OUTCOMES``.
        reason: Why there is no entry, or why it is cut; ``None``: none is needed.
        barrier: Return that ends the trade on either side; ``None``: no target.
        entry: Place of the entry on the tape; -1: none.
        exit: Place of the exit; -1: none.
        vertical: When time is up, nanoseconds; ``None``: no entry.
        gross: Return from print to print; ``None``: no exit.
        exit_price: Price of the exit in shares of the entry; ``None``: no exit.
    """

    outcome: str
    reason: str | None = None
    barrier: float | None = None
    entry: int = -1
    exit: int = -1
    vertical: int | None = None
    gross: float | None = None
    exit_price: float | None = None


def walk_path(prices: Floats, side: int, barriers: tuple[float, float]) -> Walk:
    """Walk over prices after an entry until one of two barriers is touched.

    Args:
        prices: The price of the entry first.
        side: 1 bought, -1 sold.
        barriers: Profit and stop, returns above 0; touched at equality up to rounding.

    Returns:
        The print that touched first, or the last one.
    """
    profit, stop = barriers
    above, below = (profit, stop) if side > 0 else (stop, profit)
    entry, later = float(prices[0]), prices[1:]
    ceiling, floor = (entry * (1 + move * (1 - TOLERANCE)) for move in (above, -below))
    is_touched = later >= ceiling
    is_touched |= later <= floor
    place = int(is_touched.argmax())
    if not is_touched[place]:
        return Walk(prices.size - 1, TIME)
    is_above = later[place] >= ceiling
    return Walk(place + 1, PROFIT if is_above == (side > 0) else STOP)


def choose_barrier(decision: Decision, horizon: int, rules: LabelRules) -> float:
    """Choose the barrier of a decision over a horizon of sessions; NaN: no volatility is known."""
    sessions = horizon + 1 if decision.is_intraday else horizon
    lowest = max(rules.lowest_barrier, 4 * decision.half_spread)
    if math.isnan(decision.sigma):
        return math.nan
    wanted = rules.multiple * decision.sigma * math.sqrt(sessions)
    return min(max(wanted, lowest), rules.highest_barrier)


def label_horizon(
    decision: Decision, horizon: int, tape: Tape, hours: Hours, rules: LabelRules
) -> Outcome:
    """Label a decision over one horizon.

    Args:
        decision: What was decided.
        horizon: Sessions after that of the event.
        tape: Prints of the ticker, at least of the sessions from the entry to the horizon.
        hours: The regular phase of each session.
        rules: How a decision becomes a trade.
    """
    last = decision.session + horizon
    if refused := _judge_coverage(decision.entry_session, last, tape):
        return refused
    place, problem = find_entry(decision, tape, hours, rules)
    if place < 0:
        return Outcome(NO_ENTRY, problem)
    vertical = int(hours.closes[last]) - rules.exit_ns
    barrier = choose_barrier(decision, horizon, rules)
    if math.isnan(barrier):
        return Outcome(NO_TARGET, entry=place, vertical=vertical)
    end = int(tape.times.searchsorted(vertical, side="right"))
    path = tape.prices[place:end]
    if path.size < 2:  # noqa: PLR2004  the entry and a print after it
        return Outcome(NO_EXIT, barrier=barrier, entry=place, vertical=vertical)
    walk = walk_path(path, 1, (barrier, barrier))
    entry_factor = tape.factors[decision.entry_session][0]
    return Outcome(
        walk.outcome,
        barrier=barrier,
        entry=place,
        exit=place + walk.place,
        vertical=vertical,
        gross=float(path[walk.place] / path[0] - 1),
        exit_price=float(path[walk.place] / entry_factor),
    )


def find_entry(
    decision: Decision, tape: Tape, hours: Hours, rules: LabelRules
) -> tuple[int, str | None]:
    """Find the first print at which a decision may be acted on.

    Returns:
        Its place on the tape; -1 with ``halted`` or ``no_print`` where there is none in time.
    """
    latest = min(decision.instant + rules.max_wait_ns, int(hours.closes[decision.entry_session]))
    place = int(tape.times.searchsorted(decision.instant, side="left"))
    if place < tape.times.size and tape.times[place] <= latest:
        return place, None
    starts, ends = tape.halts[:, 0], tape.halts[:, 1]
    is_halted = bool(((starts <= latest) & (ends > decision.instant)).any())
    return -1, "halted" if is_halted else "no_print"


def mirror(outcome: str, side: int) -> str:
    """Turn the outcome of a bought trade into that of the other side."""
    if side > 0:
        return outcome
    return {PROFIT: STOP, STOP: PROFIT}.get(outcome, outcome)


def select_continuous(prints: pl.DataFrame) -> pl.DataFrame:
    """Select the prints at which a trade may be entered or end.

    Args:
        prints: ``core.research.prints.label_prints``.
    """
    is_regular = pl.col("trading_phase") == "regular"
    return prints.filter(is_regular & pl.col("is_live_print") & ~pl.col("is_auction_print"))


def sample_cusum(prices: Floats, threshold: float, *, is_log: bool = True) -> Integers:
    """Find the places where a price has moved by a threshold since the last such place.

    Args:
        prices: USD.
        threshold: Sum of log returns, or of differences, that has to be exceeded.
        is_log: Sum log returns; differences otherwise.
    """
    steps = np.diff(np.log(prices) if is_log else prices)
    return np.array([*_iter_cusum(steps, threshold)], dtype=np.int64)


def _iter_cusum(steps: Floats, threshold: float) -> Iterator[int]:
    up = down = 0.0
    for place, step in enumerate(steps.tolist(), start=1):
        up, down = max(0.0, up + step), min(0.0, down + step)
        if up > threshold:
            up = 0.0
            yield place
        elif down < -threshold:
            down = 0.0
            yield place


def _judge_coverage(first: int, last: int, tape: Tape) -> Outcome | None:
    """Tell why the sessions from entry to horizon make no label; ``None``: they may."""
    sessions: Sequence[int] = range(first, last + 1)
    if not sessions:
        return Outcome(NO_ENTRY, "no_horizon")
    if first not in tape.proven:
        return Outcome(NO_ENTRY, "not_in_lake")
    if any(session not in tape.proven for session in sessions):
        return Outcome(CUT, "not_proven")
    is_one_era = tape.factors[first][1] == tape.factors[last][1]
    return None if is_one_era else Outcome(CUT, "unknown_split")
