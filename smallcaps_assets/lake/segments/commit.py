"""The commit of segments, the only way in which anything becomes true.

What belongs here: the order of operations.  What does not: single operations (``lake.storage``),
what a segment holds (``closing``).

1. parts are stored, all of the group;
2. records are stored;
3. the parts are looked up again: a writer that slept between 1 and 2 for days may find that its
   part was taken for a stray and removed.  It is stored under a new name, with a new record that
   replaces the first one and wins over it.

So a record never appears before its parts are on the disk.  A kill leaves strays at most; the
ledger, the outcome and Dagster's event come after.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.segments.entries import NOT_COMMITTED
from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.segments.closing import Draft
from smallcaps_assets.lake.segments.names import (
    PART_SUFFIX,
    Naming,
    month_prefix,
    parse_key,
    part_key,
    record_key,
)
from smallcaps_assets.lake.segments.records import (
    Header,
    PartFacts,
    Record,
    encode_record,
    parse_record,
)
from smallcaps_assets.lake.storage.protocol import Storage

_MOST_ROUNDS: Final = 5
"""Times that a part may be gone after its record was stored, before something is wrong."""


@dataclass(frozen=True, slots=True)
class SegmentLake:
    """Where segments lie, and how new ones get their names.

    Attributes:
        storage: The storage.
        source: Source that the lake is bound to.
        naming: Makes names.
    """

    storage: Storage
    source: str
    naming: Naming = field(default_factory=Naming)


def commit_segments(lake: SegmentLake, drafts: Sequence[Draft]) -> list[Record]:
    """Store segments, each whole or not at all; together they share their syncs.

    Returns:
        The records that count, in the order of ``drafts``.

    Raises:
        StorageError: The storage refuses.  What has its record is stored, the rest is absent, and
            committing all of it again is safe.
    """
    records = _store(lake, drafts)
    rounds = 0
    while gone := [number for number, record in enumerate(records) if not has_parts(lake, record)]:
        rounds += 1
        if rounds > _MOST_ROUNDS:
            names = ", ".join(records[number].header.name for number in gone)
            raise StorageError(
                f"expected the parts of {names} to stay, but they were removed {rounds} times "
                "while their records were stored: find out what removes files of the lake"
            )
        again = [_supersede(drafts[number], records[number], rounds) for number in gone]
        for number, record in zip(gone, _store(lake, again), strict=True):
            records[number] = record
    return records


def list_records(storage: Storage, month: str) -> list[str]:
    """List the names of the records of a month, whatever they say."""
    files = (parse_key(stored.key) for stored in storage.list_keys(month_prefix(month)))
    return sorted(file.name for file in files if file and file.is_record)


def name_segment(lake: SegmentLake, draft: Draft) -> Header:
    """Give a segment its name; of several parts the first shares it with the record."""
    names = [lake.naming.make() for _ in draft.parts] or [lake.naming.make()]
    parts = tuple(
        PartFacts(
            f"{name}{PART_SUFFIX}",
            hashlib.sha256(part.content).hexdigest(),
            len(part.content),
            part.rows,
        )
        for name, part in zip(names, draft.parts, strict=False)
    )
    return Header(
        source=lake.source, month=draft.month, name=names[0], parts=parts, replaces=draft.replaces
    )


def place_entries(draft: Draft, header: Header) -> pl.DataFrame:
    """Put the names of parts in place of their numbers."""
    names = {str(number): part.name for number, part in enumerate(header.parts)}
    part = pl.col("part").replace_strict(names, default=pl.col("part"), return_dtype=pl.String)
    return draft.entries.with_columns(part)


def store_parts(lake: SegmentLake, drafts: Sequence[Draft], headers: Sequence[Header]) -> None:
    """Store the parts of segments under the names that they were given.

    Raises:
        StorageError: The storage refuses.
    """
    lake.storage.save(
        {
            part_key(header.month, facts.name): part.content
            for draft, header in zip(drafts, headers, strict=True)
            for part, facts in zip(draft.parts, header.parts, strict=True)
        }
    )


def store_records(
    lake: SegmentLake, headers: Sequence[Header], entries: Sequence[pl.DataFrame]
) -> list[Record]:
    """Store records whose parts are there; each notes which records of its month are known.

    Raises:
        StorageError: The storage refuses.
    """
    seen = {month: list_records(lake.storage, month) for month in {one.month for one in headers}}
    now = pl.lit(lake.naming.clock(), pl.Datetime("us", "UTC"))
    # What is moved keeps the time at which it was answered.
    told_at = pl.when(pl.col("committed_at") == NOT_COMMITTED).then(now).otherwise("committed_at")
    contents = {}
    for header, told in zip(headers, entries, strict=True):
        knowing = msgspec.structs.replace(header, seen=tuple(seen[header.month]))
        content = encode_record(knowing, told.with_columns(committed_at=told_at))
        contents[record_key(header.month, header.name)] = content
    lake.storage.save(contents)
    return [
        parse_record(content, month=header.month, name=header.name, source=lake.source)
        for header, content in zip(headers, contents.values(), strict=True)
    ]


def has_parts(lake: SegmentLake, record: Record) -> bool:
    """Say whether all parts of a record are there."""
    month = record.header.month
    return all(lake.storage.stat(part_key(month, part.name)) for part in record.header.parts)


def _store(lake: SegmentLake, drafts: Sequence[Draft]) -> list[Record]:
    headers = [name_segment(lake, draft) for draft in drafts]
    store_parts(lake, drafts, headers)
    entries = [place_entries(draft, header) for draft, header in zip(drafts, headers, strict=True)]
    return store_records(lake, headers, entries)


def _supersede(draft: Draft, record: Record, rounds: int) -> Draft:
    """Say the same once more, in a way that wins over the record whose part is gone."""
    return replace(
        draft,
        entries=draft.entries.with_columns(pl.col("packed") + rounds),
        replaces=(*draft.replaces, *record.header.replaces, record.header.name),
    )
