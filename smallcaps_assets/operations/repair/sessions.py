"""Repair: damaged files go to `quarantine/` with their evidence, and their sessions are missing.

Nothing is deleted, and nothing is fetched: the next download asks for what is missing.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.ingest.proof.replacing import move_aside
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.months.sessions import MonthDamage
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind, Orphan, OrphanKind
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.months import (
    find_damaged_months,
    frame_month_damages,
    rebuild_months,
)
from smallcaps_assets.operations.repair.segments import find_damaged_segments, heal_segments

logger = logging.getLogger(__name__)

MOVED_ORPHANS = (OrphanKind.NO_RECEIPT, OrphanKind.FOREIGN, OrphanKind.DUPLICATE)
"""Strays that are moved too; temporary files are swept by the next download."""

GROUP_SESSIONS: Final = 64
"""Sessions that one thread decodes at once; it bounds memory."""

Damages = dict[str, list[Damage]]
"""What is wrong, by key."""


@dataclass(frozen=True, slots=True)
class RepairFacts:
    """What a repair found and did.

    Attributes:
        checked: Sessions that were opened.
        damages: What is wrong with sessions.
        apart: What is wrong with prints beside the sessions, by tree: no download fetches them.
        lost: Keys that the ledger called stored and that have no receipt.
        orphans: Files that belong to no receipt.
        months: What is wrong with files of compacted months, which are rewritten.
        moved: Folders in quarantine.
    """

    checked: int
    damages: Damages
    apart: dict[Tree, Damages]
    lost: list[str]
    orphans: list[Orphan]
    months: list[MonthDamage] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """The keys that are missing now, sorted."""
        return sorted({*self.damages, *self.lost})


def repair_lake(lakehouse: Lakehouse, *, is_dry_run: bool = False) -> RepairFacts:
    """Verify every session deeply, and move what is damaged aside; hold the lock of the lake.

    Args:
        lakehouse: The lake.
        is_dry_run: Find everything and move nothing.

    Raises:
        MissingPartitionError: No plan is published.
        StorageError: The disk refuses; what was moved stays moved, and the next call continues.
    """
    keys, damages = _verify_tree(lakehouse, Tree.TRADES)
    beside = [tree for tree in Tree if tree is not Tree.TRADES]
    apart: dict[Tree, Damages] = {tree: _verify_tree(lakehouse, tree)[1] for tree in beside}
    lost = find_lost(lakehouse.ledger, keys | damages.keys())
    store = lakehouse.sessions
    if isinstance(store, SegmentStore):
        gone = lakehouse.ledger.lost_proof().select(key_expression()).to_series()
        strange = store.find_foreign()
        facts = RepairFacts(len(keys), damages, apart, sorted({*lost, *gone}), strange)
        if not is_dry_run:
            files = find_damaged_segments(store.lake)
            facts.moved.extend(heal_segments(lakehouse, store, files, facts.keys))
            green = _list_green(lakehouse.ledger, facts.lost)
            facts.lost[:] = [key for key in facts.lost if key not in green]
            _record_damages(lakehouse, facts)
            facts.moved.extend(store.quarantine_orphan(orphan.path) for orphan in facts.orphans)
        return facts
    orphans = [orphan for orphan in find_orphans(lakehouse) if orphan.kind in MOVED_ORPHANS]
    months = find_damaged_months(lakehouse.store.months, lakehouse.settings.workers)
    facts = RepairFacts(len(keys), damages, apart, lost, orphans, months)
    if not is_dry_run:
        _record_damages(lakehouse, facts)
        _move(lakehouse, facts)
    return facts


def find_damaged_files(lakehouse: Lakehouse) -> pl.DataFrame:
    """List the files of many sessions that are not what was written: months, records, parts.

    Raises:
        StorageError: The disk refuses.
    """
    store = lakehouse.sessions
    if isinstance(store, SegmentStore):
        return find_damaged_segments(store.lake)
    return frame_month_damages(
        find_damaged_months(lakehouse.store.months, lakehouse.settings.workers)
    )


def _verify_tree(lakehouse: Lakehouse, tree: Tree) -> tuple[set[str], Damages]:
    """Tell the keys of a tree whose receipts can be believed, and what is wrong with it."""
    store = lakehouse.sessions
    found: list[Damage] = []
    receipts = list(store.iter_receipts(tree=tree, damages=found))
    groups = group_sessions(receipts)
    with ThreadPoolExecutor(lakehouse.settings.workers, thread_name_prefix="repair") as pool:
        for damages in pool.map(partial(store.verify_sessions, tree=tree), groups):
            found += damages
    by_key: Damages = defaultdict(list)
    for damage in found:
        by_key[damage.key].append(damage)
    return {receipt.key for receipt in receipts}, dict(by_key)


def group_sessions(receipts: Sequence[Receipt]) -> list[Sequence[Receipt]]:
    """Cut sessions into groups that one thread verifies at once."""
    starts = range(0, len(receipts), GROUP_SESSIONS)
    return [receipts[start : start + GROUP_SESSIONS] for start in starts]


def find_lost(ledger: LedgerReader, known: set[str]) -> list[str]:
    """Find sessions that the ledger calls stored although no receipt lies on the disk."""
    stored = ledger.stored_sessions().select(key_expression()).to_series()
    return [key for key in stored if key not in known]


def find_orphans(lakehouse: Lakehouse) -> list[Orphan]:
    """Find files that belong to no receipt, or to a session that nobody planned."""
    _, plan = lakehouse.tables.read_plan()
    planned = set(plan.select(key_expression()).to_series())
    return lakehouse.sessions.find_orphans(planned)


def _record_damages(lakehouse: Lakehouse, facts: RepairFacts) -> None:
    """Tell the ledger what is wrong with sessions, unless it was made good.

    It is told before files of a lake of receipts are moved: a kill in between leaves some that the
    next repair moves.
    """
    failures = [
        Failure(
            key,
            states.QUARANTINED,
            damages[0].kind.value,
            "; ".join(damage.message for damage in damages),
            run_id="repair",
        )
        for key, damages in facts.damages.items()
    ]
    gone = "the ledger called it stored and there is no receipt"
    failures += [
        Failure(key, states.QUARANTINED, DamageKind.MISSING_FILE.value, gone, run_id="repair")
        for key in facts.lost
    ]
    if lakehouse.has_segments:
        named = lakehouse.ledger.lost_proof().select(key_expression()).to_series()
        settled = {*named} | _list_green(lakehouse.ledger, facts.keys)
        failures = [failure for failure in failures if failure.key not in settled]
    lakehouse.ledger.record_failures(failures)


def _list_green(ledger: LedgerReader, keys: Iterable[str]) -> set[str]:
    return {key for key, state in ledger.states(keys).items() if state in states.GREEN}


def _move(lakehouse: Lakehouse, facts: RepairFacts) -> None:
    """Move what is damaged aside."""
    now = lakehouse.clock()
    for tree, damaged in {Tree.TRADES: facts.damages, **facts.apart}.items():
        for damages in damaged.values():
            facts.moved.append(move_aside(lakehouse.store, damages, tree, now))
    for orphan in facts.orphans:
        # A link in the place of a data file went with its session.
        if os.path.lexists(orphan.path):
            facts.moved.append(lakehouse.store.quarantine_orphan(orphan.path))
    ledger, store, now = lakehouse.ledger, lakehouse.store, lakehouse.clock()
    facts.moved.extend(rebuild_months(ledger, store, lakehouse.bounds, facts.months, now))
