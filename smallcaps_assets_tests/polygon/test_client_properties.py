"""Any page size gives one frame; what is sent is what is read."""

import gzip
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.ticks.tape import sort_tape
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon.http.inflate import inflate_body
from smallcaps_assets.polygon.wire.envelopes import decode_page
from smallcaps_assets.polygon.wire.trades import TradeRow, decode_trades_page, frame_trades
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    OPENING_NS,
    make_client,
    make_frame,
    make_wire_trade,
    make_wire_trades,
    render_page,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
INT16 = st.integers(-(2**15), 2**15 - 1)
INT8 = st.integers(-(2**7), 2**7 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

wire_trades = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 1)), max_size=14
).map(
    lambda draws: [
        make_wire_trade(
            number if has_id else twin,
            at_ns=OPENING_NS + step * 7,
            id=f"{number}" if has_id else None,
            sequence_number=number + 1 if has_id else None,
        )
        for number, (step, has_id, twin) in enumerate(sorted(draws, key=lambda draw: draw[0]))
    ]
)
"""Trades with and without identity, some of the latter equal in every field."""

repeated_trades = st.tuples(wire_trades, st.lists(st.integers(1, 3), min_size=14, max_size=14)).map(
    lambda drawn: [row for row, count in zip(*drawn, strict=False) for _ in range(count)]
)
"""Tapes that hold trades, with an identity and without, several times."""

trade_rows = st.builds(
    TradeRow,
    conditions=st.none() | st.lists(st.integers(0, 2**31 - 1), max_size=3).map(tuple),
    correction=st.none() | INT8,
    decimal_size=st.none() | FLOATS.map(repr),
    exchange=st.none() | INT16,
    id=st.none() | st.text(max_size=5),
    participant_timestamp=st.none() | INT64,
    price=FLOATS,
    sequence_number=st.none() | INT64,
    sip_timestamp=INT64,
    size=FLOATS,
    tape=st.none() | INT8,
    trf_id=st.none() | INT16,
    trf_timestamp=st.none() | INT64,
)


@pytest.fixture(scope="module")
def source() -> StaticSource:
    return StaticSource()


@pytest.fixture(scope="module")
def emulator(source: StaticSource) -> Iterator[EmulatorServer]:
    with EmulatorServer(source) as server:
        yield server


@given(rows=wire_trades | repeated_trades, limit=st.integers(1, 15))
@settings(max_examples=60)
def test_any_page_limit_gives_one_frame(
    emulator: EmulatorServer, source: StaticSource, rows: list[dict[str, Any]], limit: int
) -> None:
    """L2, L4, L35: equal rows, ties and rows without identity included, exact repeats too."""
    source.trades["ABCD"] = rows

    with make_client(emulator.url, page_limit=limit, retries=0) as client:
        fetched = client.fetch_trades("ABCD", GTE_NS, LT_NS)

    assert_frame_equal(fetched.trades, sort_tape(make_frame(rows)))
    assert fetched.repeats_dropped == 0


@given(st.lists(trade_rows, max_size=5))
@settings(max_examples=100)
def test_what_is_serialized_is_what_is_parsed(rows: list[TradeRow]) -> None:
    body = msgspec.json.encode({"results": rows, "status": "OK"})

    assert decode_page(body, TradeRow, url="").rows == rows
    assert_frame_equal(decode_trades_page(body, "ABCD", url="").rows, frame_trades(rows, "ABCD"))


@given(st.lists(trade_rows, max_size=5))
@settings(max_examples=100)
def test_frames_hold_every_field_as_sent(rows: list[TradeRow]) -> None:
    """L5, L8, L24: nanoseconds, fractions and all fields exactly."""
    sent = [
        {name: value for name, value in msgspec.structs.asdict(row).items() if value is not None}
        for row in rows
    ]
    for row in sent:
        row["id"] = row.get("id") or None
        row["conditions"] = list(row.get("conditions") or ()) or None

    assert_frame_equal(frame_trades(rows, "ABCD"), make_frame(sent))


BODY = render_page(make_wire_trades(6), request_id="r")
PACKED = gzip.compress(BODY)


@given(st.integers(0, len(BODY) - 1))
def test_a_page_cut_anywhere_is_refused(length: int) -> None:
    """L3: cut JSON is an error, never a shorter page."""
    with pytest.raises(PayloadError):
        decode_trades_page(BODY[:length], "ABCD", url="")


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_a_byte_damaged_anywhere_is_refused_or_without_effect(place: int, mask: int) -> None:
    damaged = bytearray(PACKED)
    damaged[place] ^= mask

    try:
        body = inflate_body(bytes(damaged), "gzip", max_bytes=2**20, url="")
    except PayloadError:
        return
    assert body == BODY
