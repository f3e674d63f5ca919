import datetime as dt

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError
from smallcaps_assets.lake.sessions.receipts import (
    RECEIPT_VERSION,
    FetchFacts,
    Receipt,
    encode_receipt,
    parse_receipt,
)
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_receipt

TEXT = encode_receipt(make_receipt())

counts = st.integers(0, 2**40)
instants = st.datetimes(timezones=st.just(dt.UTC))
receipts = st.builds(
    Receipt,
    state=st.sampled_from(["complete", "empty"]),
    pages=counts,
    requests=counts,
    gte_ns=st.integers(0, 2**62),
    lt_ns=st.integers(0, 2**62),
    vendor_status=st.sampled_from(["OK", "DELAYED"]),
    run_id=st.text(max_size=20),
    started_at=instants,
    volume=st.none() | st.floats(0, 1e12),
    bar_trade_count=st.none() | counts,
    is_imported=st.booleans(),
    ticker=st.sampled_from(["ABCD", "BCpC", "BRK.A"]),
    session_date=st.dates(dt.date(2003, 1, 1)),
    source=st.text(max_size=20),
    schema_version=st.integers(1, 9),
    rows=counts,
    bytes=counts,
    sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    content_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    first_sip_timestamp=st.none() | st.integers(0, 2**62),
    last_sip_timestamp=st.none() | st.integers(0, 2**62),
    rows_by_phase=st.dictionaries(st.sampled_from(["regular", "closed"]), counts),
    committed_at=instants,
)


@settings(deadline=None)
@given(receipts)
def test_parse_receipt_undoes_encode_receipt(receipt: Receipt) -> None:
    text = encode_receipt(receipt)

    assert parse_receipt(text, where="here") == receipt
    assert encode_receipt(parse_receipt(text, where="here")) == text


def test_a_receipt_says_its_key_and_its_seal() -> None:
    receipt = make_receipt()

    fields = msgspec.json.decode(encode_receipt(receipt))

    assert receipt.key == f"ABCD_{SESSION}"
    assert fields["receipt_sha256"] == receipt.receipt_sha256


def test_a_receipt_holds_every_field_even_where_it_is_the_default() -> None:
    fields = msgspec.json.decode(encode_receipt(make_receipt()))

    names = {field.name for field in msgspec.structs.fields(Receipt)}
    assert fields.keys() == names | {"receipt_sha256"}
    assert {field.name for field in msgspec.structs.fields(FetchFacts)} <= names


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rows": 1', b'"rows": 2'),
        (b'"state": "complete"', b'"state": "empty"'),
        (b'"is_imported": false', b'"is_imported": true'),
        (b'"pages": 1', b'"pages": 1.5'),
        (b'"receipt_sha256": "', b'"receipt_sha256": "0'),
        (b'"receipt_sha256"', b'"other"'),
        (b'"ticker": "ABCD",', b""),
    ],
)
def test_an_edited_receipt_is_refused(old: bytes, new: bytes) -> None:
    text = encode_receipt(make_receipt())
    assert text.count(old) == 1

    with pytest.raises(LedgerMismatchError, match="edited or damaged"):
        parse_receipt(text.replace(old, new), where="here/_SUCCESS")


def test_a_receipt_may_be_laid_out_anew() -> None:
    receipt = make_receipt()

    text = msgspec.json.format(encode_receipt(receipt), indent=0)

    assert parse_receipt(text, where="here") == receipt


@settings(deadline=None)
@given(st.data())
def test_every_flipped_bit_of_a_receipt_is_found(data: st.DataObject) -> None:
    text = bytearray(TEXT)
    position = data.draw(st.integers(0, len(text) * 8 - 1))
    text[position // 8] ^= 1 << position % 8

    try:
        parsed = parse_receipt(bytes(text), where="here")
    except (LedgerMismatchError, PartitionConflictError):
        return
    assert encode_receipt(parsed) == TEXT


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": \xff}', b'{"a": 1'], ids=repr
)
def test_what_is_no_receipt_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(LedgerMismatchError, match="here/_SUCCESS"):
        parse_receipt(text, where="here/_SUCCESS")


def test_a_receipt_of_a_newer_version_is_refused() -> None:
    text = encode_receipt(make_receipt(receipt_version=RECEIPT_VERSION + 1))

    with pytest.raises(PartitionConflictError, match="update smallcaps-assets"):
        parse_receipt(text, where="here")


def test_a_sealed_text_with_a_wrong_type_is_refused() -> None:
    text = encode_receipt(make_receipt(rows="many"))

    with pytest.raises(LedgerMismatchError, match="is not one"):
        parse_receipt(text, where="here")
