"""How commands end: on streams that refuse, by Ctrl-C, on a folder without rights."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import pytest

from smallcaps_assets.cli.endings import run_to_end
from smallcaps_assets.cli.runs.workplace import noticing_interrupts
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.cli.cli_factories import FAILED, User

INTERRUPTED: Final = 130
FULL: Final = Path("/dev/full")
NOBODY: Final = 65534
CLI: Final = f"{sys.executable} -m smallcaps_assets.cli"


def run_shell(user: User, line: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, where `smallcaps` is the command."""
    environment = {**os.environ, **user.environment, **settings}
    environment["SMALLCAPS_DATA_DIR"] = str(user.data_dir)
    return subprocess.run(
        ["bash", "-c", line.replace("smallcaps", CLI)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_says_for_whom_it_waits(filled: User) -> None:
    lock = LakeLock(LakeLayout(filled.data_dir).catalog_lock_file, locks_folder=False)
    environment = {**os.environ, **filled.environment, "SMALLCAPS_DATA_DIR": str(filled.data_dir)}
    command = [sys.executable, "-m", "smallcaps_assets.cli", "catalog"]

    with (
        ExitStack() as holding,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process,
    ):
        holding.enter_context(lock.hold("another builder"))
        assert process.stderr is not None
        said = process.stderr.readline()
        holding.close()

    assert f"in use by another builder (pid {os.getpid()} on " in said
    assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_of_few_letters_shows_what_it_can(filled: User, encoding: str) -> None:
    """L53: a bar of letters that cp1252 lacks was a traceback."""
    finished = run_shell(filled, "smallcaps status", PYTHONIOENCODING=encoding)

    assert (finished.returncode, finished.stderr) == (0, "")
    assert "9 of 9 sessions done" in finished.stdout


@pytest.mark.skipif(not FULL.exists(), reason="a device that is full exists on Linux")
@pytest.mark.parametrize("command", ["status --json", "audit", "--help"])
def test_a_full_device_is_told(filled: User, command: str) -> None:
    """L53."""
    finished = run_shell(filled, f"smallcaps {command} > {FULL}")

    assert finished.returncode == FAILED
    assert "No space left on device" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr


@pytest.mark.parametrize("line", ["smallcaps docs operations | true", "smallcaps status >&-"])
def test_a_closed_stream_is_no_trace(filled: User, line: str) -> None:
    """L53."""
    finished = run_shell(filled, line)

    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may be someone else")
@pytest.mark.parametrize("command", ["status", "download", "reindex"])
def test_a_user_without_rights_is_told_so(filled: User, command: str) -> None:
    """L53."""
    filled.folder.chmod(0o755)
    filled.data_dir.chmod(0o700)

    finished = run_shell(filled, f"setpriv --reuid {NOBODY} --clear-groups smallcaps {command}")

    assert finished.returncode == FAILED, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "Permission denied" in finished.stderr
    assert str(filled.data_dir) in finished.stderr


@pytest.mark.parametrize(
    ("command", "endpoint"),
    [("plan", "grouped"), ("universe", "tickers")],
)
def test_ctrl_c_ends_with_its_own_code(
    user: User, market_server: EmulatorServer, command: str, endpoint: str
) -> None:
    """L53: it was 1, as if the work had failed."""
    market_server.faults = [Fault("slow", seconds=5.0, endpoint=endpoint)]

    with user.start(*command.split()) as process:
        wait_for_request(market_server, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == INTERRUPTED, out + err
    assert "Traceback" not in out + err
    assert "interrupted" in err


def test_ctrl_c_inside_a_callback_of_the_collector_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """L53: it was printed as a trace, and the command went on."""

    class Collected:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    @click.command
    def command() -> None:
        Collected()
        time.sleep(30)

    started = time.monotonic()

    assert run_to_end(command, []) == INTERRUPTED
    assert time.monotonic() - started < 20
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_dagster_holds_back_is_noticed(number: signal.Signals) -> None:
    """L53: a plan went on with its next run after Ctrl-C between two steps."""
    before = signal.signal(number, lambda *_: None)
    try:
        with noticing_interrupts() as was_interrupted:
            nothing = was_interrupted()
            signal.raise_signal(number)
            something = was_interrupted()
    finally:
        signal.signal(number, before)

    assert (nothing, something) == (False, True)


def wait_for_request(server: EmulatorServer, process: "subprocess.Popen[str]") -> None:
    """Wait until a process has asked for something slow."""
    while process.poll() is None and not server.requests:
        time.sleep(0.1)
    time.sleep(1.0)
