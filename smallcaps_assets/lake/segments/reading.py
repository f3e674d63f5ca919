"""A month of segments as it lies: its records, what counts of them, and rows by their place.

What belongs here: reading records and parts of one month.  What does not: the rules of what counts
(``core.segments``), damage (``lake.upkeep.proving``), and the plan of a query over many months.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import Final, TypeVar

import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.merging import (
    SEGMENT,
    measure_parts,
    select_proven,
    select_two_answers,
    select_winners,
)
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError, StorageError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import (
    SEGMENTS,
    month_prefix,
    parse_key,
    part_key,
    record_key,
)
from smallcaps_assets.lake.segments.parts import PartReader
from smallcaps_assets.lake.segments.records import PartFacts, Record, frame_parts, parse_record
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.storage.protocol import Stored
from smallcaps_assets.schemas import ENTRIES, TRADES

Result = TypeVar("Result")
NOTHING: Final[Mapping[str, Record]] = MappingProxyType({})


@dataclass(frozen=True)
class Month:
    """One month of a lake, as of one listing.

    Attributes:
        name: The month, ``YYYY-MM``.
        records: Records that are whole, by name.
        damaged: Why the others are not, by name.
        stored: What the storage says of each record, by name.
        parts: What it says of each part, by name.
    """

    name: str
    records: Mapping[str, Record]
    damaged: Mapping[str, str]
    stored: Mapping[str, Stored]
    parts: Mapping[str, Stored]

    @cached_property
    def entries(self) -> pl.DataFrame:
        """All entries, with the name of their record in ``segment``."""
        frames = [
            record.entries.with_columns(pl.lit(name).alias(SEGMENT))
            for name, record in self.records.items()
        ]
        return pl.concat([ENTRIES.empty().with_columns(pl.lit("").alias(SEGMENT)), *frames])

    @cached_property
    def winners(self) -> pl.DataFrame:
        """The entries that count, by key."""
        return select_winners(self.entries)

    @property
    def proven(self) -> pl.DataFrame:
        """Those that need no request."""
        return select_proven(self.winners, self.parts.keys())

    @property
    def two_answers(self) -> pl.DataFrame:
        """Green entries that contradict each other."""
        return select_two_answers(self.entries, self.winners)

    @cached_property
    def told_parts(self) -> Mapping[str, PartFacts]:
        """What records say of their parts, by the name of the part."""
        return {part.name: part for one in self.records.values() for part in one.header.parts}

    @cached_property
    def part_facts(self) -> pl.DataFrame:
        """What records say of the parts that are there, and how many of their rows count.

        Columns ``part``, ``sha256``, ``bytes``, ``rows``, ``live_rows``, ``is_whole``.
        """
        there = [part for name, part in sorted(self.told_parts.items()) if name in self.parts]
        return measure_parts(self.winners, frame_parts(there))

    @property
    def replaced(self) -> set[str]:
        """Names of records that another record of the month replaces."""
        return {name for one in self.records.values() for name in one.header.replaces}

    @property
    def strays(self) -> dict[str, Stored]:
        """Parts that neither a record nor one of its entries names."""
        named = {*self.told_parts, *self.entries["part"].drop_nulls()}
        return {name: stored for name, stored in self.parts.items() if name not in named}


def list_months(lake: SegmentLake) -> list[str]:
    """List the months that have a file."""
    files = (parse_key(stored.key) for stored in lake.storage.list_keys(SEGMENTS))
    return sorted({file.month for file in files if file})


def survey_month(lake: SegmentLake, month: str) -> Month:
    """Read all records of a month; those that are damaged are listed, for upkeep alone.

    Raises:
        MissingPartitionError: A record was removed meanwhile, twice.
        PartitionConflictError: A record is of another source, or of a newer version.
        StorageError: The storage refuses.
    """
    return read_twice(lambda: _survey(lake, month))


def read_month(lake: SegmentLake, month: str) -> Month:
    """Read a month of which every record is whole.

    A reader that left a damaged record out would show what its entries have replaced.

    Raises:
        LedgerMismatchError: A record is damaged.
        MissingPartitionError: A record was removed meanwhile, twice.
        PartitionConflictError: A record is of another source, or of a newer version.
        StorageError: The storage refuses.
    """
    return require_whole(survey_month(lake, month))


def require_whole(month: Month) -> Month:
    """Refuse a month of which a record is damaged.

    Raises:
        LedgerMismatchError: One is.
    """
    for reason in month.damaged.values():
        raise LedgerMismatchError(reason)
    return month


def refresh_month(lake: SegmentLake, known: Month) -> Month:
    """Bring a month up to date, reading only the records that it does not have yet.

    Damaged ones are listed, as :func:`survey_month` does.

    Raises:
        MissingPartitionError: A record was removed meanwhile, twice.
        PartitionConflictError: A record is of another source, or of a newer version.
        StorageError: The storage refuses.
    """
    read = read_twice(lambda: _survey(lake, known.name, known.records))
    return known if (read.stored, read.parts) == (known.stored, known.parts) else read


def read_rows(lake: SegmentLake, month: str, wanted: pl.DataFrame) -> pl.DataFrame:
    """Read the rows of sessions, by the records as they are now.

    Where a part is gone, because it was packed or removed meanwhile, the records are read again
    once.

    Args:
        lake: The lake.
        month: The month.
        wanted: Columns of the key, a row a session.

    Returns:
        ``schemas.TRADES`` by ticker, session and tape; nothing of a session that is not stored.

    Raises:
        DataError: A part is damaged.
        LedgerMismatchError: A record is damaged.
        MissingPartitionError: A part is gone, twice: reopen.
        StorageError: The storage refuses.
    """

    def read() -> pl.DataFrame:
        winners = read_month(lake, month).winners
        return read_entries(lake, month, winners.join(wanted, on=KEY, how="semi"))

    return read_twice(read)


def read_entries(lake: SegmentLake, month: str, entries: pl.DataFrame) -> pl.DataFrame:
    """Read the rows that entries name, part after part.

    Returns:
        ``schemas.TRADES`` by ticker, session and tape.

    Raises:
        DataError: A part is damaged.
        MissingPartitionError: A part is gone.
        StorageError: The storage refuses.
    """
    rows = entries.filter(pl.col("rows") > 0).sort("part", "first_row")
    places = rows.select("part", "first_row", "rows").rows()
    pieces = [
        PartReader(lake.storage, part_key(month, part)).read([place[1:] for place in group])
        for part, group in groupby(places, key=lambda place: place[0])
    ]
    # Sorting is stable, so that each tape keeps its order.
    whole = pl.concat([TRADES.empty(), *pieces])
    return whole.sort("ticker", "session_date", maintain_order=True)


def _survey(lake: SegmentLake, month: str, known: Mapping[str, Record] = NOTHING) -> Month:
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    stored: dict[str, Stored] = {}
    parts: dict[str, Stored] = {}
    for found in lake.storage.list_keys(month_prefix(month)):
        file = parse_key(found.key)
        if file is None:
            continue
        if not file.is_record:
            parts[file.name] = found
            continue
        stored[file.name] = found
        if file.name in known:
            records[file.name] = known[file.name]
            continue
        try:
            content = lake.storage.load(record_key(month, file.name))
            records[file.name] = parse_record(
                content, month=month, name=file.name, source=lake.source
            )
        except LedgerMismatchError as error:
            damaged[file.name] = str(error)
        except StorageError as error:
            if not is_broken(error):
                raise
            damaged[file.name] = str(error)
    return Month(month, records, damaged, stored, parts)


def read_twice(read: Callable[[], Result]) -> Result:
    """Read again once where a file went away between two looks.

    Raises:
        MissingPartitionError: It is away again.
    """
    try:
        return read()
    except MissingPartitionError:
        try:
            return read()
        except MissingPartitionError as error:
            raise MissingPartitionError(
                f"{error}, twice: reopen the lake; if that does not help, run `smallcaps audit`"
            ) from error
