"""What a commit changes: entries that counted before it, and those that it brought.

What belongs here: reading the few records that say so.  What does not: whole months
(``indexing``), and the tables that change (``lake.ledger.months``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.indexing import count_entries
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.ledger.months import MonthIndex
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.segments.records import PartFacts, Record, frame_parts, parse_record

_NO_PARTS: Final = frame_parts([])


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit to one month changes.

    Attributes:
        before: Entries of ``count_entries`` that counted, for all of its sessions.
        counted: All entries that it brought, likewise.
    """

    before: pl.DataFrame
    counted: pl.DataFrame


def read_change(index: MonthIndex, lake: SegmentLake, fresh: Sequence[Record]) -> Change | None:
    """Read what records of one month change; ``None``: it is not as the ledger knows it.

    What they say of new sessions needs no other record.

    Raises:
        LedgerMismatchError: A record with earlier answers is damaged.
        StorageError: The storage refuses.
    """
    named = pl.concat([_name(record) for record in fresh])
    holders = index.find_holders(count_entries(named, _NO_PARTS))
    held = _load_all(lake, holders.select("month", "record").unique().rows())
    if held is None:
        return None
    by_record = holders.select(*KEY, pl.col("record").alias(SEGMENT), "was_proven")
    counting = pl.concat([named.clear(), *map(_name, held)])
    counting = counting.join(by_record, on=[*KEY, SEGMENT], how="inner", validate="1:1")
    places = [*named["part"].drop_nulls().unique(), *counting["part"].drop_nulls().unique()]
    parts = _find_parts(index, lake, [*fresh, *held], places)
    if parts is None or counting.height != holders.height:
        return None
    before = count_entries(counting, parts).with_columns(is_proven="was_proven")
    return Change(before.drop("was_proven"), count_entries(named, parts))


def _find_parts(
    index: MonthIndex, lake: SegmentLake, records: Sequence[Record], places: Iterable[str]
) -> pl.DataFrame | None:
    """Find what records say of the parts that entries name; ``None``: nothing says it of one.

    An entry that was told again names a part of an earlier record.
    """
    facts = {part.name: part for record in records for part in record.header.parts}
    if missing := {*places} - facts.keys():
        month = records[0].header.month
        known = index.ledger.month_records([month]).filter(~pl.col("is_lost"))
        names = known.filter(pl.col("parts").list.set_intersection([*missing]).list.len() > 0)
        for record in _load_all(lake, names.select("month", "record").rows()) or ():
            facts |= {part.name: part for part in record.header.parts}
    return _frame_all(facts, missing)


def _frame_all(facts: dict[str, PartFacts], wanted: Iterable[str]) -> pl.DataFrame | None:
    return frame_parts(facts.values()) if facts.keys() >= {*wanted} else None


def _load_all(lake: SegmentLake, places: Iterable[tuple[str, str]]) -> list[Record] | None:
    """Load records by month and name; ``None``: one is gone."""
    records = []
    for month, name in places:
        try:
            content = lake.storage.load(record_key(month, name))
        except MissingPartitionError:
            return None
        records.append(parse_record(content, month=month, name=name, source=lake.source))
    return records


def _name(record: Record) -> pl.DataFrame:
    """Take the entries of a record, with its name."""
    return record.entries.with_columns(pl.lit(record.header.name).alias(SEGMENT))
