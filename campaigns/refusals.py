"""A disk that refuses, and a vendor that fails: alone, and in seeded mixtures."""

import errno
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from campaigns.crashes import TrackedDisk
from campaigns.ground import Ground, Part
from campaigns.marks import judge_sessions
from smallcaps_assets.emulator.answers.faults import KINDS, REVISIONS, Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import StorageError
from smallcaps_assets_tests.lake.disks import FailingDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan

ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
ALONE = tuple(kind for kind in KINDS if kind != "response")
MIXED = tuple(kind for kind in ALONE if kind not in {"outage", "gzip_bomb"})
LIMITS: dict[str, Any] = {"seconds": 0.05, "requests": 3}
"""How long a slow answer and an outage take."""
BOMB_MIB = 128
PAGE_LIMIT = 100
"""Rows of a page: chains of one to seven pages."""

PROMISE: Final = (
    "green without a mark is the truth, in all that a bar shows; the rest is red or marked"
)
UNSEEN: Final[dict[str, dict[str, Any]]] = {
    **{
        f"short_page, {page} page": {"kind": "short_page", "page": page, "rows": 2}
        for page in ("first", "middle", "last")
    },
    "short_page, half of each page": {"kind": "short_page", "share": 0.5},
    "short_page, the same rows": {"kind": "short_page", "by": "row"},
    "short_page, the same half": {"kind": "short_page", "by": "row", "share": 0.5},
    "short_page, partial result": {"kind": "short_page", "error": "partial result", "times": 3},
    **{
        f"revised_history, {revision}": {
            "kind": "revised_history",
            "revision": revision,
            "at": "middle",
            "after": 1,
        }
        for revision in REVISIONS
    },
}
"""Faults that no page shows, at every request that they match."""


class RefusingDisk(FailingDisk):
    """A disk that refuses one operation of a download."""

    def adopt(self, temporary: Path, target: Path) -> None:
        """Put the catalog in place: DuckDB wrote it past this disk."""
        temporary.replace(target)


def run_disk_refusals(ground: Ground, limit: int) -> Part:
    """Refuse one operation with ENOSPC and EIO; the same command again must converge."""
    part = Part(
        "ENOSPC and EIO at distinct writes, syncs and renames",
        "a clear error, whole files only, same content hash, nothing stored asked again",
    )
    folder = ground.copy("count")
    disk = TrackedDisk(folder)
    download_plan(ground.open_on(disk, folder, workers=1))
    total = len(disk.operations)
    for name, number in ERRORS.items():
        for point in np.unique(np.linspace(0, total - 1, min(limit // 2, total)).astype(int)):
            part.check(f"{name} at {point}", _refuse(ground, number, int(point)))
    part.notes = f"{total} operations in all"
    return part


def _refuse(ground: Ground, number: int, point: int) -> list[str]:
    folder = ground.copy("refused")
    disk = RefusingDisk(number=number, fail_at=point)
    lakehouse = ground.open_on(disk, folder, workers=1)
    problems = []
    try:
        download_plan(lakehouse)
    except StorageError as error:
        problems += [] if str(folder) in str(error) else [f"no path in {error}"]
    if "ledger" in vars(lakehouse):
        lakehouse.ledger.close()
    return problems + ground.find_problems(folder)


def run_vendor_faults(ground: Ground) -> Part:
    """Inject each fault once, and the unseen ones for good; what landed must be the truth."""
    part = Part("each vendor fault alone, on some requests", PROMISE)
    counts: Counter[str] = Counter()
    for name, fault in list_alone():
        part.check(name, _download_under(ground, [fault], counts))
    part.notes = describe_counts(counts)
    return part


def list_alone() -> Iterator[tuple[str, Fault]]:
    """Yield the faults that strike alone, with their names."""
    for kind in ALONE:
        rows = BOMB_MIB if kind == "gzip_bomb" else None
        yield kind, Fault(kind, endpoint="trades", times=3, rows=rows, **LIMITS)
    for name, options in UNSEEN.items():
        yield name, Fault(endpoint="trades", **options)


def run_vendor_mixtures(ground: Ground, seeds: int) -> Part:
    """Inject seeded mixtures of five faults at 5 to 30 % of the requests."""
    part = Part("seeded mixtures of vendor faults", PROMISE)
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        rng = random.Random(seed)
        faults = [
            Fault(
                rng.choice(MIXED),
                endpoint="trades",
                seconds=0.02,
                probability=rng.choice([0.05, 0.15, 0.3]),
                seed=seed,
                by=rng.choice(["page", "row"]),
                revision=rng.choice(REVISIONS),
            )
            for _ in range(5)
        ]
        part.check(f"seed {seed}", _download_under(ground, faults, counts))
    part.notes = describe_counts(counts)
    return part


def describe_counts(counts: Counter[str]) -> str:
    """Return how many sessions landed otherwise than an honest vendor's would."""
    return (
        f"{counts['red']} stored in red, {counts['marked']} marked, {counts['unseen']} that differ "
        "by what no bar shows"
    )


def _download_under(ground: Ground, faults: list[Fault], counts: Counter[str]) -> list[str]:
    """Download under faults, then without: what was green must have been right already."""
    folder = ground.copy("faults")
    lakehouse = ground.open(folder, page_limit=PAGE_LIMIT)
    server = ground.server
    assert isinstance(server, EmulatorServer)
    server.faults = faults
    try:
        download_plan(lakehouse)
    finally:
        server.faults = []
    whole = ground.open(ground.folder / "whole").sessions
    truth = {receipt.key: receipt for receipt in whole.iter_receipts()}
    judged = judge_sessions(lakehouse, ground.keys, truth)
    counts.update(judged.counts)
    lakehouse.ledger.close()
    lakehouse = ground.open(folder, page_limit=PAGE_LIMIT, outage_after=10_000)
    download_plan(lakehouse)
    found = {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}
    # What is disputed or marked waits for its next day, or for a person.
    late = [
        key
        for key in ground.keys
        if key not in judged.open_keys and found.get(key) != truth[key].content_hash
    ]
    lakehouse.ledger.close()
    return judged.problems + [f"{key} does not converge" for key in late]
