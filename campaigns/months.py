"""Compacted months: ended at every step, damaged at rest, and read all the while."""

import contextlib
import random
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl

from campaigns.damage import delete, flip_bit, truncate
from campaigns.ground import Ground, Part, build_ground
from smallcaps_assets import Lake
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lake.roots import identity
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.compaction.months import Done
from smallcaps_assets.operations.compaction.run import Compaction
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan

DAMAGES = (flip_bit, truncate, delete)
COMPACTED = "compacted"
TRIMMED = "trimmed"
"""The whole lake compacted with its landing files, and without them."""


def find_receipts(ground: Ground) -> Ground:
    """Return a ground whose sessions lie each with a receipt: no others are compacted."""
    if not ground.open(ground.planned).has_segments:
        return ground
    folder = ground.folder / "receipts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    assert isinstance(ground.server, EmulatorServer)
    with patch.object(identity, "WRITTEN_FORMAT", identity.RECEIPTS_FORMAT):
        return build_ground(folder, ground.server)


def compact(lakehouse: Lakehouse) -> list[Done]:
    """Compact what may be compacted."""
    compaction = Compaction(lakehouse, run_id="campaign")
    with compaction.held(wait_s=0):
        return [outcome.done for outcome in compaction.run()]


def hash_readable(folder: Path) -> dict[str, str]:
    """Return the content hash of every session as users read it."""
    parts = Lake(folder).trades().collect().partition_by("ticker", "session_date")
    return {part.select(key_expression()).item(0, 0): hash_trades(part) for part in parts}


def hash_proven(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the content hash of every session that has trades, by its receipt."""
    return {r.key: r.content_hash for r in lakehouse.store.iter_receipts() if r.rows}


def build_compacted(ground: Ground) -> dict[str, str]:
    """Make the compacted lakes from the whole one; return what they must hold."""
    truth: dict[str, str] = {}
    for name, removes in ((COMPACTED, False), (TRIMMED, True)):
        lakehouse = ground.open(ground.copy(name, "whole"), remove_compacted=removes)
        for _ in range(2):
            compact(lakehouse)
        truth = hash_proven(lakehouse)
        lakehouse.ledger.close()
    return truth


def run_compaction_ends(ground: Ground, limit: int) -> Part:
    """End a compaction at its steps, with landing files removed along the way."""
    part = Part(
        "compactions ended at distinct steps",
        "every session read once and whole, before and after the same command again",
    )
    ground = find_receipts(ground)
    truth = build_compacted(ground)
    sources = {"first": "whole", "removing": COMPACTED}
    for name, source in sources.items():
        disk = ScriptedDisk()
        _compact_on(ground, ground.copy("counting", source), disk)
        total = len(disk.operations)
        for point in np.unique(np.linspace(0, total - 1, min(limit // 2, total)).astype(int)):
            folder = ground.copy("ending", source)
            with contextlib.suppress(Crash):
                _compact_on(ground, folder, ScriptedDisk(crash_at=int(point)))
            problems = [] if hash_readable(folder) == truth else ["readers see other rows"]
            for _ in range(2):
                _compact_on(ground, folder, FileSystem())
            problems += [] if hash_readable(folder) == truth else ["does not converge"]
            left = list((folder / "lake" / "trades").rglob("trades.parquet"))
            problems += [f"{len(left)} landing files stay"] if left else []
            part.check(f"{name} at {point}", problems)
        part.notes += f"{name}: {total} operations; "
    return part


def _compact_on(ground: Ground, folder: Path, disk: FileSystem) -> None:
    lakehouse = ground.open_on(disk, folder, remove_compacted=True)
    try:
        compact(lakehouse)
    finally:
        lakehouse.ledger.close()


def run_month_damage(ground: Ground, limit: int) -> Part:
    """Damage files of months, with and without the landing files they came from."""
    part = Part(
        "damage at rest: files of compacted months",
        "the audit tells, or readers see the same rows; repaired and downloaded: the same rows",
    )
    ground = find_receipts(ground)
    truth = build_compacted(ground)
    wrong_reads = 0
    for name in (COMPACTED, TRIMMED):
        for number in range(limit // 2):
            rng = random.Random(f"{name} {number}")
            folder = ground.copy("month", name)
            path = rng.choice(sorted((folder / "lake" / "compacted_trades").glob("month=*/*")))
            DAMAGES[number % len(DAMAGES)](path, rng)
            is_told = not _passes_audit(ground, folder)
            is_right = _reads_right(folder, truth)
            wrong_reads += is_told and not is_right
            problems = [] if is_told or is_right else ["silent"]
            problems += [] if _heal(ground, folder, truth) else ["does not heal"]
            part.check(f"{name} {number} {path.name}", problems)
    part.notes = f"{wrong_reads} of them are refused by readers, or read wrongly until repaired"
    return part


def _passes_audit(ground: Ground, folder: Path) -> bool:
    lakehouse = ground.open(folder)
    verdicts = audit_lake(lakehouse)
    lakehouse.ledger.close()
    return all(verdict.passed for verdict in verdicts.values())


def _reads_right(folder: Path, truth: dict[str, str]) -> bool:
    """Return whether readers see the truth; an error is no answer."""
    try:
        return hash_readable(folder) == truth
    except (SmallcapsError, OSError, pl.exceptions.PolarsError):
        return False


def _heal(ground: Ground, folder: Path, truth: dict[str, str]) -> bool:
    lakehouse = ground.open(folder)
    repair_lake(lakehouse)
    lakehouse.ledger.close()
    lakehouse = ground.open(folder)
    download_plan(lakehouse)
    lakehouse.ledger.close()
    return _reads_right(folder, truth) and _passes_audit(ground, folder)
