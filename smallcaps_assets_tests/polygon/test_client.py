"""Whole answers: page chains of every length, ties, seams, cost, interruption."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import Span, Tape
from smallcaps_assets.errors import DataError, InterruptedFetchError, PayloadError, VendorError
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.http.limiter import RequestLimiter
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    OPENING_NS,
    RETRIES,
    RenderedSource,
    fetch,
    make_client,
    make_config,
    make_frame,
    make_wire_trade,
    make_wire_trades,
    render_page,
    serve,
)

BUSY_DAY = 120_000


@pytest.fixture(scope="module")
def busy_rows() -> list[dict[str, Any]]:
    return make_wire_trades(BUSY_DAY)


@pytest.fixture(scope="module")
def busy_vendor(busy_rows: list[dict[str, Any]]) -> Iterator[EmulatorServer]:
    counts = (1, 50_000, 50_001, BUSY_DAY)
    source = RenderedSource({f"T{count}": busy_rows[:count] for count in counts})
    with EmulatorServer(source) as server:
        yield server


@pytest.mark.parametrize(
    ("count", "pages", "requests"), [(1, 1, 1), (50_000, 1, 2), (50_001, 2, 2), (BUSY_DAY, 3, 3)]
)
def test_fetch_trades_keeps_every_row_of_the_vendors_largest_pages(
    busy_vendor: EmulatorServer,
    busy_rows: list[dict[str, Any]],
    count: int,
    pages: int,
    requests: int,
) -> None:
    """L2: days above one page are the busiest, and the reason for the download."""
    with make_client(busy_vendor.url) as client:
        fetched = client.fetch_trades(f"T{count}", GTE_NS, LT_NS)

    assert fetched.trades["id"].to_list() == [row["id"] for row in busy_rows[:count]]
    assert (fetched.pages, fetched.requests) == (pages, requests)


@pytest.mark.parametrize("fault", ["cut_gzip", "503", "missing_results"])
def test_fetch_trades_gives_nothing_of_a_busy_day_that_broke(
    busy_vendor: EmulatorServer, fault: str
) -> None:
    """L3: 50,000 of 120,000 rows were once marked as a success."""
    busy_vendor.faults = [Fault(fault, page="last")]

    with make_client(busy_vendor.url) as client, pytest.raises(VendorError) as caught:
        client.fetch_trades(f"T{BUSY_DAY}", GTE_NS, LT_NS)

    assert caught.value.requests == 3 + RETRIES


@pytest.mark.parametrize(
    ("count", "requests"), [(0, 1), (1, 1), (9, 1), (10, 2), (11, 2), (20, 3), (21, 3), (25, 3)]
)
def test_fetch_trades_asks_as_often_as_the_rows_need(count: int, requests: int) -> None:
    rows = make_wire_trades(count)

    with serve(rows) as server:
        fetched = fetch(server, page_limit=10)

    assert_frame_equal(fetched.trades, make_frame(rows))
    assert fetched.requests == requests


@pytest.mark.parametrize(("expected_rows", "requests"), [(None, 2), (9, 2), (10, 2), (11, 2)])
def test_fetch_trades_proves_the_end_of_a_full_page_whatever_bars_say(
    expected_rows: int | None, requests: int
) -> None:
    with serve(make_wire_trades(10)) as server:
        fetched = fetch(server, page_limit=10, expected_rows=expected_rows)

    assert (fetched.trades.height, fetched.requests) == (10, requests)


def test_fetch_trades_sends_exact_bounds_once_and_then_the_cursor_alone() -> None:
    """L2: a cursor sent with the filters was refused."""
    with serve(make_wire_trades(25)) as server:
        fetch(server, page_limit=10)
        first, *others = [request.query for request in server.requests]

    assert first == {
        "timestamp.gte": f"{GTE_NS}",
        "timestamp.lt": f"{LT_NS}",
        "order": "asc",
        "sort": "timestamp",
        "limit": "10",
    }
    assert [set(query) for query in others] == [{"cursor"}] * 2


def test_fetch_trades_keeps_equal_rows_without_identity_and_says_so() -> None:
    """L4, L24: rows of 2003 have no id, and equal ones may be different trades."""
    rows = [make_wire_trade(id=None, sequence_number=None) for _ in range(4)]

    with serve(rows) as server:
        fetched = fetch(server, page_limit=2)

    assert fetched.trades.height == 4
    assert (fetched.repeats_dropped, fetched.is_seam_ambiguous) == (0, True)


def test_fetch_trades_puts_ties_into_tape_order() -> None:
    rows = [make_wire_trade(number, sequence_number=9 - number) for number in range(5)]

    with serve(rows) as server:
        fetched = fetch(server, page_limit=2)

    assert fetched.trades["id"].to_list() == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("ticker", ["BRK.A", "BCpC", "A+B", "ABC^D", "X-WS"])
def test_fetch_trades_asks_for_the_ticker_as_it_is_spelt(ticker: str) -> None:
    source = StaticSource({ticker: make_wire_trades(5)})

    with EmulatorServer(source) as server, make_client(server.url, page_limit=2) as client:
        fetched = client.fetch_trades(ticker, GTE_NS, LT_NS)

    assert fetched.trades["ticker"].to_list() == [ticker] * 5


@pytest.mark.parametrize(("ticker", "bounds"), [("../x", (1, 2)), ("ABCD", (2, 2))])
def test_fetch_trades_refuses_what_cannot_be_asked(ticker: str, bounds: tuple[int, int]) -> None:
    with make_client("http://127.0.0.1:9") as client, pytest.raises(DataError):
        client.fetch_trades(ticker, *bounds)


def test_a_bad_day_fails_alone() -> None:
    """L12: one odd page aborted all later days of the ticker."""
    odd = make_wire_trade(at_ns=OPENING_NS - 10**9, price="odd")

    with serve([odd, *make_wire_trades(5)]) as server, make_client(server.url) as client:
        with pytest.raises(PayloadError, match="price"):
            client.fetch_trades("ABCD", GTE_NS, LT_NS)
        fetched = client.fetch_trades("ABCD", OPENING_NS, LT_NS)

    assert fetched.trades.height == 5


@pytest.mark.parametrize("number", [0, 24])
def test_rows_outside_of_the_bounds_are_not_believed(number: int) -> None:
    rows = make_wire_trades(25)
    at_ns = rows[number]["sip_timestamp"]
    bounds = (at_ns + 1, LT_NS) if number == 0 else (GTE_NS, at_ns)

    with EmulatorServer(RenderedSource({"ABCD": rows})) as server:
        server.faults = [Fault(body=render_page(rows))]
        with make_client(server.url) as client, pytest.raises(PayloadError, match=r"place|after"):
            client.fetch_trades("ABCD", *bounds)


def test_fetch_trades_reports_what_it_cost() -> None:
    """L1: what is counted is what came, not what was tried."""
    fault = Fault("503", page=2, times=1)

    with serve(make_wire_trades(25), fault) as server:
        client = make_client(server.url, page_limit=10)
        fetched = client.fetch_trades("ABCD", GTE_NS, LT_NS)

    counters = client.counters
    assert (counters.requests, dict(counters.retries)) == (4, {"unavailable": 1})
    assert fetched.bytes_received > 0


def test_threads_share_a_client() -> None:
    def work(client: PolygonClient) -> int:
        return client.fetch_trades("ABCD", GTE_NS, LT_NS).trades.height

    with serve(make_wire_trades(25)) as server, ThreadPoolExecutor(8) as pool:
        client = make_client(server.url, page_limit=10)
        heights = list(pool.map(work, [client] * 8))

    assert heights == [25] * 8
    assert client.counters.requests == 24


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_client_told_to_stop_gives_up_its_pause(*, is_shared: bool) -> None:
    stop = threading.Event()
    with serve(make_wire_trades(1), Fault("429", retry_after=30)) as server:
        limiter = RequestLimiter(0, Path("unused"), server.url)
        client = PolygonClient(make_config(server.url), limiter, stop=stop if is_shared else None)
        threading.Timer(0.2, stop.set if is_shared else client.close).start()

        with pytest.raises(InterruptedFetchError) as caught:
            client.fetch_trades("ABCD", GTE_NS, LT_NS)

    assert caught.value.requests == 1


def test_a_client_told_to_stop_drops_a_page_half_way() -> None:
    with serve(make_wire_trades(1), Fault("stall", seconds=0.2)) as server:
        client = make_client(server.url)
        threading.Timer(0.05, client.close).start()

        with pytest.raises(InterruptedFetchError, match="coming in"):
            client.fetch_trades("ABCD", GTE_NS, LT_NS)


class EndlessSource(StaticSource):
    """A vendor that always has more trades, all of one instant."""

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        del ticker, span
        yield ENDLESS


ENDLESS = Tape.from_rows([make_wire_trade(number) for number in range(52_000)])


@pytest.mark.parametrize(("expected_rows", "most"), [(200, 50_800), (None, 5_000)])
def test_an_answer_without_an_end_is_given_up_at_its_bound(
    expected_rows: int | None, most: int
) -> None:
    """L30: 4.2 million rows came where the bars promised 1,150."""
    with EmulatorServer(EndlessSource()) as server:
        with pytest.raises(PayloadError, match=f"at most {most}") as caught:
            fetch(server, expected_rows=expected_rows, page_limit=1_000, chain_max_rows=5_000)
        asked = server.stats.requests

    assert caught.value.requests == asked == most // 1_000 + 1


def test_a_chain_of_one_instant_costs_what_its_pages_bring() -> None:
    """L30: the rows of one instant were compared again, all of them, with each page."""
    source = EndlessSource()

    def measure(rows: int) -> float:
        with EmulatorServer(source) as server:
            started = time.thread_time()
            with pytest.raises(PayloadError, match="without an end"):
                fetch(server, page_limit=250, chain_max_rows=rows)
            return time.thread_time() - started

    measure(1_000)
    few, many = measure(3_000), measure(24_000)

    assert many < 8 * few * 2.5


def test_closing_a_client_stops_no_other_that_shares_its_event() -> None:
    stop = threading.Event()
    limiter = RequestLimiter(0, Path("unused"), "vendor")

    with PolygonClient(make_config("http://127.0.0.1:9"), limiter, stop=stop):
        pass

    assert not stop.is_set()
