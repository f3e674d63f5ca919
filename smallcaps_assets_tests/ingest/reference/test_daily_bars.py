import datetime as dt
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.errors import DataError, RefusedFileError, VendorError
from smallcaps_assets.ingest.reference.daily_bars import (
    BarMonth,
    bar_range,
    due_months,
    refresh_daily_bars,
    refresh_splits,
)
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import SPLITS
from smallcaps_assets_tests.lakehouse_factories import (
    make_lakehouse,
    publish_plan,
    write_bars,
    write_text,
)

MONTH: Final = "2024-01"
COLUMNS: Final = "ticker,date,open,high,low,close,volume"
ROW: Final = "ABCD,2024-01-03,8.5,9,8,8.5,100"
LACKING: Final = dt.date(2024, 1, 10)
IN_THE_MIDDLE: Final = dt.datetime(2024, 1, 20, 17, tzinfo=dt.UTC)
"""A Saturday: the newest published session is the Friday before."""


def make_vendor(folder: Path, server: EmulatorServer, **changes: object) -> Lakehouse:
    return make_lakehouse(folder, server.url, source="vendor", **changes)


@pytest.fixture
def lakehouse(tmp_path: Path, market_server: EmulatorServer) -> Lakehouse:
    """Return a lakehouse on the small market, with nothing in it."""
    return make_vendor(tmp_path, market_server)


def refresh(lakehouse: Lakehouse, month: str = MONTH) -> BarMonth:
    (stored,) = refresh_daily_bars(lakehouse, [month])
    return stored


def test_refresh_daily_bars_closes_a_month_whose_sessions_all_have_bars(
    small_market: Market, market_server: EmulatorServer, lakehouse: Lakehouse
) -> None:
    month = refresh(lakehouse)

    sessions = lakehouse.calendar.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 31))
    expected = sum(len(small_market.read_grouped_bars(date)) for date in sessions)
    assert (month.is_closed, month.problem, month.rows) == (True, "", expected)
    assert len(market_server.requests) == len(sessions) == 21
    assert lakehouse.tables.read_bar_months()[0].covered == tuple(sessions)


