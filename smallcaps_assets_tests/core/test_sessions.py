"""Facts below are from the exchange's published holidays and hours, not from the calendar."""

import datetime as dt
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core import exchange_hours
from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar, month_bounds
from smallcaps_assets.errors import CoverageError, DataError
from smallcaps_assets.schemas import INSTANT

HOUR_NS = 3_600_000_000_000
CALENDAR = load_calendar()
EARLY_CLOSES = ["2003-11-28", "2013-07-03", "2018-12-24", "2023-07-03", "2024-07-03", "2024-11-29"]
HOLIDAYS = {
    "2004-06-11": "mourning for Reagan",
    "2007-01-02": "mourning for Ford",
    "2012-10-29": "hurricane Sandy",
    "2012-10-30": "hurricane Sandy",
    "2018-12-05": "mourning for Bush",
    "2024-03-29": "Good Friday",
    "2024-06-19": "Juneteenth",
    "2024-11-28": "Thanksgiving",
    "2024-12-07": "Saturday",
    "2025-01-09": "mourning for Carter",
}
TRADING_DAYS = ["2003-01-02", "2012-10-31", "2021-12-31", "2024-12-24"]


def date_of(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def utc_ns(text: str) -> int:
    """Return nanoseconds of a UTC wall time in whole seconds."""
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1_000_000_000


def phases_of(session: str) -> dict[str, str]:
    """Return the New York wall times at which the phases of a session begin."""
    row = CALENDAR.frame.filter(pl.col("session_date") == date_of(session))
    instants = row.select(pl.selectors.datetime().dt.convert_time_zone(NEW_YORK.key))
    texts = instants.select(pl.all().dt.to_string("%d %H:%M"))
    return dict(zip(texts.columns, texts.row(0), strict=True))


def test_the_table_that_comes_along_is_what_the_library_says() -> None:
    table = exchange_hours.read_table()

    assert exchange_hours.expand_hours(table).equals(exchange_hours.ask_library(table.last))


@pytest.mark.parametrize(
    ("name", "changed"), [("LIBRARY", "polars"), ("_AHEAD", dt.timedelta(days=40_000))]
)
def test_the_library_answers_where_it_is_another_or_the_table_ends(
    monkeypatch: pytest.MonkeyPatch, name: str, changed: object
) -> None:
    monkeypatch.setattr(exchange_hours, name, changed)
    monkeypatch.setattr(exchange_hours, "ask_library", lambda last: f"asked for {last}")

    assert exchange_hours.load_hours() == "asked for None"


def test_the_calendar_does_without_pandas() -> None:
    words = "from smallcaps_assets.core.sessions import load_calendar as load; load(); import sys"
    code = f"{words}; print(sorted({{'pandas', 'exchange_calendars'}} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("session", ["2024-01-05", "2024-07-05"])
def test_a_full_session_has_its_phases(session: str) -> None:
    day, next_day = session[-2:], f"{int(session[-2:]) + 1:02d}"

    assert phases_of(session) == {
        "day_start": f"{day} 00:00",
        "pre_market_open": f"{day} 04:00",
        "regular_open": f"{day} 09:30",
        "regular_close": f"{day} 16:00",
        "after_hours_close": f"{day} 20:00",
        "day_end": f"{next_day} 00:00",
    }


@pytest.mark.parametrize("session", EARLY_CLOSES)
def test_an_early_close_ends_after_hours_early(session: str) -> None:
    phases = phases_of(session)

    assert phases["regular_open"].endswith("09:30")
    assert phases["regular_close"].endswith("13:00")
    assert phases["after_hours_close"].endswith("17:00")


@pytest.mark.parametrize("date", [*HOLIDAYS, *TRADING_DAYS])
def test_holidays_are_no_sessions_and_the_days_around_them_are(date: str) -> None:
    assert CALENDAR.is_session(date_of(date)) is (date in TRADING_DAYS)


@pytest.mark.parametrize(("year", "sessions"), [(2004, 252), (2012, 250), (2023, 250), (2024, 252)])
def test_dates_lists_the_sessions_of_a_year(year: int, sessions: int) -> None:
    assert len(CALENDAR.dates(dt.date(year, 1, 1), dt.date(year, 12, 31))) == sessions


def test_the_calendar_starts_with_the_first_session_of_2003() -> None:
    assert CALENDAR.first == dt.date(2003, 1, 2)
    assert CALENDAR.index_of(CALENDAR.first) == 0
    assert CALENDAR.index_of(CALENDAR.last) == CALENDAR.frame.height - 1
    assert load_calendar() is CALENDAR


def test_the_frame_is_sorted_and_in_nanoseconds() -> None:
    schema = CALENDAR.frame.schema

    assert schema.pop("session_date") == pl.Date
    assert schema.pop("session_index") == pl.Int32
    assert set(schema.values()) == {INSTANT}
    assert CALENDAR.frame["session_date"].is_sorted()


def test_the_frame_agrees_with_day_bounds_on_every_session() -> None:
    days = CALENDAR.frame.select("session_date", pl.col("day_start", "day_end").to_physical())

    assert all(day_bounds_ns(date, date) == (start, end) for date, start, end in days.iter_rows())


def test_shift_counts_sessions_not_days() -> None:
    """L15: two sessions before a Monday are a Thursday."""
    monday = date_of("2024-12-02")

    assert CALENDAR.shift(monday, -2) == date_of("2024-11-27")
    assert CALENDAR.shift(monday, 0) == monday
    assert CALENDAR.shift(date_of("2012-10-26"), 1) == date_of("2012-10-31")


def test_dates_includes_both_bounds() -> None:
    dates = CALENDAR.dates(date_of("2024-11-27"), date_of("2024-12-02"))

    assert dates == [date_of(text) for text in ("2024-11-27", "2024-11-29", "2024-12-02")]
    assert CALENDAR.dates(date_of("2024-12-07"), date_of("2024-12-08")) == []


@given(st.dates(CALENDAR.first, CALENDAR.last))
def test_every_date_belongs_to_exactly_one_session(date: dt.date) -> None:
    """L36: the next session, so that no print lies between two spans."""
    around = CALENDAR.dates(
        max(date - dt.timedelta(days=10), CALENDAR.first),
        min(date + dt.timedelta(days=10), CALENDAR.last),
    )
    owners = [s for s in around if date in [*CALENDAR.closed_days_before(s), s]]

    assert owners == [session for session in around if session >= date][:1]


@pytest.mark.parametrize(
    ("session", "closed"),
    [
        ("2024-03-19", []),
        ("2024-03-18", ["2024-03-16", "2024-03-17"]),
        ("2024-01-16", ["2024-01-13", "2024-01-14", "2024-01-15"]),
        ("2024-07-05", ["2024-07-04"]),
        ("2003-01-02", []),
    ],
    ids=["Tuesday", "Monday", "long weekend", "holiday", "first of the calendar"],
)
def test_closed_days_belong_to_the_session_after_them(session: str, closed: list[str]) -> None:
    assert CALENDAR.closed_days_before(date_of(session)) == [date_of(day) for day in closed]


OUTSIDE = [dt.date(2002, 12, 31), CALENDAR.last + dt.timedelta(days=1)]


@pytest.mark.parametrize("date", OUTSIDE, ids=["before", "after"])
def test_dates_outside_the_calendar_are_an_error(date: dt.date) -> None:
    inside = dt.date(2024, 1, 2)
    for ask in (
        lambda: CALENDAR.is_session(date),
        lambda: CALENDAR.index_of(date),
        lambda: CALENDAR.shift(date, 0),
        lambda: CALENDAR.dates(min(date, inside), max(date, inside)),
    ):
        with pytest.raises(CoverageError, match="outside the calendar"):
            ask()


@pytest.mark.parametrize(("date", "n"), [(CALENDAR.first, -1), (CALENDAR.last, 1)])
def test_shift_does_not_leave_the_calendar(date: dt.date, n: int) -> None:
    with pytest.raises(CoverageError, match="outside the calendar"):
        CALENDAR.shift(date, n)


def test_index_of_refuses_a_date_that_is_no_session() -> None:
    with pytest.raises(DataError, match="2024-11-28 is no XNYS session"):
        CALENDAR.index_of(date_of("2024-11-28"))


def test_reversed_bounds_are_an_error() -> None:
    first, last = date_of("2024-01-03"), date_of("2024-01-02")

    for ask in (CALENDAR.dates, day_bounds_ns):
        with pytest.raises(DataError, match="first <= last"):
            ask(first, last)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2024-12-03T15:59:59.999999", "2024-11-29"),
        ("2024-12-03T16:00:00", "2024-12-02"),
        ("2024-12-04T00:00:00", "2024-12-02"),
        ("2024-12-01T12:00:00", "2024-11-29"),
        ("2024-07-03T14:59:59", "2024-07-01"),
        ("2024-07-03T15:00:00", "2024-07-02"),
    ],
)
def test_last_available_waits_for_midnight_and_publication(now: str, expected: str) -> None:
    instant = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)

    assert CALENDAR.last_available(instant, 11) == date_of(expected)


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (dt.datetime(2003, 1, 2, tzinfo=dt.UTC), CoverageError),
        (dt.datetime(2099, 1, 2, tzinfo=dt.UTC), CoverageError),
        (dt.datetime(2024, 1, 2), DataError),  # noqa: DTZ001  naive on purpose
    ],
)
def test_last_available_refuses_instants_it_cannot_judge(
    now: dt.datetime, error: type[DataError]
) -> None:
    with pytest.raises(error):
        CALENDAR.last_available(now, 11)


