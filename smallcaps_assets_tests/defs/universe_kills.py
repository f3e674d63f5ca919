"""Downloads of a universe that are killed from outside, as by `kill -9`: parent, processes, both.

What belongs here: who is killed and when, and what must hold afterwards.  What does not: universes
as such (``universe_factories``).
"""

import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psutil

from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets_tests.defs.defs_factories import PATIENCE_S, EmulatorProcess, Home
from smallcaps_assets_tests.defs.universe_factories import list_proven, read_colours

VICTIMS: Final = ("child", "parent", "both")
COMMAND: Final = ("download", "--universe", "--processes", "2")
WORKER: Final = "smallcaps_assets.cli.runs.unit_worker"


@dataclass(frozen=True)
class Kill:
    """Who is killed, after how many more requests, and how long after the last of them."""

    victim: str
    requests: int
    delay_s: float

    def __str__(self) -> str:
        return f"{self.victim} after {self.requests} requests and {self.delay_s:.2f} s"


def draw_kills(seed: int, count: int, most_requests: int) -> Iterator[Kill]:
    """Draw kills of every victim at any moment of a download."""
    draw = random.Random(seed)  # noqa: S311  repeatable
    for place in range(count):
        yield Kill(
            VICTIMS[place % len(VICTIMS)], draw.randrange(most_requests), draw.uniform(0, 0.5)
        )


def find_workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Find the processes that a command started to do its units."""
    found = psutil.Process(process.pid).children()
    return [child for child in found if WORKER in _read_command(child)]


def download_until_killed(home: Home, emulator: EmulatorProcess, kill: Kill) -> int:
    """Download, and kill who is to be killed; return the command's exit code.

    Where the parent is killed its processes have to end by themselves, and at once.
    """
    before = emulator.count_requests()
    process = home.start(*COMMAND)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and emulator.count_requests() <= before + kill.requests:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(kill.delay_s)
    workers = find_workers(process) if process.poll() is None else []
    if kill.victim == "child":
        for worker in workers[:1]:
            worker.kill()
    else:
        process.kill()
        for worker in workers if kill.victim == "both" else []:
            worker.kill()
    process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert not alive
    return process.returncode


def find_problems(home: Home, emulator: EmulatorProcess, kill: Kill) -> list[str]:
    """Kill a download, and find what does not hold: colours, and what is asked for afterwards."""
    proven = list_stored(home)
    before = len(emulator.requests)
    code = download_until_killed(home, emulator, kill)
    problems = [] if code in {0, 1, -signal.SIGKILL} else [f"exit code {code}"]
    problems += find_asked_again(emulator.requests[before:], proven)
    lakehouse = home.lakehouse
    with home.open_instance() as instance:
        end_dead(instance, lakehouse)
        colours = read_colours(instance)
    green, truth = colours["MATERIALIZED"], list_proven(lakehouse)
    problems += [f"green and not proven: {unit}" for unit in sorted(green - truth)]
    problems += [f"left under way: {unit}" for unit in sorted(colours["IN_PROGRESS"])]
    lakehouse.ledger.close()
    return problems


def list_stored(home: Home) -> set[str]:
    """List the keys of the sessions that are stored, from the records themselves."""
    return set(home.read_receipts())


def find_asked_again(asked: Iterable[Mapping[str, Any]], proven: set[str]) -> list[str]:
    """Find proven sessions that requests for trades asked for; later pages of a chain name none."""
    dates: dict[str, list[tuple[int, int, str]]] = {}
    for key in proven:
        ticker, date = decode_key(key)
        dates.setdefault(ticker, []).append((*day_bounds_ns(date, date), encode_key(ticker, date)))
    return [
        f"asked again: {key}"
        for request in asked
        if "timestamp.gte" in request["query"]
        for start_ns, end_ns, key in dates.get(request["path"].removeprefix("/v3/trades/"), [])
        if int(request["query"]["timestamp.gte"]) <= start_ns
        and end_ns <= int(request["query"]["timestamp.lt"])
    ]


def _read_command(process: psutil.Process) -> list[str]:
    try:
        return list(map(str, process.cmdline()))
    except psutil.Error:
        return []
