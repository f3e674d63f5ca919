import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smallcaps_assets.lake.storage.processes import (
    Liveness,
    ProcessIdentity,
    identify_process,
    judge_process,
    parse_identity,
    read_machine_token,
    read_start,
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that waits to be ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_identify_process_names_this_one() -> None:
    identity = identify_process()

    assert identity.pid == os.getpid()
    assert judge_process(identity) is Liveness.ALIVE
    assert parse_identity(str(identity)) == identity


def test_judge_process_tells_the_living_from_the_dead(child: subprocess.Popen[bytes]) -> None:
    identity = identify_process(child.pid)
    before = judge_process(identity)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    as_zombie = judge_process(identity)
    child.wait()
    assert before is Liveness.ALIVE
    assert as_zombie is judge_process(identity) is Liveness.DEAD


def test_a_pid_given_again_is_another_process() -> None:
    identity = identify_process()

    former = replace(identity, started=identity.started - 1)

    assert judge_process(former) is Liveness.DEAD


def test_nothing_is_known_of_other_machines_and_earlier_boots() -> None:
    foreign = replace(identify_process(), machine="0" * 12)

    assert judge_process(foreign) is Liveness.UNKNOWN


def test_identify_process_refuses_a_pid_without_process(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()

    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        identify_process(child.pid)


@pytest.mark.parametrize("text", ["", "1-2-3", "0123456789ab-2", "0123456789ab-2-x", "a b"])
def test_parse_identity_gives_none_for_other_texts(text: str) -> None:
    assert parse_identity(text) is None


def test_processes_are_known_without_proc_as_well(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    nowhere = tmp_path / "proc"
    started = read_start(child.pid, proc=nowhere)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    as_zombie = read_start(child.pid, proc=nowhere)
    child.wait()

    assert started is not None
    assert as_zombie is None
    assert read_start(child.pid, proc=nowhere) is None


def test_the_machine_has_a_token_without_proc_as_well(tmp_path: Path) -> None:
    token = read_machine_token(tmp_path)

    assert ProcessIdentity(token, 1, 2) == parse_identity(f"{token}-1-2")
    assert token != read_machine_token()
