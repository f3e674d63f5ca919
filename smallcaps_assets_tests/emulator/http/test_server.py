import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets_tests.emulator.emulator_factories import (
    KEY,
    follow_chain,
    get,
    join_pages,
    make_wire_trades,
)

PATH = "/v3/trades/ABCD"


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(StaticSource({"ABCD": make_wire_trades(20, ties=6)})) as running:
        yield running


def speak(server: EmulatorServer, text: bytes) -> bytes:
    """Return what the server says to raw bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(text)
        pieces = []
        while piece := client.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("is_asked", [True, False], ids=["by another process", "by a test"])
def test_reset_forgets_requests_and_faults(server: EmulatorServer, *, is_asked: bool) -> None:
    server.faults = [Fault("503")]
    get(server, PATH)

    if is_asked:
        requests.post(f"{server.url}/_emulator/reset", timeout=5)
    else:
        server.reset()

    assert (server.requests, server.stats.requests, list(server.faults)) == ([], 0, [])
    assert get(server, PATH).ok


def test_more_trades_than_a_page_are_several_pages() -> None:
    """L2: the page chains that earlier downloaders cut."""
    rows = make_wire_trades(52_000, ties=7)

    with EmulatorServer(StaticSource({"ABCD": rows})) as server:
        pages = follow_chain(server, PATH, limit=50_000, order="asc")

    assert [len(page) for page in pages] == [50_000, 2_000]
    assert join_pages(pages) == rows


def test_next_url_names_the_vendors_host_and_nothing_but_a_cursor(server: EmulatorServer) -> None:
    next_url = get(server, PATH, limit=1).json()["next_url"]

    assert next_url.startswith("https://api.polygon.io/v3/trades/ABCD?cursor=")
    assert next_url.count("&") == 0
    assert "=" not in next_url.partition("cursor=")[2]


def test_an_unknown_ticker_has_no_trades(server: EmulatorServer) -> None:
    bodies = [get(server, f"/v3/trades/{ticker}").json() for ticker in ("NONE", "abcd", "A.B")]

    assert all(body["status"] == "OK" for body in bodies)
    assert all(not body.get("results") and "next_url" not in body for body in bodies)


@pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"Authorization": "Basic abc"}])
def test_a_request_without_a_key_is_refused(
    server: EmulatorServer, headers: dict[str, str]
) -> None:
    answer = requests.get(f"{server.url}{PATH}?apiKey={KEY}", headers=headers, timeout=5)

    assert answer.status_code == 401
    assert answer.json()["status"] == "ERROR"


def test_only_accepted_keys_are_accepted() -> None:
    with EmulatorServer(StaticSource(), accepted_keys=["another"]) as server:
        answer = get(server, PATH)

    assert (answer.status_code, answer.json()["error"]) == (401, "Unknown API Key")


@pytest.mark.parametrize(
    ("target", "status", "name"),
    [
        (f"{PATH}?limit=0", 400, "ERROR"),
        (f"{PATH}?sort=price", 400, "ERROR"),
        (f"{PATH}?timestamp=gt.1704290400000", 400, "ERROR"),
        ("/v3/quotes/ABCD", 404, "NOT_FOUND"),
        ("/v3/reference/tickers/NONE", 404, "NOT_FOUND"),
        ("/v2/aggs/grouped/locale/us/market/stocks/yesterday", 400, "ERROR"),
    ],
)
def test_bad_requests_are_refused_in_the_vendors_words(
    server: EmulatorServer, target: str, status: int, name: str
) -> None:
    answer = get(server, target)

    assert (answer.status_code, answer.json()["status"]) == (status, name)
    assert answer.json()["request_id"]


def test_a_body_is_compressed_only_for_clients_that_ask(server: EmulatorServer) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Accept-Encoding": "identity"}

    plain = requests.get(server.url + PATH, headers=headers, timeout=5)
    packed = get(server, PATH)

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.json() == packed.json()


def test_a_connection_serves_many_requests(server: EmulatorServer) -> None:
    request = f"GET {PATH}?limit=1 HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n".encode()

    answer = speak(server, request + b"\r\n" + request + b"Connection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.count(b"Connection: close\r\n") == 1


@pytest.mark.parametrize(
    "text",
    [b"hello\r\n\r\n", b"GET / SPDY\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_what_is_not_http_is_refused(server: EmulatorServer, text: bytes) -> None:
    assert speak(server, text).startswith(b"HTTP/1.1 400 ")


def test_other_methods_are_refused(server: EmulatorServer) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    assert requests.post(server.url + PATH, headers=headers, timeout=5).status_code == 405


def test_requests_and_their_counts_are_recorded(server: EmulatorServer) -> None:
    get(server, PATH, limit=3)
    get(server, "/v3/reference/splits")

    asked = server.requests[0]
    assert (asked.method, asked.path, dict(asked.query)) == ("GET", PATH, {"limit": "3"})
    assert asked.key == KEY
    assert KEY not in repr(server.requests)
    assert server.stats.by_endpoint == {"trades": 1, "splits": 1}
    assert server.stats.by_ticker == {"ABCD": 1}
    assert server.stats.by_status == {200: 2}


def test_other_processes_read_counts_and_set_faults(server: EmulatorServer) -> None:
    control = f"{server.url}/_emulator"
    faults = ["429:times=1", {"kind": "503", "times": 1}]

    assert requests.post(f"{control}/faults", json=faults, timeout=5).json()["faults"] == 2
    statuses = [get(server, PATH).status_code for _ in range(3)]

    assert statuses == [429, 503, 200]
    stats = requests.get(f"{control}/stats", timeout=5).json()
    assert (stats["requests"], stats["faults"], stats["source"]) == (
        3,
        {"429": 1, "503": 1},
        "static",
    )
    assert KEY not in requests.get(f"{control}/requests", timeout=5).text
    assert requests.get(f"{control}/identity", timeout=5).json()["name"] == ""


def test_a_server_that_never_started_stops() -> None:
    server = EmulatorServer(StaticSource())

    server.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


@pytest.mark.parametrize("body", ["not json", '["teapot"]', '{"kind": "503"}', '[{"times": "x"}]'])
def test_bad_faults_are_refused(server: EmulatorServer, body: str) -> None:
    answer = requests.post(f"{server.url}/_emulator/faults", data=body, timeout=5)

    assert answer.status_code == 400
    assert requests.get(f"{server.url}/_emulator/nothing", timeout=5).status_code == 404


def test_waits_of_200_connections_pass_at_the_same_time() -> None:
    with (
        EmulatorServer(StaticSource(), latency_s=0.2) as server,
        ThreadPoolExecutor(200) as pool,
    ):
        started = time.monotonic()
        answers = list(pool.map(lambda _: get(server, PATH).status_code, range(200)))
        took_s = time.monotonic() - started

    assert answers == [200] * 200
    assert server.stats.max_in_flight > 50
    assert took_s < 10


def test_stop_ends_open_connections_and_threads() -> None:
    before = threading.active_count()
    server = EmulatorServer(StaticSource())
    server.start()
    with requests.Session() as session:
        session.get(server.url, timeout=5)
        server.stop()

        with pytest.raises(requests.ConnectionError):
            session.get(server.url, timeout=5)

    assert threading.active_count() == before
