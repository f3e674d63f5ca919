"""Daily bars, splits and conditions as the vendor sends them."""

import datetime as dt
import json
from typing import Any

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import PayloadError, VendorError
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.reference import (
    fetch_grouped_daily,
    fetch_splits,
)
from smallcaps_assets.schemas import DAILY_BARS, SPLITS
from smallcaps_assets_tests.emulator.emulator_factories import SHARED
from smallcaps_assets_tests.polygon.polygon_factories import SESSION

MOCKS = SHARED / "data" / "vendor_samples" / "client_python_mocks"

FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 12, 31)


def make_bar(ticker: str, **changes: object) -> dict[str, Any]:
    return {"T": ticker, "o": 1, "h": 2.5, "l": 1, "c": 2, "v": 10.375, "vw": 1.9, "n": 3} | changes


def make_split(number: int, **changes: object) -> dict[str, Any]:
    date = FIRST + dt.timedelta(days=number // 10)
    return {
        "ticker": f"T{number:05}",
        "execution_date": date.isoformat(),
        "split_from": 10,
        "split_to": 0.625,
    } | changes


def make_listing(ticker: str) -> dict[str, Any]:
    return {"ticker": ticker, "market": "stocks", "active": True, "name": "A Corp."}


def test_fetch_grouped_daily_gives_unadjusted_bars(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    """L23: daily bars adjusted with today's splits do not fit raw trades."""
    bare = make_bar("A")
    del bare["vw"], bare["n"]
    source.bars[SESSION.isoformat()] = [make_bar("BCpC", v=210_482.125375), bare]

    bars = fetch_grouped_daily(client, SESSION)

    assert bars.schema == DAILY_BARS.schema
    assert bars["ticker"].to_list() == ["A", "BCpC"]
    assert bars.row(1) == ("BCpC", SESSION, 1.0, 2.5, 1.0, 2.0, 210_482.125375, 1.9, 3)
    assert bars.select("vwap", "trade_count").row(0) == (None, None)
    assert emulator.requests[0].query == {"adjusted": "false", "include_otc": "false"}


def test_fetch_grouped_daily_of_a_holiday_has_no_rows(client: PolygonClient) -> None:
    bars = fetch_grouped_daily(client, dt.date(2024, 1, 1))

    assert bars.schema == DAILY_BARS.schema
    assert bars.is_empty()


@pytest.mark.parametrize("hour", [0, 16, 23])
def test_fetch_grouped_daily_knows_the_date_in_new_york(
    client: PolygonClient, source: StaticSource, hour: int
) -> None:
    """L6: 23:00 in New York is the next date in UTC."""
    stamp = dt.datetime(2024, 1, 3, hour, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    source.bars[SESSION.isoformat()] = [make_bar("A", t=int(stamp.timestamp() * 1000))]

    assert fetch_grouped_daily(client, SESSION).height == 1


def test_fetch_grouped_daily_refuses_bars_of_another_date(
    client: PolygonClient, source: StaticSource
) -> None:
    source.bars[SESSION.isoformat()] = [make_bar("A", t=1_704_400_000_000)]

    with pytest.raises(PayloadError, match="expected bars of 2024-01-03"):
        fetch_grouped_daily(client, SESSION)


@pytest.mark.parametrize("fault", ["missing_results", "empty_results", "null_results"])
def test_fetch_grouped_daily_finds_out_that_bars_are_missing(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, fault: str
) -> None:
    """L3: a session whose bars are lost is not a holiday."""
    source.bars[SESSION.isoformat()] = [make_bar("A")]
    emulator.faults = [Fault(fault)]

    with pytest.raises(PayloadError, match="resultsCount says 1"):
        fetch_grouped_daily(client, SESSION)


@pytest.mark.parametrize(
    ("fault", "error"), [("503", "unavailable"), ("401", "unauthorized"), ("404", "bad_request")]
)
def test_reference_data_fail_like_trades(
    client: PolygonClient, emulator: EmulatorServer, fault: str, error: str
) -> None:
    emulator.faults = [Fault(fault)]

    with pytest.raises(VendorError) as caught:
        fetch_splits(client, FIRST, LAST)

    assert caught.value.kind == error
    assert caught.value.requests == emulator.stats.requests


def test_fetch_splits_asks_for_its_dates_and_keeps_what_is_listed_twice(
    client: PolygonClient, source: StaticSource
) -> None:
    outside = make_split(0, execution_date="2025-01-01")
    source.splits = [make_split(11), outside, make_split(0), make_split(0)]

    splits = fetch_splits(client, FIRST, LAST)

    assert splits.schema == SPLITS.schema
    assert splits["ticker"].to_list() == ["T00000", "T00000", "T00011"]
    assert splits.row(2) == ("T00011", dt.date(2024, 1, 2), 10.0, 0.625)


@pytest.mark.parametrize(("count", "requests"), [(999, 1), (1_000, 2), (1_001, 2), (2_500, 3)])
def test_fetch_splits_follows_every_page(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, count: int, requests: int
) -> None:
    source.splits = [make_split(number) for number in range(count)]

    splits = fetch_splits(client, FIRST, LAST)

    assert splits["ticker"].n_unique() == splits.height == count
    assert emulator.stats.requests == requests


def test_a_full_page_of_splits_has_to_prove_that_it_is_the_last(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    """L3: a lost ``next_url`` loses splits in silence otherwise."""
    source.splits = [make_split(number) for number in range(1_005)]
    emulator.faults = [Fault("lost_next_url", times=1)]

    with pytest.raises(PayloadError, match="the end is not proven"):
        fetch_splits(client, FIRST, LAST)


@pytest.mark.parametrize(
    ("fault", "page"), [("missing_results", 2), ("empty_results", 1), ("foreign_next_url", 1)]
)
def test_iter_pages_refuses_a_broken_chain(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, fault: str, page: int
) -> None:
    source.tickers = [make_listing(f"T{number}") for number in range(9)]
    emulator.faults = [Fault(fault, page=page)]

    with pytest.raises(PayloadError):
        list(client.iter_pages("/v3/reference/tickers", {"limit": "3"}, row_type=dict))


@pytest.mark.skipif(not MOCKS.exists(), reason="no vendor samples: set SMALLCAPS_SHARED")
def test_recorded_splits_are_read(client: PolygonClient, emulator: EmulatorServer) -> None:
    answer = json.loads((MOCKS / "v3_reference_splits.json").read_bytes())
    answer.pop("next_url", None)
    emulator.faults = [Fault(body=json.dumps(answer).encode())]

    assert fetch_splits(client, FIRST, LAST).height == len(answer["results"])
