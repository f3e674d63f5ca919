"""Sessions of XNYS since 2003, their phases, and New York days in nanoseconds.

What belongs here: which dates are sessions, where their phases begin, and which UTC instants
bound a New York day.  What does not: the clock; whoever needs "now" passes it in.
"""

import datetime as dt
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final

import polars as pl

from smallcaps_assets.core.exchange_hours import CALENDAR_START, NEW_YORK, load_hours, localize
from smallcaps_assets.errors import CoverageError, DataError
from smallcaps_assets.schemas import INSTANT

PRE_MARKET_OPEN: Final = dt.timedelta(hours=4)
AFTER_HOURS_LENGTH: Final = dt.timedelta(hours=4)

_SECOND_NS: Final = 10**9
_DATES_KEPT: Final = 16_384
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, eq=False)
class SessionCalendar:
    """The sessions of the exchange, from 2003 to a year ahead at least.

    Every method refuses dates outside the calendar: nothing is known of them, and "no session"
    would be a claim.

    Attributes:
        frame: One row per session, sorted: ``session_date``, ``session_index`` (Int32, from 0)
            and, as UTC instants in nanoseconds, ``day_start``, ``pre_market_open`` (04:00),
            ``regular_open``, ``regular_close``, ``after_hours_close`` (4 h after the close) and
            ``day_end`` (the next New York midnight).
    """

    frame: pl.DataFrame
    _dates: list[dt.date] = field(init=False, repr=False)
    _day_ends: list[int] = field(init=False, repr=False)
    _indexes: dict[dt.date, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        dates = self.frame["session_date"].to_list()
        object.__setattr__(self, "_dates", dates)
        object.__setattr__(self, "_day_ends", self.frame["day_end"].to_physical().to_list())
        object.__setattr__(self, "_indexes", {date: row for row, date in enumerate(dates)})

    @property
    def first(self) -> dt.date:
        """The first session."""
        return self._dates[0]

    @property
    def last(self) -> dt.date:
        """The last session."""
        return self._dates[-1]

    def is_session(self, date: dt.date) -> bool:
        """Tell whether the exchange trades on ``date``.

        Raises:
            CoverageError: The calendar does not reach that date.
        """
        self.check_covered(date)
        return date in self._indexes

    def index_of(self, date: dt.date) -> int:
        """Find the place of a session in the calendar, from 0.

        Raises:
            CoverageError: The calendar does not reach that date.
            DataError: The date is no session.
        """
        if not self.is_session(date):
            raise DataError(f"{date} is no XNYS session: expected a trading day of New York")
        return self._indexes[date]

    def dates(self, first: dt.date, last: dt.date) -> list[dt.date]:
        """List the sessions from ``first`` to ``last``, both included.

        Raises:
            CoverageError: The calendar does not reach one of them.
            DataError: ``last`` lies before ``first``.
        """
        _check_order(first, last)
        self.check_covered(first)
        self.check_covered(last)
        start = bisect_right(self._dates, first - dt.timedelta(days=1))
        return self._dates[start : bisect_right(self._dates, last)]

    def shift(self, date: dt.date, n: int) -> dt.date:
        """Find the session ``n`` sessions after the session ``date``; negative is before.

        Raises:
            CoverageError: The calendar does not reach that far.
            DataError: ``date`` is no session.
        """
        index = self.index_of(date) + n
        if not 0 <= index < len(self._dates):
            raise CoverageError(
                f"{n:+d} sessions from {date} lie outside the calendar {self.first}..{self.last}"
            )
        return self._dates[index]

    def closed_days_before(self, date: dt.date) -> list[dt.date]:
        """List the dates between the session before ``date`` and the session ``date``, in order.

        They belong to it: every date belongs to exactly one session, which is the next one.  A
        Monday has Saturday and Sunday.  What lies before the first session belongs to none.

        Raises:
            CoverageError: The calendar does not reach that date.
            DataError: The date is no session.
        """
        index = self.index_of(date)
        before = self._dates[max(0, index - 1)]
        return [before + dt.timedelta(days=day) for day in range(1, (date - before).days)]

    def owner_of(self, date: dt.date) -> dt.date:
        """Find the session that a date belongs to: itself, or the next one of a closed day.

        Raises:
            CoverageError: The calendar does not reach that date.
        """
        self.check_covered(date)
        return self._dates[bisect_left(self._dates, date)]

    def last_available(self, now: dt.datetime, delay_h: float) -> dt.date:
        """Find the newest session that is closed and published at ``now``.

        A session is published ``delay_h`` hours after the New York midnight that ends it.

        Raises:
            CoverageError: ``now`` lies outside the calendar.
            DataError: ``now`` has no time zone.
        """
        if now.tzinfo is None:
            raise DataError(f"expected an instant with a time zone, got {now.isoformat()}")
        ended_ns = _to_ns(now - dt.timedelta(hours=delay_h))
        published = bisect_right(self._day_ends, ended_ns)
        if published == 0:
            raise CoverageError(f"no session since {self.first} was published by {now}")
        if published == len(self._dates):
            raise CoverageError(f"{now} lies after the calendar, which ends on {self.last}")
        return self._dates[published - 1]

    def check_covered(self, date: dt.date) -> None:
        """Refuse a date the calendar does not reach.

        Raises:
            CoverageError: It lies before 2003 or after the last session known.
        """
        if not CALENDAR_START <= date <= self.last:
            raise CoverageError(
                f"{date} lies outside the calendar {CALENDAR_START}..{self.last}: expected a "
                "date inside it"
            )


@cache
def load_calendar() -> SessionCalendar:
    """Build the calendar, once per process."""
    return SessionCalendar(_label_phases(load_hours()))


def day_bounds_ns(first: dt.date, last: dt.date) -> tuple[int, int]:
    """Find New York midnight of ``first`` and the one that ends ``last``, as ns since 1970 UTC.

    The bounds are half-open, exact, and defined for any dates, sessions or not; a day has 23 or
    25 hours when daylight saving changes.

    Raises:
        DataError: ``last`` lies before ``first``.
    """
    _check_order(first, last)
    return _midnight_ns(first), _midnight_ns(last + dt.timedelta(days=1))


def month_bounds(month: str) -> tuple[dt.date, dt.date]:
    """Find the first and the last date of a month, given as ``YYYY-MM``.

    Raises:
        ValueError: It is not a month.
    """
    first = dt.date.fromisoformat(f"{month}-01")
    return first, (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def list_months(first: dt.date, last: dt.date) -> list[str]:
    """List every month from one date to another, both included, as ``YYYY-MM``."""
    months = pl.date_range(first.replace(day=1), last, "1mo", eager=True)
    return months.dt.to_string("%Y-%m").to_list()


def date_of_ns(instant_ns: int) -> dt.date:
    """Find the New York date of an instant, given as ns since 1970 UTC."""
    return dt.datetime.fromtimestamp(instant_ns // _SECOND_NS, NEW_YORK).date()


def _label_phases(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add the phases; 04:00 is counted from midnight, since no session lies on a DST change."""
    midnight = pl.col("session_date").cast(pl.Datetime("ns"))
    tomorrow = midnight + dt.timedelta(days=1)
    regular_close = pl.col("regular_close")
    return sessions.select(
        "session_date",
        pl.int_range(pl.len(), dtype=pl.Int32).alias("session_index"),
        localize(midnight).alias("day_start"),
        localize(midnight + PRE_MARKET_OPEN).alias("pre_market_open"),
        "regular_open",
        regular_close,
        (regular_close + AFTER_HOURS_LENGTH).cast(INSTANT).alias("after_hours_close"),
        localize(tomorrow).alias("day_end"),
    )


@lru_cache(maxsize=_DATES_KEPT)
def _midnight_ns(date: dt.date) -> int:
    return _to_ns(dt.datetime.combine(date, dt.time.min, tzinfo=NEW_YORK))


def _to_ns(instant: dt.datetime) -> int:
    """Count exact nanoseconds; a float would be off by up to 128 ns."""
    return (instant.astimezone(dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


def _check_order(first: dt.date, last: dt.date) -> None:
    if last < first:
        raise DataError(f"expected first <= last, got {first} and {last}")


def session_range(sessions: pl.DataFrame) -> tuple[dt.date, dt.date]:
    """Find the first and last ``session_date`` of at least one row."""
    first, last = sessions["session_date"].min(), sessions["session_date"].max()
    if not isinstance(first, dt.date) or not isinstance(last, dt.date):
        raise DataError("expected at least one session, got none")
    return first, last
