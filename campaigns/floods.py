"""Answers that flood or starve the client: huge ones, bombs, and bytes that only drip.

Each download runs in a process of its own, whose peak of memory is measured.
"""

import multiprocessing as mp
import resource
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from campaigns.crashes import PRELOADED
from campaigns.ground import Address, Ground, Part
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.lakehouse_factories import download_plan
from smallcaps_assets_tests.polygon.dripping import DrippingServer

MIB = 1024**2
MEMORY_MIB = 300
"""What two workers may take above a calm download: each a body at its limit, twice.  One that is
announced as larger is not read at all."""
BUDGET_S = 0.5
PATIENCE_S = 60


@dataclass(frozen=True)
class Measured:
    """What a download in a process of its own did.

    Attributes:
        peak_mib: Most memory that the process had.
        seconds: How long it took.
    """

    peak_mib: float
    seconds: float


def download_measured(ground: Ground, folder: Path, answers: "mp.Queue[Measured]") -> None:
    """Download once with little patience, and tell what it took."""
    warnings.simplefilter("ignore")
    started = time.monotonic()
    download_plan(ground.open(folder, retry_budget_s=BUDGET_S, outage_after=10_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers.put(Measured(peak, time.monotonic() - started))


def make_floods() -> dict[str, tuple[Fault, ...]]:
    """Return the faults of each case; a huge answer is well-formed, and could be believed."""
    huge = b'{"results": [], "status": "OK", "padding": "' + b" " * (200 * MIB) + b'"}'
    return {
        "answers of 200 MiB, a few": (Fault(body=huge, endpoint="trades", times=4),),
        "answers of 200 MiB, on and on": (Fault(body=huge, endpoint="trades"),),
        "gzip bombs of 1 GiB, a few": (Fault("gzip_bomb", endpoint="trades", times=4),),
        "gzip bombs of 4 GiB, on and on": (Fault("gzip_bomb", endpoint="trades", rows=4096),),
        "gzip bombs of 1 GiB, now and then": (
            Fault("gzip_bomb", endpoint="trades", probability=0.3),
        ),
    }


def run_floods(ground: Ground, *, is_short: bool) -> Part:
    """Let answers be huge or bombs; memory stays bounded, and nothing wrong is stored."""
    part = Part(
        "answers of 200 MB and gzip bombs",
        f"at most {MEMORY_MIB} MiB more than a calm download, the truth or a reason",
    )
    server = ground.server
    assert isinstance(server, EmulatorServer)
    calm = _measure(ground, ground.copy("unflooded"), server.url)
    peaks = []
    for name, faults in list(make_floods().items())[:: 2 if is_short else 1]:
        folder = ground.copy("flooded")
        server.faults = faults
        try:
            measured = _measure(ground, folder, server.url)
        finally:
            server.faults = []
        peaks.append(measured.peak_mib)
        part.check(name, _judge(measured, calm) + ground.find_problems(folder))
    part.notes = f"peak {max(peaks):.0f} MiB, calm {calm.peak_mib:.0f} MiB"
    return part


def run_slow_loris(ground: Ground) -> Part:
    """Let answers drip; each request ends within its budget, and nothing is stored."""
    part = Part("answers that drip forever", "given up in time, nothing stored, then converges")
    longest = 0.0
    for name, drips_header in (("body", False), ("header", True)):
        folder = ground.copy("starved")
        with DrippingServer(drips_header=drips_header) as server:
            measured = _measure(ground, folder, server.url)
        longest = max(longest, measured.seconds)
        problems = [] if measured.seconds < PATIENCE_S else ["not given up"]
        part.check(f"dripping {name}", problems + ground.find_problems(folder))
    part.notes = f"given up after {longest:.0f} s at most, with a budget of {BUDGET_S} s a request"
    return part


def _measure(ground: Ground, folder: Path, url: str) -> Measured:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    answers: mp.Queue[Measured] = context.Queue()
    bare = Ground(ground.folder, Address(url), ground.keys, ground.truth)
    process = context.Process(target=download_measured, args=(bare, folder, answers))
    process.start()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
    ended = process.exitcode == 0
    return answers.get(timeout=5) if ended else Measured(float("inf"), PATIENCE_S)


def _judge(measured: Measured, calm: Measured) -> list[str]:
    extra = measured.peak_mib - calm.peak_mib
    return [] if extra <= MEMORY_MIB else [f"{extra:.0f} MiB more than a calm download"]
