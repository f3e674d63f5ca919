from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.emulator.tape import TAPE_COLUMNS, Span, Tape

BIG = st.integers(1, 2**62)
OPTIONAL = ("trf_timestamp", "trf_id", "correction")
trades = st.fixed_dictionaries(
    {
        "sip_timestamp": BIG,
        "participant_timestamp": st.one_of(st.just(0), BIG),
        "trf_timestamp": st.one_of(st.just(0), BIG),
        "sequence_number": BIG,
        "id": st.text(max_size=8),
        "price": st.floats(1e-4, 1e9, allow_nan=False),
        "size": st.integers(0, 10**9),
        "decimal_size": st.one_of(st.none(), st.sampled_from(["0.013374", "100.0"])),
        "exchange": st.integers(1, 62),
        "tape": st.integers(1, 3),
        "trf_id": st.sampled_from([0, 201, 202]),
        "conditions": st.sampled_from(["", "12", "14,12,37,41"]),
        "correction": st.sampled_from([0, 1, 12]),
    }
)


def make_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TAPE_COLUMNS)


def show(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the vendor would send, written out naively."""
    sent = {name: value for name, value in row.items() if value or name not in OPTIONAL}
    sent["conditions"] = [int(number) for number in row["conditions"].split(",") if number]
    return {name: v for name, v in sent.items() if v is not None and v != []}


@settings(max_examples=40)
@given(st.lists(trades, max_size=12))
def test_a_frame_is_rendered_to_the_rows_the_vendor_would_send(rows: list[dict[str, Any]]) -> None:
    """L5, L8: no nanosecond and no digit of a price is lost on the way."""
    tape = Tape.from_frame(make_frame(rows))

    ordered = sorted(rows, key=lambda row: row["sip_timestamp"])
    body = msgspec.json.decode(b"[" + tape.cut(0, len(rows)) + b"]")
    assert body == [show(row) for row in ordered]


@pytest.mark.parametrize(("price", "text"), [(5.0, b"5,"), (5.01, b"5.01,"), (0.0001, b"0.0001,")])
def test_integral_prices_have_no_point_like_the_vendors(price: float, text: bytes) -> None:
    """L8: a page may begin with prices that look like integers."""
    row = {name: 1 for name in TAPE_COLUMNS if name not in {"id", "decimal_size", "conditions"}}

    tape = Tape.from_frame(make_frame([{**row, "price": price, "id": "1", "conditions": ""}]))

    assert b'"price":' + text in tape.body


def test_rows_are_rendered_as_they_are_and_ties_keep_their_order() -> None:
    rows: list[dict[str, Any]] = [
        {"sip_timestamp": 2, "odd": None},
        {"sip_timestamp": 1, "n": 0},
        {"sip_timestamp": 1, "n": 1},
    ]

    tape = Tape.from_rows(rows)

    assert msgspec.json.decode(b"[" + tape.body + b"]") == [rows[1], rows[2], rows[0]]


@pytest.mark.parametrize(
    ("span", "numbers"),
    [
        (Span(0, 10), [0, 1, 2]),
        (Span(1, 2), [0, 1]),
        (Span(2, 3), [2]),
        (Span(3, 9), []),
        (Span(5, 1), []),
    ],
)
def test_a_span_is_half_open(span: Span, numbers: list[int]) -> None:
    tape = Tape.from_rows([{"sip_timestamp": t, "n": n} for n, t in enumerate((1, 1, 2))])

    rows = msgspec.json.decode(b"[" + tape.cut(*tape.locate(span)) + b"]")

    assert [row["n"] for row in rows] == numbers


def test_a_descending_cut_is_the_reverse() -> None:
    tape = Tape.from_rows([{"sip_timestamp": n, "n": n} for n in range(5)])

    rows = msgspec.json.decode(b"[" + tape.cut(1, 4, is_descending=True) + b"]")

    assert [row["n"] for row in rows] == [3, 2, 1]
