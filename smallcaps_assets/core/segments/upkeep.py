"""What upkeep does to a month: when rows are packed anew, and what may be removed.

What belongs here: the choice, as pure functions of entries, parts and times of the storage's own
clock.  What does not: doing it (``lake``), and who has to be kept out meanwhile.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.merging import SEGMENT, measure_parts

PART_BYTES: Final = 32 * 1024**2
"""Size near which a part ends."""
SPARE_PARTS: Final = 3
STALE_SHARE: Final = 0.1
MOST_RECORDS: Final = 16
"""What a month may have above its need before it is packed: parts, rows that do not count,
records."""
REST_NS: Final = 24 * 3600 * 10**9
"""How long a file stays after it was displaced, for readers that have opened it."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How a month is stored, apart from what waits to be removed.

    Attributes:
        parts: Parts with rows that count.
        needed: Parts that these rows need.
        stale_share: Share of the rows in these parts that do not count.
        records: Records that no other one replaces.
    """

    parts: int
    needed: int
    stale_share: float
    records: int

    @property
    def is_untidy(self) -> bool:
        """Say whether packing the month is worth its price; never right after it was packed."""
        return (
            self.parts > self.needed + SPARE_PARTS
            or self.stale_share > STALE_SHARE
            or self.records > MOST_RECORDS
        )


def measure_fill(winners: pl.DataFrame, parts: pl.DataFrame, records: int) -> Fill:
    """Measure how a month is stored.

    Args:
        winners: Entries that count.
        parts: Columns ``part``, ``rows`` and ``bytes``, of the parts that are there.
        records: Records that no other one replaces.
    """
    live = measure_parts(winners, parts).filter(pl.col("live_rows") > 0)
    shares = live.select(
        bytes=(pl.col("bytes") * pl.col("live_rows") / pl.col("rows")).sum(),
        stale=1 - pl.col("live_rows").sum() / pl.col("rows").sum(),
    ).row(0, named=True)
    needed = math.ceil(shares["bytes"] / PART_BYTES)
    return Fill(live.height, needed, shares["stale"] if live.height else 0.0, records)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a month as its storage lists them, and what its records say of each other.

    Attributes:
        records: When each record was stored, by its name; nanoseconds of the storage's clock.
        replaces: What each record replaces, by its name.
        parts: Names of the parts that are there.
        named: Parts and records that the published catalog or one of the last two snapshots names.
    """

    records: Mapping[str, int]
    replaces: Mapping[str, Collection[str]]
    parts: Collection[str]
    named: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Removals:
    """What may be removed, in this order: a record without its part says nothing that counts.

    Attributes:
        parts: Names of parts.
        records: Names of records.
    """

    parts: tuple[str, ...]
    records: tuple[str, ...]


def choose_removals(
    entries: pl.DataFrame, winners: pl.DataFrame, files: Files, now_ns: int
) -> Removals:
    """Choose what was displaced a day ago and is named by nothing any more.

    A part goes when no winning entry names it, a record when another one replaces it and none of
    its entries wins; both a day after the youngest record of the entries that win over them.

    Args:
        entries: All entries of the month, with ``segment``.
        winners: Those that count.
        files: Its files.
        now_ns: Time by the storage's clock.
    """
    stored = pl.DataFrame(
        {SEGMENT: [*files.records], "displaced_ns": [*files.records.values()]},
        {SEGMENT: pl.String(), "displaced_ns": pl.Int64()},
    )
    by_key = winners.select(*KEY, SEGMENT).join(stored, on=SEGMENT, how="left").drop(SEGMENT)
    told = entries.join(by_key, on=KEY, how="left")
    replaced = set().union(*files.replaces.values())
    parts = _choose_rested(told, "part", _list_names(winners, "part"), now_ns)
    records = _choose_rested(told, SEGMENT, _list_names(winners, SEGMENT), now_ns)
    return Removals(
        tuple(sorted((parts & {*files.parts}) - {*files.named})),
        tuple(sorted((records & replaced & files.records.keys()) - {*files.named})),
    )


def choose_strays(
    strays: Mapping[str, int], lost: Collection[str], now_ns: int, rest_ns: int = REST_NS
) -> tuple[str, ...]:
    """Choose the parts that no record names and that nobody will name any more.

    On a disk nobody writes while the exclusive lock is held, so nothing has to rest.  In a bucket
    a writer may sleep between its part and its record: a stray rests a day from the run that saw
    it first.  One that may be all that is left of a lost record stays until that is settled.

    Args:
        strays: When each was seen first, by its name; nanoseconds of the storage's clock.
        lost: Names of records that are lost.
        now_ns: Time by the same clock.
        rest_ns: How long one has to rest; 0: the exclusive lock is held.
    """
    suspects = {name for name in strays if name.partition(".")[0] in lost}
    rested = {name for name, seen_ns in strays.items() if now_ns - seen_ns >= rest_ns}
    return tuple(sorted(rested - suspects))


def _choose_rested(told: pl.DataFrame, column: str, kept: set[str], now_ns: int) -> set[str]:
    """Choose the files of which every entry was beaten a day ago."""
    beaten = (
        told.filter(pl.col(column).is_not_null()).group_by(column).agg(pl.col("displaced_ns").max())
    )
    rested = beaten.filter(pl.col("displaced_ns") <= now_ns - REST_NS)
    return _list_names(rested, column) - kept


def _list_names(frame: pl.DataFrame, column: str) -> set[str]:
    return {*frame[column].drop_nulls().unique()}
