"""The heartbeat of a download: a thread that tells the ledger what the process at work knows.

What belongs here: when a pulse is written, and what it says.  What does not: the pulse itself
(``lake.ledger.pulse``), and what is concluded from it (``operations.status.look``).

A pulse is a row that takes the place of the one before, without a sync; the steps that the pace is
measured by are about two thousand a day.  A disk that refuses them harms nothing else: the pulse is
missing then, and no session is.
"""

import contextlib
import datetime as dt
import platform
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import polars as pl

from smallcaps_assets.core.progress.pace import Step, Work, choose_interval_s
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.budget.expectations import label_sessions, plan_ranges
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary
from smallcaps_assets.ingest.ticks.workload import Workload
from smallcaps_assets.lake.ledger.pulse import Pulse
from smallcaps_assets.lake.storage.processes import identify_process
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.polygon.http.counters import ClientCounters, Occupation

BEAT_S: Final = 1.0
"""Pause between two pulses."""
FAULT_LENGTH: Final = 300
"""Characters kept of the newest fault."""
NOTHING: Final = ClientCounters(0, 0, {}, 0, 0.0, 0, 0)
IDLE: Final = Occupation({}, 0.0, 0.0, "", "")


class Heartbeat:
    """Tells how one run goes on while the block runs, and how it ended.

    Attributes:
        others: Work of the plan that this run does not do.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        run_id: str,
        workload: Workload,
        summary: DownloadSummary,
        interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            lakehouse: Its ledger is told, its client is asked.
            run_id: Name of the run.
            workload: How far the download is.
            summary: Whether it was aborted, and why.
            interrupts: Exceptions that stop a run and are no failure.
        """
        self.others = Work()
        self._lakehouse = lakehouse
        self._run_id = run_id
        self._workload = workload
        self._summary = summary
        self._interrupts = (*interrupts, GeneratorExit)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._process = identify_process()
        self._begun = self._counted_at = time.monotonic()
        self._run_started_at = self._started_at = lakehouse.clock()
        self._base = self._counted = self._count()
        self._seen_pages = 0
        self._last_page_at: dt.datetime | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(SmallcapsError):
            before = self._lakehouse.ledger.pulse()
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

    def measure_others(self, keys: Sequence[str]) -> None:
        """Weigh what the plan lacks besides the sessions of this run."""
        lakehouse = self._lakehouse
        missing = lakehouse.ledger.missing_keys()
        others = missing.filter(~pl.col("key").is_in(list(keys))).select("ticker", "session_date")
        if others.is_empty():
            return
        stored = lakehouse.ledger.stored_sessions()
        labelled = label_sessions(lakehouse.tables, others, stored)
        ranges = plan_ranges(labelled, lakehouse.range_rules)
        rows = ranges["expected_rows"].fill_null(0)
        pages = (rows + lakehouse.settings.page_limit - 1) // lakehouse.settings.page_limit
        self.others = Work(others.height, int(pages.clip(1).sum()), int(rows.sum()))

    def _judge_end(self, error: BaseException | None) -> tuple[str, str]:
        """Return in one word how the run ended, and why."""
        if isinstance(error, self._interrupts):
            return "stopped", ""
        if error is not None:
            return "failed", str(error)
        aborted = self._summary.aborted
        return ("aborted", aborted) if aborted else ("finished", "")

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(SmallcapsError):
                self._tell()

    def _tell(self, outcome: str = "", reason: str = "") -> None:
        """Write one pulse, and a step where one is due."""
        now, counted = time.monotonic(), self._count()
        is_due = now - self._counted_at >= choose_interval_s(now - self._begun)
        step = None
        if is_due or outcome:
            step = Step(now - self._counted_at, counted - self._counted)
            self._counted, self._counted_at = counted, now
        self._lakehouse.ledger.record_pulse(self._describe(outcome, reason), step)

    def _count(self) -> Work:
        """Return what came since the client was made, whole or not."""
        counters = self._counters()
        sessions = self._workload.read().found.sessions
        return Work(sessions, counters.pages, counters.rows)

    def _counters(self) -> ClientCounters:
        has_client = "client" in vars(self._lakehouse)
        return self._lakehouse.client.counters if has_client else NOTHING

    def _describe(self, outcome: str, reason: str) -> Pulse:
        now, facts, counters = self._lakehouse.clock(), self._workload.read(), self._counters()
        waits = self._lakehouse.client.occupation if counters.requests else IDLE
        came = self._count() - self._base
        if came.requests > self._seen_pages:
            self._seen_pages, self._last_page_at = came.requests, now
        return Pulse(
            process=str(self._process),
            pid=self._process.pid,
            host=platform.node(),
            run_id=self._run_id,
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
            requests_per_minute=self._lakehouse.settings.requests_per_minute,
            retries=dict(counters.retries),
            threads={str(stage): count for stage, count in waits.threads.items()},
            oldest_answer_s=waits.oldest_answer_s,
            next_retry_s=waits.next_retry_s,
            last_fault=waits.last_fault,
            last_fault_text=waits.last_fault_text[:FAULT_LENGTH],
            last_page_at=self._last_page_at,
        )
