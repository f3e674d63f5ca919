"""The runs behind `smallcaps download --universe`: one parent, and processes that do its spans.

What belongs here: which spans of units there are, who does them, and how all of it ends.  What does
not: what a run does with its units (``defs.assets.universe``), the processes (``unit_worker``).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import msgspec
from rich.console import Console

from smallcaps_assets.cli.runs.download import NO_OPTIONS, RunOptions
from smallcaps_assets.cli.runs.unit_worker import Answer, Span
from smallcaps_assets.cli.runs.workplace import Workplace, count_processes
from smallcaps_assets.cli.screens.progress import watch_units
from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.plan.spans import find_spans
from smallcaps_assets.core.universe.units import UNITS_A_RUN
from smallcaps_assets.defs.assets.universe import UNDER_PARENT_TAG
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets.defs.instance.units import register_units
from smallcaps_assets.defs.partitions import UNITS_SET
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.universe.standing import OpenUnits, find_open_units

WORKER: Final = "smallcaps_assets.cli.runs.unit_worker"
BRIDGED_UNITS: Final = 20
"""Finished units between two missing ones that a run passes over: cheaper than a second run."""
PATIENCE_S: Final = 60.0
"""Longest wait for a process that was told to stop, and writes down what it has in hand."""
POLL_S: Final = 0.2


@dataclass(slots=True)
class Team:
    """Processes that do spans, one each at a time, until none is left or one says to stop.

    Attributes:
        waiting: Spans that nobody does yet.
        problems: What went wrong.
        aborted: Why no other span is begun.
        lost: Processes that ended on their own.
    """

    waiting: deque[Span]
    problems: list[str] = field(default_factory=list)
    aborted: str = ""
    lost: int = 0

    def work(self, process: "subprocess.Popen[str]") -> None:
        """Give spans to one process and take its answers; a thread of the parent does this."""
        while not self.aborted:
            try:
                span = self.waiting.popleft()
            except IndexError:
                break
            answer = _ask(process, span)
            if answer is None:
                self.lost += 1
                self.problems.append(_describe_death(process, span))
                return
            self.problems += answer.lines
            if answer.aborted:
                self.aborted = answer.aborted


def run_universe(
    work: Workplace,
    console: Console,
    options: RunOptions = NO_OPTIONS,
    processes: int | None = None,
) -> bool:
    """Download the units that lack anything; return whether nothing is missing now.

    Args:
        work: Settings and what is built from them.
        console: Where it is told.
        options: What the runs are told.
        processes: How many work at once; by the settings, else one a core.

    Raises:
        ConfigError: The vendor's key is not set.
        MissingPartitionError: No universe is planned.
        PartitionConflictError: Another one is downloaded here, or something else is alone.
    """
    with work.lakehouse.giving_units("smallcaps download --universe", 0.0):
        with work.lakehouse.writing("smallcaps download", 0.0, shared=True):
            pass  # what is alone in the lake is told before a process begins
        ensure_indexed(work.lakehouse)
        end_dead(work.instance, work.lakehouse)
        register_units(work.instance, work.lakehouse)
        found = find_open_units(work.lakehouse, is_forced=options.accepts)
        if not found.due:
            return _tell_end(found, [], console)
        work.settings.require_key()
        count = processes or count_processes(work.settings)
        spans = list_spans(work.instance.get_dynamic_partitions(UNITS_SET), found, count)
        tags = {**options.tags, UNDER_PARENT_TAG: "true"}
        team = Team(deque(Span(first, last, tags) for first, last in spans))
        count = min(count, len(spans))
        console.print(
            f"{format_count(len(found.due), 'unit')} of {found.planned:,} to download, "
            f"{format_count(found.sessions, 'session')}; runs: {len(spans)}, processes: {count}",
            highlight=False,
        )
        with watch_units(work.lakehouse, found.sessions, console):
            _run_team(work, team, count, console)
        end_dead(work.instance, work.lakehouse)
        return _tell_end(find_open_units(work.lakehouse), team.problems, console)


def list_spans(ordered: Sequence[str], found: OpenUnits, processes: int) -> list[tuple[str, str]]:
    """List first and last unit of each run: those of which nothing bad is known come first.

    Args:
        ordered: Registered units, in partition order.
        found: What is open.
        processes: How many work at once; few units are shared among all of them.
    """
    fresh = [unit for unit in found.due if unit not in found.known_failures]
    most = max(1, min(UNITS_A_RUN, -(-len(found.due) // processes)))

    def cut(wanted: Collection[str]) -> list[tuple[str, str]]:
        return find_spans(ordered, wanted, found.open, bridged=BRIDGED_UNITS, most=most)

    return [*cut(fresh), *cut(found.known_failures & set(found.due))]


def _run_team(work: Workplace, team: Team, count: int, console: Console) -> None:
    """Let processes work until all is done, and end them, whatever happens."""
    with ExitStack() as ending, _stopping_on_sigterm():
        members = [ending.enter_context(_running_worker()) for _ in range(count)]
        threads = [threading.Thread(target=team.work, args=(one,), daemon=True) for one in members]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            team.aborted = "interrupted"
            _stop(members)
            end_dead(work.instance, work.lakehouse)
            console.print("stopped; what is finished stays: run the same command to go on")
            raise


@contextmanager
def _running_worker() -> Iterator["subprocess.Popen[str]"]:
    """Run a process; at the end its input is closed, which ends it."""
    # The thread that starts it has to live as long: it is a parent to Linux.
    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-m", WORKER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C in the terminal reaches the parent, which passes it on
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that what is in hand is written down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(members: Iterable["subprocess.Popen[str]"]) -> None:
    """Tell processes to stop, and wait until they wrote down what they had in hand."""
    stopping = list(members)
    for process in stopping:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    until = time.monotonic() + PATIENCE_S
    for process in stopping:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def _ask(process: "subprocess.Popen[str]", span: Span) -> Answer | None:
    """Let a process do a span; ``None``: it ended without an answer."""
    assert process.stdin is not None  # noqa: S101  both are pipes
    assert process.stdout is not None  # noqa: S101  the same
    try:
        process.stdin.write(msgspec.json.encode(span).decode() + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except (OSError, ValueError):
        return None
    return decode_json(line, Answer) if line else None


def _describe_death(process: "subprocess.Popen[str]", span: Span) -> str:
    code = process.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"the process that did the units {span.first} to {span.last} ended by {how}; the others "
        "went on, and the same command asks for what it did not finish"
    )


def _tell_end(found: OpenUnits, problems: Sequence[str], console: Console) -> bool:
    """Say what lacks now, and why; return whether nothing does."""
    for problem in problems:
        console.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
    if not found.open:
        console.print(f"nothing is missing: all {found.planned:,} units are complete")
        return True
    text = f"{len(found.open):,} of {found.planned:,} units lack sessions"
    if found.resting:
        text += (
            f"; {format_count(found.resting, 'session')} rest until tomorrow: disputed, or failed "
            "on three dates, and asked for today"
        )
    console.print(text, style="yellow", highlight=False, soft_wrap=True)
    return False
