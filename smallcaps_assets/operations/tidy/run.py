"""One tidying of a lake: months packed first, then what was displaced a day ago removed.

What belongs here: which months, who is kept out, and what is left to another time.  What does not:
packing one month (``lake.upkeep.packing``).

While months are packed downloads may continue; while files are removed nobody else is there.  What
the published catalog reads stays: it is built again before anything is removed, and what was
displaced since rests a day.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from smallcaps_assets.errors import (
    DataError,
    LedgerMismatchError,
    MissingPartitionError,
)
from smallcaps_assets.ingest.derived import publish_snapshot, refresh_catalog, refresh_ledger
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import list_months, read_month
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced, remove_strays
from smallcaps_assets.lake.upkeep.snapshots import (
    find_month_losses,
    list_named,
    read_snapshots,
)
from smallcaps_assets.lakehouse import Lakehouse


@dataclass(slots=True)
class TidyFacts:
    """What a tidying did.

    Attributes:
        months: Months that were looked at.
        packed: Months that were packed.
        removed_bytes: Size of the files that were removed.
        removed: Files that were removed: displaced a day ago, or parts that no record names.
        skipped: Months that were left as they are, and why: repair them first.
    """

    months: int = 0
    packed: list[str] = field(default_factory=list)
    removed_bytes: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def tidy_lake(lakehouse: Lakehouse, *, is_forced: bool = False) -> TidyFacts:
    """Pack the months of a lake that need it, then remove what nothing names any more.

    Doing it again writes nothing, and removes what has rested a day since.

    Args:
        lakehouse: The lake, whose lock nobody holds.
        is_forced: Pack every month.

    Raises:
        PartitionConflictError: Another process uses the lake.
        StorageError: The disk refuses; doing it again continues.
    """
    store = lakehouse.sessions
    facts = TidyFacts()
    with lakehouse.writing("tidy", 0.0):
        for month in list_months(store.lake):
            facts.months += 1
            _pack(store.lake, month, facts, is_forced=is_forced)
        store.forget()
        _show(lakehouse, facts)
        snapshots = read_snapshots(store.lake)
        for month in list_months(store.lake):
            if month not in facts.skipped:
                _remove(store.lake, month, snapshots, facts)
        refresh_ledger(lakehouse, skips_damaged=True)
    return facts


def _show(lakehouse: Lakehouse, facts: TidyFacts) -> None:
    """Let ledger, snapshots and catalog name the files that were packed, and no others."""
    refresh_ledger(lakehouse, skips_damaged=True)
    if facts.packed:
        # The catalog brings one snapshot with it, and two are kept.
        publish_snapshot(lakehouse)
    refresh_catalog(lakehouse)


def _pack(lake: SegmentLake, month: str, facts: TidyFacts, *, is_forced: bool) -> None:
    """Pack a month; one that is damaged stays as it is, with all its files."""
    try:
        if pack_month(lake, month, is_forced=is_forced) is not None:
            facts.packed.append(month)
    except (DataError, LedgerMismatchError, MissingPartitionError) as error:
        facts.skipped[month] = str(error)


def _remove(
    lake: SegmentLake, month: str, snapshots: Mapping[str, pl.DataFrame], facts: TidyFacts
) -> None:
    """Remove what was displaced, and strays unless they may be all that is left of a record."""
    survey = read_month(lake, month)
    sizes = {name: stored.size for name, stored in {**survey.parts, **survey.stored}.items()}
    lost = [loss.record for loss in find_month_losses(survey, snapshots)]
    chosen = remove_displaced(lake, month, list_named(snapshots.values()))
    gone = (*chosen.parts, *chosen.records, *remove_strays(lake, survey, lost))
    facts.removed += len(gone)
    facts.removed_bytes += sum(sizes[name] for name in gone)
