"""The heartbeat of a download: a thread that tells the ledger what the process at work knows.

What belongs here: when a pulse is written, and what it says.  What does not: the pulse itself
(``lake.ledger.pulse``), and what is concluded from it (``operations.status.look``).

A run takes time before its first range and after its last one, whatever it fetches.  That is noted
apart from the steps: it is no part of the pace, and many small runs pay it many times.

A pulse is a row that takes the place of the one before, without a sync; the steps that the pace is
measured by are about two thousand a day.  A disk that refuses them harms nothing else: the pulse is
missing then, and no session is.
"""

import contextlib
import datetime as dt
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from smallcaps_assets.core.progress.pace import Step, Work, choose_interval_s
from smallcaps_assets.core.ticks.sources import IDLE, NOTHING, SourceCounters, TradeSource
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary
from smallcaps_assets.ingest.ticks.workload import Workload
from smallcaps_assets.lake.ledger.pulse import OVERHEAD, Pulse
from smallcaps_assets.lake.ledger.writer import Ledger, tell_time
from smallcaps_assets.lake.storage.processes import identify_process

BEAT_S: Final = 1.0
"""Pause between two pulses."""
FAULT_LENGTH: Final = 300
"""Characters kept of the newest fault."""


@dataclass
class Heartbeat:
    """Tells how one run continues while the block runs, and how it ended.

    Attributes:
        find_source: Where trades come from; ``None``: nobody was asked yet.
        interrupts: Exceptions that stop a run and are no failure.
        others: Work of the plan that this run does not do.
    """

    ledger: Ledger
    run_id: str
    workload: Workload
    summary: DownloadSummary
    find_source: Callable[[], TradeSource | None]
    requests_per_minute: float = 0.0
    clock: Callable[[], dt.datetime] = tell_time
    interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
    others: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._process = identify_process()
        self._begun = self._counted_at = time.monotonic()
        self._worked_s = 0.0
        self._overhead_ms = 0
        self._run_started_at = self._started_at = self.clock()
        self._base = self._counted = self._count()
        self._seen_pages = 0
        self._last_page_at: dt.datetime | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(SmallcapsError):
            before = self.ledger.pulse()
            if before is not None and before.process == str(self._process):
                self._started_at = before.started_at
            self._tell()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        outcome, reason = self._judge_end(error)
        with contextlib.suppress(SmallcapsError):
            self._tell(outcome, reason)

    def _judge_end(self, error: BaseException | None) -> tuple[str, str]:
        """Tell in one word how the run ended, and why."""
        if isinstance(error, (*self.interrupts, GeneratorExit)):
            return "stopped", ""
        if error is not None:
            return "failed", str(error)
        aborted = self.summary.aborted
        return ("aborted", aborted) if aborted else ("finished", "")

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(SmallcapsError):
                self._tell()

    def _tell(self, outcome: str = "", reason: str = "") -> None:
        """Write one pulse, and a step where one is due."""
        now, counted = time.monotonic(), self._count()
        is_due = now - self._counted_at >= choose_interval_s(now - self._begun)
        step = self._take_step(now, counted) if is_due or outcome else None
        self.ledger.record_pulse(self._describe(outcome, reason), step)
        if step is not None:
            self._note_overhead(now)

    def _take_step(self, now: float, counted: Work) -> Step:
        """Take a step: what was done since the last one, and how long ranges were at work."""
        worked_s = self.workload.measure_worked_s()
        step = Step(worked_s - self._worked_s, counted - self._counted)
        self._counted, self._counted_at, self._worked_s = counted, now, worked_s
        return step

    def _note_overhead(self, now: float) -> None:
        """Tell the ledger how long the run did anything else, as far as it was not told."""
        overhead_ms = round((now - self._begun - self._worked_s) * 1_000)
        # While ranges are at work it does not grow, and the ledger is left alone.
        if (grown := overhead_ms - self._overhead_ms) > 0:
            self.ledger.record_counters(self.run_id, {OVERHEAD: grown})
            self._overhead_ms = overhead_ms

    def _count(self) -> Work:
        """Count what came since the client was made, whole or not."""
        counters = self._counters()
        sessions = self.workload.read().found.sessions
        return Work(sessions, counters.pages, counters.rows)

    def _counters(self) -> SourceCounters:
        source = self.find_source()
        return NOTHING if source is None else source.counters

    def _describe(self, outcome: str, reason: str) -> Pulse:
        now, facts, counters = self.clock(), self.workload.read(), self._counters()
        source = self.find_source() if counters.requests else None
        waits = IDLE if source is None else source.occupation
        came = self._count() - self._base
        if came.requests > self._seen_pages:
            self._seen_pages, self._last_page_at = came.requests, now
        return Pulse(
            process=str(self._process),
            pid=self._process.pid,
            host=platform.node(),
            run_id=self.run_id,
            started_at=self._started_at,
            run_started_at=self._run_started_at,
            beat_at=now,
            ended_at=now if outcome else None,
            outcome=outcome,
            reason=reason,
            stage=facts.stage,
            planned=facts.planned,
            others=self.others,
            expected=facts.expected,
            found=facts.found,
            under_way=(came - facts.found).bound(facts.running),
            ranges_waiting=facts.ranges_waiting,
            ranges_running=facts.ranges_running,
            requests=counters.requests,
            requests_per_minute=self.requests_per_minute,
            retries=dict(counters.retries),
            threads={str(stage): count for stage, count in waits.threads.items()},
            oldest_answer_s=waits.oldest_answer_s,
            next_retry_s=waits.next_retry_s,
            last_fault=waits.last_fault,
            last_fault_text=waits.last_fault_text[:FAULT_LENGTH],
            last_page_at=self._last_page_at,
        )
