import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from smallcaps_assets.core.ticks.conditions import CONDITION_RULES
from smallcaps_assets.emulator.endpoints.catalogue import list_conditions, list_exchanges
from smallcaps_assets.emulator.endpoints.holidays import list_holidays
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets_tests.emulator.emulator_factories import follow_chain, get, join_pages

TICKERS = "/v3/reference/tickers"
SPLITS = "/v3/reference/splits"
LISTINGS: list[dict[str, Any]] = [
    {"ticker": "AAA", "type": "CS", "primary_exchange": "XNYS", "list_date": "2001-01-02"},
    {"ticker": "BBB", "type": "ETF", "primary_exchange": "ARCX", "list_date": "2020-01-02"},
    {
        "ticker": "CCC",
        "name": "Gone Inc.",
        "primary_exchange": "XNAS",
        "active": False,
        "list_date": "2001-01-02",
        "delisted_utc": "2019-05-01T00:00:00Z",
    },
    {"ticker": "CCC", "name": "New Inc.", "type": "CS", "list_date": "2022-01-03"},
]
ROWS = [
    {"ticker": "AAA", "execution_date": "2023-05-01", "split_from": 1, "split_to": 4},
    {"ticker": "BBB", "execution_date": "2023-06-01", "split_from": 10, "split_to": 1},
    {"ticker": "AAA", "execution_date": "2024-05-01", "split_from": 2, "split_to": 3},
]


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(StaticSource(tickers=LISTINGS, splits=ROWS)) as running:
        yield running


@pytest.mark.parametrize(
    ("parameters", "tickers"),
    [
        ({}, ["AAA", "BBB", "CCC"]),
        ({"active": "false"}, ["CCC"]),
        ({"order": "desc"}, ["CCC", "BBB", "AAA"]),
        ({"ticker": "BBB"}, ["BBB"]),
        ({"ticker": "bbb"}, []),
        ({"ticker.gte": "B", "ticker.lt": "C"}, ["BBB"]),
        ({"ticker.gt": "AAA", "ticker.lte": "BBB"}, ["BBB"]),
        ({"type": "CS"}, ["AAA", "CCC"]),
        ({"exchange": "ARCX"}, ["BBB"]),
        ({"search": "new inc"}, ["CCC"]),
        ({"date": "2018-01-02"}, ["AAA", "CCC"]),
        ({"date": "2021-01-04"}, ["AAA", "BBB"]),
        ({"date": "2021-01-04", "active": "false"}, ["CCC"]),
    ],
)
def test_listings_are_filtered_and_sorted(
    server: EmulatorServer, parameters: dict[str, str], tickers: list[str]
) -> None:
    """L22: listings are known as of a date, delisted ones too."""
    body = get(server, TICKERS, **parameters).json()

    assert [row["ticker"] for row in body["results"]] == tickers
    assert body["count"] == len(tickers)
    assert all("list_date" not in row for row in body["results"])


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_listings_hold_each_once(server: EmulatorServer, limit: int) -> None:
    pages = follow_chain(server, TICKERS, limit=limit, order="asc")

    assert [row["ticker"] for row in join_pages(pages)] == ["AAA", "BBB", "CCC"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"{TICKERS}?limit=1001", 400),
        (f"{TICKERS}?cursor=x", 400),
        (f"{TICKERS}?cursor=bGltaXQ9MQ&limit=2", 400),
        (f"{TICKERS}/CCC?date=2020-01-02", 404),
        (f"{TICKERS}/CCC?date=2018-01-02", 200),
        ("/vX/reference/tickers/NONE/events", 404),
    ],
)
def test_what_is_not_there_is_refused(server: EmulatorServer, target: str, status: int) -> None:
    assert get(server, target).status_code == status


def test_details_are_of_the_listing_alive_on_the_date(server: EmulatorServer) -> None:
    """L22: a recycled ticker is two companies."""
    old = get(server, f"{TICKERS}/CCC", date="2018-01-02").json()["results"]
    new = get(server, f"{TICKERS}/CCC").json()["results"]

    assert (old["name"], new["name"]) == ("Gone Inc.", "New Inc.")
    assert new["list_date"] == "2022-01-03"


def test_a_ticker_that_never_changed_has_one_event(server: EmulatorServer) -> None:
    results = get(server, "/vX/reference/tickers/AAA/events").json()["results"]

    assert [event["date"] for event in results["events"]] == ["2001-01-02"]


@pytest.mark.parametrize(
    ("parameters", "dates"),
    [
        ({}, ["2024-05-01", "2023-06-01", "2023-05-01"]),
        ({"order": "asc"}, ["2023-05-01", "2023-06-01", "2024-05-01"]),
        ({"ticker": "AAA"}, ["2024-05-01", "2023-05-01"]),
        ({"reverse_split": "true"}, ["2023-06-01"]),
        ({"reverse_split": "false", "ticker": "BBB"}, []),
        ({"execution_date.gte": "2023-06-01", "execution_date.lte": "2023-12-31"}, ["2023-06-01"]),
    ],
)
def test_splits_are_filtered_and_sorted(
    server: EmulatorServer, parameters: dict[str, str], dates: list[str]
) -> None:
    rows = get(server, SPLITS, **parameters).json()["results"]

    assert [row["execution_date"] for row in rows] == dates


def test_conditions_come_ten_at_a_time_unless_asked_otherwise(server: EmulatorServer) -> None:
    first = get(server, "/v3/reference/conditions").json()
    everything = follow_chain(server, "/v3/reference/conditions", data_type="trade", limit=7)

    assert len(first["results"]) == 10
    assert "next_url" in first
    assert [row["id"] for row in join_pages(everything)] == list(CONDITION_RULES)


def test_an_id_means_one_thing_for_trades_and_another_for_quotes() -> None:
    names = {(row["id"], row["data_types"][0]): row["name"] for row in list_conditions()}

    assert names[1, "trade"] != names[1, "nbbo"]
    assert "update_rules" not in next(row for row in list_conditions() if row["id"] == 41)


def test_exchange_4_is_four_reporting_facilities(server: EmulatorServer) -> None:
    rows = get(server, "/v3/reference/exchanges", asset_class="stocks").json()["results"]

    assert len([row for row in rows if row["id"] == 4]) == 4
    assert len(rows) == len(list_exchanges())
    assert get(server, "/v3/reference/exchanges", asset_class="fx").json()["results"] == []


def test_holidays_are_closed_weekdays_and_early_closes() -> None:
    days = list_holidays(dt.date(2024, 11, 25), dt.date(2024, 12, 1))

    assert [(row["exchange"], row["date"], row["status"]) for row in days] == [
        ("NYSE", "2024-11-28", "closed"),
        ("NASDAQ", "2024-11-28", "closed"),
        ("NYSE", "2024-11-29", "early-close"),
        ("NASDAQ", "2024-11-29", "early-close"),
    ]
    assert days[-1]["close"] == "2024-11-29T18:00:00.000Z"
