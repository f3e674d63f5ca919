"""What a client has spent and what it waits for, told by all its threads at once.

What does not belong here: what one fetch has spent (``polygon.client``).
"""

import threading
import time
from collections import Counter

from smallcaps_assets.core.ticks.sources import Occupation, SourceCounters, Stage


class ClientMeter:
    """Counts while threads work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._retries: Counter[str] = Counter()
        self._pages = 0
        self._rows = 0
        self._stages: dict[int, tuple[Stage, float]] = {}
        self._last_fault = ("", "")

    def count_request(self) -> None:
        """Count a request about to be sent."""
        with self._lock:
            self._requests += 1

    def count_page(self, rows: int) -> None:
        """Count a body that could be read."""
        with self._lock:
            self._pages += 1
            self._rows += rows

    def count_retry(self, kind: str, text: str, pause_s: float) -> None:
        """Count a retry, before which this thread pauses now."""
        with self._lock:
            self._retries[kind] += 1
            self._last_fault = (kind, text)
            self._stages[threading.get_ident()] = (Stage.PAUSE, time.monotonic() + pause_s)

    def enter(self, stage: Stage) -> None:
        """Note that this thread begins to wait."""
        with self._lock:
            self._stages[threading.get_ident()] = (stage, time.monotonic())

    def leave(self) -> None:
        """Note that this thread waits for nothing."""
        with self._lock:
            self._stages.pop(threading.get_ident(), None)

    def read(self) -> SourceCounters:
        """Read the counts so far."""
        with self._lock:
            return SourceCounters(self._requests, dict(self._retries), self._pages, self._rows)

    def look(self) -> Occupation:
        """Look at what the threads wait for now."""
        now = time.monotonic()
        with self._lock:
            stages, (kind, text) = list(self._stages.values()), self._last_fault
        sent = [at_s for stage, at_s in stages if stage is Stage.ANSWER]
        ends = [at_s for stage, at_s in stages if stage is Stage.PAUSE]
        return Occupation(
            Counter(stage for stage, _ in stages),
            max(0.0, now - min(sent, default=now)),
            max(0.0, min(ends, default=now) - now),
            kind,
            text,
        )
