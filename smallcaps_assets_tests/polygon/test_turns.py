"""Any number of threads wait for the vendor, and few of them work."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon import client as fetching
from smallcaps_assets.polygon.http.transport import Answer, Transport
from smallcaps_assets.polygon.turns import PROCESSOR, TURNS
from smallcaps_assets.polygon.wire.trades import TradesPage, decode_trades_page
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    make_client,
    make_wire_trades,
    serve,
)

THREADS = 3 * TURNS
PATIENCE_S = 60


def test_all_threads_wait_at_once_and_few_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(THREADS, timeout=PATIENCE_S)
    lock, busy = threading.Lock(), [0, 0]
    get = Transport.get

    def wait_for_all(transport: Transport, *arguments: object, **settings: object) -> Answer:
        together.wait()
        return get(transport, *arguments, **settings)  # type: ignore[arg-type]

    def decode(*arguments: object, **settings: object) -> TradesPage:
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        page = decode_trades_page(*arguments, **settings)  # type: ignore[arg-type]
        with lock:
            busy[0] -= 1
        return page

    monkeypatch.setattr(Transport, "get", wait_for_all)
    monkeypatch.setattr(fetching, "decode_trades_page", decode)
    with (
        serve(make_wire_trades(3_000)) as server,
        make_client(server.url) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        fetches = [pool.submit(client.fetch_trades, "ABCD", GTE_NS, LT_NS) for _ in range(THREADS)]
        heights = [fetch.result().trades.height for fetch in fetches]

    assert heights == [3_000] * THREADS
    assert 1 <= busy[1] <= TURNS


def test_a_turn_is_given_back_after_what_is_no_page() -> None:
    with (
        serve(make_wire_trades(3), Fault("html")) as server,
        make_client(server.url, retries=TURNS) as client,
        pytest.raises(PayloadError),
    ):
        client.fetch_trades("ABCD", GTE_NS, LT_NS)

    taken = [PROCESSOR.acquire(timeout=PATIENCE_S) for _ in range(TURNS)]
    for _ in taken:
        PROCESSOR.release()

    assert all(taken)
