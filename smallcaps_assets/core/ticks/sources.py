"""What a source of trades gives, and what it tells of itself: any vendor's client, or files.

What does not belong here: how one counts (``polygon.http.counters``), and the trades themselves
(``tape``).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from smallcaps_assets.core.ticks.tape import FetchedTrades


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Counts of one source since it was made.

    Attributes:
        requests: HTTP requests sent, retries included.
        retries: Retries by the kind of their fault.
        pages: Bodies that could be read.
        rows: Results in them.
    """

    requests: int
    retries: Mapping[str, int]
    pages: int
    rows: int


class Stage(StrEnum):
    """What a thread does for a page."""

    RATE = "rate"
    """It waits for its turn at the shared rate."""
    ANSWER = "answer"
    """It waits for the vendor's answer."""
    PAUSE = "pause"
    """It pauses before it asks again after a fault."""


@dataclass(frozen=True, slots=True)
class Occupation:
    """What the threads of a source wait for at one moment.

    Attributes:
        threads: Threads by what they wait for; the others decode, encode, or do nothing.
        oldest_answer_s: How long the oldest request under way is waited for; 0: there is none.
        next_retry_s: Seconds until the first pause ends; 0: nothing pauses.
        last_fault: Kind of the newest fault; empty: there was none.
        last_fault_text: What was expected and what came.
    """

    threads: Mapping[Stage, int]
    oldest_answer_s: float
    next_retry_s: float
    last_fault: str
    last_fault_text: str


NOTHING: Final = SourceCounters(0, {}, 0, 0)
IDLE: Final = Occupation({}, 0.0, 0.0, "", "")


class TradeSource(Protocol):
    """What a download needs of a source; one that counts nothing has only trades to give."""

    def fetch_trades(
        self,
        ticker: str,
        gte_ns: int,
        lt_ns: int,
        *,
        expected_rows: int | None = None,
        page_limit: int | None = None,
    ) -> FetchedTrades:
        """Fetch every trade of ``ticker`` in ``[gte_ns, lt_ns)``, or raise."""
        ...

    @property
    def counters(self) -> SourceCounters:
        """Count what was spent so far."""
        return NOTHING

    @property
    def occupation(self) -> Occupation:
        """Tell what the threads wait for now."""
        return IDLE

    @property
    def processor(self) -> AbstractContextManager[Any]:
        """Bound how many threads work at once, on answers or on what is made of them."""
        return nullcontext()
