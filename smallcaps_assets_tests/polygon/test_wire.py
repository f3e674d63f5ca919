"""The wire format: real rows, odd rows, refusals; types are never guessed."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.errors import DataError, NotEntitledError, PayloadError, RateLimitError
from smallcaps_assets.polygon.wire import (
    ROWS_IN_REACH,
    TRADE_COLUMNS,
    TradeRow,
    decode_page,
    decode_trades_page,
    frame_trades,
    read_vendor_text,
    refuse,
)
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.polygon.polygon_factories import (
    KEY,
    make_frame,
    make_wire_trade,
    make_wire_trades,
    render_page,
)

REPO_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SMALLCAPS_SHARED", REPO_ROOT.parent / "shared"))
SAMPLES = SHARED / "data" / "vendor_samples"

URL = "https://api.polygon.io/v3/trades/ABCD"


def parse(*rows: dict[str, Any]) -> pl.DataFrame:
    return frame_trades(decode_trades_page(render_page(rows), url=URL).rows, "ABCD")


def test_frame_trades_has_the_columns_of_the_contract() -> None:
    rows = make_wire_trades(50)

    assert_frame_equal(parse(*rows), make_frame(rows))
    assert parse().schema == TRADE_COLUMNS
    assert set(TRADE_COLUMNS) < set(TRADES.schema)


def test_frame_trades_takes_finite_sizes_whose_sum_is_none() -> None:
    rows = [make_wire_trade(number, decimal_size="1.7e308") for number in range(3)]

    assert parse(*rows)["size"].to_list() == [1.7e308] * 3


@pytest.mark.parametrize("count", [ROWS_IN_REACH, ROWS_IN_REACH + 1, 2 * ROWS_IN_REACH + 7])
def test_frame_trades_joins_blocks_in_the_order_of_the_rows(count: int) -> None:
    """L8: what the first rows lack is there in the last ones."""
    rows = [make_wire_trade(number, conditions=None) for number in range(count - 1)]
    rows.append(make_wire_trade(count, conditions=[12, 37], decimal_size="0.25"))

    assert_frame_equal(parse(*rows), make_frame(rows))
    assert parse(*rows).n_chunks() == 1


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
    with pytest.raises(DataError, match="size"):
        parse(make_wire_trade(**fields))


def test_frame_trades_reads_rows_of_2003() -> None:
    row = make_wire_trade(id="", participant_timestamp=0, conditions=[], sequence_number=None)

    trade = parse(row).row(0, named=True)

    assert (trade["id"], trade["conditions"], trade["sequence_number"]) == (None, None, None)
    assert trade["correction"] == 0


@pytest.mark.parametrize("correction", [0, 1, 7, 8, 10, 11, 12])
def test_frame_trades_keeps_corrections(correction: int) -> None:
    assert parse(make_wire_trade(correction=correction))["correction"].to_list() == [correction]


@pytest.mark.parametrize("stamp", [1_704_292_200_000_000_001, 2**63 - 1])
def test_timestamps_keep_their_last_nanosecond(stamp: int) -> None:
    """L5: nanoseconds through floats were off by up to 973 ns."""
    trades = parse(make_wire_trade(at_ns=stamp))

    assert trades["sip_timestamp"].to_physical().to_list() == [stamp]


def test_unknown_fields_are_ignored() -> None:
    rows = [make_wire_trade(rank=1, nested={"a": [None]})]

    page = decode_trades_page(render_page(rows, count=1, queryCount="x"), url=URL)

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
        decode_trades_page(render_page([row]), url=URL)


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
        decode_trades_page(body, url=URL)


@pytest.mark.parametrize(
    ("members", "has_results"), [({"results": []}, True), ({"results": None}, False), ({}, False)]
)
def test_a_page_says_whether_it_has_results(members: dict[str, Any], *, has_results: bool) -> None:
    body = msgspec.json.encode({"status": "DELAYED", "next_url": "", **members})

    page = decode_trades_page(body, url=URL)

    assert (page.rows, page.has_results, page.status) == ([], has_results, "DELAYED")
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
        decode_trades_page(body, url=URL)

    assert (caught.value.is_timeframe, caught.value.status) == (is_timeframe, 200)


def test_the_rate_may_be_refused_with_status_200() -> None:
    body = b'{"status":"ERROR","error":"You\'ve exceeded the maximum requests per minute"}'

    with pytest.raises(RateLimitError):
        decode_trades_page(body, url=URL)


def test_the_vendors_words_are_kept_short_and_without_the_key() -> None:
    """L14: a vendor that repeats the key does not bring it into an error."""
    body = msgspec.json.encode({"status": "ERROR", "error": f"key\n {KEY} " + "x" * 999})

    with pytest.raises(PayloadError) as caught:
        decode_trades_page(body, url=URL, secret=KEY)

    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert read_vendor_text(body, secret=KEY).startswith("key *** x")
    assert read_vendor_text(b"<html>") == ""


def test_an_unheard_of_refusal_may_pass() -> None:
    assert isinstance(refuse(200, "status TIRED: later", url=URL), PayloadError)


def test_decode_page_reads_rows_of_any_type() -> None:
    page = decode_page(render_page([{"a": 1}]), dict[str, int], url=URL)

    assert page.rows == [{"a": 1}]


@pytest.mark.skipif(not SAMPLES.exists(), reason="no vendor samples: set SMALLCAPS_SHARED")
def test_recorded_pages_are_read_as_they_are() -> None:
    body = (SAMPLES / "client_python_mocks" / "v3_trades_AAPL_limit_2.json").read_bytes()
    sent = json.loads(body)["results"]

    trades = frame_trades(decode_trades_page(body, url=URL).rows, "ABCD")

    assert_frame_equal(trades, make_frame(sent))


@pytest.mark.skipif(not SAMPLES.exists(), reason="no vendor samples: set SMALLCAPS_SHARED")
def test_recorded_rows_are_read_as_they_are() -> None:
    rows = json.loads((SAMPLES / "misc_rows" / "rest_trade_rows_real.json").read_bytes())
    whole = [row for row in rows if "sip_timestamp" in row]

    assert_frame_equal(parse(*whole), make_frame(whole))
    assert len(whole) == 3


def test_rows_of_structs_are_not_tracked_by_the_garbage_collector() -> None:
    assert TradeRow.__struct_config__.gc is False
