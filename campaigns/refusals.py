"""A disk that refuses, and a vendor that fails: alone, and in seeded mixtures."""

import errno
import random
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.crashes import TrackedDisk
from campaigns.ground import Ground, Part, hash_content
from smallcaps_assets.emulator import EmulatorServer
from smallcaps_assets.emulator.faults import KINDS, Fault
from smallcaps_assets.errors import StorageError
from smallcaps_assets_tests.lake.disks import FailingDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan

ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
ALONE = tuple(kind for kind in KINDS if kind != "response")
MIXED = tuple(kind for kind in ALONE if kind not in {"outage", "gzip_bomb"})
LIMITS: dict[str, Any] = {"seconds": 0.05, "requests": 3}
"""How long a slow answer and an outage take."""
BOMB_MIB = 128


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
    """Inject each fault once; what landed must be the truth or a reason."""
    part = Part("each vendor fault alone, on some requests", "the truth or a reason, never wrong")
    for kind in ALONE:
        rows = BOMB_MIB if kind == "gzip_bomb" else None
        fault = Fault(kind, endpoint="trades", times=3, rows=rows, **LIMITS)
        part.check(kind, _download_under(ground, [fault]))
    return part


def run_vendor_mixtures(ground: Ground, seeds: int) -> Part:
    """Inject seeded mixtures of five faults at 5 to 30 % of the requests."""
    part = Part("seeded mixtures of vendor faults", "the truth or a reason, never wrong")
    for seed in range(seeds):
        rng = random.Random(seed)
        faults = [
            Fault(
                rng.choice(MIXED),
                endpoint="trades",
                seconds=0.02,
                probability=rng.choice([0.05, 0.15, 0.3]),
                seed=seed,
            )
            for _ in range(5)
        ]
        part.check(f"seed {seed}", _download_under(ground, faults))
    return part


def _download_under(ground: Ground, faults: list[Fault]) -> list[str]:
    """Download under faults, then without: what was green must have been right already."""
    folder = ground.copy("faults")
    lakehouse = ground.open(folder)
    server = ground.server
    assert isinstance(server, EmulatorServer)
    server.faults = faults
    try:
        download_plan(lakehouse)
    finally:
        server.faults = []
    states = lakehouse.ledger.states(ground.keys)
    whole = ground.open(ground.folder / "whole").ledger.receipts()
    truth = dict(
        whole.select("ticker", "session_date", "content_hash")
        .rows_by_key(("ticker", "session_date"), unique=True)
        .items()
    )
    found = lakehouse.ledger.receipts().select("ticker", "session_date", "content_hash").rows()
    problems = [
        f"wrong rows: {ticker} {date}"
        for ticker, date, content_hash in found
        if truth[ticker, date] != content_hash and truth[ticker, date] != (content_hash,)
    ]
    lakehouse.ledger.close()
    lakehouse = ground.open(folder, outage_after=10_000)
    download_plan(lakehouse)
    disputed = [key for key, state in states.items() if state == "empty_disputed"]
    # A disputed session waits for its next day: accepting the vendor's word is a person's act.
    if not disputed and hash_content(lakehouse) != ground.truth:
        problems.append("does not converge")
    lakehouse.ledger.close()
    return problems
