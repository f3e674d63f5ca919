"""Whatever a body holds, reading it gives rows or an error of our tree, and nothing else."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import PayloadError, VendorError
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.listings import fetch_details, frame_listings, iter_listing_pages
from smallcaps_assets.polygon.reference import fetch_grouped_daily, fetch_splits
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    OPENING_NS,
    SESSION,
    make_client,
    make_wire_trade,
)

SPLIT = {"ticker": "A", "execution_date": "2024-01-03", "split_from": 10, "split_to": 1}
BAR = {"T": "A", "o": 1, "h": 2.5, "l": 1, "c": 2, "v": 10.5, "vw": 1.9, "n": 3}
LISTING = {"ticker": "A", "active": True, "delisted_utc": "2024-01-03T00:00:00Z"}
DETAILS = {"ticker": "ABCD", "list_date": "2004-08-19", "market_cap": 1.5e9}
ROWS: dict[str, dict[str, Any]] = {
    "trades": make_wire_trade(correction=0, decimal_size="100.5"),
    "grouped": BAR | {"t": OPENING_NS // 10**6},
    "splits": SPLIT,
    "tickers": LISTING,
    "details": DETAILS,
}


def read_listings(client: PolygonClient) -> None:
    for page in iter_listing_pages(client, active=False):
        frame_listings(page.rows, active=False)


READERS: dict[str, Callable[[PolygonClient], object]] = {
    "trades": lambda client: client.fetch_trades("ABCD", GTE_NS, LT_NS),
    "grouped": lambda client: fetch_grouped_daily(client, SESSION),
    "splits": lambda client: fetch_splits(client, dt.date(2024, 1, 1), dt.date(2024, 12, 31)),
    "tickers": read_listings,
    "details": lambda client: fetch_details(client, "ABCD", SESSION),
}
"""Every reader of the vendor's bodies, by endpoint."""


def nest(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return f"{opening * depth}0{closing * depth}".encode()


ODD_VALUES = st.sampled_from(
    [
        *(
            b"null",
            b"true",
            b"-1",
            b"1e400",
            b"1e308",
            b"{}",
            b"[]",
            b"9" * 30,
            b"-" + b"9" * 5_000,
        ),
        *(str(2**63).encode(), str(-(2**63) - 1).encode(), b"253402300800000"),
        *(b'"x"', b'"\\ud800"', b'"\x1b\x00"', b'"\xff"', b'"nan"', b'"0001-01-01"'),
        *(b'"9999-12-31T23:59:59+23:59"', nest(990), nest(1_000), nest(100_000)),
        nest(1_000, '{"a":', "}"),
    ]
)


@st.composite
def mutated_bodies(draw: st.DrawFn, row: dict[str, Any], *, is_item: bool = False) -> bytes:
    """Draw a body with a member of it or of its row made odd, then perhaps cut and flipped."""
    members = {name: msgspec.json.encode(value) for name, value in row.items()}
    body = {"status": b'"OK"', "request_id": b'"r"', "next_url": b"null"}
    for target in draw(st.lists(st.sampled_from(["row", "body", "new"]), max_size=2)):
        names = members if target == "row" else body
        name = draw(st.sampled_from(sorted(names)))
        names[name if target != "new" else draw(st.sampled_from(NEW))] = draw(ODD_VALUES)
    text = join(members)
    results = text if is_item else b"[" + text + b"]"
    return damage(draw, join({"results": results, **body}))


NEW = ["error", "message", "resultsCount", "adjusted", "ticker", "\x1b"]


def join(members: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % (k.encode(), v) for k, v in members.items()) + b"}"


def damage(draw: st.DrawFn, body: bytes) -> bytes:
    if draw(st.booleans()):
        return body
    damaged = bytearray(body[: draw(st.integers(0, len(body)))])
    if damaged:
        damaged[draw(st.integers(0, len(damaged) - 1))] ^= draw(st.integers(0, 255))
    return bytes(damaged)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    details = [{"ticker": "ABCD", "type": "CS", "name": "A", "active": True}]
    with EmulatorServer(StaticSource(tickers=details)) as server:
        yield server


@pytest.mark.parametrize("endpoint", READERS)
@given(data=st.data())
@settings(max_examples=40)
def test_nothing_but_an_error_of_ours_escapes(
    emulator: EmulatorServer, endpoint: str, data: st.DataObject
) -> None:
    """L29: whatever a decoder raises is the failure of its page, and the rest continues."""
    body = data.draw(mutated_bodies(ROWS[endpoint], is_item=endpoint == "details"))
    status = data.draw(st.sampled_from([200, 200, 200, 403]))
    emulator.faults = [Fault(body=body, status=status, endpoint=endpoint)]

    with make_client(emulator.url, retries=0) as client, contextlib.suppress(VendorError):
        READERS[endpoint](client)


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("endpoint", READERS)
def test_json_nested_too_deeply_is_the_failure_of_its_page(
    emulator: EmulatorServer, endpoint: str, depth: int
) -> None:
    """L29: a ``RecursionError`` ended every run at the same session."""
    body = b'{"status":"OK","results":%b}' % nest(depth)
    emulator.faults = [Fault(body=body, endpoint=endpoint)]

    with make_client(emulator.url) as client, pytest.raises(PayloadError, match=r"nested|array"):
        READERS[endpoint](client)
