"""SIGKILL of real Dagster runs: lake, ledger and partition states must agree afterwards."""

import shutil
import signal
from itertools import product
from pathlib import Path

from campaigns.ground import Part
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.defs.instance.runs import end_dead_runs
from smallcaps_assets_tests.defs.defs_factories import (
    EmulatorProcess,
    Home,
    find_asked_keys,
    make_home,
    read_statuses,
)
from smallcaps_assets_tests.defs.kills import Fuse, start_download

MOMENTS = (
    ("in write", "trades"),
    ("after write", "trades"),
    ("before sync", ""),
    ("after sync", ""),
    ("before rename", ".parquet"),
    ("after rename", ".parquet"),
    ("in write", "receipt"),
    ("before rename", "receipt"),
    ("after rename", "receipt"),
    ("before ledger", ""),
    ("after ledger", ""),
)
COUNTS = (1, 2, 3, 5)


def run_dagster_kills(folder: Path, limit: int) -> Part:
    """Kill the process of a run at up to ``limit`` moments, each on a lake of its own."""
    part = Part(
        "SIGKILL of real Dagster runs",
        "finished green, the rest missing; same content hash; nothing asked again",
    )
    moments = list(product(COUNTS, MOMENTS))[:limit]
    with EmulatorProcess() as emulator:
        planned = make_home(folder / "home", emulator.url)
        truth = _download(_copy(planned, folder / "calm"))
        for count, (moment, name) in moments:
            home = _copy(planned, folder / "killed")
            fuse = Fuse(moment, name, count)
            case = str(fuse)
            process = start_download(home, fuse)
            process.join(120)
            if process.exitcode == 0:
                # Sessions share commits, so a moment may not come so often.
                continue
            problems = (
                [] if process.exitcode == -signal.SIGKILL else [f"ended with {process.exitcode}"]
            )
            part.check(case, problems + _find_problems(home, emulator, truth))
    return part


def _find_problems(home: Home, emulator: EmulatorProcess, truth: str) -> list[str]:
    receipts = home.read_receipts()
    with home.open_instance() as instance:
        end_dead_runs(instance, home.lakehouse.lock)
        green = read_statuses(instance)["MATERIALIZED"]
    problems = [f"green without a receipt: {key}" for key in sorted(green - set(receipts))]
    before = len(emulator.requests)
    found = _download(home)
    asked = find_asked_keys(emulator.requests[before:])
    problems += [f"asked again: {key}" for key in sorted(asked & set(receipts))]
    problems += [] if found == truth else [f"content hash {found[:12]}"]
    with home.open_instance() as instance:
        statuses = read_statuses(instance)
    counts = home.lakehouse.ledger.counts()
    done = sum(count for state, count in counts.items() if state in GREEN)
    if len(statuses["MATERIALIZED"]) != done or statuses["MISSING"] or statuses["FAILED"]:
        problems.append(f"Dagster shows {len(statuses['MATERIALIZED'])} of {done}")
    return problems


def _download(home: Home) -> str:
    finished = home.run("download")
    hashes = {key: receipt.content_hash for key, receipt in home.read_receipts().items()}
    return hash_lake(hashes) if finished.code == 0 else finished.out[-200:]


def _copy(home: Home, folder: Path) -> Home:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home.folder, folder)
    return Home(folder, home.url)
