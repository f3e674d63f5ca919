import zlib
from collections.abc import Callable, Iterator

import pytest
import requests

from smallcaps_assets.emulator.answers.faults import KINDS, Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets_tests.emulator.emulator_factories import (
    SESSION,
    follow_chain,
    get,
    join_pages,
    make_wire_trades,
)

PATH = "/v3/trades/ABCD"
ROWS = make_wire_trades(10)
Check = Callable[[requests.Response], bool]


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(StaticSource({"ABCD": ROWS})) as running:
        yield running


def ask(server: EmulatorServer) -> requests.Response:
    return get(server, PATH, limit=4, order="asc")


ANSWERS: dict[str, Check] = {
    "429": lambda answer: answer.status_code == 429 and answer.headers["Retry-After"] == "7",
    "400": lambda answer: answer.status_code == 400 and answer.json()["status"] == "ERROR",
    "401": lambda answer: answer.status_code == 401 and "API Key" in answer.json()["error"],
    "404": lambda answer: answer.status_code == 404 and answer.json()["status"] == "NOT_FOUND",
    "500": lambda answer: answer.status_code == 500 and "html" in answer.text,
    "502": lambda answer: answer.status_code == 502 and "html" in answer.text,
    "503": lambda answer: answer.status_code == 503 and answer.text == "",
    "504": lambda answer: answer.status_code == 504,
    "outage": lambda answer: answer.status_code == 503,
    "not_entitled": lambda answer: answer.status_code == 403 and "entitled" in answer.text,
    "timeframe": lambda answer: answer.status_code == 403 and "timeframe" in answer.text,
    "not_authorized": lambda answer: answer.ok and answer.json()["status"] == "NOT_AUTHORIZED",
    "error_status": lambda answer: answer.ok and answer.json()["status"] == "ERROR",
    "delayed": lambda answer: answer.ok and answer.json()["status"] == "DELAYED",
    "html": lambda answer: answer.ok and answer.headers["Content-Type"].startswith("text/html"),
    "wrong_content_type": lambda answer: (
        "html" in answer.headers["Content-Type"] and len(answer.json()["results"]) == 4
    ),
    "empty_body": lambda answer: answer.ok and answer.content == b"",
    "missing_results": lambda answer: "results" not in answer.json() and "next_url" in answer.text,
    "null_results": lambda answer: answer.json()["results"] is None,
    "empty_results": lambda answer: answer.json()["results"] == [] and "next_url" in answer.text,
    "lost_next_url": lambda answer: "next_url" not in answer.json(),
    "foreign_next_url": lambda answer: "example.com" in answer.json()["next_url"],
    "out_of_order": lambda answer: answer.json()["results"] == ROWS[3::-1],
    "cut_json": lambda answer: answer.ok and not answer.text.endswith("}"),
    "redirect": lambda answer: answer.status_code == 302,
    "response": lambda answer: answer.status_code == 418 and answer.content == b"tea",
    "slow": lambda answer: answer.elapsed.total_seconds() >= 0.05 and answer.ok,
    "stall": lambda answer: len(answer.json()["results"]) == 4,
}
ALTERATIONS = {"short_page", "revised_history"}
"""Of which ``test_alterations`` tells."""
BREAKS = {"cut_body", "reset", "refuse", "cut_gzip", "bad_gzip"}
CHAINS = {"looping_cursor", "repeated_page", "seam_overlap", "trailing_cursor", "gzip_bomb"}


def test_every_kind_is_tested_here() -> None:
    assert set(KINDS) == set(ANSWERS) | BREAKS | CHAINS | ALTERATIONS


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_fault_makes_its_answer(server: EmulatorServer, kind: str) -> None:
    server.faults = [
        Fault(kind, retry_after=7, seconds=0.05, status=418, body=b"tea", headers={"A": "b"})
    ]
    headers = {"Authorization": "Bearer any"}

    answer = requests.get(
        f"{server.url}{PATH}?limit=4&order=asc", headers=headers, timeout=5, allow_redirects=False
    )

    assert ANSWERS[kind](answer)


@pytest.mark.parametrize("kind", sorted(BREAKS))
def test_a_fault_breaks_the_body(server: EmulatorServer, kind: str) -> None:
    """L3: what arrives broken cannot be mistaken for a page."""
    server.faults = [Fault(kind, times=1)]

    with pytest.raises(requests.RequestException):
        ask(server).json()

    assert ask(server).json()["results"] == ROWS[:4]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_seam_overlap_sends_rows_again(server: EmulatorServer, order: str, rows: int) -> None:
    server.faults = [Fault("seam_overlap", page=2, rows=rows)]

    pages = follow_chain(server, PATH, limit=4, order=order)

    repeated = min(rows, 3)
    assert pages[1][:repeated] == pages[0][-repeated:]
    kept = join_pages([pages[0], pages[1][repeated:], *pages[2:]])
    assert kept == (ROWS if order == "asc" else ROWS[::-1])


def test_a_looping_cursor_of_a_list_leads_to_the_same_page() -> None:
    source = StaticSource(tickers=[{"ticker": "A"}, {"ticker": "B"}])
    faults = [Fault("looping_cursor", times=1), Fault("seam_overlap")]

    with EmulatorServer(source, faults) as server:
        pages = follow_chain(server, "/v3/reference/tickers", limit=1)

    assert [row["ticker"] for row in join_pages(pages)] == ["A", "A", "B"]


@pytest.mark.parametrize("kind", ["seam_overlap", "repeated_page"])
def test_the_first_page_has_none_before_it(server: EmulatorServer, kind: str) -> None:
    server.faults = [Fault(kind)]

    assert ask(server).json()["results"] == ROWS[:4]


@pytest.mark.parametrize(
    ("kind", "page", "numbers"),
    [
        ("lost_next_url", 2, [1, 2]),
        ("looping_cursor", 2, [1, 2, 2, 2, 2, 3]),
        ("repeated_page", 2, [1, 1, 3]),
        ("repeated_page", 3, [1, 2, 2]),
        ("trailing_cursor", 3, [1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_fault_bends_a_chain(
    server: EmulatorServer, order: str, kind: str, page: int, numbers: list[int]
) -> None:
    times = 3 if kind == "looping_cursor" else None
    server.faults = [Fault(kind, page=page, times=times)]

    pages = follow_chain(server, PATH, limit=4, order=order)

    rows = ROWS if order == "asc" else ROWS[::-1]
    assert pages == [rows[4 * number - 4 : 4 * number] for number in numbers]


def test_a_gzip_bomb_is_small_on_the_wire_and_large_inflated(server: EmulatorServer) -> None:
    server.faults = [Fault("gzip_bomb", rows=5)]

    with requests.get(
        server.url + PATH, headers={"Authorization": "Bearer any"}, stream=True, timeout=5
    ) as answer:
        packed = answer.raw.read(decode_content=False)

    assert len(packed) < 10_000
    assert len(zlib.decompress(packed, wbits=zlib.MAX_WBITS + 16)) == 5 * 1024 * 1024


def test_faults_of_dates_hit_the_dates_asked_for(server: EmulatorServer) -> None:
    server.faults = [Fault("timeframe", before=SESSION)]

    refused = get(server, PATH, timestamp="2024-01-02")
    allowed = get(server, PATH, timestamp="2024-01-03")

    assert (refused.status_code, allowed.status_code) == (403, 200)
