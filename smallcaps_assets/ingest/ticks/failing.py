"""What becomes of request ranges that failed: cut in parts, put last, given up, or the end of all.

What belongs here: deciding, and what failures in a row mean: a sick ticker, or an outage.  What
does not: records in the ledger and outcomes (``download``).
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import (
    AuthenticationError,
    BadRequestError,
    CertificateError,
    NotEntitledError,
    RateLimitError,
    SmallcapsError,
    VendorUnavailableError,
)
from smallcaps_assets.ingest.ticks.ranges import (
    RangeQueue,
    RequestRange,
    rotate,
    split_range,
    split_sessions,
)

GIVE_UP_AFTER: Final = 7
"""Ranges of one ticker failing in a row after which they are not cut in parts any more.

One bad session among sixty, the most that a range holds by default, is found by halving within
so many, even where no other part has been answered yet."""

REFUSED_FOR: Final = dt.timedelta(days=1)
"""How long a date that the key may not see is taken for one still, where the vendor refuses."""


class VendorWatch:
    """What the answers of one download say about the vendor.

    A ticker that fails is a suspect until anything is answered: then the vendor is there, and it
    is the ticker that fails.  The vendor is down when many suspects fail in a row, or when nothing
    was ever answered and nobody else is left to ask.
    """

    def __init__(self, outage_after: int, workers: int) -> None:
        """Begin without any answer; ``outage_after`` tickers failing in a row mean an outage.

        The other ``workers`` are under way when one fails.
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
        """The number of tickers that failed since anything was answered."""
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
        """Say why the vendor seems to be down while these tickers wait; empty where it does not."""
        is_down = len(self._suspects) >= self._most_suspects
        if not self._is_alive and self._in_a_row >= self._most_in_a_row:
            is_down = is_down or self._suspects.issuperset(waiting)
        if not is_down:
            return ""
        tickers = format_count(len(self._suspects), "ticker")
        return f"the vendor failed {self._in_a_row} ranges in a row, of {tickers}"


class FailurePolicy:
    """Decides on the ranges of one download that the vendor did not answer, or refused.

    Attributes:
        closed_until: Newest date that the vendor refused for lying too far back.
        learnt_until: The same, as far as this download found it out.
    """

    def __init__(self, calendar: SessionCalendar, watch: VendorWatch, run_id: str) -> None:
        """Begin a download."""
        self.closed_until = self.learnt_until = dt.date.min
        self._calendar = calendar
        self._watch = watch
        self._refused_before = dt.date.min
        self._failed_before: set[tuple[str, dt.date]] = set()
        self._run_id = run_id

    def recall(self, refused_until: dt.date | None) -> None:
        """Note up to which date the vendor refused earlier runs, which holds if it refuses this."""
        self._refused_before = refused_until or dt.date.min

    def expect_failures(self, failed: set[tuple[str, dt.date]]) -> None:
        """Note ticker and session of those that failed in earlier runs."""
        self._failed_before = failed
        self._watch.expect_failures(ticker for ticker, _ in failed)

    def note_answer(self, span: RequestRange) -> None:
        """Note that a range was answered."""
        self._watch.note_answer(span.ticker)

    def note_failure(self, span: RequestRange, error: SmallcapsError, waiting: RangeQueue) -> str:
        """Note a failure and order what waits; return why the download has to end, if it has."""
        lacks_trades = isinstance(error, NotEntitledError) and not error.is_timeframe
        if isinstance(error, AuthenticationError | CertificateError) or lacks_trades:
            return str(error)
        if not _is_unanswered(error):
            return ""
        if self._watch.note_failure(span.ticker):
            waiting.postpone(span.ticker)
        if self._watch.suspects > 1:
            waiting.probe(self._watch.suspects)
        outage = self._watch.describe_outage(range_.ticker for range_ in waiting)
        if not outage:
            return ""
        return (
            f"{outage}, so the rest was not asked for ({error}); run the same command again when "
            "it is back"
        )

    def put_parts(self, parts: list[RequestRange], waiting: RangeQueue) -> None:
        """Add what is asked for in place of a range: at once, but last while all tickers fail."""
        if self._watch.suspects > 1:
            waiting.put_last(parts)
        else:
            waiting.put_first(parts)

    def cut(
        self, span: RequestRange, error: SmallcapsError, bars: BarFacts, waiting: RangeQueue
    ) -> list[RequestRange]:
        """Cut a range that failed into those to be asked for in its place; none: it is given up."""
        if isinstance(error, NotEntitledError) and error.is_timeframe:
            return self._look_for_entitlement(span, bars, waiting)
        is_single = span.first_session == span.last_session
        if is_single or isinstance(error, BadRequestError):
            return []
        if _is_unanswered(error):
            if self._watch.is_hopeless(span.ticker):
                return []
            if self._is_known(span):
                # Halves failed in an earlier run; one by one, what is well is found all the same.
                return rotate(list(split_sessions(span, self._calendar, bars)), self._run_id)
        return list(split_range(span, self._calendar, bars))

    def is_given_up(self, span: RequestRange) -> bool:
        """Say whether a range failed in an earlier run and its ticker fails again and again."""
        return self._is_known(span) and self._watch.is_hopeless(span.ticker)

    def skip_closed_days(self, span: RequestRange) -> RequestRange:
        """Skip those days before the first session of a range that the key may not see."""
        if span.first_date(self._calendar) > self.closed_until:
            return span
        return replace(span, not_before=self.closed_until + dt.timedelta(days=1))

    def _look_for_entitlement(
        self, span: RequestRange, bars: BarFacts, waiting: RangeQueue
    ) -> list[RequestRange]:
        """List the parts to try of a range that lies too far back for the key, the later first.

        What a single session teaches holds for all tickers, and what an earlier run learnt is not
        searched for again.  A closed day before it may lie too far back where the session does not.
        """
        if self.closed_until == dt.date.min:
            waiting.sort_newest_first()
        if self.closed_until < self._refused_before:
            self.closed_until = self._refused_before
            return [span]
        if span.first_session != span.last_session:
            return list(split_range(span, self._calendar, bars))[::-1]
        first = span.first_date(self._calendar)
        self.closed_until = self.learnt_until = max(self.closed_until, first)
        return [span] if first < span.first_session else []

    def _is_known(self, span: RequestRange) -> bool:
        return (span.ticker, span.first_session) in self._failed_before


def _is_unanswered(error: SmallcapsError) -> bool:
    """Say whether the vendor did not answer, be it anybody or one ticker."""
    return isinstance(error, VendorUnavailableError | RateLimitError)
