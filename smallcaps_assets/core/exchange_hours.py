"""Sessions of XNYS as a small table: the weekdays that are none, and those that close early.

What belongs here: the table that comes with the program, and the library that it is made from and
that answers where the table does not.  What does not: phases and days (``sessions``).

The library loads pandas, which takes longer than most commands do besides.
"""

import datetime as dt
from functools import cache
from importlib import metadata, resources
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.schemas import INSTANT

NEW_YORK: Final = ZoneInfo("America/New_York")
CALENDAR_START: Final = dt.date(2003, 1, 2)

LIBRARY: Final = "exchange_calendars"
_FILE: Final = "xnys.json"
_TABLE_END: Final = dt.date(2028, 12, 31)
_AHEAD: Final = dt.timedelta(days=365)
"""How far behind today the table has to reach, as the library does."""

_OPEN: Final = dt.time(9, 30)
_CLOSE: Final = dt.time(16, 0)
_WEEKEND: Final = 5


class ExchangeHours(msgspec.Struct, frozen=True):
    """What is not as on any weekday.

    Attributes:
        library: Version of the library that it was made from.
        first: First session.
        last: Last session.
        closed: Weekdays between them that are no session.
        early_closes: Sessions that do not close at 16:00, and when they do, in New York.
    """

    library: str
    first: dt.date
    last: dt.date
    closed: list[dt.date]
    early_closes: dict[dt.date, dt.time]


def load_hours() -> pl.DataFrame:
    """List the sessions: from the table if it is of the library installed, and reaches far enough.

    A newer library may know of closures that nobody foresaw.

    Returns:
        ``session_date``, ``regular_open`` and ``regular_close`` (UTC instants), sorted.
    """
    hours = read_table()
    today = dt.datetime.now(NEW_YORK).date()
    if hours.library == metadata.version(LIBRARY) and hours.last >= today + _AHEAD:
        return expand_hours(hours)
    return ask_library(None)


@cache
def read_table() -> ExchangeHours:
    """Read the table that comes with the program."""
    content = resources.files(__package__).joinpath(_FILE).read_bytes()
    return decode_json(content, ExchangeHours)


def expand_hours(hours: ExchangeHours) -> pl.DataFrame:
    """Expand a table to its sessions, as :func:`load_hours` gives them."""
    closed = set(hours.closed)
    sessions = [date for date in _list_weekdays(hours.first, hours.last) if date not in closed]
    closes = [hours.early_closes.get(date, _CLOSE) for date in sessions]
    walls = pl.DataFrame(
        {
            "session_date": sessions,
            "regular_open": [dt.datetime.combine(date, _OPEN) for date in sessions],
            "regular_close": list(map(dt.datetime.combine, sessions, closes)),
        }
    )
    return walls.with_columns(localize(pl.col("regular_open", "regular_close")))


def localize(naive: pl.Expr) -> pl.Expr:
    """Convert New York wall time to its UTC instant, in ns whatever unit a literal brought in."""
    return naive.dt.replace_time_zone(NEW_YORK.key).dt.convert_time_zone("UTC").cast(INSTANT)


def ask_library(last: dt.date | None) -> pl.DataFrame:
    """List the sessions as the library knows them, as :func:`load_hours` does.

    Args:
        last: Date to which; ``None``: about a year ahead.
    """
    import exchange_calendars  # noqa: PLC0415  loads pandas, half a second that most do without

    end = None if last is None else last.isoformat()
    xnys = exchange_calendars.get_calendar("XNYS", start=CALENDAR_START.isoformat(), end=end)
    return pl.DataFrame(
        {
            "session_date": xnys.schedule.index.to_numpy().astype("datetime64[ns]"),
            "regular_open": xnys.opens_nanos,
            "regular_close": xnys.closes_nanos,
        }
    ).select(pl.col("session_date").cast(pl.Date), pl.exclude("session_date").cast(INSTANT))


def render_table() -> str:
    """Render the table anew from the library, as the text of its file."""
    sessions = ask_library(_TABLE_END)
    dates = sessions["session_date"].to_list()
    closes = sessions["regular_close"].dt.convert_time_zone(NEW_YORK.key).dt.time().to_list()
    hours = ExchangeHours(
        library=metadata.version(LIBRARY),
        first=dates[0],
        last=dates[-1],
        closed=sorted(set(_list_weekdays(dates[0], dates[-1])).difference(dates)),
        early_closes={
            date: close for date, close in zip(dates, closes, strict=True) if close != _CLOSE
        },
    )
    return msgspec.json.format(msgspec.json.encode(hours), indent=1).decode() + "\n"


def _list_weekdays(first: dt.date, last: dt.date) -> list[dt.date]:
    days = (first + dt.timedelta(days=day) for day in range((last - first).days + 1))
    return [day for day in days if day.weekday() < _WEEKEND]
