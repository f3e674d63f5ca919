"""How labels overlap in time: concurrency, uniqueness, attribution, decay, sequential bootstrap.

What belongs here: weights over a clock of whole numbers, and the clock of regular minutes.  What
does not: the labels (``labels``).  A label covers its first and its last minute.

Attribution knows the outcome of a label: it may weigh training, and never be a feature.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MINUTE_NS: Final = 60_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class MinuteClock:
    """The regular minutes of XNYS in one row, numbered from 0.

    Attributes:
        opens: Open of each session, nanoseconds.
        closes: Close of each session, nanoseconds.
        firsts: Number of the first minute of each session.
    """

    opens: Integers
    closes: Integers
    firsts: Integers

    @classmethod
    def of(cls, calendar: SessionCalendar) -> Self:
        """Number the minutes of a calendar: 390 a session, 210 on an early close."""
        frame = calendar.frame.select(pl.col("regular_open", "regular_close").cast(pl.Int64))
        opens, closes = (frame[name].to_numpy() for name in frame.columns)
        minutes = (closes - opens) // _MINUTE_NS
        return cls(opens, closes, np.cumsum(minutes) - minutes)

    def place(self, instants: Integers) -> Integers:
        """Find the minute of each instant; one outside belongs to the next minute."""
        session = np.searchsorted(self.closes, instants, side="right")
        session = np.minimum(session, self.opens.size - 1)
        minutes = np.maximum(0, instants - self.opens[session]) // _MINUTE_NS
        places: Integers = self.firsts[session] + minutes
        return places


def count_concurrency(first: Integers, last: Integers, length: int) -> Integers:
    """Count the labels that cover each place of a clock.

    Args:
        first: First place of each label.
        last: Last place of each, included.
        length: Places of the clock.
    """
    steps = np.zeros(length + 1, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.cumsum(steps)[:length]


def average_over(values: Floats, first: Integers, last: Integers) -> Floats:
    """Average the values at the places of each label."""
    return sum_over(values, first, last) / (last - first + 1)


def sum_over(values: Floats, first: Integers, last: Integers) -> Floats:
    """Sum the values at the places of each label."""
    sums = np.zeros(values.size + 1)
    np.cumsum(values, out=sums[1:])
    total: Floats = sums[last + 1] - sums[first]
    return total


def invert_concurrency(concurrency: Integers) -> Floats:
    """Divide one by the labels of each place; 0 where there is none."""
    shared: Floats = np.where(concurrency > 0, 1 / np.maximum(concurrency, 1), 0.0)
    return shared


def attribute_returns(
    log_returns: Floats, concurrency: Integers, first: Integers, last: Integers
) -> Floats:
    """Sum the absolute returns inside each label, each over the labels that share it.

    The return into the first place happened before the entry, and is left out.

    Args:
        log_returns: Return into each place of the clock.
        concurrency: Labels at each place.
        first: First place of each label.
        last: Last place of each, included.
    """
    shared = log_returns * invert_concurrency(concurrency)
    later = np.minimum(first + 1, last)
    total = np.where(last > first, sum_over(shared, later, last), 0.0)
    return np.abs(total)


def normalise(weights: Floats) -> Floats:
    """Scale weights so that their sum is their number."""
    total = weights.sum()
    return weights * (weights.size / total) if total > 0 else weights


def decay_weights(uniqueness: Floats, last_weight: float) -> Floats:
    """Make factors that grow with the uniqueness summed up in order of time, to 1 for the newest.

    Args:
        uniqueness: Of each label, oldest first.
        last_weight: Factor of the oldest, 1: no decay; below 0 the oldest part has none.
    """
    reached = np.cumsum(uniqueness)
    if last_weight >= 0:
        slope = (1 - last_weight) / reached[-1]
    else:
        slope = 1 / ((last_weight + 1) * reached[-1])
    factors: Floats = np.maximum(0.0, 1 - slope * reached[-1] + slope * reached)
    return factors


def draw_sequentially(first: Integers, last: Integers, length: int, chances: Floats) -> Integers:
    """Draw labels one by one, each with odds by its uniqueness beside those drawn before.

    Args:
        first: First place of each label.
        last: Last place of each, included.
        length: Places of the clock.
        chances: A number from 0 to 1 for each draw.
    """
    taken = np.zeros(length, dtype=np.int64)
    drawn = np.empty(chances.size, dtype=np.int64)
    for number, chance in enumerate(chances.tolist()):
        odds = np.cumsum(weigh_draw(first, last, taken))
        place = int(odds.searchsorted(chance * odds[-1], side="right"))
        place = min(place, first.size - 1)
        taken[first[place] : last[place] + 1] += 1
        drawn[number] = place
    return drawn


def weigh_draw(first: Integers, last: Integers, taken: Integers) -> Floats:
    """Weigh the next draw up to a factor, after places were taken so many times."""
    return average_over(1 / (taken + 1.0), first, last)
