"""Downloads that people stop, and two at once."""

import gc
import io
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console
from sqlalchemy import Engine, event

from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.lake.reading.sources import EVERYTHING
from smallcaps_assets_tests.defs.defs_factories import (
    KEYS,
    EmulatorProcess,
    Home,
    find_asked_keys,
    make_home,
    read_statuses,
    wait_for,
)
from smallcaps_assets_tests.defs.kills import Fuse, start_download
from smallcaps_assets_tests.defs.workspaces import open_desk, query_stats

pytestmark = pytest.mark.slow

SLOW = "slow:seconds=0.1,endpoint=trades"
MATERIALIZE = ("asset", "materialize", "-m", "smallcaps_assets.definitions", "--select", "trades")
FEW = 4
"""Sessions that are stored before a run is stopped."""


@pytest.fixture
def vendor(emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """Slow the vendor down, so that a run can be stopped before its end."""
    emulator.set_faults(SLOW)
    yield emulator
    emulator.set_faults()


def start_few(home: Home) -> "subprocess.Popen[str]":
    """Start `smallcaps download` and wait until it has stored something."""
    process = home.start("download")
    wait_for(lambda: len(home.read_receipts()) >= FEW)
    return process


def assert_settled(home: Home, instance: dg.DagsterInstance) -> None:
    """Assert that what is stored is green, and that the rest is missing, by any count."""
    receipts, statuses = home.read_receipts(), read_statuses(instance)
    counts, stats = home.lakehouse.ledger.counts(), query_stats(instance)

    assert FEW <= len(receipts) < len(KEYS)
    assert statuses["MATERIALIZED"] == receipts.keys()
    assert statuses["MISSING"] == set(KEYS) - receipts.keys()
    assert stats["numMaterialized"] == sum(n for s, n in counts.items() if s in GREEN)
    assert stats["numPartitions"] - stats["numMaterialized"] == counts["planned"]


def assert_resumes(home: Home, vendor: EmulatorProcess) -> None:
    """Assert that the same command finishes and asks for nothing twice."""
    receipts, asked = home.read_receipts(), len(vendor.requests)
    vendor.set_faults()
    process = start_download(home, Fuse("never"))
    process.join()

    assert process.exitcode == 0
    assert find_asked_keys(vendor.requests[asked:]) == set(KEYS) - receipts.keys()
    assert receipts.items() <= home.read_receipts().items()
    assert home.read_receipts().keys() == set(KEYS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_as_canceled_and_keeps_what_is_finished(
    memory: Path, vendor: EmulatorProcess, number: signal.Signals
) -> None:
    home = make_home(memory / number.name, vendor.url)

    process = start_few(home)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    assert (process.returncode, "Traceback" in output) == (130, False), output
    assert "run the same command to go on" in output
    with home.open_instance() as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED
        assert_settled(home, instance)


@contextmanager
def interrupting(*, events: int) -> Iterator[None]:
    """Interrupt where Dagster writes the last of some events, then collect garbage in each write.

    So the generator of the step, which Dagster holds, ends in a transaction of Dagster's.
    """
    left = events

    def hear(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal left
        if left == 0 and statement.startswith(("INSERT", "UPDATE")):
            gc.collect()
        elif left and statement.startswith("INSERT INTO event_logs"):
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)

    event.listen(Engine, "after_cursor_execute", hear)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        event.remove(Engine, "after_cursor_execute", hear)


def test_an_interrupt_while_dagster_writes_waits_for_its_transaction(
    memory: Path, vendor: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L57: Dagster may let go of a download inside a transaction, where nobody else may write."""
    home = make_home(memory / "writing", vendor.url)
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    dropped: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", dropped.append)
    work = Workplace(home.lakehouse.settings)

    with pytest.raises(KeyboardInterrupt), interrupting(events=10):
        run_download(work, EVERYTHING, Console(file=io.StringIO()))

    assert dropped == []
    (run,) = work.instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    receipts, statuses = home.read_receipts(), read_statuses(work.instance)
    assert statuses["MATERIALIZED"] == receipts.keys()
    assert statuses["MISSING"] == set(KEYS) - receipts.keys()


def test_terminate_ends_a_run_of_the_ui_and_keeps_what_is_finished(
    memory: Path, vendor: EmulatorProcess
) -> None:
    home = make_home(memory / "terminated", vendor.url)

    with open_desk(home) as desk:
        run_id = desk.launch(KEYS[0], KEYS[-1])
        wait_for(lambda: len(home.read_receipts()) >= FEW)
        desk.terminate(run_id)
        wait_for(lambda: desk.find_run(run_id).is_finished)
        assert desk.find_run(run_id).status is dg.DagsterRunStatus.CANCELED
        wait_for(lambda: home.lakehouse.lock.holder() is None)
        assert read_statuses(desk.instance)["IN_PROGRESS"] == set()
        assert read_statuses(desk.instance)["MATERIALIZED"] <= home.read_receipts().keys()
    assert_resumes(home, vendor)


def test_two_downloads_at_once(memory: Path, vendor: EmulatorProcess) -> None:
    """A second command refuses and names the holder, a run waits; a dead holder blocks nobody."""
    home = make_home(memory / "twice", vendor.url)

    holder = start_few(home)
    refused = home.run("download")
    waiting = home.start(
        *MATERIALIZE, "--partition-range", f"{KEYS[0]}...{KEYS[-1]}", module="dagster"
    )
    with home.open_instance() as instance:
        wait_for(lambda: instance.get_runs_count() == 2)
    holder.kill()
    holder.communicate()
    vendor.set_faults()
    output, _ = waiting.communicate(timeout=60)

    assert refused.code == 2
    assert f"pid {holder.pid}" in refused.out
    assert waiting.returncode == 0, output
    assert home.read_receipts().keys() == set(KEYS)
