"""What becomes of request ranges that failed: cut in parts, put last, given up, or the end of all.

What belongs here: deciding.  What does not: records in the ledger and outcomes (``download``), and
what failures in a row mean (``vendor_watch``).
"""

import datetime as dt
from dataclasses import replace

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
from smallcaps_assets.ingest.proof.bars import BarFacts
from smallcaps_assets.ingest.ticks.fetching import RequestRange, split_range, split_sessions
from smallcaps_assets.ingest.ticks.range_queue import RangeQueue, rotate
from smallcaps_assets.ingest.ticks.vendor_watch import VendorWatch


class FailurePolicy:
    """Decides on the ranges of one download that the vendor did not answer, or refused.

    Attributes:
        closed_until: Newest date that the vendor refused for lying too far back.
    """

    def __init__(self, calendar: SessionCalendar, watch: VendorWatch, run_id: str) -> None:
        """Begin a download.

        Args:
            calendar: The sessions.
            watch: What is known of the vendor.
            run_id: Name of the run.
        """
        self.closed_until = dt.date.min
        self._calendar = calendar
        self._watch = watch
        self._failed_before: set[tuple[str, dt.date]] = set()
        self._run_id = run_id

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
        """Return the ranges to be asked for in place of one that failed; none: it is given up."""
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
        """Return a range without days before its first session that the key may not see."""
        if span.first_date(self._calendar) > self.closed_until:
            return span
        return replace(span, not_before=self.closed_until + dt.timedelta(days=1))

    def _look_for_entitlement(
        self, span: RequestRange, bars: BarFacts, waiting: RangeQueue
    ) -> list[RequestRange]:
        """Return the parts of a range that lies too far back for the key, the later first.

        What a single session teaches holds for all tickers.  A closed day before it may lie too
        far back where the session does not.
        """
        if self.closed_until == dt.date.min:
            waiting.sort_newest_first()
        if span.first_session != span.last_session:
            return list(split_range(span, self._calendar, bars))[::-1]
        first = span.first_date(self._calendar)
        self.closed_until = max(self.closed_until, first)
        return [span] if first < span.first_session else []

    def _is_known(self, span: RequestRange) -> bool:
        return (span.ticker, span.first_session) in self._failed_before


def _is_unanswered(error: SmallcapsError) -> bool:
    """Say whether the vendor did not answer, be it anybody or one ticker."""
    return isinstance(error, VendorUnavailableError | RateLimitError)
