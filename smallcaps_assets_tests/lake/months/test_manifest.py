"""Manifests of compacted months: sealed, versioned, and read back as they were written."""

import datetime as dt
from typing import Final

import msgspec
import pytest

from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError
from smallcaps_assets.lake.months.manifest import (
    MonthFile,
    MonthManifest,
    encode_manifest,
    parse_manifest,
)
from smallcaps_assets.lake.storage.seals import encode_sealed

FILE: Final = MonthFile(name="trades-0123.parquet", rows=5, bytes=700, sha256="0" * 64)
MANIFEST: Final = MonthManifest(
    month="2024-03",
    source="emulator:seed=1",
    schema_version=1,
    sessions=2,
    rows=5,
    content_hash="1" * 64,
    parts=(FILE,),
    index=msgspec.structs.replace(FILE, name="sessions-4567.parquet", bytes=50),
    compacted_at=dt.datetime(2024, 4, 2, 12, tzinfo=dt.UTC),
)


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    assert parse_manifest(encode_manifest(MANIFEST), where="here") == MANIFEST


def test_a_manifest_knows_its_size_and_files() -> None:
    assert MANIFEST.bytes == 750
    assert [file.name[:6] for file in MANIFEST.files] == ["trades", "sessio"]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", encode_manifest(MANIFEST)[:-30]])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(LedgerMismatchError, match="manifest here"):
        parse_manifest(text, where="here")


def test_an_edited_manifest_is_refused() -> None:
    text = encode_manifest(MANIFEST).replace(b'"rows": 5', b'"rows": 6')

    with pytest.raises(LedgerMismatchError, match="edited or damaged"):
        parse_manifest(text, where="here")


def test_a_newer_manifest_is_refused() -> None:
    newer = msgspec.to_builtins(msgspec.structs.replace(MANIFEST, manifest_version=2))

    with pytest.raises(PartitionConflictError, match="has version 2"):
        parse_manifest(encode_sealed(newer, "manifest_sha256"), where="here")


def test_a_sealed_text_of_other_fields_is_refused() -> None:
    text = encode_sealed({"manifest_version": 1}, "manifest_sha256")

    with pytest.raises(LedgerMismatchError, match="is not one"):
        parse_manifest(text, where="here")
