"""What a client has spent: requests, bytes, retries; counted by all threads at once.

What does not belong here: what one fetch has spent (``client``).
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientCounters:
    """Counts of one client since it was made.

    Attributes:
        requests: HTTP requests sent, retries included.
        bytes_received: Bytes of good bodies on the wire.
        retries: Retries by the kind of their fault.
        rate_limited: Times the vendor asked to slow down.
        limiter_wait_s: Seconds that all threads together waited for the shared rate.
    """

    requests: int
    bytes_received: int
    retries: Mapping[str, int]
    rate_limited: int
    limiter_wait_s: float


class Meter:
    """Counts while threads work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes_received = 0
        self._retries: Counter[str] = Counter()
        self._rate_limited = 0
        self._limiter_wait_s = 0.0

    def count_request(self, limiter_wait_s: float) -> None:
        """Count a request about to be sent."""
        with self._lock:
            self._requests += 1
            self._limiter_wait_s += limiter_wait_s

    def count_bytes(self, size: int) -> None:
        """Count a good body."""
        with self._lock:
            self._bytes_received += size

    def count_rate_limit(self) -> None:
        """Count a wish of the vendor to slow down."""
        with self._lock:
            self._rate_limited += 1

    def count_retry(self, kind: str) -> None:
        """Count a retry."""
        with self._lock:
            self._retries[kind] += 1

    def read(self) -> ClientCounters:
        """Return the counts so far."""
        with self._lock:
            return ClientCounters(
                self._requests,
                self._bytes_received,
                dict(self._retries),
                self._rate_limited,
                self._limiter_wait_s,
            )