@pytest.mark.parametrize(
    ("day", "utc_date", "utc_start"),
    [
        ("2024-03-08", "2024-03-09", "2024-03-08T05:00:00"),
        ("2024-03-11", "2024-03-11", "2024-03-11T04:00:00"),
        ("2024-11-01", "2024-11-01", "2024-11-01T04:00:00"),
        ("2024-11-04", "2024-11-05", "2024-11-04T05:00:00"),
    ],
)
def test_day_bounds_keep_the_last_hour_of_after_hours(
    day: str, utc_date: str, utc_start: str
) -> None:
    """L6: 19:30 in New York is the next UTC date in winter, and the same day's trade anyway."""
    late = dt.datetime.combine(date_of(day), dt.time(19, 30), NEW_YORK).astimezone(dt.UTC)
    start, end = day_bounds_ns(date_of(day), date_of(day))

    assert late.date() == date_of(utc_date)
    assert start == utc_ns(utc_start)
    assert start <= utc_ns(late.strftime("%Y-%m-%dT%H:%M:%S")) < end


@pytest.mark.parametrize(("day", "hours"), [("2024-03-10", 23), ("2024-11-03", 25)])
def test_day_bounds_know_short_and_long_days(day: str, hours: int) -> None:
    """L6: clocks change at two o'clock on a Sunday."""
    start, end = day_bounds_ns(date_of(day), date_of(day))

    assert end - start == hours * HOUR_NS


@given(st.dates(dt.date(1990, 1, 1), dt.date(2037, 12, 31)), st.integers(0, 400))
def test_day_bounds_of_neighbours_meet(first: dt.date, days: int) -> None:
    last = first + dt.timedelta(days=days)
    start, end = day_bounds_ns(first, last)

    assert start == day_bounds_ns(first, first)[0]
    assert end == day_bounds_ns(last + dt.timedelta(days=1), last + dt.timedelta(days=1))[0]
    assert (end - start) // HOUR_NS - 24 * (days + 1) in {-1, 0, 1}


def test_month_bounds_are_the_first_and_the_last_date() -> None:
    assert month_bounds("2024-02") == (dt.date(2024, 2, 1), dt.date(2024, 2, 29))
    assert month_bounds("2023-12") == (dt.date(2023, 12, 1), dt.date(2023, 12, 31))