def test_refresh_daily_bars_keeps_bars_as_the_vendor_sends_them(
    small_market: Market, market_server: EmulatorServer, lakehouse: Lakehouse
) -> None:
    """L23: unadjusted, so that they can be compared with the trades."""
    refresh(lakehouse)

    day = lakehouse.tables.read_daily_bars(LACKING, LACKING).collect()

    rows = small_market.read_grouped_bars(LACKING)
    names = {"ticker": "T", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    for name, wire in names.items():
        assert day[name].to_list() == [row[wire] for row in rows]
    assert market_server.requests[0].query["adjusted"] == "false"


def test_refresh_daily_bars_leaves_the_open_month_due(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    open_month = make_vendor(tmp_path, market_server, first_session=LACKING)
    early = Lakehouse(open_month.settings, clock=lambda: IN_THE_MIDDLE)

    month = refresh(early)

    assert (month.is_closed, month.problem) == (False, "")
    assert month.numbers["sessions"] == len(market_server.requests) == 13
    assert MONTH in due_months(early)
    assert refresh(open_month).is_closed
    assert MONTH not in due_months(open_month)


def test_refresh_daily_bars_says_which_session_a_month_lacks(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    body = b'{"status": "OK", "queryCount": 0, "resultsCount": 0, "adjusted": false}'
    market_server.faults = [Fault(endpoint="grouped", date=LACKING, body=body)]
    lakehouse = make_vendor(tmp_path, market_server, first_session=LACKING)

    month = refresh(lakehouse)

    assert not month.is_closed
    assert month.problem == "2024-01: no bars for 1 session, first 2024-01-10"
    assert MONTH in due_months(lakehouse)
    assert LACKING not in lakehouse.tables.read_bar_months()[0].covered


def test_refresh_daily_bars_keeps_the_months_before_a_refusal(
    market_server: EmulatorServer, lakehouse: Lakehouse
) -> None:
    market_server.faults = [Fault("500", endpoint="grouped", date=dt.date(2024, 2, 15))]

    with pytest.raises(VendorError):
        list(refresh_daily_bars(lakehouse, [MONTH, "2024-02"]))

    assert lakehouse.tables.list_bar_months() == [MONTH]


def test_due_months_asks_the_vendor_for_closed_months_once(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = make_vendor(
        tmp_path,
        market_server,
        first_session=dt.date(2024, 11, 1),
        last_session=dt.date(2024, 11, 29),
    )
    before = due_months(lakehouse)
    refresh(lakehouse, before[-1])

    assert (before[0], before[-1], len(before)) == ("2023-11", "2024-11", 13)
    assert due_months(lakehouse) == before[:-1]


def test_due_months_of_a_watchlist_are_those_its_windows_touch(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    text = "ticker,date\nBCPC,2024-01-15\nBCPC,2024-06-14\n"
    watchlist = write_text(tmp_path / "watchlist.csv", text)
    lakehouse = make_vendor(tmp_path, market_server, watchlist=watchlist)

    assert due_months(lakehouse) == ["2024-01", "2024-06"]


@pytest.mark.parametrize("mode", ["event_windows", "event_months"])
@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("0001-01-01", r"watchlist\.csv: .* first row 2 \(A 0001-01-01\)"),
        ("9999-12-31", "9999-12-31 lies outside the calendar"),
    ],
)
def test_a_date_at_the_end_of_all_dates_is_refused_by_name(
    market_server: EmulatorServer, tmp_path: Path, date: str, words: str, mode: str
) -> None:
    """L53: the days around the year 1 were a traceback."""
    text = f"ticker,date\nBCPC,2024-06-14\nA,{date}\n"
    watchlist = write_text(tmp_path / "watchlist.csv", text)
    lakehouse = make_vendor(tmp_path, market_server, watchlist=watchlist, plan_mode=mode)

    with pytest.raises(DataError, match=words):
        _ = due_months(lakehouse), publish_plan(lakehouse)


def test_bar_range_starts_a_year_of_sessions_before_the_first_one_wanted(
    lakehouse: Lakehouse,
) -> None:
    first, last = bar_range(lakehouse)

    assert first == dt.date(2003, 1, 2)
    assert lakehouse.calendar.index_of(dt.date(2004, 1, 2)) == 252
    assert last == dt.date(2025, 1, 14)


def test_refresh_daily_bars_takes_a_file_instead_of_the_vendor_and_again_in_whole(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    path = write_bars(tmp_path / "bars.csv", {"ABCD": [1.0] * 30}, dt.date(2024, 1, 16))
    lakehouse = make_lakehouse(tmp_path, market_server.url, daily_bars=path)

    months = list(refresh_daily_bars(lakehouse, due_months(lakehouse)))

    assert [(month.name, month.rows, month.is_closed) for month in months] == [
        ("2024-01", 12, True),
        ("2024-02", 18, True),
    ]
    assert market_server.requests == []
    assert lakehouse.tables.read_covered_sessions(dt.date.min, dt.date.max) == frozenset()

    write_bars(path, {"ABCD": [2.0] * 30}, dt.date(2024, 1, 16))
    list(refresh_daily_bars(lakehouse, due_months(lakehouse)))

    assert lakehouse.tables.read_daily_bars().collect()["close"].unique().to_list() == [2.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{COLUMNS},mood\n{ROW},1\n", "mood"),
        (f"{COLUMNS}\n", "at least one row"),
    ],
    ids=["unknown column", "no rows"],
)
def test_refresh_daily_bars_stores_nothing_of_a_bad_file(
    market_server: EmulatorServer,
    tmp_path: Path,
    text: str,
    words: str,
) -> None:
    path = write_text(tmp_path / "bars.csv", text)
    lakehouse = make_lakehouse(tmp_path, market_server.url, daily_bars=path)

    with pytest.raises(RefusedFileError, match=words) as raised:
        due_months(lakehouse)

    assert str(path) in str(raised.value)
    assert lakehouse.tables.list_bar_months() == []


def test_refresh_splits_takes_those_of_the_vendor(lakehouse: Lakehouse) -> None:
    made = refresh_splits(lakehouse)

    assert lakehouse.tables.read_splits().rows() == [("BCPC", dt.date(2024, 2, 8), 1.0, 4.0)]
    assert (made.rows, made.numbers["origin"], made.numbers["reverse_splits"]) == (1, "vendor", 0)


def test_refresh_splits_merges_what_a_file_repeats(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    text = "ticker,execution_date,split_from,split_to\nABCD,2024-01-03,10,1\n"
    path = write_text(tmp_path / "splits.csv", text + "ABCD,2024-01-03,10,1\n")
    lakehouse = make_lakehouse(tmp_path, market_server.url, splits=path)

    made = refresh_splits(lakehouse)

    assert lakehouse.tables.read_splits().height == 1
    assert (made.numbers["repeated_records"], made.numbers["reverse_splits"]) == (1, 1)


def test_refresh_splits_knows_none_where_bars_come_from_a_file(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    path = write_bars(tmp_path / "bars.csv", {"ABCD": [1.0]}, dt.date(2024, 1, 16))
    lakehouse = make_lakehouse(tmp_path, market_server.url, daily_bars=path)

    made = refresh_splits(lakehouse)

    assert (made.rows, lakehouse.tables.read_splits().schema) == (0, SPLITS.schema)
    assert market_server.requests == []


def test_bars_of_a_file_that_lie_on_no_session_are_counted_and_make_no_window(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    bars = write_bars(tmp_path / "bars.csv", {"ABCD": [1.0] * 40}, dt.date(2024, 1, 2))
    holiday = dt.date(2024, 1, 15)  # and 2024-02-19, without an event
    jump = pl.when(pl.col("date") == str(holiday)).then(9).otherwise(pl.col("high"))
    pl.read_csv(bars).with_columns(high=jump).write_csv(bars)
    lakehouse = make_lakehouse(tmp_path, market_server.url, daily_bars=bars, pilot_min_events=1)

    months = list(refresh_daily_bars(lakehouse, due_months(lakehouse)))
    verdicts = publish_plan(lakehouse)

    assert [month.numbers["non_session_bars"] for month in months] == [1, 1]
    assert verdicts["watchlist"].numbers["non_session_rows"] == 1
    assert not verdicts["plan"].passed
