"""Faults on request: what goes wrong, where, and how often.

What belongs here: the description of a fault, its text form, and the book that decides whether a
request is hit.  What does not: what a fault does to an answer (``damage``).
"""

import datetime as dt
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import msgspec

KINDS: Final = {
    "429": "429, with `retry_after=` as Retry-After",
    "400": "400 as JSON",
    "401": "401 as JSON: unknown key",
    "404": "404 as JSON",
    "500": "500 with an HTML page",
    "502": "502 with an HTML page",
    "503": "503 with an empty body",
    "504": "504 with an HTML page",
    "not_entitled": "403: the plan does not include the endpoint",
    "timeframe": "403: the plan does not reach back to dates before `before=`",
    "not_authorized": "200 with status NOT_AUTHORIZED",
    "error_status": "200 with status ERROR and no results",
    "delayed": "200 with status DELAYED and everything else right",
    "html": "200 with an HTML page called text/html",
    "wrong_content_type": "the right body called text/html",
    "empty_body": "200 without a body",
    "missing_results": "200 without the member `results`, everything else kept",
    "null_results": "200 with `results: null`",
    "empty_results": "200 with `results: []`, everything else kept",
    "lost_next_url": "the page without its `next_url`: the rest of the chain is lost",
    "trailing_cursor": "a last page with a `next_url` that leads to an empty page",
    "foreign_next_url": "a `next_url` that leads to another endpoint on another host",
    "looping_cursor": "a `next_url` that leads to the same page again",
    "repeated_page": "the rows of the page before, then the chain continues",
    "seam_overlap": "the page starts with the last `rows=` rows (default 3) of the page before",
    "short_page": "`rows=` rows (default 3) or a `share=` of a page of trades are missing, and the "
    "chain continues; `by=page` (default): another limit loses others; `by=row`: the same rows "
    "of each New York date whatever the pages; `date=`: only rows of that date",
    "revised_history": "one trade of each New York date (or of `date=`), the `at=` first, middle "
    "or last (default first), is as `revision=` says: removed (default), inserted (another right "
    "behind it), price, size (halved) or correction (cancelled)",
    "out_of_order": "the rows of the page in reverse",
    "cut_body": "the connection ends after half of the announced body",
    "cut_json": "half of the JSON, announced as if it were all",
    "cut_gzip": "half of the gzip stream, announced as if it were all",
    "bad_gzip": "a gzip stream with a flipped byte in the middle",
    "gzip_bomb": "a small body that inflates to `rows=` MiB (default 1,024)",
    "slow": "the right answer after `seconds=`",
    "stall": "half of the answer, then the rest after `seconds=`",
    "reset": "the connection is reset in the middle of the body",
    "refuse": "the connection is reset before any answer",
    "redirect": "302 to another host",
    "outage": "503 for `requests=` requests or `seconds=`, after the first `after=` ones",
    "response": "`status`, `headers` and `body` as given (in process only)",
}
"""Every kind of fault and what it does."""


OPTIONS: Final = {
    "endpoint": "only this endpoint: trades, grouped, range, tickers, details, splits ...",
    "ticker": "only requests about this ticker",
    "date": "only requests whose New York dates include this one",
    "page": "only this page of a chain: a number from 1, first, middle or last",
    "times": "so many requests, then never again",
    "each": "each distinct request so many times; without it they are not counted",
    "after": "only after so many requests that it would have hit",
    "generation": "from this asking on of the same range of trades, whatever its page limit: 2 "
    "spares the first",
    "probability": "this share of the requests; `seed` makes the choice repeatable",
    "error": "the body says this as its member `error`, beside the status it has",
}
"""What restricts or accompanies a fault of any kind, for the help."""

PLACES: Final = ("first", "middle", "last")
REVISIONS: Final = ("removed", "inserted", "price", "size", "correction")
_CHOICES: Final = {"by": ("page", "row"), "at": PLACES, "revision": REVISIONS}


