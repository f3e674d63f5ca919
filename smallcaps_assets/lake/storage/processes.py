"""Who holds something: a process, told apart from every other one, and whether it still lives.

What belongs here: identities that survive in a file's name or in a lock, and the judgement on
them.  What does not: what is held (``files``, ``lock``).  A pid alone is not enough: it is given
again after a while, after a reboot, and in another container.
"""

import enum
import functools
import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

PROC: Final = Path("/proc")
"""Where Linux tells of its processes."""

_IDENTITY: Final = re.compile(r"(?P<machine>[0-9a-f]{12})-(?P<pid>\d+)-(?P<started>\d+)")


class Liveness(enum.Enum):
    """What can be said about a process that left its name somewhere."""

    ALIVE = enum.auto()
    DEAD = enum.auto()
    UNKNOWN = enum.auto()
    """It belongs to another machine, another container, or an earlier boot."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from every other one that ever ran.

    Attributes:
        machine: Token of the machine, its boot and its space of pids.
        pid: Number of the process there.
        started: When it started, in the unit of the operating system.
    """

    machine: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"


def identify_process(pid: int | None = None) -> ProcessIdentity:
    """Identify a living process, this one by default.

    Raises:
        ProcessLookupError: There is none with this pid.
    """
    if pid is None:
        return _identify_own(os.getpid())
    started = read_start(pid)
    if started is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(read_machine_token(), pid, started)


def parse_identity(text: str) -> ProcessIdentity | None:
    """Parse the identity that ``text`` is the ``str`` of; ``None`` when it is not one."""
    match = _IDENTITY.fullmatch(text)
    if match is None:
        return None
    return ProcessIdentity(match["machine"], int(match["pid"]), int(match["started"]))


def judge_process(identity: ProcessIdentity) -> Liveness:
    """Judge whether the process is alive; a zombie is dead, because it can write no more."""
    if identity.machine != read_machine_token():
        return Liveness.UNKNOWN
    is_same = read_start(identity.pid) == identity.started
    return Liveness.ALIVE if is_same else Liveness.DEAD


@functools.cache
def read_machine_token(proc: Path = PROC) -> str:
    """Derive twelve hex digits that no other machine, boot or container shares."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pid_space = str((proc / "self/ns/pid").readlink())
    except OSError:
        boot = str(int(psutil.boot_time()))
        pid_space = platform.node()
    return hashlib.sha256(f"{boot} {pid_space}".encode()).hexdigest()[:12]


def read_start(pid: int, proc: Path = PROC) -> int | None:
    """Read when a process started, for comparison only; ``None`` when it does not live.

    Linux counts from the boot, which no correction of the clock moves; elsewhere it is the
    creation time in milliseconds.
    """
    if not proc.is_dir():
        return _read_start_anywhere(pid)
    try:
        status = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *numbers = status.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(numbers[18])


@functools.cache
def _identify_own(pid: int) -> ProcessIdentity:
    """Identify this process, once: every file that it writes asks for its identity."""
    return identify_process(pid)


def _read_start_anywhere(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 1000)
    except psutil.Error:
        return None
