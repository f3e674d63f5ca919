"""One of the processes that download a universe: `python -m smallcaps_assets.cli.runs.unit_worker`.

What belongs here: reading spans of units on standard input, a line of JSON each, and answering each
with a line when its run is over.  What does not: which spans there are (``universe``), and what a
run does (``defs.assets.universe``).

It ends with its parent, however that ends: Linux kills it then, and elsewhere the end of its input
says so.  What it had in hand is lost, and nothing else.
"""

import ctypes
import os
import queue
import signal
import sys
import threading
from typing import IO, Final

import msgspec

from smallcaps_assets.cli.endings import INTERRUPTED
from smallcaps_assets.cli.logs import set_up_logs
from smallcaps_assets.cli.runs.workplace import Workplace, dagster_storage_errors
from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.defs.assets.ticks import ABORTED_TAG
from smallcaps_assets.defs.failures import describe_failure
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.instance.units import UNITS_JOB, align_runs
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lake.home.market import adopt_source
from smallcaps_assets.settings import load_settings

PR_SET_PDEATHSIG: Final = 1
ORPHANED: Final = 3
"""Exit code of a process whose parent is gone."""


class Span(msgspec.Struct, frozen=True):
    """Units that one run downloads.

    Attributes:
        first: The first one.
        last: The last one, in the order of the partition set.
        tags: Tags of the run.
    """

    first: str
    last: str
    tags: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """What became of a span.

    Attributes:
        lines: What went wrong.
        is_success: Nothing did.
        aborted: Why no other span should be begun; empty: others may be.
    """

    lines: tuple[str, ...] = ()
    is_success: bool = True
    aborted: str = ""


def die_with_parent(parent: int) -> None:
    """Let Linux kill this process when the one that started it ends; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def read_spans(lines: IO[str]) -> "queue.Queue[Span]":
    """Read spans while others are worked on; the end of the input ends the process."""
    spans: queue.Queue[Span] = queue.Queue()

    def read() -> None:
        for line in lines:
            spans.put(decode_json(line, Span))
        os._exit(ORPHANED)

    threading.Thread(target=read, name="parent-watch", daemon=True).start()
    return spans


def run_span(work: Workplace, span: Span) -> Answer:
    """Download the units of a span in one run, and show what became of them.

    Raises:
        KeyboardInterrupt: SIGINT ended it; what is finished stays.
    """
    tags = {RANGE_START: span.first, RANGE_END: span.last, **span.tags}
    try:
        with dagster_storage_errors(work.settings):
            run = work.run_job(UNITS_JOB, tags)
            align_runs(work.instance, work.lakehouse, [run.run_id])
    except SmallcapsError as error:
        return Answer((str(error),), is_success=False, aborted=error.kind)
    if run.is_success:
        return Answer()
    lines = tuple(describe_failure(work.instance, run))
    return Answer(lines, is_success=False, aborted=run.tags.get(ABORTED_TAG, ""))


def main() -> int:
    """Work on spans until the parent ends this process."""
    die_with_parent(int(sys.argv[1]))
    set_up_logs()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    spans = read_spans(sys.stdin)
    try:
        work = Workplace(adopt_source(load_settings()))
        while True:
            answer = run_span(work, spans.get())
            answers.write(msgspec.json.encode(answer).decode() + "\n")
            answers.flush()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
