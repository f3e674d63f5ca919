"""Telling a vendor that is down from tickers that it cannot answer.

What belongs here: what failures in a row mean.  What does not: how often one request is asked
again (``polygon``), and what becomes of the sessions (``download``).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

GIVE_UP_AFTER: Final = 7
"""Ranges of one ticker failing in a row after which they are not cut in parts any more.

One bad session among sixty, the most that a range holds by default, is found by halving within
so many, even where no other part has been answered yet."""


class VendorWatch:
    """What the answers of one download say about the vendor.

    A ticker that fails is a suspect until anything is answered: then the vendor is there, and it
    is the ticker that fails.  The vendor is down when many suspects fail in a row, or when nothing
    was ever answered and nobody else is left to ask.
    """

    def __init__(self, outage_after: int, workers: int) -> None:
        """Begin without any answer.

        Args:
            outage_after: Tickers failing in a row that mean an outage.
            workers: Threads that fetch; the others are under way when one fails.
        """
        # A lonely ticker is given up before the vendor is called down because of it.
        self._most_in_a_row = max(outage_after, GIVE_UP_AFTER + workers)
        self._most_suspects = outage_after + workers - 1
        self._suspects: set[str] = set()
        self._sick: set[str] = set()
        self._failed_before: set[str] = set()
        self._in_a_row = 0
        self._is_alive = False
        self._strikes: Counter[str] = Counter()

    def expect_failures(self, tickers: Iterable[str]) -> None:
        """Note tickers that failed before: once the vendor answers anybody, they prove nothing."""
        self._failed_before.update(tickers)

    @property
    def suspects(self) -> int:
        """Return how many tickers failed since anything was answered."""
        return len(self._suspects)

    def note_answer(self, ticker: str) -> None:
        """Note that a range was answered, well or badly: the vendor is there."""
        self._sick |= self._suspects | self._failed_before
        self._failed_before.clear()
        self._sick.discard(ticker)
        self._suspects.clear()
        self._strikes.pop(ticker, None)
        self._in_a_row = 0
        self._is_alive = True

    def note_failure(self, ticker: str) -> bool:
        """Note that the vendor did not answer a range; return whether its ticker turns hopeless."""
        self._strikes[ticker] += 1
        self._in_a_row += 1
        if ticker not in self._sick:
            self._suspects.add(ticker)
        return self._strikes[ticker] == GIVE_UP_AFTER

    def is_hopeless(self, ticker: str) -> bool:
        """Say whether so many ranges of a ticker failed in a row that parts of them will too."""
        return self._strikes[ticker] >= GIVE_UP_AFTER

    def describe_outage(self, waiting: Iterable[str]) -> str:
        """Return why the vendor seems to be down; empty where it does not.

        Args:
            waiting: Tickers of the ranges that wait.
        """
        is_down = len(self._suspects) >= self._most_suspects
        if not self._is_alive and self._in_a_row >= self._most_in_a_row:
            is_down = is_down or self._suspects.issuperset(waiting)
        if not is_down:
            return ""
        tickers = len(self._suspects)
        return (
            f"the vendor failed {self._in_a_row} ranges in a row, of {tickers} "
            f"{'ticker' if tickers == 1 else 'tickers'}"
        )
