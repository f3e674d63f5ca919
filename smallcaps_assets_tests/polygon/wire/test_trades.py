"""Pages of trades: real rows, odd rows, refusals; types are never guessed."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.errors import NotEntitledError, PayloadError, RateLimitError, VendorError
from smallcaps_assets.polygon.wire import trades as trades_wire
from smallcaps_assets.polygon.wire.envelopes import decode_page, read_vendor_text
from smallcaps_assets.polygon.wire.trades import (
    BLOCK_BYTES,
    TRADE_COLUMNS,
    TradeRow,
    TradesPage,
    decode_trades_page,
    frame_trades,
)
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.emulator.emulator_factories import SHARED
from smallcaps_assets_tests.polygon.polygon_factories import (
    KEY,
    make_frame,
    make_wire_trade,
    make_wire_trades,
    render_page,
)

SAMPLES = SHARED / "data" / "vendor_samples"

URL = "https://api.polygon.io/v3/trades/ABCD"


def decode(body: bytes) -> TradesPage:
    return decode_trades_page(body, "ABCD", url=URL)


def parse(*rows: dict[str, Any]) -> pl.DataFrame:
    return decode(render_page(rows)).rows


def test_frame_trades_has_the_columns_of_the_contract() -> None:
    rows = make_wire_trades(50)

    assert_frame_equal(parse(*rows), make_frame(rows))
    assert parse().schema == TRADE_COLUMNS
    assert set(TRADE_COLUMNS) < set(TRADES.schema)


def test_frame_trades_takes_finite_sizes_whose_sum_is_none() -> None:
    rows = [make_wire_trade(number, decimal_size="1.7e308") for number in range(3)]

    assert parse(*rows)["size"].to_list() == [1.7e308] * 3


def test_frame_trades_keeps_types_whatever_the_first_rows_look_like() -> None:
    """L8: price 5.01 became 5, conditions vanished, 0.5 shares became 0."""
    plain = [make_wire_trade(number, price=5, conditions=None) for number in range(200)]

    trades = parse(*plain, make_wire_trade(200, price=5.01, conditions=[12], size=0.5))

    assert trades["price"].to_list() == [5.0] * 200 + [5.01]
    assert trades["conditions"].to_list() == [None] * 200 + [[12]]
    assert trades["size"][-1] == 0.5


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"size": 0, "decimal_size": "0.013374"}, 0.013374),
        ({"size": 125, "decimal_size": "125.013374"}, 125.013374),
        ({"size": None, "decimal_size": "7"}, 7.0),
        ({"size": 100}, 100.0),
        ({"size": 0}, 0.0),
    ],
)
def test_frame_trades_takes_the_whole_size(fields: dict[str, Any], size: float) -> None:
    """L8: shares below one have size 0 and a decimal size."""
    others = make_wire_trades(2)

    assert parse(make_wire_trade(**fields), *others)["size"].to_list() == [size, 100.0, 101.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"size": None},
        {"decimal_size": "many"},
        {"decimal_size": "inf"},
        {"decimal_size": "nan"},
        {"decimal_size": ""},
    ],
)
def test_frame_trades_refuses_a_trade_without_a_size(fields: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="size"):
        parse(make_wire_trade(**fields))


def test_frame_trades_reads_rows_of_2003() -> None:
    row = make_wire_trade(id="", participant_timestamp=0, conditions=[], sequence_number=None)

    trade = parse(row).row(0, named=True)

    assert (trade["id"], trade["conditions"], trade["sequence_number"]) == (None, None, None)
    assert trade["correction"] == 0


def test_unknown_fields_are_ignored() -> None:
    rows = [make_wire_trade(rank=1, nested={"a": [None]})]

    page = decode(render_page(rows, count=1, queryCount="x"))

    assert len(page.rows) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sip_timestamp", 2**63),
        ("sip_timestamp", 1.7e18),
        ("sip_timestamp", None),
        ("participant_timestamp", "1704292200000000001"),
        ("sequence_number", 2**64),
        ("price", "5.01"),
        ("price", None),
        ("exchange", 2**15),
        ("tape", 128),
        ("correction", -129),
        ("trf_id", 1e9),
        ("conditions", [2**31]),
        ("conditions", "12,37"),
        ("id", 12),
        ("decimal_size", 0.5),
    ],
)
def test_a_field_of_another_type_or_range_is_refused(field: str, value: object) -> None:
    """L8: a wrong type is an error, not another type."""
    row = {**make_wire_trade(), field: value}

    with pytest.raises(PayloadError, match=field):
        decode(render_page([row]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"results":[]}',
        b"<html><body>Bad gateway</body></html>",
        b'{"status":"OK","results":[',
        b'{"status":"OK","results":[]}{}',
        b'{"status":"OK","results":{}}',
        b'{"status":"OK","request_id":"\xff"}',
        b'{"status":"OK","results":[],"resultsCount":3}',
        b'{"status":"OK","results":[],"adjusted":true}',
        b'{"status":"NOT_FOUND","results":[]}',
        b'{"status":"ERROR","error":"boom","results":"none"}',
        b'{"status":7}',
    ],
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    """L3: HTML, cut JSON and errors in a 200 are never an empty day."""
    with pytest.raises(PayloadError):
        decode(body)


@pytest.mark.parametrize(
    ("members", "has_results"), [({"results": []}, True), ({"results": None}, False), ({}, False)]
)
def test_a_page_says_whether_it_has_results(members: dict[str, Any], *, has_results: bool) -> None:
    body = msgspec.json.encode({"status": "DELAYED", "next_url": "", **members})

    page = decode(body)

    assert (page.rows.height, page.has_results, page.status) == (0, has_results, "DELAYED")
    assert page.next_url is None


@pytest.mark.parametrize(
    ("text", "is_timeframe"),
    [
        ("You are not entitled to this data. Please upgrade your plan", False),
        ("Your plan doesn't include this data timeframe. Please upgrade", True),
        ("Attempted to request today's data before end of day.", True),
    ],
)
def test_a_refusal_with_status_200_is_told_apart(text: str, *, is_timeframe: bool) -> None:
    body = msgspec.json.encode({"status": "NOT_AUTHORIZED", "message": text, "results": 1})

    with pytest.raises(NotEntitledError) as caught:
        decode(body)

    assert (caught.value.is_timeframe, caught.value.status) == (is_timeframe, 200)


def test_the_rate_may_be_refused_with_status_200() -> None:
    body = b'{"status":"ERROR","error":"You\'ve exceeded the maximum requests per minute"}'

    with pytest.raises(RateLimitError):
        decode(body)


def test_the_vendors_words_are_kept_short_and_without_the_key() -> None:
    """L14: a vendor that repeats the key does not bring it into an error."""
    body = msgspec.json.encode({"status": "ERROR", "error": f"key\n {KEY} " + "x" * 999})

    with pytest.raises(PayloadError) as caught:
        decode_trades_page(body, "ABCD", url=URL, secret=KEY)

    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert read_vendor_text(body, secret=KEY).startswith("key *** x")
    assert read_vendor_text(b"<html>") == ""


@pytest.mark.skipif(not SAMPLES.exists(), reason="no vendor samples: set SMALLCAPS_SHARED")
def test_recorded_pages_and_rows_are_read_as_they_are() -> None:
    body = (SAMPLES / "client_python_mocks" / "v3_trades_AAPL_limit_2.json").read_bytes()
    rows = json.loads((SAMPLES / "misc_rows" / "rest_trade_rows_real.json").read_bytes())
    whole = [row for row in rows if "sip_timestamp" in row]

    assert_frame_equal(decode(body).rows, make_frame(json.loads(body)["results"]))
    assert_frame_equal(parse(*whole), make_frame(whole))
    assert len(whole) == 3


def test_a_long_page_is_read_in_blocks_with_what_its_first_rows_lack() -> None:
    """L8: types and conditions of the last rows are those of the contract too."""
    rows = [make_wire_trade(number, conditions=None) for number in range(6_000)]
    rows.append(make_wire_trade(6_000, conditions=[12, 37], decimal_size="0.25"))
    body = render_page(rows)

    page = decode(body)

    assert len(body) > 2 * BLOCK_BYTES
    assert page.rows.n_chunks() > 2
    assert_frame_equal(page.rows, make_frame(rows))


def read_whole(body: bytes) -> TradesPage | VendorError:
    """Return what reading a body at once gives, its error included."""
    try:
        page = decode_page(body, TradeRow, url=URL)
    except VendorError as error:
        return error
    trades = frame_trades(page.rows, "ABCD")
    return replace(page, rows=trades)  # type: ignore[arg-type, return-value]


ODD_TEXTS = st.sampled_from(["},{", '"results":[', "}]", "rows apart", "\\", '"', "]}", "{}", "x"])
odd_rows = st.builds(
    lambda number, text, extra: make_wire_trade(number, id=text, **extra),
    st.integers(0, 99),
    st.lists(ODD_TEXTS, max_size=3).map("".join),
    st.sampled_from(
        [{}, {"odd": [{"a": 1}, {"b": 2}]}, {"odd": {"results": [{"a": 1}]}}, {"size": "100"}]
    ),
)
members = st.dictionaries(
    st.sampled_from(["odd", "request_id", "next_url", "count"]),
    st.lists(ODD_TEXTS, max_size=3).map("".join) | st.just([{"results": [{"a": 1}]}]),
    max_size=3,
)


@given(
    rows=st.lists(odd_rows, max_size=6),
    before=members,
    after=members,
    block_bytes=st.integers(1, 400),
    cut=st.integers(0, 60) | st.just(0),
)
@settings(max_examples=300)
def test_blocks_give_what_the_whole_gives(
    rows: list[dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
    block_bytes: int,
    cut: int,
) -> None:
    """L3: wherever the cuts fall, rows are the same, and so is every refusal."""
    whole_body = msgspec.json.encode({**before, "results": rows, "status": "OK", **after})
    body = whole_body[: len(whole_body) - cut]
    whole = read_whole(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trades_wire, "BLOCK_BYTES", block_bytes)
        if isinstance(whole, VendorError):
            with pytest.raises(type(whole)) as caught:
                decode(body)
            assert str(caught.value) == str(whole)
            return
        page = decode(body)

    assert_frame_equal(page.rows, whole.rows)
    assert replace(page, rows=None) == replace(whole, rows=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b'{"results":[],"x":{"results":[%s]},"status":"OK"}',
        b'{"x":{"results":[%s]},"results":[],"status":"OK"}',
        b'{"x":{"results":[%s]},"status":"OK"}',
        b'{"results":[%s],"results":[],"status":"OK"}',
        b'{"x":"\\"results\\":[%s]","status":"OK"}',
    ],
)
def test_rows_elsewhere_are_no_results(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trades_wire, "BLOCK_BYTES", 1)
    rows = render_page(make_wire_trades(3)).partition(b"[")[2].rpartition(b"]")[0]
    whole = read_whole(body % rows)

    if isinstance(whole, VendorError):
        with pytest.raises(PayloadError):
            decode(body % rows)
    else:
        assert decode(body % rows).rows.equals(whole.rows)
        assert whole.rows.is_empty()
