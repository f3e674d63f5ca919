"""The sessions that a plan may hold.

What belongs here: from which session to which one planning goes.  What does not: the clock that
says which session is the newest (``core.sessions``), and what is planned inside (``windows``).
"""

import datetime as dt
from dataclasses import dataclass

from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PlanBounds:
    """The sessions a plan may hold.

    Attributes:
        first: First date wanted; ``None`` is the start of the calendar.
        last_available: Newest session that is closed and published.
        last: Last date wanted; ``None`` is no limit.
    """

    first: dt.date | None
    last_available: dt.date
    calendar: SessionCalendar
    last: dt.date | None = None

    def __post_init__(self) -> None:
        if self.first and self.last and self.last < self.first:
            raise ConfigError(f"expected first <= last, got {self.first} and {self.last}")

    @property
    def first_index(self) -> int:
        """The index of the first session wanted."""
        return self._count_before(self.first) if self.first else 0

    @property
    def last_index(self) -> int:
        """The index of the last session wanted, available or not."""
        last = self.last or self.calendar.last
        return self._count_before(last + dt.timedelta(days=1)) - 1

    @property
    def last_available_index(self) -> int:
        """The index of the newest session that is both wanted and available."""
        available = self._count_before(self.last_available + dt.timedelta(days=1)) - 1
        return min(self.last_index, available)

    def _count_before(self, date: dt.date) -> int:
        return int(self.calendar.frame["session_date"].search_sorted(date, side="left"))
