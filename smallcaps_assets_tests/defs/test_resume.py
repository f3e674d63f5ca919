"""L13: a download that is killed six times and started again each time.

The same command, on one lake.  Whatever the moment of the kill: readers see whole files, nothing
proven is lost or asked for again, and the end is that of a run that nobody disturbed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.defs.instance.runs import end_dead_runs
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets_tests.cli.cli_factories import Finished
from smallcaps_assets_tests.defs.defs_factories import (
    KEYS,
    PATIENCE_S,
    EmulatorProcess,
    Home,
    find_asked_keys,
    make_home,
    read_statuses,
    wait_for,
)
from smallcaps_assets_tests.defs.kills import PROOF, TRADES, Fuse, start_download
from smallcaps_assets_tests.defs.workspaces import query_stats

pytestmark = pytest.mark.slow

SICK: Final = KEYS[-3]
"""A session that the vendor fails to send until the last run."""
SICK_FAULT: Final = "500:ticker={},date={}".format(*decode_key(SICK))
SLOW: Final = "slow:seconds=0.05,endpoint=trades"
"""Leaves the parent time to kill where it means to."""

Kill = Callable[[Home, EmulatorProcess], int | None]
"""Runs a download, kills it, and returns its exit code."""


def by_fuse(moment: str, name: str = "", count: int = 1) -> Kill:
    """Return a kill of the process by itself, at a moment of its own work."""

    def kill(home: Home, _: EmulatorProcess) -> int | None:
        process = start_download(home, Fuse(moment, name, count))
        process.join(PATIENCE_S)
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


def while_planned() -> Kill:
    """Return a kill while Dagster notes what the run is going to do, before it starts."""

    def kill(home: Home, _: EmulatorProcess) -> int | None:
        with home.open_instance() as instance:
            before = instance.get_runs_count()
            process = start_download(home, Fuse("never"))
            wait_for(lambda: instance.get_runs_count() > before)
        process.kill()
        process.join()
        return process.exitcode

    return kill


def in_page() -> Kill:
    """Return a kill of `smallcaps download` while half of a middle page has arrived."""

    def kill(home: Home, emulator: EmulatorProcess) -> int | None:
        emulator.set_faults(SICK_FAULT, "stall:page=middle,seconds=60,times=1", SLOW)
        process = home.start("download")
        wait_for(lambda: emulator.count_faults("stall") == 1)
        time.sleep(0.3)
        process.kill()
        process.communicate()
        emulator.set_faults(SICK_FAULT, SLOW)
        return process.returncode

    return kill


KILLS: Final = {
    "before anything": by_time(0.3),
    "while Dagster plans": while_planned(),
    "while it writes trades": by_fuse("in write", TRADES),
    "in the middle of a page": in_page(),
    "before what proves it has its name": by_fuse("before rename", PROOF),
    "after the ledger before the event": by_fuse("after ledger", "", 2),
}


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


def assert_nothing_is_lost(attempts: Mapping[str, Attempt]) -> None:
    """Assert that receipts only ever come, and that what Dagster shows as green has one."""
    for (_, before), (name, after) in pairwise(attempts.items()):
        assert before.receipts.items() <= after.receipts.items(), name
        assert before.statuses["MATERIALIZED"] <= after.statuses["MATERIALIZED"], name
        assert after.statuses["MATERIALIZED"] <= after.receipts.keys(), name
        assert after.statuses["IN_PROGRESS"] == set(), name


def assert_nothing_is_asked_twice(
    attempts: Mapping[str, Attempt], asked: Sequence[Mapping[str, Any]]
) -> None:
    """Assert by the vendor's record that no session with a receipt is asked for again."""
    for name, attempt in attempts.items():
        later = find_asked_keys(asked[attempt.asked :])
        assert later.isdisjoint(attempt.receipts), name


def assert_work_left(end: End, *, failed: set[str]) -> None:
    """Assert that work left is Missing + Failed, and the ledger's count."""
    green = sum(count for state, count in end.counts.items() if state in GREEN)

    assert end.finished.code == int(bool(failed)), end.finished.out
    assert end.statuses["FAILED"] == failed
    assert end.statuses["MATERIALIZED"] == set(KEYS) - failed
    assert (end.stats["numMaterialized"], end.stats["numFailed"]) == (green, len(failed))
    assert end.stats["numPartitions"] - green == end.counts.get("failed", 0) == len(failed)


def test_six_kills_and_the_same_command_again(memory: Path, emulator: EmulatorProcess) -> None:
    """L9, L13."""
    calm = make_home(memory / "calm", emulator.url)
    home = calm.copy(memory / "killed")
    undisturbed = start_download(calm, Fuse("never"))
    undisturbed.join()
    assert undisturbed.exitcode == 0

    emulator.set_faults(SICK_FAULT, SLOW)
    attempts = {name: run_killed(home, emulator, kill) for name, kill in KILLS.items()}
    sick = run_on(home)
    emulator.set_faults()
    healed = run_on(home)

    assert {name: attempt.code for name, attempt in attempts.items()} == dict.fromkeys(KILLS, -9)
    assert_nothing_is_lost(attempts)
    assert_nothing_is_asked_twice(attempts, emulator.requests)
    assert_work_left(sick, failed={SICK})
    assert_work_left(healed, failed=set())
    assert home.hash_lake() == calm.hash_lake() == home.report()["content_hash"]
