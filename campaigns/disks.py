"""Disks that are too small, cannot be written, or go away, and plans that change underneath."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from campaigns.crashes import TrackedDisk
from campaigns.damage import find_damaged
from campaigns.ground import SMALL_WATCHLIST, Ground, Part
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import LakeError, StorageError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.ingest.bulky import KEYS, TRADES, BulkySource, make_bulky_lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import download, find_asked, hash_stored
from smallcaps_assets_tests.ingest.tmpfs import find_way, run_on_tmpfs
from smallcaps_assets_tests.lake.disks import QuotaDisk, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan, publish_plan

RESERVE = 100_000
RESERVE_GB = RESERVE / 1024**3
LARGE = 50_000_000
ROOMS = (50_000, 150_000, 300_000, 450_000, 600_000, 700_000)
"""Bytes above the reserve; all sessions need about 900,000."""
REAL_SIZES = ("3m", "4m", "4500k", "5m")
READ_ONLY_POINTS = (0, 5, 12, 25, 40, 60, 80, 100)
INTERVENTIONS = (1, 8, 15, 24, 33, 47, 60, 75, 90, 110)


class InterveningDisk(ScriptedDisk):
    """A disk before whose ``at``-th operation something else happens, once."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.at = at
        self.act = act

    def step(self, operation: str, path: Path) -> None:
        """Let it happen, then go on."""
        if len(self.operations) == self.at:
            self.operations.append(("intervene", path))
            self.act()
        super().step(operation, path)


class ReadOnlyDisk(TrackedDisk):
    """A disk that is remounted read-only before its ``since``-th operation."""

    def __init__(self, root: Path, since: int) -> None:
        super().__init__(root)
        self.since = since

    def step(self, operation: str, path: Path) -> None:
        """Refuse everything from then on."""
        super().step(operation, path)
        if len(self.operations) > self.since:
            with storage_errors(operation, path):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def run_quotas(folder: Path, *, is_short: bool) -> Part:
    """Fill disks of several sizes, by a shim that runs everywhere."""
    part = Part(
        "disks that get full: a quota shim",
        "stops before, reserve kept, no refused write; resumed: same content, nothing asked twice",
    )
    with EmulatorServer(BulkySource(TRADES)) as server:
        large = make_bulky_lakehouse(folder / "bulky", server.url, FileSystem())
        download(large, KEYS)
        truth = hash_stored(large)
        for room in ROOMS[1::3] if is_short else ROOMS:
            part.check(f"{room} bytes", _fill(folder / f"quota-{room}", server, room, truth))
    return part


def _fill(folder: Path, server: EmulatorServer, room: int, truth: dict[str, str]) -> list[str]:
    disk = QuotaDisk({folder: LARGE})
    lakehouse = make_bulky_lakehouse(folder, server.url, disk, disk_reserve_gb=RESERVE_GB)
    disk.capacities[folder] = LARGE - disk.free_bytes(folder) + RESERVE + room
    seen = len(find_asked(server))
    stopped = download(lakehouse, KEYS)
    lowest, refusals = disk.lowest, disk.refusals
    disk.capacities[folder] = LARGE
    download(lakehouse, KEYS)
    found, asked = hash_stored(lakehouse), len(find_asked(server)) - seen
    lakehouse.ledger.close()
    facts = {
        f"did not stop: {stopped.summary.aborted}": "no room" in stopped.summary.aborted,
        f"{lowest} bytes were left": lowest >= RESERVE,
        f"{refusals} writes were refused": refusals == 0,
        f"{asked} ranges were asked for": asked == len(KEYS),
        "content differs": found == truth,
    }
    return [problem for problem, holds in facts.items() if not holds]


def run_real_disks(folder: Path, *, is_short: bool) -> Part:
    """Fill a real tmpfs, move the lake to another file system, and go on there."""
    part = Part(
        "disks that get full: a real tmpfs of 3 to 5 MB",
        "stops cleanly; moved and resumed: same content, nothing asked twice",
    )
    if find_way() is None:
        part.notes = "skipped: no tmpfs can be mounted, neither as root nor by `unshare -Urm`"
        return part
    with EmulatorServer(BulkySource(16 * TRADES)) as server:
        large = make_bulky_lakehouse(folder / "roomy", server.url, FileSystem())
        download(large, KEYS)
        truth = hash_stored(large)
        for size in REAL_SIZES[1:2] if is_short else REAL_SIZES:
            seen = len(find_asked(server))
            place, dest = folder / f"small-{size}", folder / f"moved-{size}"
            module = "smallcaps_assets_tests.ingest.small_disk"
            facts = run_on_tmpfs(size, place, module, server.url, str(place), str(dest))
            asked = len(find_asked(server)) - seen
            problems = [] if facts["hashes"] == truth else ["content differs"]
            problems += [] if facts["aborted"].startswith("no room") else ["did not stop"]
            problems += [] if asked == len(KEYS) else [f"{asked} ranges were asked for"]
            part.check(size, problems)
    return part


