"""Repair, reindex and relocate as the command and the job of the same name do them.

What belongs here: the steps around the work itself, which both take.  What does not: the lock of
the lake, which the caller holds, and Dagster's view of the lake (``defs.instance``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smallcaps_assets.ingest.derived import (
    ReindexFacts,
    ensure_indexed,
    index_stored,
    record_published_plan,
    refresh_catalog,
    refresh_ledger,
)
from smallcaps_assets.lake.home.place import restore_register
from smallcaps_assets.lake.ledger.writer import discard_damaged_ledger
from smallcaps_assets.lake.segments.names import QUARANTINE
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.moving import MoveFacts
from smallcaps_assets.operations.repair.sessions import RepairFacts, repair_lake

SHOWN_PATHS: Final = 20


def repair_and_serve(lakehouse: Lakehouse, *, is_dry_run: bool = False) -> RepairFacts:
    """Repair the lake after missing its disks and its ledger; then rebuild the catalog.

    A damaged record keeps a lost ledger from being made again, so it is healed before.

    Raises:
        LakeError: A disk is not mounted.
        MissingPartitionError: No plan is published.
        StorageError: The disk refuses; the next call continues.
    """
    if not lakehouse.ledger.is_indexed:
        record_published_plan(lakehouse)
    refresh_ledger(lakehouse, skips_damaged=True)
    facts = repair_lake(lakehouse, is_dry_run=is_dry_run)
    if not is_dry_run:
        ensure_indexed(lakehouse)
        refresh_catalog(lakehouse)
    return facts


def empty_quarantine(lakehouse: Lakehouse) -> list[Path]:
    """Delete what lies in quarantine; tell which folders had any."""
    layout = lakehouse.layout
    places = [layout.quarantine_dir, layout.object_file(QUARANTINE.rstrip("/"))]
    folders = [folder for folder in places if folder.exists()]
    for folder in folders:
        lakehouse.fs.remove_tree(folder)
    return folders


def count_stored(lakehouse: Lakehouse) -> int:
    """Count the sessions that :func:`rebuild_ledger` would index."""
    return sum(1 for _ in lakehouse.sessions.iter_receipts())


def rebuild_ledger(lakehouse: Lakehouse) -> ReindexFacts:
    """Index every record; a damaged ledger is moved aside first, a lost register made again.

    Raises:
        LakeError: A record cannot be believed; `smallcaps audit --deep` names it.
        MissingPartitionError: No plan is published.
    """
    restore_register(lakehouse.home, lakehouse.fs)
    discard_damaged_ledger(lakehouse.layout.ledger_file, lakehouse.fs)
    record_published_plan(lakehouse)
    return index_stored(lakehouse)


def list_leftovers(lakehouse: Lakehouse, facts: MoveFacts) -> Iterator[str]:
    """Yield a line for each thing that a move leaves to be done by hand."""
    left = [path for removal in facts.removals for path in removal.left]
    for path in left[:SHOWN_PATHS]:
        yield f"left, because it belongs to nothing: {path}"
    if len(left) > SHOWN_PATHS:
        yield f"and {len(left) - SHOWN_PATHS:,} more"
    for absent in {removal.absent for removal in facts.removals} - {None}:
        yield (
            f"{absent} is not mounted: mount it and run the same command again to empty it, or "
            "remove its files yourself; nothing of it is needed"
        )
    named = lakehouse.settings.lake
    if named and facts.source and named.resolve() == facts.source.resolve():
        yield f"SMALLCAPS_LAKE still names the old place: remove it, or set it to {facts.target}"
