import hashlib
import io
import json
import re

import msgspec
import polars as pl
import pytest

from smallcaps_assets.core.segments.entries import Entry, frame_entries, list_entries
from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError, SchemaError
from smallcaps_assets.lake.segments.records import (
    Header,
    PartFacts,
    Record,
    encode_record,
    parse_record,
)
from smallcaps_assets_tests.core.segments.segment_factories import make_entry

HEADER = Header(
    source="emulator:seed=1",
    month="2024-03",
    name="20240402T101530Z-9f2c00112233aae1",
    parts=(PartFacts("20240402T101530Z-9f2c00112233aae1.parquet", "ab" * 32, 5, 1),),
    replaces=("a",),
    seen=("a", "b"),
)
ENTRIES = [make_entry(), make_entry(ticker="BCpC", state="empty", marks=("unproven_by_bar",))]


def make_content(header: Header = HEADER, entries: list[Entry] | None = None) -> bytes:
    return encode_record(header, frame_entries(ENTRIES if entries is None else entries))


def parse(content: bytes, **changes: str) -> Record:
    place = {"month": HEADER.month, "name": HEADER.name, "source": HEADER.source} | changes
    return parse_record(content, **place)


def test_a_record_is_read_back() -> None:
    content = make_content()

    record = parse(content)

    assert list_entries(record.entries) == ENTRIES
    assert msgspec.structs.replace(record.header, seal=HEADER.seal) == HEADER
    assert (record.sha256, record.size) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_record_is_proven_without_the_program() -> None:
    content = make_content()

    seal = json.loads(pl.read_parquet_metadata(content)["smallcaps"])["seal"]

    unsealed = content.replace(seal.encode(), b"?" * 64)
    assert hashlib.sha256(unsealed).hexdigest() == seal


def test_equal_entries_make_equal_records() -> None:
    assert make_content() == make_content(entries=ENTRIES[::-1])


def test_every_flipped_byte_shows() -> None:
    content = make_content()

    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        with pytest.raises(LedgerMismatchError, match="damaged"):
            parse(bytes(broken))


@pytest.mark.parametrize("keep", [0, 1, 63, 500, -1])
def test_a_cut_shows(keep: int) -> None:
    with pytest.raises(LedgerMismatchError, match="damaged"):
        parse(make_content()[:keep])


@pytest.mark.parametrize("place", [{"name": "other"}, {"month": "2024-04"}])
def test_a_record_under_another_name_shows(place: dict[str, str]) -> None:
    with pytest.raises(LedgerMismatchError, match="it says that it is"):
        parse(make_content(), **place)


def test_a_record_of_another_source_is_refused() -> None:
    with pytest.raises(PartitionConflictError, match="holds data of emulator:seed=1"):
        parse(make_content(), source="vendor")


def test_a_newer_record_is_refused() -> None:
    newer = msgspec.structs.replace(HEADER, format=3)

    with pytest.raises(PartitionConflictError, match=r"version 3.*update"):
        parse(make_content(newer))


def test_whole_records_of_other_columns_are_refused_as_newer() -> None:
    """Its seal is right, so a program made it so; an older one cannot know what it means."""
    buffer = re.sub(rb'"seal":"[0-9a-f]{64}"', b'"seal":"' + b"?" * 64 + b'"', make_content())
    wider = pl.read_parquet(buffer, glob=False).with_columns(later=1)
    metadata = {"smallcaps": pl.read_parquet_metadata(buffer)["smallcaps"]}
    sink = io.BytesIO()
    wider.write_parquet(sink, metadata=metadata)
    seal = hashlib.sha256(sink.getvalue()).hexdigest()

    with pytest.raises(PartitionConflictError, match="later"):
        parse(sink.getvalue().replace(b"?" * 64, seal.encode()))


def test_entries_that_break_their_contract_are_not_written() -> None:
    with pytest.raises(SchemaError):
        encode_record(HEADER, frame_entries(ENTRIES).drop("state"))
