"""The pulse of a download: what the process at work last said of itself, and its steps.

What belongs here: the records and their way into rows of the ledger.  What does not: who writes
them and when (``ingest.ticks.heartbeat``), what follows from them (``operations.status.look``).

A pulse is a note and decides nothing: whether its process lives is asked of the operating system.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.core.progress.pace import Step, Work
from smallcaps_assets.lake.ledger.rows import Row

OVERHEAD: Final = "overhead_ms"
"""Counter of what a run took besides its ranges: plan and bars are read, the catalog is built."""


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What a download last said of itself.

    Attributes:
        process: Identity of its process, ``lake.processes``.
        pid: Its pid, for people.
        host: Its machine, for people.
        run_id: Run that it works for.
        started_at: When its process began to download.
        run_started_at: When this run began.
        beat_at: When this was said.
        ended_at: When the run ended; ``None`` while it works, and forever when it was killed.
        outcome: ``finished``, ``aborted``, ``stopped`` or ``failed``; empty while it works.
        reason: Why it was aborted or failed.
        stage: ``reads`` (plan and bars), ``fetches`` or ``commits``.
        planned: Work of the run that is not fetched yet, as the bars promise it.
        others: Work of the plan that this run does not do.
        expected: What the bars promised of the ranges that came.
        found: What came of them.
        under_way: What came of ranges that are not whole yet.
        ranges_waiting: Ranges not begun.
        ranges_running: Ranges that threads fetch.
        requests: Requests of this process.
        requests_per_minute: Their limit; 0: there is none.
        retries: Its retries by kind.
        threads: Threads by what they wait for, ``polygon.counters.Stage``.
        oldest_answer_s: How long the oldest request under way is waited for.
        next_retry_s: Seconds until the first pause ends.
        last_fault: Kind of the newest fault that was asked again.
        last_fault_text: What was expected and what came.
        last_page_at: When the last page came; ``None``: none did.
    """

    process: str
    pid: int
    host: str
    run_id: str
    started_at: dt.datetime
    run_started_at: dt.datetime
    beat_at: dt.datetime
    ended_at: dt.datetime | None = None
    outcome: str = ""
    reason: str = ""
    stage: str = "reads"
    planned: Work = Work()
    others: Work = Work()
    expected: Work = Work()
    found: Work = Work()
    under_way: Work = Work()
    ranges_waiting: int = 0
    ranges_running: int = 0
    requests: int = 0
    requests_per_minute: float = 0.0
    retries: Mapping[str, int] = {}
    threads: Mapping[str, int] = {}
    oldest_answer_s: float = 0.0
    next_retry_s: float = 0.0
    last_fault: str = ""
    last_fault_text: str = ""
    last_page_at: dt.datetime | None = None


def encode_pulse(pulse: Pulse) -> str:
    """Encode a pulse as text."""
    return msgspec.json.encode(pulse).decode()


def parse_pulse(text: str) -> Pulse | None:
    """Parse a pulse; ``None``: another version of this program wrote it."""
    try:
        return decode_json(text, Pulse)
    except DECODER_FAULTS:
        return None


def step_row(step: Step, run_id: str, now: str) -> Row:
    """Make the row of ``steps`` from a step."""
    return {
        "recorded_at": now,
        "run_id": run_id,
        "seconds": step.seconds,
        "sessions": step.work.sessions,
        "requests": step.work.requests,
        "rows": step.work.rows,
    }


def parse_step(row: Sequence[Any]) -> Step:
    """Parse the step of a row of ``ledger_sql.STEPS``."""
    seconds, sessions, requests, rows, run_requests = row
    work = Work(int(sessions), int(requests), int(rows))
    return Step(float(seconds), work, int(run_requests))
