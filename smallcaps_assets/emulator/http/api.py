"""The API: which endpoint answers a request, whether it may, and what fault strikes.

What belongs here: routes, the key, faults, kept answers, the emulator's own control paths.  What
does not: sockets (``server``).
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

import msgspec

from smallcaps_assets.emulator.answers.answer import (
    Answer,
    Payload,
    answer_error,
    make_request_id,
    pack,
)
from smallcaps_assets.emulator.answers.damage import UNKNOWN_KEY, damage_answer
from smallcaps_assets.emulator.answers.faults import (
    Fault,
    FaultBook,
    FaultError,
    Occasion,
    build_fault,
    parse_fault,
)
from smallcaps_assets.emulator.cache import ByteCache
from smallcaps_assets.emulator.endpoints.aggregates import answer_grouped, answer_range
from smallcaps_assets.emulator.endpoints.holidays import answer_holidays
from smallcaps_assets.emulator.endpoints.paging import QueryError
from smallcaps_assets.emulator.endpoints.reference import (
    NotFoundError,
    answer_changes,
    answer_conditions,
    answer_details,
    answer_exchanges,
    answer_splits,
    answer_tickers,
)
from smallcaps_assets.emulator.endpoints.trades import answer_trades
from smallcaps_assets.emulator.http.requestlog import Request, RequestLog, Stats
from smallcaps_assets.emulator.source import Source, SourceError

Endpoint = Callable[[Source, Mapping[str, str], Mapping[str, str]], Payload]

CONTROL: Final = "/_emulator/"
MARKET_HEADER: Final = "X-Emulated-Market"
"""Names the market with every answer, because another one may be served from the same port."""
DEFAULT_CACHE_BYTES: Final = 256 * 1024 * 1024

_RANGE: Final = r"(?P<multiplier>\d+)/(?P<timespan>\w+)/(?P<first>[^/]+)/(?P<last>[^/]+)"
_ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("trades", r"/v3/trades/(?P<ticker>.+)", answer_trades),
    ("grouped", r"/v2/aggs/grouped/locale/us/market/stocks/(?P<date>[^/]+)", answer_grouped),
    (
        "range",
        f"/v2/aggs/ticker/(?P<ticker>.+)/range/{_RANGE}",
        answer_range,
    ),
    ("tickers", r"/v3/reference/tickers", answer_tickers),
    ("details", r"/v3/reference/tickers/(?P<ticker>.+)", answer_details),
    ("splits", r"/v3/reference/splits", answer_splits),
    ("conditions", r"/v3/reference/conditions", answer_conditions),
    ("exchanges", r"/v3/reference/exchanges", answer_exchanges),
    ("changes", r"/vX/reference/tickers/(?P<ticker>.+)/events", answer_changes),
    ("holidays", r"/v1/marketstatus/upcoming", answer_holidays),
)
ROUTES: Final = tuple((name, re.compile(path), endpoint) for name, path, endpoint in _ROUTES)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer that is kept, and what a fault has to know about it."""

    occasion: Occasion
    answer: Answer

    @property
    def size_bytes(self) -> int:
        return len(self.answer.packed or b"") + len(self.occasion.target) + 500


