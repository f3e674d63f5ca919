"""Receipts and manifests: sealed, versioned, and read back as they were written."""

import datetime as dt
from collections.abc import Callable
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError
from smallcaps_assets.lake.months.manifest import MonthFile, MonthManifest, parse_manifest
from smallcaps_assets.lake.sessions.receipts import parse_receipt
from smallcaps_assets.lake.storage.seals import encode_sealed
from smallcaps_assets_tests.lake.lake_factories import make_receipt

FILE: Final = MonthFile(name="trades-0123.parquet", rows=5, bytes=700, sha256="0" * 64)
MANIFEST: Final = MonthManifest(
    month="2024-03",
    source="emulator:seed=1",
    schema_version=1,
    sessions=2,
    rows=1,
    content_hash="1" * 64,
    parts=(FILE,),
    index=replace(FILE, name="sessions-4567.parquet", bytes=50),
    compacted_at=dt.datetime(2024, 4, 2, 12, tzinfo=dt.UTC),
)
Parse = Callable[..., msgspec.Struct]
both_kinds = pytest.mark.parametrize(
    ("kind", "document", "parse"),
    [("receipt", make_receipt(), parse_receipt), ("manifest", MANIFEST, parse_manifest)],
    ids=["receipt", "manifest"],
)


@both_kinds
def test_a_document_is_read_back_however_it_is_laid_out(
    kind: str, document: msgspec.Struct, parse: Parse
) -> None:
    """Every field is there, also where it is the default."""
    text = encode_sealed(document, kind)

    fields = msgspec.json.decode(text)
    assert fields.keys() == {*document.__struct_fields__, f"{kind}_sha256"}
    for laid_out in (text, msgspec.json.format(text, indent=0)):
        assert parse(laid_out, where="here") == document


@both_kinds
@given(data=st.data())
def test_every_flipped_bit_of_a_document_is_found(
    kind: str, document: msgspec.Struct, parse: Parse, data: st.DataObject
) -> None:
    text = bytearray(encode_sealed(document, kind))
    position = data.draw(st.integers(0, len(text) * 8 - 1))
    text[position // 8] ^= 1 << position % 8

    try:
        assert parse(bytes(text), where="here") == document
    except (LedgerMismatchError, PartitionConflictError):
        return


@both_kinds
@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"null", b"\xff", b'{"a": \xff}', b'{"a": 1'], ids=repr
)
def test_what_is_no_document_is_refused_with_its_place(
    kind: str, document: msgspec.Struct, parse: Parse, text: bytes
) -> None:
    for content in (text, encode_sealed(document, kind)[: -30 - len(text)]):
        with pytest.raises(LedgerMismatchError, match=f"{kind} here"):
            parse(content, where="here")


@both_kinds
def test_a_document_of_other_fields_or_a_newer_version_is_refused(
    kind: str, document: msgspec.Struct, parse: Parse
) -> None:
    edited = encode_sealed(document, kind).replace(b'"rows": 1,', b'"rows": 6,')
    newer = replace(document, **{f"{kind}_version": 99})

    with pytest.raises(LedgerMismatchError, match="edited or damaged"):
        parse(edited, where="here")
    with pytest.raises(LedgerMismatchError, match="is not one"):
        parse(encode_sealed(replace(document, rows="many"), kind), where="here")
    with pytest.raises(PartitionConflictError, match=r"has version 99.*update smallcaps-assets"):
        parse(encode_sealed(newer, kind), where="here")
