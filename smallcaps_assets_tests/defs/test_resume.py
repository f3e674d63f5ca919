"""L13: a download that is killed twenty times and started again each time.

The same command, on one lake.  Whatever the moment of the kill: readers see whole files, nothing
proven is lost or asked for again, and the end is that of a run that nobody disturbed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.defs.runs import end_dead_runs
from smallcaps_assets.lake.receipts import Receipt
from smallcaps_assets.lake.states import GREEN
from smallcaps_assets_tests.defs.defs_factories import (
    KEYS,
    EmulatorProcess,
    Finished,
    Home,
    find_asked_keys,
    make_home,
    query_stats,
    read_statuses,
    wait_for,
)
from smallcaps_assets_tests.defs.kills import Fuse, start_download

pytestmark = pytest.mark.slow

Kill = Callable[[Home, EmulatorProcess], int | None]
"""Runs a download, kills it, and returns its exit code."""


def by_fuse(moment: str, name: str = "", count: int = 1) -> Kill:
    """Return a kill of the process by itself, at a moment of its own work."""

    def kill(home: Home, _: EmulatorProcess) -> int | None:
        process = start_download(home, Fuse(moment, name, count))
        process.join(60)
        return process.exitcode

    return kill


def by_time(seconds: float) -> Kill:
    """Return a kill so long after the start, whatever is done then."""

    def kill(home: Home, _: EmulatorProcess) -> int | None:
        process = start_download(home, Fuse("never"))
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode

    return kill


def by_requests(count: int) -> Kill:
    """Return a kill when so many requests have arrived."""

    def kill(home: Home, emulator: EmulatorProcess) -> int | None:
        before = len(emulator.requests)
        process = start_download(home, Fuse("never"))
        wait_for(lambda: len(emulator.requests) >= before + count)
        process.kill()
        process.join()
        return process.exitcode

    return kill


def in_page(page: str) -> Kill:
    """Return a kill of `smallcaps download` while half of a page has arrived."""

    def kill(home: Home, emulator: EmulatorProcess) -> int | None:
        emulator.set_faults(f"stall:page={page},seconds=30,times=2")
        process = home.start("download")
        wait_for(lambda: emulator.count_faults() == 2)
        process.kill()
        process.communicate()
        emulator.set_faults()
        return process.returncode

    return kill


KILLS: Final = {
    "before anything": by_time(0.3),
    "at the start": by_time(1.0),
    "while it writes trades": by_fuse("in write", "trades"),
    "with trades written": by_fuse("after write", "trades", 2),
    "before trades are on the disk": by_fuse("before sync"),
    "in the middle of a page": in_page("middle"),
    "before trades have their name": by_fuse("before rename", "trades.parquet"),
    "after a rename before its receipt": by_fuse("after rename", "trades.parquet"),
    "with some renames of a group done": by_fuse("after rename", "trades.parquet", 2),
    "after three requests": by_requests(3),
    "while it writes a receipt": by_fuse("in write", "receipt"),
    "before receipts are on the disk": by_fuse("before sync", "", 2),
    "before a receipt has its name": by_fuse("before rename", "_SUCCESS"),
    "after a receipt before its event": by_fuse("before ledger"),
    "after the ledger before the event": by_fuse("after ledger", "", 2),
    "after some receipts of a group": by_fuse("after rename", "_SUCCESS", 2),
    "in the last page": in_page("last"),
    "in the second group": by_fuse("after rename", "_SUCCESS", 5),
    "after thirty requests": by_requests(30),
    "in a new folder": by_fuse("after make_folder", "", 9),
}
SICK: Final = KEYS[-3]
"""A session that fails in the run after the last kill."""


@dataclass(frozen=True)
class Attempt:
    """What a killed run left.

    Attributes:
        code: Its exit code.
        asked: Requests that the vendor had seen by its end.
        receipts: All receipts in the lake.
        statuses: What Dagster shows, once dead runs have been ended.
    """

    code: int | None
    asked: int
    receipts: dict[str, Receipt]
    statuses: dict[str, set[str]]


@dataclass(frozen=True)
class End:
    """What a run that was not killed left.

    Attributes:
        finished: Exit code and words.
        counts: Sessions by state, by the ledger.
        stats: Counts of partitions by GraphQL.
        statuses: What Dagster shows of each.
    """

    finished: Finished
    counts: dict[str, int]
    stats: dict[str, int]
    statuses: dict[str, set[str]]


@dataclass(frozen=True)
class Ordeal:
    """Twenty killed runs on one lake, then one with a sick session, then one in peace.

    Attributes:
        home: The lake.
        asked: All requests that the vendor saw.
        attempts: The killed runs.
        calm_hash: Content hash of the lake of an undisturbed run.
        sick: What the run with a sick session left: exit code, counts of the ledger, of Dagster.
        healed: The same after the last run.
    """

    home: Home
    asked: list[dict[str, Any]]
    attempts: dict[str, Attempt]
    calm_hash: str
    sick: End
    healed: End


def run_killed(home: Home, emulator: EmulatorProcess, kill: Kill) -> Attempt:
    """Run a download that is killed, and look at what it left."""
    code = kill(home, emulator)
    with home.open_instance() as instance:
        end_dead_runs(instance, home.lakehouse.lock)
        statuses = read_statuses(instance)
    return Attempt(code, len(emulator.requests), home.read_receipts(), statuses)


def run_on(home: Home) -> End:
    """Run `smallcaps download` to its end, and look at what it left."""
    finished = home.run("download")
    with home.open_instance() as instance:
        stats, statuses = query_stats(instance), read_statuses(instance)
    return End(finished, home.lakehouse.ledger.counts(), stats, statuses)


@pytest.fixture(scope="module")
def ordeal(memory: Path, emulator: EmulatorProcess) -> Ordeal:
    calm = make_home(memory / "calm", emulator.url)
    assert calm.run("download").code == 0
    home, before = make_home(memory / "killed", emulator.url), len(emulator.requests)
    attempts = {name: run_killed(home, emulator, kill) for name, kill in KILLS.items()}
    ticker, session_date = decode_key(SICK)
    emulator.set_faults(f"500:ticker={ticker},date={session_date}")
    sick = run_on(home)
    emulator.set_faults()
    healed = run_on(home)
    return Ordeal(home, emulator.requests[before:], attempts, calm.hash_lake(), sick, healed)


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_run_leaves_whole_sessions_and_no_false_green(ordeal: Ordeal, name: str) -> None:
    """L13: receipts are read with their hashes here, and the files by the last test."""
    attempt = ordeal.attempts[name]

    assert attempt.code == -SIGKILL
    assert attempt.statuses["MATERIALIZED"] <= attempt.receipts.keys()
    assert attempt.statuses["IN_PROGRESS"] == set()


def test_no_receipt_is_lost_or_written_again(ordeal: Ordeal) -> None:
    for before, after in pairwise(ordeal.attempts.values()):
        assert before.receipts.items() <= after.receipts.items()
        assert before.statuses["MATERIALIZED"] <= after.statuses["MATERIALIZED"]

    last = list(ordeal.attempts.values())[-1]
    assert last.receipts.items() <= ordeal.home.read_receipts().items()
    assert len(last.receipts) < len(KEYS) - 2


def test_what_has_a_receipt_is_never_asked_for_again(ordeal: Ordeal) -> None:
    """L9: the vendor's own record of requests, after each kill."""
    for name, attempt in ordeal.attempts.items():
        later = find_asked_keys(ordeal.asked[attempt.asked :])
        assert later.isdisjoint(attempt.receipts), name


def test_a_run_that_ends_shows_what_is_left(ordeal: Ordeal) -> None:
    """Work left is Missing + Failed, and both are the ledger's."""
    stats, counts = ordeal.sick.stats, ordeal.sick.counts

    assert ordeal.sick.finished.code == 1
    assert ordeal.sick.statuses["FAILED"] == {SICK}
    assert stats["numPartitions"] - stats["numMaterialized"] == 1 == stats["numFailed"]
    assert counts["failed"] == 1
    assert sum(count for state, count in counts.items() if state in GREEN) == len(KEYS) - 1


def test_the_last_run_ends_as_if_nothing_had_happened(ordeal: Ordeal) -> None:
    assert ordeal.healed.finished.code == 0, ordeal.healed.finished.output
    assert ordeal.healed.statuses["MATERIALIZED"] == set(KEYS)
    assert ordeal.healed.stats["numMaterialized"] == len(KEYS)
    assert ordeal.home.hash_lake() == ordeal.calm_hash
    assert ordeal.home.report()["content_hash"] == ordeal.calm_hash
