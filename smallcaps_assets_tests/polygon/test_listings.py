"""Lists of tickers that can be continued, and details of one ticker on a date."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from smallcaps_assets.core.reference.listings import DETAIL_COLUMNS, LISTING_COLUMNS
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import BadRequestError, PayloadError, VendorError
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.listings import (
    DatedDetails,
    ListingRow,
    fetch_details,
    frame_details,
    frame_listings,
    iter_listing_pages,
)
from smallcaps_assets.polygon.wire.trail import PageMark
from smallcaps_assets_tests.emulator.emulator_factories import SHARED

MOCKS = SHARED / "data" / "vendor_samples" / "client_python_mocks"
DATE: Final = dt.date(2024, 1, 3)


def make_listing(ticker: str, **changes: object) -> Mapping[str, Any]:
    return {"ticker": ticker, "market": "stocks", "active": True, "name": "A Corp."} | changes


def make_listings(count: int) -> list[Mapping[str, Any]]:
    return [make_listing(f"T{number:05}") for number in range(count)]


def list_all(client: PolygonClient, *, active: bool = True) -> list[ListingRow]:
    return [row for page in iter_listing_pages(client, active=active) for row in page.rows]


@pytest.mark.parametrize("active", [True, False])
def test_lists_keep_active_and_delisted_apart(
    client: PolygonClient, source: StaticSource, *, active: bool
) -> None:
    """L22: delisted listings are kept, recycled tickers are not merged."""
    gone = make_listing("RCYX", active=False, delisted_utc="2020-05-06T00:00:00Z")
    source.tickers = [make_listing("BCPC", type="CS", composite_figi="BBG1"), gone, gone]

    listings = frame_listings(list_all(client, active=active), active=active)

    assert listings.schema == LISTING_COLUMNS
    expected = ["BCPC"] if active else ["RCYX", "RCYX"]
    assert listings["ticker"].to_list() == expected
    assert listings["is_active"].to_list() == [active] * len(expected)
    assert listings["delisted_date"][-1] == (None if active else dt.date(2020, 5, 6))


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (999, 1), (1_000, 2), (2_500, 3)])
def test_lists_are_followed_to_a_proven_end(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, count: int, requests: int
) -> None:
    source.tickers = make_listings(count)

    assert len({row.ticker for row in list_all(client)}) == count
    assert emulator.stats.requests == requests


def test_a_full_last_page_may_end_with_a_ticker_used_twice(
    client: PolygonClient, source: StaticSource
) -> None:
    source.tickers = [*make_listings(999), make_listing("T00998", name="B Corp.")]

    assert len(list_all(client)) == 1_000


def test_a_lost_next_url_is_found_out(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    """L3: a lost ``next_url`` loses listings in silence otherwise."""
    source.tickers = make_listings(1_005)
    emulator.faults = [Fault("lost_next_url", times=1)]

    with pytest.raises(PayloadError, match="the end is not proven"):
        list_all(client)


def test_a_list_goes_on_at_a_mark(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    source.tickers = make_listings(2_500)
    first = next(iter(iter_listing_pages(client, active=True)))

    rest = list(iter_listing_pages(client, active=True, after=first.mark))

    assert [page.number for page in rest] == [2, 3]
    assert [row.ticker for row in [*first.rows, *rest[0].rows, *rest[1].rows]] == [
        row["ticker"] for row in source.tickers
    ]
    assert (first.mark is not None, rest[-1].mark) == (True, None)
    assert emulator.stats.requests == 3


@pytest.mark.parametrize("fault", ["missing_results", "null_results"])
def test_a_page_behind_a_mark_cannot_be_without_results(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, fault: str
) -> None:
    """L3: a continuation that lost its rows is no end of the list."""
    source.tickers = make_listings(1_500)
    first = next(iter(iter_listing_pages(client, active=True)))
    emulator.faults = [Fault(fault)]

    with pytest.raises(PayloadError, match="page 2 has no results"):
        list(iter_listing_pages(client, active=True, after=first.mark))


def test_a_cursor_that_leads_back_to_the_mark_is_refused(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    source.tickers = make_listings(2_500)
    first = next(iter(iter_listing_pages(client, active=True)))
    emulator.faults = [Fault("looping_cursor")]

    with pytest.raises(PayloadError, match="leads back"):
        list(iter_listing_pages(client, active=True, after=first.mark))


def test_a_cursor_worth_nothing_is_a_bad_request(client: PolygonClient) -> None:
    mark = PageMark(3, "!")

    with pytest.raises(BadRequestError):
        list(iter_listing_pages(client, active=True, after=mark))


def test_fetch_details_gives_the_listing_of_the_date(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    """L22: of a recycled ticker, the company that had it on the date."""
    gone = {"active": False, "delisted_utc": "2020-05-06T00:00:00Z"}
    new = {
        "list_date": "2022-01-03",
        "market_cap": 5e8,
        "share_class_shares_outstanding": 7,
    }
    source.tickers = [
        make_listing("RC.X", list_date="2010-01-04", cik="1", **gone),
        make_listing("RC.X", cik="2", composite_figi="BBG2", **new),
    ]

    answers = [fetch_details(client, "RC.X", date) for date in (dt.date(2015, 1, 2), DATE)]

    details = frame_details(answers)
    assert details.schema == DETAIL_COLUMNS
    assert details["detail_cik"].to_list() == ["1", "2"]
    assert details.row(1)[2:7] == (True, dt.date(2022, 1, 3), 5e8, 7.0, "BBG2")
    assert emulator.requests[1].query == {"date": "2024-01-03"}


def test_fetch_details_takes_404_for_nothing_listed(client: PolygonClient) -> None:
    answer = fetch_details(client, "NONE", DATE)

    assert answer == DatedDetails(ticker="NONE", date=DATE, row=None)
    assert frame_details([answer]).row(0) == ("NONE", DATE, False, *[None] * 5)


@pytest.mark.parametrize(
    ("fault", "kind"), [("400", "bad_request"), ("503", "unavailable"), ("html", "payload")]
)
def test_fetch_details_takes_nothing_else_for_that(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer, fault: str, kind: str
) -> None:
    """L1: an error is never an answer."""
    source.tickers = make_listings(1)
    emulator.faults = [Fault(fault)]

    with pytest.raises(VendorError) as caught:
        fetch_details(client, "T00000", DATE)

    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"status": "OK"}', "has no results"),
        (b'{"status": "OK", "results": [{"ticker": "A"}]}', "expected JSON"),
        (b'{"status": "OK", "results": {"ticker": "B"}}', "expected details of A, got those of B"),
    ],
)
def test_fetch_details_refuses_what_are_no_details_of_the_ticker(
    client: PolygonClient,
    source: StaticSource,
    emulator: EmulatorServer,
    body: bytes,
    complaint: str,
) -> None:
    source.tickers = [make_listing("A")]
    emulator.faults = [Fault(body=body)]

    with pytest.raises(PayloadError, match=complaint):
        fetch_details(client, "A", DATE)


@pytest.mark.skipif(not MOCKS.exists(), reason="no vendor samples: set SMALLCAPS_SHARED")
def test_recorded_answers_are_read(
    client: PolygonClient, source: StaticSource, emulator: EmulatorServer
) -> None:
    source.tickers = [make_listing("AAPL")]
    page = json.loads((MOCKS / "v3_reference_tickers.json").read_bytes())
    page.pop("next_url")
    emulator.faults = [Fault(body=json.dumps(page).encode(), endpoint="tickers")]
    details = (MOCKS / "v3_reference_tickers_AAPL.json").read_bytes()

    rows = list_all(client)
    emulator.faults = [Fault(body=details)]
    apple = fetch_details(client, "AAPL", DATE).row

    assert [row.composite_figi for row in rows] == ["BBG000C2V3D6", "BBG00B3T3HD3"]
    assert apple is not None
    assert (apple.list_date, apple.market_cap) == (dt.date(1980, 12, 12), 2_488_795_282_370)