class FaultError(ValueError):
    """A fault that cannot be understood."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Without a restriction it hits every request, forever.  ``OPTIONS`` says what restricts it, and
    ``KINDS`` what else means something to a fault of each kind.
    """

    kind: str = "response"
    endpoint: str | None = None
    ticker: str | None = None
    date: dt.date | None = None
    page: int | str | None = None
    times: int | None = None
    each: int | None = None
    probability: float = 1.0
    seed: int = 0
    retry_after: float | None = None
    seconds: float = 1.0
    rows: int | None = None
    share: float | None = None
    by: str = "page"
    revision: str = "removed"
    at: str = "first"
    error: str = ""
    after: int = 0
    generation: int = 1
    requests: int | None = None
    before: dt.date | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultError(f"unknown fault {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not (str(self.page).isdigit() or self.page in {None, *PLACES}):
            raise FaultError(f"page {self.page!r}: expected first, middle, last or a number")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                wanted = f"expected {' or '.join(choices)}"
                raise FaultError(f"{name} {getattr(self, name)!r}: {wanted}")
        self._check_rows()

    def _check_rows(self) -> None:
        """Refuse numbers of rows that mean nothing, or two things."""
        if self.rows is not None and self.rows < 0:
            raise FaultError(f"rows {self.rows}: expected 0 or more")
        if self.share is not None and not 0 < self.share <= 1:
            raise FaultError(f"share {self.share:g}: expected more than 0, at most 1")
        if self.share is not None and self.rows is not None:
            raise FaultError("rows and share: expected one of them, both say how many rows")
        if self.by == "row" and self.page is not None:
            raise FaultError(
                "by=row loses the same rows whatever the pages: page goes with by=page"
            )


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a fault looks at: one request and the answer it is about to get.

    Attributes:
        target: Path and query, the identity of the request.
        endpoint: Name of the endpoint.
        ticker: Ticker asked for, or ``None``.
        first: First New York date asked for, or ``None`` if the endpoint has none.
        last: Last New York date asked for.
        page: Number of the page in its chain.
        is_last: The answer has no ``next_url``.
        chain: What the whole chain asks for, whatever its pages; empty if there is no chain.
    """

    target: str
    endpoint: str
    ticker: str | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    page: int = 1
    is_last: bool = True
    chain: str = ""


@dataclass(slots=True)
class _State:
    """How often a fault has met and hit a request."""

    met: int = 0
    hits: int = 0
    ends_at: float | None = None
    by_target: Counter[str] = field(default_factory=Counter)


class FaultBook:
    """The faults in force and how often each has struck; safe from several threads."""

    def __init__(
        self, faults: Iterable[Fault] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.faults = tuple(faults)
        self._states = [_State() for _ in self.faults]
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._clock = clock

    @property
    def hits(self) -> dict[str, int]:
        """Count how often each kind has struck."""
        counts: Counter[str] = Counter()
        for fault, state in zip(self.faults, self._states, strict=True):
            counts[fault.kind] += state.hits
        return dict(counts)

    def strike(self, occasion: Occasion) -> Fault | None:
        """Find the first fault that hits this request, and count it."""
        with self._lock:
            if occasion.page == 1:
                self._asked[occasion.chain or occasion.target] += 1
            for fault, state in zip(self.faults, self._states, strict=True):
                if _matches(fault, occasion) and self._is_due(fault, state, occasion):
                    state.hits += 1
                    return fault
        return None

    def _is_due(self, fault: Fault, state: _State, occasion: Occasion) -> bool:
        state.met += 1
        state.by_target[occasion.target] += 1
        # A chain that began before the book did counts as asked for once.
        asked = max(1, self._asked[occasion.chain or occasion.target])
        if state.met <= fault.after or asked < fault.generation:
            return False
        if fault.kind == "outage":
            return self._is_out(fault, state)
        if fault.times is not None and state.hits >= fault.times:
            return False
        met = state.by_target[occasion.target]
        if fault.each is not None and met > fault.each:
            return False
        return fault.probability >= 1 or _draw(fault.seed, occasion.target, met) < fault.probability

    def _is_out(self, fault: Fault, state: _State) -> bool:
        """Tell whether the outage lasts: by requests if they are given, else by time."""
        if fault.requests is not None:
            return state.hits < fault.requests
        if state.ends_at is None:
            state.ends_at = self._clock() + fault.seconds
        return self._clock() < state.ends_at


def parse_fault(text: str) -> Fault:
    """Read the text form: a kind, then perhaps a colon and ``name=value`` joined by commas.

    Raises:
        FaultError: The kind, a name or a value cannot be understood.
    """
    kind, _, rest = text.strip().partition(":")
    members: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise FaultError(f"fault {text!r}: expected name=value, got {part!r}")
        members[name.strip()] = value.strip()
    return build_fault({"kind": kind, **members})


def build_fault(members: Mapping[str, Any]) -> Fault:
    """Build a fault from its members as text or JSON.

    Raises:
        FaultError: A name or a value cannot be understood.
    """
    known = {member.name for member in fields(Fault)}
    if unknown := sorted(set(members) - known):
        raise FaultError(f"unknown member {unknown[0]!r}: expected {', '.join(sorted(known))}")
    wanted = dict(members)
    if str(wanted.get("page", "")).isdigit():
        wanted["page"] = int(wanted["page"])
    try:
        return msgspec.convert(wanted, Fault, strict=False)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        at = f"{name}={members[name]}: " if name in members else ""
        raise FaultError(f"fault {members.get('kind')!r}: {at}{text}") from error


def _matches(fault: Fault, occasion: Occasion) -> bool:
    """Tell whether the restrictions of a fault allow this request."""
    if fault.endpoint not in {None, occasion.endpoint}:
        return False
    if fault.ticker not in {None, occasion.ticker}:
        return False
    return _matches_dates(fault, occasion) and _matches_page(fault.page, occasion)


def _matches_dates(fault: Fault, occasion: Occasion) -> bool:
    if fault.date is None and fault.before is None:
        return True
    if occasion.first is None or occasion.last is None:
        return False
    if fault.before is not None and occasion.first >= fault.before:
        return False
    return fault.date is None or occasion.first <= fault.date <= occasion.last


def _matches_page(page: int | str | None, occasion: Occasion) -> bool:
    is_first = occasion.page == 1
    wanted = {
        "first": is_first,
        "middle": not is_first and not occasion.is_last,
        "last": occasion.is_last,
        None: True,
    }
    return wanted[page] if page in wanted else str(page) == str(occasion.page)


def _draw(seed: int, target: str, count: int) -> float:
    """Draw a number in [0, 1) that depends on nothing else, whatever thread asks first."""
    digest = hashlib.blake2b(f"{seed}|{count}|{target}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
