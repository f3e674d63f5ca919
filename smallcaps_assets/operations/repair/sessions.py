"""Repair: what still proves is copied out, and what does not is missing.

What belongs here: verifying every session, and what the ledger is told.  What does not: damaged
records and parts (``segments``).

Damaged files go to `quarantine/`.  Nothing is deleted, and nothing is fetched: the next download
asks for what is missing.
"""

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
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind, Orphan
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.segments import find_damaged_segments, heal_segments

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
        lost: Keys that the ledger called stored and of which no record tells.
        orphans: Files among the segments that are none.
        files: Damaged records and parts, as :func:`find_damaged_segments` lists them.
        moved: Where files lie in quarantine.
    """

    checked: int
    damages: Damages
    apart: dict[Tree, Damages]
    lost: list[str]
    orphans: list[Orphan]
    files: pl.DataFrame
    moved: list[Path] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """The keys that are missing now, sorted."""
        return sorted({*self.damages, *self.lost})

    @property
    def to_move(self) -> int:
        """The number of files that are there and belong into quarantine."""
        is_there = self.files["kind"] != DamageKind.MISSING_FILE.value
        return int(is_there.sum()) + len(self.orphans)


def repair_lake(lakehouse: Lakehouse, *, is_dry_run: bool = False) -> RepairFacts:
    """Verify every session deeply, and heal what is damaged; hold the lock of the lake.

    Args:
        lakehouse: The lake.
        is_dry_run: Find everything and change nothing.

    Raises:
        StorageError: The disk refuses; what was healed stays so, and the next call continues.
    """
    ledger, store = lakehouse.ledger, lakehouse.sessions
    keys, damages = _verify_tree(lakehouse, Tree.TRADES)
    beside = [tree for tree in Tree if tree is not Tree.TRADES]
    apart: dict[Tree, Damages] = {tree: _verify_tree(lakehouse, tree)[1] for tree in beside}
    lost = sorted({*find_lost(ledger, keys | damages.keys()), *ledger.lost_keys()})
    files = find_damaged_segments(store.lake)
    facts = RepairFacts(len(keys), damages, apart, lost, store.find_foreign(), files)
    if not is_dry_run:
        facts.moved.extend(heal_segments(lakehouse, store, files, facts.keys))
        green = _list_green(ledger, facts.lost)
        facts.lost[:] = [key for key in facts.lost if key not in green]
        _record_damages(ledger, facts)
        facts.moved.extend(store.quarantine_orphan(orphan.path) for orphan in facts.orphans)
    return facts


def _verify_tree(lakehouse: Lakehouse, tree: Tree) -> tuple[set[str], Damages]:
    """Tell the keys of a tree, and what is wrong with it."""
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
    """Find sessions that the ledger calls stored although no record tells of them."""
    stored = ledger.proven_sessions().select(key_expression()).to_series()
    return [key for key in stored if key not in known]


def _record_damages(ledger: Ledger, facts: RepairFacts) -> None:
    """Tell the ledger what is wrong with sessions, unless it was made good."""
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
    gone = "the ledger called it stored and no record tells of it"
    failures += [
        Failure(key, states.QUARANTINED, DamageKind.MISSING_FILE.value, gone, run_id="repair")
        for key in facts.lost
    ]
    settled = {*ledger.lost_keys()} | _list_green(ledger, facts.keys)
    ledger.record_failures([failure for failure in failures if failure.key not in settled])


def _list_green(ledger: LedgerReader, keys: Iterable[str]) -> set[str]:
    told = list(keys)
    green = {key for key, state in ledger.states(told).items() if state in states.GREEN}
    return green | {*ledger.find_unlisted(told)}