def run_read_only(ground: Ground, *, is_short: bool) -> Part:
    """Remount the disk read-only at several steps of a download, and writable again."""
    part = Part(
        "a folder that turns read-only",
        "a clear error, whole files only, same content hash, nothing stored asked again",
    )
    for point in READ_ONLY_POINTS[1::4] if is_short else READ_ONLY_POINTS:
        folder = ground.copy("read_only")
        lakehouse = ground.open_on(ReadOnlyDisk(folder, point), folder, workers=1)
        problems = expect_refusal(lakehouse, folder)
        part.check(f"step {point}", problems + ground.find_problems(folder))
    return part


def expect_refusal(lakehouse: Lakehouse, folder: Path) -> list[str]:
    """Return what is wrong with the refusal of a download; it must name the place."""
    problems = ["no error"]
    try:
        download_plan(lakehouse)
    except StorageError as error:
        problems = [] if str(folder) in str(error) else [f"no path in {error}"]
    if "ledger" in vars(lakehouse):
        lakehouse.ledger.close()
    return problems


def run_removed_folders(ground: Ground, *, is_short: bool) -> Part:
    """Unmount a disk, or remove every session, at several steps of a download."""
    part = Part(
        "a folder that goes away during a download",
        "unmounted: an error, then as if nothing was; deleted: every lost session named, healed",
    )
    for point in INTERVENTIONS[2::6] if is_short else INTERVENTIONS:
        part.check(f"unmounted at {point}", _unmount(ground, point))
        part.check(f"deleted at {point}", _delete(ground, point))
    return part


@dataclass(frozen=True)
class Mount:
    """A folder that stands for a disk."""

    folder: Path

    @property
    def away(self) -> Path:
        """Return where its content is while it is not mounted."""
        return self.folder.with_name("unmounted")

    def take(self) -> None:
        """Unmount it: an empty folder stays."""
        self.folder.rename(self.away)
        self.folder.mkdir()

    def give(self) -> None:
        """Mount it again."""
        if self.away.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.away.rename(self.folder)


def _unmount(ground: Ground, point: int) -> list[str]:
    mount = Mount(ground.folder / "mount")
    for place in (mount.folder, mount.away):
        shutil.rmtree(place, ignore_errors=True)
    mount.folder.mkdir()
    disk = InterveningDisk(point, mount.take)
    folder = ground.copy("mount/data")
    lakehouse = ground.open_on(disk, folder, workers=1)
    problems = []
    try:
        download_plan(lakehouse)
    except LakeError as error:
        problems = [] if str(mount.folder) in str(error) else [f"no path in {error}"]
    else:
        problems = ["no error"] if mount.away.exists() else []
    if "ledger" in vars(lakehouse):
        lakehouse.ledger.close()
    mount.give()
    return problems + ground.find_problems(folder)


def _delete(ground: Ground, point: int) -> list[str]:
    folder = ground.copy("deleting")
    stored = folder / "lake" / "segments"
    disk = InterveningDisk(point, lambda: shutil.rmtree(stored, ignore_errors=True))
    lakehouse = ground.open_on(disk, folder, workers=1)
    with contextlib.suppress(LakeError):
        download_plan(lakehouse)
    if "ledger" in vars(lakehouse):
        lakehouse.ledger.close()
    lakehouse = ground.open(folder)
    known = lakehouse.ledger.stored_sessions().select(key_expression()).to_series()
    gone = {key for key in known if not lakehouse.sessions.find_receipt(key)}
    named = set(find_damaged(lakehouse).sessions)
    repair_lake(lakehouse)
    lakehouse.ledger.close()
    problems = [] if named == gone else [f"silent: {sorted(gone ^ named)}"]
    return problems + ground.find_problems(folder)


def run_plan_changes(ground: Ground, *, is_short: bool) -> Part:
    """Publish another plan at several steps of a download."""
    part = Part(
        "another plan published during a download",
        "what was fetched stays; the next download fetches the difference only; same content hash",
    )
    for point in INTERVENTIONS[2::6] if is_short else INTERVENTIONS:
        for names in (("small", "large"), ("large", "small", "large")):
            part.check(f"{' to '.join(names)} at {point}", _change_plan(ground, point, names))
    return part


def _change_plan(ground: Ground, point: int, names: tuple[str, ...]) -> list[str]:
    folder = ground.copy("replanned")
    files = {"large": ground.folder / "watchlist.csv", "small": ground.folder / SMALL_WATCHLIST}
    first, second, *later = [files[name] for name in names]
    replan(ground, folder, first)
    disk = InterveningDisk(point, partial(replan, ground, folder, second))
    lakehouse = ground.open_on(disk, folder, workers=1)
    download_plan(lakehouse)
    lakehouse.ledger.close()
    if len(disk.operations) <= point:
        later = [second, *later]
    for watchlist in later:
        replan(ground, folder, watchlist)
    return ground.find_problems(folder)


def replan(ground: Ground, folder: Path, watchlist: Path) -> None:
    """Publish the plan of a watchlist, and tell the ledger as the queue does."""
    lakehouse = ground.open(folder, watchlist=watchlist)
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)
    lakehouse.ledger.close()