@dataclass(slots=True)
class Api:
    """The vendor's API over a source.

    Attributes:
        source: Where rows come from.
        keys: Keys that are accepted; empty for any.
        book: Faults in force.
        log: What was asked.
        latency_s: Wait before each answer, as a far vendor would.
        cache: Answers that are kept, compressed.
    """

    source: Source
    keys: frozenset[str] = frozenset()
    book: FaultBook = field(default_factory=FaultBook)
    log: RequestLog = field(default_factory=RequestLog)
    latency_s: float = 0.0
    cache: ByteCache[str, _Kept] = field(
        default_factory=lambda: ByteCache(DEFAULT_CACHE_BYTES, lambda kept: kept.size_bytes)
    )

    @property
    def stats(self) -> Stats:
        """The counts."""
        return self.log.measure(self.book.hits)

    def answer(self, request: Request) -> Answer:
        """Answer a request, and record it."""
        if request.path.startswith(CONTROL):
            return self._answer_control(request)
        self.log.record_start(request)
        if self.latency_s:
            time.sleep(self.latency_s)
        name, ticker = "unknown", None
        answer = answer_error(500, "the emulator failed; see its standard error", "")
        try:
            name, names, endpoint = _find_route(request.path)
            ticker = names.get("ticker")
            answer = self._answer_endpoint(request, name, names, endpoint)
        except NotFoundError as error:
            answer = self._refuse(request, 404, str(error), name="NOT_FOUND")
        except QueryError as error:
            answer = self._refuse(request, 400, str(error))
        except SourceError as error:
            answer = self._refuse(request, 500, str(error))
        finally:
            size = len(answer.packed or answer.body)
            self.log.record_end(name, ticker, answer.status, size)
        market = {MARKET_HEADER: quote(_name_market(self.source.name))}
        return replace(answer, headers={**answer.headers, **market})

    def _answer_endpoint(
        self, request: Request, name: str, names: Mapping[str, str], endpoint: Endpoint
    ) -> Answer:
        if not request.key or (self.keys and request.key not in self.keys):
            return self._refuse(request, 401, UNKNOWN_KEY)
        if request.method != "GET":
            return self._refuse(request, 405, "expected GET")

        def make() -> Payload:
            return endpoint(self.source, names, request.query)

        kept = self._find_or_make(request.target, name, make)
        fault = self.book.strike(kept.occasion)
        if fault is None:
            return kept.answer
        return damage_answer(fault, make(), make_request_id(request.target))

    def _find_or_make(self, target: str, name: str, make: Callable[[], Payload]) -> _Kept:
        """Make the undamaged answer, or find it in the cache if the source never changes."""

        def render() -> _Kept:
            return _render(target, name, make())

        return self.cache.get_or_make(target, render) if self.source.is_immutable else render()

    def _refuse(self, request: Request, status: int, text: str, *, name: str = "ERROR") -> Answer:
        return answer_error(status, text, make_request_id(request.target), name=name)

    def _answer_control(self, request: Request) -> Answer:
        """Answer the emulator's own paths; they need no key and are not counted."""
        command = (request.method, request.path.removeprefix(CONTROL))
        if command == ("GET", "stats"):
            return _answer_json({"source": self.source.name, **self.stats.describe()})
        if command == ("GET", "identity"):
            return _answer_json({"kind": "emulator", "name": _name_market(self.source.name)})
        if command == ("GET", "requests"):
            return _answer_json([asked.describe() for asked in self.log.requests])
        if command == ("POST", "reset"):
            self.log.reset()
            self.book = FaultBook()
            return _answer_json({"status": "OK"})
        if command == ("POST", "faults"):
            return self._replace_faults(request.body)
        return answer_error(404, "expected identity, stats, requests, faults or reset", "")

    def _replace_faults(self, body: bytes) -> Answer:
        try:
            wanted = msgspec.json.decode(body, type=list[str | dict[str, Any]])
            self.book = FaultBook([_read_fault(entry) for entry in wanted])
        except (msgspec.MsgspecError, FaultError) as error:
            return answer_error(400, str(error), "")
        return _answer_json({"status": "OK", "faults": len(self.book.faults)})


def _name_market(source_name: str) -> str:
    """Name the source as a lake does: by its seed or its folder, empty for rows made by hand."""
    if source_name.startswith("replay="):
        return source_name
    return source_name.split(maxsplit=1)[0] if source_name.startswith("seed=") else ""


def _find_route(path: str) -> tuple[str, dict[str, str], Endpoint]:
    for name, pattern, endpoint in ROUTES:
        if match := pattern.fullmatch(path):
            return name, match.groupdict(), endpoint
    raise NotFoundError("page not found")


def _render(target: str, name: str, payload: Payload) -> _Kept:
    body = payload.encode(make_request_id(target))
    occasion = Occasion(
        target=target,
        endpoint=name,
        ticker=payload.ticker,
        first=payload.first,
        last=payload.last,
        page=payload.page,
        is_last=payload.next_url is None,
        chain=payload.chain,
    )
    return _Kept(occasion, Answer(200, b"", pack(body)))


def _read_fault(entry: str | dict[str, Any]) -> Fault:
    return parse_fault(entry) if isinstance(entry, str) else build_fault(entry)


def _answer_json(value: object) -> Answer:
    return Answer(200, msgspec.json.encode(value))
