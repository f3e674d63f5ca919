"""Repair: damaged files go to `quarantine/` with their evidence, and their sessions are missing.

Nothing is deleted, and nothing is fetched: the next download asks for what is missing.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake import states
from smallcaps_assets.lake.damages import Damage, DamageKind, Orphan, OrphanKind
from smallcaps_assets.lake.ledger import Failure
from smallcaps_assets.lake.receipts import Receipt

logger = logging.getLogger(__name__)

EVIDENCE_NAME = "evidence.json"
MOVED_ORPHANS = (OrphanKind.NO_RECEIPT, OrphanKind.FOREIGN)
"""Strays that are moved too; temporary files are swept by the next download."""


@dataclass(frozen=True, slots=True)
class RepairFacts:
    """What a repair found and did.

    Attributes:
        checked: Sessions that were opened.
        damages: What is wrong, by key.
        lost: Keys that the ledger called stored and that have no receipt.
        orphans: Files that belong to no receipt.
        moved: Folders in quarantine.
    """

    checked: int
    damages: dict[str, list[Damage]]
    lost: list[str]
    orphans: list[Orphan]
    moved: list[Path]

    @property
    def keys(self) -> list[str]:
        """Return the keys that are missing now, sorted."""
        return sorted({*self.damages, *self.lost})


def repair_lake(lakehouse: Lakehouse, *, is_dry_run: bool = False) -> RepairFacts:
    """Verify every session deeply, and move what is damaged aside; hold the lock of the lake.

    Args:
        lakehouse: The lake.
        is_dry_run: Find everything and move nothing.

    Raises:
        MissingPartitionError: No plan is published.
        StorageError: The disk refuses; what was moved stays moved, and the next call goes on.
    """
    broken: list[Damage] = []
    receipts = list(lakehouse.store.iter_receipts(damages=broken))
    with ThreadPoolExecutor(lakehouse.settings.workers, thread_name_prefix="repair") as pool:
        for found in pool.map(lakehouse.store.verify_session, receipts):
            broken += found
    damages: dict[str, list[Damage]] = defaultdict(list)
    for damage in broken:
        damages[damage.key].append(damage)
    facts = RepairFacts(
        len(receipts), dict(damages), _find_lost(lakehouse, receipts, damages), [], []
    )
    facts.orphans.extend(_find_orphans(lakehouse))
    if not is_dry_run:
        _move(lakehouse, facts)
    return facts


def _find_lost(
    lakehouse: Lakehouse, receipts: Sequence[Receipt], damages: dict[str, list[Damage]]
) -> list[str]:
    known = {receipt.key for receipt in receipts} | set(damages)
    stored = lakehouse.ledger.stored_sessions().select(key_expression()).to_series()
    return [key for key in stored if key not in known]


def _find_orphans(lakehouse: Lakehouse) -> list[Orphan]:
    _, plan = lakehouse.tables.read_plan()
    planned = set(plan.select(key_expression()).to_series())
    found = lakehouse.store.find_orphans(planned)
    return [orphan for orphan in found if orphan.kind in MOVED_ORPHANS]


def _move(lakehouse: Lakehouse, facts: RepairFacts) -> None:
    """Tell the ledger first: a kill in between leaves files that the next repair moves."""
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
    lakehouse.ledger.record_failures(failures)
    for damages in facts.damages.values():
        first = damages[0]
        folder = lakehouse.store.quarantine(first.ticker, first.session_date)
        _leave_evidence(lakehouse, folder, damages)
        facts.moved.append(folder)
        logger.warning("quarantined key=%s kind=%s", first.key, first.kind.value)
    for orphan in facts.orphans:
        facts.moved.append(lakehouse.store.quarantine_orphan(orphan.path))


def _leave_evidence(lakehouse: Lakehouse, folder: Path, damages: Sequence[Damage]) -> None:
    """Write beside the moved files what was wrong with them, and when it was found."""
    evidence = {
        "found_at": lakehouse.clock(),
        "damages": [(damage.kind.value, damage.message) for damage in damages],
    }
    content = msgspec.json.format(msgspec.json.encode(evidence))
    lakehouse.fs.publish({folder / EVIDENCE_NAME: content}, root=lakehouse.layout.data_dir)
