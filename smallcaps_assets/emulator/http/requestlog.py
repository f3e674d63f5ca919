"""What the emulator was asked: the requests themselves and their counts.

What belongs here: the record.  What does not: answers.
"""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MAX_REQUESTS: Final = 100_000
"""Requests that are remembered one by one; the counts go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        query: The query, decoded.
        headers: Headers with names in lower case; not shown, because one holds the key.
        at: Seconds since 1970 when it arrived.
        target: Path and query as sent.
        body: What came with a POST.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    at: float
    target: str = ""
    body: bytes = b""

    @property
    def key(self) -> str:
        """The key sent in the header, or nothing."""
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def describe(self) -> dict[str, Any]:
        """Describe the request as JSON, without the key."""
        shown = {name: text for name, text in self.headers.items() if name != "authorization"}
        return {
            "method": self.method,
            "path": self.path,
            "query": dict(self.query),
            "headers": shown,
            "at": self.at,
            "has_key": bool(self.key),
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the start or the last reset.

    Attributes:
        requests: Requests answered, the emulator's own paths left out.
        bytes_sent: Bytes of their bodies.
        by_status: Requests by HTTP status.
        by_endpoint: Requests by endpoint.
        by_ticker: Requests of trades by ticker.
        max_in_flight: Most requests that were being answered at one time.
        faults: How often each kind of fault struck.
    """

    requests: int
    bytes_sent: int
    by_status: dict[int, int]
    by_endpoint: dict[str, int]
    by_ticker: dict[str, int]
    max_in_flight: int
    faults: dict[str, int] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Describe the counts as JSON."""
        return asdict(self)


class RequestLog:
    """The record of requests, safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._requests: deque[Request] = deque(maxlen=MAX_REQUESTS)
            self._totals: Counter[str] = Counter()
            self._statuses: Counter[int] = Counter()
            self._endpoints: Counter[str] = Counter()
            self._tickers: Counter[str] = Counter()

    @property
    def requests(self) -> list[Request]:
        """The requests in the order of arrival."""
        with self._lock:
            return list(self._requests)

    def record_start(self, request: Request) -> None:
        """Record a request that has arrived."""
        with self._lock:
            self._requests.append(request)
            self._in_flight += 1
            most = max(self._in_flight, self._totals["max_in_flight"])
            self._totals["max_in_flight"] = most

    def record_end(self, endpoint: str, ticker: str | None, status: int, size: int) -> None:
        """Record what was answered."""
        with self._lock:
            self._in_flight -= 1
            self._totals["requests"] += 1
            self._totals["bytes_sent"] += size
            self._statuses[status] += 1
            self._endpoints[endpoint] += 1
            if ticker is not None and endpoint == "trades":
                self._tickers[ticker] += 1

    def measure(self, faults: Mapping[str, int]) -> Stats:
        """Collect the counts."""
        with self._lock:
            return Stats(
                requests=self._totals["requests"],
                bytes_sent=self._totals["bytes_sent"],
                by_status=dict(self._statuses),
                by_endpoint=dict(self._endpoints),
                by_ticker=dict(self._tickers),
                max_in_flight=self._totals["max_in_flight"],
                faults=dict(faults),
            )
