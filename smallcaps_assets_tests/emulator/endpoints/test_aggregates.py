import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from smallcaps_assets.emulator.endpoints.aggregates import adjust_bar
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets_tests.emulator.emulator_factories import follow_chain, get, join_pages

GROUPED = "/v2/aggs/grouped/locale/us/market/stocks"
RANGE = "/v2/aggs/ticker/AAA/range"
SPLITS = [{"ticker": "AAA", "execution_date": "2024-01-05", "split_from": 1, "split_to": 4}]


def make_bar(ticker: str, close: float = 8.0) -> dict[str, Any]:
    return {"T": ticker, "o": 8.0, "h": 9.0, "l": 7.0, "c": close, "v": 100.0, "n": 3}


BARS = {
    "2024-01-03": [make_bar("AAA"), make_bar("BBB")],
    "2024-01-04": [make_bar("AAA", 4.0)],
    "2024-07-05": [{**make_bar("AAA", 2.0), "t": 5}],
}


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(StaticSource(bars=BARS, splits=SPLITS)) as running:
        yield running


def test_grouped_bars_are_stamped_with_the_close_in_new_york(server: EmulatorServer) -> None:
    body = get(server, f"{GROUPED}/2024-01-03", adjusted="false").json()

    closes_at = dt.datetime(2024, 1, 3, 21, tzinfo=dt.UTC).timestamp() * 1000
    assert body["results"] == [{**row, "t": closes_at} for row in BARS["2024-01-03"]]
    assert (body["resultsCount"], body["count"], body["adjusted"]) == (2, 2, False)


def test_a_stamp_that_is_given_is_sent(server: EmulatorServer) -> None:
    body = get(server, f"{GROUPED}/2024-07-05", adjusted="false").json()

    assert body["results"][0]["t"] == 5


def test_a_day_without_trading_has_no_results(server: EmulatorServer) -> None:
    body = get(server, f"{GROUPED}/2024-01-06").json()

    assert "results" not in body
    assert (body["status"], body["resultsCount"]) == ("OK", 0)


def test_bars_are_adjusted_unless_asked_otherwise(server: EmulatorServer) -> None:
    """L23: the vendor's default hides what was traded at."""
    adjusted = get(server, f"{GROUPED}/2024-01-03").json()

    assert adjusted["adjusted"]
    assert [(row["c"], row["v"]) for row in adjusted["results"]] == [(2.0, 400.0), (8.0, 100.0)]


@pytest.mark.parametrize(
    ("date", "ticker", "close"),
    [("2024-01-04", "AAA", 2.0), ("2024-01-05", "AAA", 8.0), ("2024-01-04", "BBB", 8.0)],
)
def test_adjust_bar_takes_later_splits_of_the_ticker(date: str, ticker: str, close: float) -> None:
    bar = adjust_bar(make_bar(ticker), SPLITS, ticker, dt.date.fromisoformat(date))

    assert bar["c"] == close


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_range_is_paged_and_stamped_with_midnight(
    server: EmulatorServer, limit: int, order: str
) -> None:
    path = f"{RANGE}/1/day/2024-01-03/1720152000000"

    rows = join_pages(follow_chain(server, path, adjusted="false", limit=limit, sort=order))

    closes = [8.0, 4.0, 2.0]
    assert [row["c"] for row in rows] == (closes if order == "asc" else closes[::-1])
    stamps = {row["t"] for row in rows}
    assert dt.datetime(2024, 1, 3, 5, tzinfo=dt.UTC).timestamp() * 1000 in stamps


@pytest.mark.parametrize("path", ["5/day/2024-01-03/2024-01-04", "1/day/soon/2024-01-04"])
def test_bars_that_are_not_emulated_are_refused(server: EmulatorServer, path: str) -> None:
    assert get(server, f"{RANGE}/{path}").status_code == 400


def test_a_range_without_bars_has_no_results(server: EmulatorServer) -> None:
    body = get(server, f"{RANGE}/1/day/2020-01-03/2020-01-04").json()

    assert (body["resultsCount"], "results" in body) == (0, False)
