"""The endpoint of holidays: ``/v1/marketstatus/upcoming``.

What belongs here: closed days and early closes to come.  What does not: past ones, which the
vendor does not list either.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import polars as pl

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.answers.answer import Payload
from smallcaps_assets.emulator.source import Source

UPCOMING_DAYS: Final = 330

_EXCHANGES: Final = ("NYSE", "NASDAQ")
_SATURDAY: Final = 5
_USUAL_CLOSE: Final = dt.time(16)


def answer_holidays(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with closed days and early closes in the months to come, as a bare list."""
    del source, names, query
    today = dt.datetime.now(NEW_YORK).date()
    last = min(load_calendar().last, today + dt.timedelta(days=UPCOMING_DAYS))
    return Payload(msgspec.json.encode(list_holidays(today, last)), is_bare=True)


def list_holidays(first: dt.date, last: dt.date) -> list[dict[str, Any]]:
    """List closed weekdays and early closes from ``first`` to ``last``, both included."""
    days = {**dict(_iter_closed(first, last)), **dict(_iter_early(first, last))}
    return [
        {"exchange": exchange, "name": "Holiday", "date": str(date), **days[date]}
        for date in sorted(days)
        for exchange in _EXCHANGES
    ]


def _iter_closed(first: dt.date, last: dt.date) -> Iterator[tuple[dt.date, dict[str, str]]]:
    calendar = load_calendar()
    for number in range((last - first).days + 1):
        date = first + dt.timedelta(days=number)
        if date.weekday() < _SATURDAY and not calendar.is_session(date):
            yield date, {"status": "closed"}


def _iter_early(first: dt.date, last: dt.date) -> Iterator[tuple[dt.date, dict[str, str]]]:
    close = pl.col("regular_close").dt.convert_time_zone(NEW_YORK.key)
    early = load_calendar().frame.filter(
        pl.col("session_date").is_between(first, last), close.dt.time() < _USUAL_CLOSE
    )
    text = "%Y-%m-%dT%H:%M:%S.000Z"
    for date, opened, closed in early.select(
        "session_date",
        pl.col("regular_open").dt.to_string(text),
        pl.col("regular_close").dt.to_string(text),
    ).iter_rows():
        yield date, {"status": "early-close", "open": opened, "close": closed}
