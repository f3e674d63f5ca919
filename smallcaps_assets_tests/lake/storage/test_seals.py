"""Receipts: sealed, versioned, and read back as they were written."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError
from smallcaps_assets.lake.sessions.receipts import encode_receipt, parse_receipt
from smallcaps_assets_tests.lake.lake_factories import make_receipt

RECEIPT: Final = make_receipt()


def test_a_document_is_read_back_however_it_is_laid_out() -> None:
    """Every field is there, also where it is the default."""
    text = encode_receipt(RECEIPT)

    fields = msgspec.json.decode(text)
    assert fields.keys() == {*RECEIPT.__struct_fields__, "receipt_sha256"}
    for laid_out in (text, msgspec.json.format(text, indent=0)):
        assert parse_receipt(laid_out, where="here") == RECEIPT


@given(data=st.data())
def test_every_flipped_bit_of_a_document_is_found(data: st.DataObject) -> None:
    text = bytearray(encode_receipt(RECEIPT))
    position = data.draw(st.integers(0, len(text) * 8 - 1))
    text[position // 8] ^= 1 << position % 8

    try:
        assert parse_receipt(bytes(text), where="here") == RECEIPT
    except (LedgerMismatchError, PartitionConflictError):
        return


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"null", b"\xff", b'{"a": \xff}', b'{"a": 1'], ids=repr
)
def test_what_is_no_document_is_refused_with_its_place(text: bytes) -> None:
    for content in (text, encode_receipt(RECEIPT)[: -30 - len(text)]):
        with pytest.raises(LedgerMismatchError, match="receipt here"):
            parse_receipt(content, where="here")


def test_a_document_of_other_fields_or_a_newer_version_is_refused() -> None:
    edited = encode_receipt(RECEIPT).replace(b'"rows": 1,', b'"rows": 6,')
    newer = replace(RECEIPT, receipt_version=99)
    strange = replace(RECEIPT, rows="many")

    with pytest.raises(LedgerMismatchError, match="edited or damaged"):
        parse_receipt(edited, where="here")
    with pytest.raises(LedgerMismatchError, match="is not one"):
        parse_receipt(encode_receipt(strange), where="here")
    with pytest.raises(PartitionConflictError, match=r"has version 99.*update smallcaps-assets"):
        parse_receipt(encode_receipt(newer), where="here")
