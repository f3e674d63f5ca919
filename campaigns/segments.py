"""Segments under kills, power failures and refusals, at every step of what is done to a lake."""

import contextlib
import errno
import multiprocessing as mp
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from campaigns.crashes import PATIENCE_S, CountedDisk, Steps
from campaigns.ground import Part, timed
from campaigns.segment_ground import (
    PROMISE,
    TICKERS,
    age_files,
    download,
    find_problems,
    live,
    make_folder,
    open_lake,
    spread,
)
from campaigns.segment_sleepers import run_lost_answers
from smallcaps_assets.errors import StorageError
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, PowerLossDisk, ScriptedDisk

PRELOADED: Final = ["campaigns.segments", "pyarrow.parquet"]


class KillingDisk(CountedDisk):
    """A disk with a step around each operation; it syncs nothing, which a kill cannot tell."""

    def sync_group(self, paths: Iterable[Path]) -> None:
        """Count."""
        del paths
        self._steps.pass_one()
        self._steps.pass_one()

    def remove(self, path: Path) -> None:
        """Remove."""
        self._steps.pass_one()
        super().remove(path)
        self._steps.pass_one()


def live_until(folder: Path, fatal: int, reached: "mp.Queue[int]") -> None:
    """Live, and die at a step; tell the number of steps when it was not reached."""
    warnings.simplefilter("ignore")
    steps = Steps(fatal)
    live(open_lake(folder, KillingDisk(steps)), lambda: age_files(folder))
    reached.put(steps.count)


def download_until(folder: Path, fatal: int, tickers: tuple[str, ...]) -> None:
    """Download some tickers, and die at a step."""
    warnings.simplefilter("ignore")
    download(open_lake(folder, KillingDisk(Steps(fatal))), tickers)


def make_context() -> "mp.context.ForkServerContext":
    """Return where children are started, without threads of polars."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run_kills(folder: Path, limit: int) -> Part:
    """Kill whatever is done to a lake at up to ``limit`` distinct steps."""
    part = Part(
        "segments: SIGKILL at distinct steps of commit, snapshot, packing, removal", PROMISE
    )
    context = make_context()
    reached: mp.Queue[int] = context.Queue()
    _die(context, live_until, (make_folder(folder, "count"), 0, reached))
    total = reached.get(timeout=PATIENCE_S)
    for point in spread(1, total, limit):
        place = make_folder(folder, "killed")
        code = _die(context, live_until, (place, point, reached))
        problems = [] if code == -signal.SIGKILL else [f"ended with {code}, not by the kill"]
        part.check(f"step {point}", problems + find_problems(open_lake(place)))
    part.notes = f"{total} steps in all"
    return part


def run_two_writers(folder: Path, limit: int) -> Part:
    """Kill one of two writers at distinct steps; what they ask for overlaps."""
    part = Part("segments: SIGKILL of one of two writers at distinct steps", PROMISE)
    context = make_context()
    for point in spread(1, 8 * 19, limit):
        place = make_folder(folder, "shared")
        dying = context.Process(target=download_until, args=(place, point, TICKERS[:8]))
        living = context.Process(target=download_until, args=(place, 0, TICKERS[4:]))
        for process in (dying, living):
            process.start()
        for process in (dying, living):
            process.join(PATIENCE_S)
        codes = (dying.exitcode, living.exitcode)
        problems = [] if codes in {(-signal.SIGKILL, 0), (0, 0)} else [f"ended with {codes}"]
        part.check(f"step {point}", problems + find_problems(open_lake(place)))
    return part


def run_power_losses(folder: Path, limit: int) -> Part:
    """Lose power before each operation: what was not synced may be gone, half or old."""
    part = Part("segments: power failure at every prefix of operations", PROMISE)
    place = make_folder(folder, "count")
    disk: ScriptedDisk = PowerLossDisk(place)
    live(open_lake(place, disk), lambda: None)
    total = len(disk.operations)
    for point in spread(0, total - 1, limit):
        place = make_folder(folder, "dying")
        dying = PowerLossDisk(place, crash_at=point)
        with contextlib.suppress(Crash):
            live(open_lake(place, dying), lambda: None)
        survivor = make_folder(folder, "survivor")
        dying.lose_power(survivor, np.random.default_rng(point))
        part.check(f"operation {point}", find_problems(open_lake(survivor)))
    part.notes = f"{total} operations in all"
    return part


def run_refusals(folder: Path, limit: int) -> Part:
    """Refuse each operation once, for want of room and for a broken disk."""
    part = Part("segments: ENOSPC and EIO at every operation", f"a clear error, {PROMISE}")
    place = make_folder(folder, "count")
    disk = ScriptedDisk()
    live(open_lake(place, disk), lambda: None)
    total = len(disk.operations)
    for number in (errno.ENOSPC, errno.EIO):
        for point in spread(0, total - 1, limit):
            place = make_folder(folder, "refusing")
            refusing = FailingDisk(number=number, fail_at=point)
            problems = ["nothing was said"]
            try:
                live(open_lake(place, refusing), lambda: None)
            except StorageError as error:
                problems = [] if isinstance(error.__cause__, OSError) else [str(error)]
            case = f"{errno.errorcode[number]} at operation {point}"
            part.check(case, problems + find_problems(open_lake(place)))
    part.notes = f"{total} operations in all"
    return part


def run_segment_ends(folder: Path, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts of this module, and that of lost answers."""
    few = 3 if is_short else 10_000
    yield timed(lambda: run_kills(folder, few))
    yield timed(lambda: run_two_writers(folder, 2 if is_short else 64))
    yield timed(lambda: run_power_losses(folder, few))
    yield timed(lambda: run_refusals(folder, few))
    yield timed(lambda: run_lost_answers(few))


def _die(
    context: "mp.context.ForkServerContext",
    target: Callable[..., None],
    args: tuple[object, ...],
) -> int | None:
    process = context.Process(target=target, args=args)
    process.start()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        return None
    return process.exitcode
