"""For what a request range is asked: only those of the plan are held against its estimate.

What belongs here: the purposes, and their sums.  What does not: which range has which
(``ingest.ticks.workload``), and who keeps them (``lake.ledger.writer``).
"""

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """For what a range is asked."""

    PLAN = "plan"
    """The first asking of a range of the plan: what an estimate counts."""
    RESUME = "resume"
    """The rest of a range that was begun before, or one that failed: a price of pieces."""
    REPAIR = "repair"
    """Sessions that were found damaged and moved aside."""
    AGAIN = "again"
    """Sessions whose answer was disputed by their bar."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Requests of answered ranges of one purpose.

    Attributes:
        requests: Requests spent, retries included.
        expected: Requests that the ranges were expected to take when they were asked.
    """

    requests: int = 0
    expected: int = 0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.requests + other.requests, self.expected + other.expected)

    @property
    def ratio(self) -> float:
        """How many requests an expected one took; 1 where nothing is known."""
        return self.requests / self.expected if self.expected else 1.0
