import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.sessions.receipts import (
    Receipt,
    encode_receipt,
    parse_receipt,
)
from smallcaps_assets_tests.lake.lake_factories import make_receipt

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


@given(receipts)
def test_parse_receipt_undoes_encode_receipt(receipt: Receipt) -> None:
    text = encode_receipt(receipt)

    assert parse_receipt(text, where="here") == receipt
    assert encode_receipt(parse_receipt(text, where="here")) == text


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
