"""One request: headers, statuses, broken bodies, proxies; the key stays where it belongs."""

import datetime as dt
import gzip
import logging
import math
import socket
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    NotEntitledError,
    PayloadError,
    RateLimitError,
    VendorError,
    VendorTimeoutError,
    VendorUnavailableError,
)
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.inflate import inflate_body
from smallcaps_assets.polygon.http.transport import (
    BearerAuth,
    Transport,
    explain_status,
    is_loopback,
    parse_retry_after,
)
from smallcaps_assets_tests.polygon.dripping import DrippingServer
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    KEY,
    LT_NS,
    fetch,
    make_client,
    make_config,
    make_wire_trades,
    render_page,
    serve,
)

Script = Callable[..., Any]
ROWS = make_wire_trades(4)


def make_answer(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""])
    return head.encode() + body


def find_bodies(error: BaseException) -> list[bytes]:
    """Return what the frames of an error hold of a megabyte and more."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    held = [value for frame in frames for value in frame.f_locals.values()]
    return [value for value in held if isinstance(value, bytes) and len(value) > 2**20]


def ask(url: str, **settings: object) -> int:
    with make_client(url, retries=0, **settings) as client:
        return client.fetch_trades("ABCD", GTE_NS, LT_NS).trades.height


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (204, PayloadError),
        (301, BadRequestError),
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, NotEntitledError),
        (404, BadRequestError),
        (408, VendorUnavailableError),
        (418, BadRequestError),
        (425, VendorUnavailableError),
        (429, RateLimitError),
        (500, VendorUnavailableError),
        (599, VendorUnavailableError),
    ],
)
def test_each_status_has_its_error(status: int, error: type[VendorError]) -> None:
    explained = explain_status(status, "text", "https://api.polygon.io/v3/trades/ABCD")

    assert type(explained) is error
    assert explained.status == status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "POLYGON_API_KEY or MASSIVE_API_KEY"),
        (302, "SMALLCAPS_BASE_URL"),
        (400, "request refused"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, words: str) -> None:
    assert words in str(explain_status(status, "no", "https://api.polygon.io/x"))


@pytest.mark.parametrize(("fault", "is_timeframe"), [("timeframe", True), ("not_entitled", False)])
def test_a_refused_timeframe_is_told_apart(fault: str, *, is_timeframe: bool) -> None:
    with serve(ROWS, Fault(fault)) as server, pytest.raises(NotEntitledError) as caught:
        ask(server.url)

    assert caught.value.is_timeframe is is_timeframe


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("soon", None), ("nan", None)],
)
def test_parse_retry_after_reads_seconds(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_parse_retry_after_reads_dates(zone: str) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)

    seconds = parse_retry_after(moment.strftime(f"%a, %d %b %Y %H:%M:%S {zone}"))

    assert seconds is not None
    assert math.isclose(seconds, 100, abs_tol=5)


def test_the_key_travels_in_the_header_alone() -> None:
    """L14: never in a URL."""
    with serve(ROWS) as server:
        fetch(server, page_limit=3)

    assert {request.key for request in server.requests} == {KEY}
    assert all(KEY not in request.target for request in server.requests)
    assert {request.headers["accept-encoding"] for request in server.requests} == {"gzip"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("401"),
        Fault("not_entitled"),
        Fault("503"),
        Fault("refuse"),
        Fault("cut_json"),
        Fault("redirect"),
        Fault("foreign_next_url"),
        Fault(status=400, body=f'{{"status":"ERROR","error":"bad key {KEY}"}}'.encode()),
        Fault(status=200, body=f'{{"status":"ERROR","error":"bad key {KEY}"}}'.encode()),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_the_key_is_in_no_error_and_no_log(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """L14: 0 occurrences, even when the vendor itself repeats the key."""
    caplog.set_level(logging.DEBUG)

    with serve(ROWS, fault) as server:
        client = make_client(server.url)
        with pytest.raises(VendorError) as caught:
            client.fetch_trades("ABCD", GTE_NS, LT_NS)

    shown = f"{caught.value!r} {caught.value} {client!r} {client.config} {client.counters}"
    assert KEY not in shown + repr(caught.value.__cause__) + repr(vars(caught.value))
    assert KEY not in caplog.text + str([vars(record) for record in caplog.records])
    assert KEY not in repr(BearerAuth(KEY))
    assert "cursor" not in f"{caught.value}".replace("its cursor", "")


@pytest.mark.parametrize("key", ["", "two\nlines", "naïve", "tab\t"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(key: str) -> None:
    """L14: the library would repeat it in its error."""
    with pytest.raises(ConfigError) as caught:
        ClientConfig(base_url="https://api.polygon.io", api_key=key)

    assert not key or key not in str(caught.value)


def test_a_page_limit_beyond_the_vendors_is_refused() -> None:
    with pytest.raises(ConfigError, match="50000"):
        make_config("https://api.polygon.io", page_limit=50_001)


@pytest.mark.parametrize("named", ["/v3/trades/ABCD", "/gate/way/v3/trades/ABCD"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_base_url_may_have_a_path(script: Script, named: str, slash: str) -> None:
    first = render_page(ROWS[:3], next_url=f"https://api.polygon.io{named}?cursor=abc")
    server = script(make_answer(first), make_answer(render_page(ROWS[3:])))

    assert ask(f"{server.url}/gate/way{slash}") == 4
    assert [head.split()[1].split("?")[0] for head in server.heads] == [
        "/gate/way/v3/trades/ABCD"
    ] * 2
    assert server.heads[1].split()[1].endswith("?cursor=abc")


@pytest.mark.parametrize(
    "answer",
    [
        make_answer(render_page(ROWS)),
        make_answer(render_page(ROWS), "Content-Encoding: identity"),
        make_answer(b"%x\r\n" % len(render_page(ROWS)) + render_page(ROWS) + b"\r\n0\r\n\r\n",
                    "Transfer-Encoding: chunked"),
    ],
    ids=["unframed", "identity", "chunked"],
)  # fmt: skip
def test_a_body_may_come_in_any_framing(script: Script, answer: bytes) -> None:
    assert ask(script(answer).url) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (make_answer(render_page(ROWS), "Content-Encoding: br"), PayloadError),
        (make_answer(b"fff\r\n{}", "Transfer-Encoding: chunked"), PayloadError),
        (make_answer(b"{}", "Content-Length: 10"), PayloadError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", PayloadError),
        (b"nonsense\r\n\r\n", VendorUnavailableError),
        (b"", VendorUnavailableError),
        (make_answer(b"").replace(b"200 OK", b"500 Oops"), VendorUnavailableError),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\ncut", VendorUnavailableError),
        (b"HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\n\r\nnot gzip", NotEntitledError),
    ],
)
def test_a_broken_answer_is_an_error(
    script: Script, answer: bytes, error: type[VendorError]
) -> None:
    """L3: what is cut is never taken for whole."""
    with pytest.raises(error):
        ask(script(answer).url)


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_may_not_be_larger_than_allowed(encoding: str) -> None:
    fault = Fault(body=render_page(ROWS)) if not encoding else Fault("gzip_bomb", rows=2)

    with serve(ROWS, fault) as server, pytest.raises(PayloadError, match="more than 100 bytes"):
        ask(server.url, max_body_bytes=100)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("gzip_bomb", rows=4096),
        Fault(body=b'{"status": "OK", "results": [' + b"[]," * 2**20 + b"[]]}"),
    ],
    ids=["too large", "unreadable"],
)
def test_a_refused_body_is_not_kept_by_its_error(fault: Fault) -> None:
    """L42: errors live on in retries and results, and held the body of each page before."""
    with serve(ROWS, fault) as server, pytest.raises(PayloadError) as caught:
        ask(server.url, max_body_bytes=32 * 2**20)

    assert not find_bodies(caught.value)


def test_a_plain_body_has_the_same_limit_as_a_packed_one() -> None:
    with pytest.raises(PayloadError, match="more than 2 bytes"):
        inflate_body(b"abc", "", max_bytes=2, url="")
    with pytest.raises(PayloadError, match="bytes follow"):
        inflate_body(gzip.compress(b"a") + b"xx", "gzip", max_bytes=9, url="")


@pytest.mark.parametrize("fault", ["slow", "stall"])
def test_silence_is_a_time_out(fault: str) -> None:
    with serve(ROWS, Fault(fault, seconds=0.4)) as server, pytest.raises(VendorTimeoutError):
        ask(server.url, read_timeout_s=0.1)


def test_a_body_that_drips_is_given_up_within_the_budget() -> None:
    fault = Fault("stall", seconds=0.6)

    with serve(ROWS, fault) as server, pytest.raises(VendorTimeoutError, match="too slow"):
        ask(server.url, retry_budget_s=0.3)


@pytest.mark.parametrize("drips_header", [False, True])
def test_an_answer_that_drips_for_ever_is_given_up(*, drips_header: bool) -> None:
    """No silence is ever long enough for a time-out, in the body or in the header."""
    with DrippingServer(drips_header=drips_header) as server, pytest.raises(VendorUnavailableError):
        ask(server.url, retry_budget_s=0.1)


def test_an_address_without_a_server_is_unavailable() -> None:
    with pytest.raises(VendorUnavailableError, match="ConnectionRefusedError") as caught:
        ask(f"http://127.0.0.1:{find_free_port()}")

    assert "timestamp" not in str(caught.value)


def test_pages_share_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "urllib3")

    with serve(make_wire_trades(30)) as server:
        requests = fetch(server, page_limit=3).requests

    assert requests == 11
    assert caplog.text.count("Starting new HTTP connection") == 1


def test_the_environments_proxy_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key for another host in ``~/.netrc`` replaces no header either."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine vendor.invalid login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with EmulatorServer(StaticSource({"ABCD": ROWS})) as server:
        monkeypatch.setenv("http_proxy", server.url)
        with pytest.raises(BadRequestError):
            ask("http://vendor.invalid")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{find_free_port()}")
        assert ask(server.url) == 4

    assert {request.key for request in server.requests} == {KEY}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("api.polygon.io", False),
        (None, False),
    ],
)
def test_is_loopback_knows_this_machine(host: str | None, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_transport_has_a_connection_per_thread() -> None:
    with serve(ROWS) as server:
        transport = Transport(make_config(server.url), threading.Event())
        threads = [
            threading.Thread(
                target=transport.get, args=("/v3/trades/ABCD", {}), kwargs={"deadline_s": math.inf}
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
            thread.join()
        transport.close()

    assert server.stats.requests == 3


def test_a_body_announced_as_too_large_is_refused_before_it_is_read(script: Script) -> None:
    """L42: 64 MiB of a body of 200 MiB were read and kept before it was refused."""
    server = script(make_answer(b"", f"Content-Length: {200 * 2**20}"))

    with pytest.raises(PayloadError, match="body of more than"):
        ask(server.url)


def test_a_body_that_is_too_large_is_bounded_and_let_go_of(script: Script) -> None:
    """L42: its length is not announced, and the error that refuses it lives on."""
    chunk = b"40000\r\n" + b" " * 2**18 + b"\r\n"
    server = script(make_answer(chunk * 64, "Transfer-Encoding: chunked"))
    tracemalloc.start()

    try:
        with pytest.raises(PayloadError, match="body of more than 4194304"):
            ask(server.url, max_body_bytes=4 * 2**20)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 6 * 2**20
    assert kept < 2**20
