"""SIGKILL and power failure at every step of a download."""

import contextlib
import multiprocessing as mp
import os
import shutil
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from campaigns.ground import Address, Ground, Part
from smallcaps_assets.lake.ledger.months import MonthIndex
from smallcaps_assets.lake.ledger.rows import Attempt, Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets_tests.lake.disks import Crash, PowerLossDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan

PRELOADED = [
    *("campaigns.crashes", "campaigns.floods", "exchange_calendars"),
    *("pyarrow.parquet", "requests", "filelock", "tenacity"),
]
"""Loaded once, in the process that children are forked from.  Importing us starts no thread of
polars; its first work does, in the child: a fork would meet a pool without threads (L20)."""
PATIENCE_S = 300


class Steps:
    """Counts steps, and ends the process as `kill -9` does at the chosen one."""

    def __init__(self, fatal: int) -> None:
        self.count = 0
        self.fatal = fatal

    def pass_one(self) -> None:
        """Die here, or go on."""
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


class CountedDisk(FileSystem):
    """A disk with a step before, in and after each operation."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    def write_new(self, path: Path, content: bytes) -> None:
        """Write half, then all."""
        self._steps.pass_one()
        super().write_new(path, content[: len(content) // 2])
        self._steps.pass_one()
        path.unlink()
        super().write_new(path, content)
        self._steps.pass_one()

    def sync_group(self, paths: Iterable[Path]) -> None:
        """Sync."""
        self._steps.pass_one()
        super().sync_group(paths)
        self._steps.pass_one()

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        self._steps.pass_one()
        super().rename(source, target)
        self._steps.pass_one()

    def make_folder(self, path: Path) -> None:
        """Make a folder."""
        super().make_folder(path)
        self._steps.pass_one()


class CountedLedger(Ledger):
    """A ledger with a step before and after each transaction."""

    steps = Steps(0)

    def record_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Record."""
        self.steps.pass_one()
        super().record_receipts(receipts)
        self.steps.pass_one()

    @contextlib.contextmanager
    def indexing(self, *, lists_all: bool = True) -> Iterator[MonthIndex]:
        """Record segments."""
        self.steps.pass_one()
        with super().indexing(lists_all=lists_all) as index:
            yield index
        self.steps.pass_one()

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """Record."""
        self.steps.pass_one()
        super().record_failures(failures)

    def record_attempt(self, attempt: Attempt) -> None:
        """Record."""
        self.steps.pass_one()
        super().record_attempt(attempt)
        self.steps.pass_one()


def download_until(ground: Ground, folder: Path, fatal: int, reached: "mp.Queue[int]") -> None:
    """Download, and die at a step; tell the number of steps when it was not reached."""
    warnings.simplefilter("ignore")
    steps = Steps(fatal)
    lakehouse = ground.open_on(CountedDisk(steps), folder)
    CountedLedger.steps = steps
    _ = lakehouse.identity
    vars(lakehouse)["ledger"] = CountedLedger(lakehouse.layout.ledger_file)
    download_plan(lakehouse)
    reached.put(steps.count)


def run_crash_points(ground: Ground, limit: int) -> Part:
    """Kill a download at up to ``limit`` distinct steps, evenly spread over all of them."""
    part = Part(
        "SIGKILL at distinct steps of the download core",
        "whole files only, same content hash, nothing asked again",
    )
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    reached: mp.Queue[int] = context.Queue()
    bare = Ground(ground.folder, Address(ground.server.url), ground.keys, ground.truth)
    _die(context, bare, ground.copy("count"), 0, reached)
    total = reached.get(timeout=PATIENCE_S)
    points = np.unique(np.linspace(1, total, min(limit, total)).astype(int)).tolist()
    for point in points:
        folder = ground.copy("crash")
        code = _die(context, bare, folder, point, reached)
        if code == 0:
            # Threads decide how ranges share commits, so the last steps may not be reached.
            continue
        problems = [] if code == -signal.SIGKILL else [f"ended with {code}, not by the kill"]
        part.check(f"step {point}", [*problems, *ground.find_problems(folder)])
    part.notes = f"{total} steps in all"
    return part


def run_power_losses(ground: Ground, limit: int) -> Part:
    """Lose power at steps of a download: what was not synced may be gone, half or old."""
    part = Part(
        "power failure at distinct steps, unsynced writes lost at random",
        "whole files only, same content hash, nothing stored asked again",
    )
    total = _count_disk_steps(ground)
    points = np.unique(np.linspace(0, total - 1, min(limit, total)).astype(int)).tolist()
    for point in points:
        folder = ground.copy("dying")
        disk = TrackedDisk(folder, crash_at=int(point))
        lakehouse = ground.open_on(disk, folder, workers=1)
        with contextlib.suppress(Crash):
            download_plan(lakehouse)
        lakehouse.ledger.close()
        survivor = ground.folder / "survivor"
        shutil.rmtree(survivor, ignore_errors=True)
        survivor.mkdir()
        disk.lose_power(survivor, np.random.default_rng(int(point)))
        part.check(f"step {point}", ground.find_problems(survivor))
    part.notes = f"{total} operations in all"
    return part


class TrackedDisk(PowerLossDisk):
    """A disk that may lose power; the catalog, which DuckDB writes itself, is not tracked."""

    def adopt(self, temporary: Path, target: Path) -> None:
        """Put the catalog in place; one that is lost is rebuilt by the next download."""
        temporary.replace(target)


def _die(
    context: "mp.context.ForkServerContext",
    ground: Ground,
    folder: Path,
    point: int,
    reached: "mp.Queue[int]",
) -> int | None:
    process = context.Process(target=download_until, args=(ground, folder, point, reached))
    process.start()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        return None
    return process.exitcode


def _count_disk_steps(ground: Ground) -> int:
    folder = ground.copy("count")
    disk = TrackedDisk(folder)
    lakehouse = ground.open_on(disk, folder, workers=1)
    download_plan(lakehouse)
    lakehouse.ledger.close()
    return len(disk.operations)
