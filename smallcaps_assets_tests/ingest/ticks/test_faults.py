"""Every fault of the emulator on the first, the middle and the last page, once and forever.

All of them strike in one download, each a ticker of its own: whatever breaks, a session is
complete and equal to the truth, or open with the reason; nothing in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.emulator.answers.faults import KINDS, Fault
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    RETRIES,
    SESSIONS,
    Downloaded,
    Rows,
    download,
    hash_rows,
    hash_stored,
    make_lakehouse,
    make_session,
    serve,
)

SESSION: Final = SESSIONS[1]
LIMIT: Final = 10
TRADES: Final = 25
PAGES: Final = {"first": 1, "middle": 2, "last": 3}
PATIENCE: Final = 1 + RETRIES
"""Requests for a page before it is given up."""

ENDS_ALL: Final = {"401", "not_entitled", "not_authorized", "timeframe"}
"""Faults after which other sessions are not asked for; they have downloads of their own."""
NOT_PAGES: Final = {"outage", "response"}
UNSEEN: Final = {"short_page", "revised_history"}
"""Faults that no page shows: only a daily bar can tell, and there are none here."""

UNAVAILABLE: Final = {"500", "502", "503", "504", "refuse", "reset"}
REFUSED: Final = {"400", "404", "redirect"}
HARMLESS: Final = {"delayed", "slow", "stall", "wrong_content_type"}


@dataclass(frozen=True)
class Case:
    """A fault, and what must come of it.

    Attributes:
        kind: Kind of fault.
        page: Page that it strikes.
        is_lasting: It strikes whenever that page is asked for.
        failure: Kind of failure; empty: the session must be complete.
        requests: Requests that it may cost.
    """

    kind: str
    page: str
    is_lasting: bool
    failure: str
    requests: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.page}-{'lasting' if self.is_lasting else 'once'}"

    @property
    def ticker(self) -> str:
        """Return a ticker that no other case has."""
        number = CASES.index(self)
        return f"T{number:03d}"

    @property
    def key(self) -> str:
        return encode_key(self.ticker, SESSION)

    @property
    def fault(self) -> Fault:
        times = None if self.is_lasting else 1
        return Fault(
            self.kind, ticker=self.ticker, page=self.page, times=times, rows=1, seconds=0.01
        )


def expect(kind: str, page: str, *, is_lasting: bool) -> tuple[str, int]:
    """Return the kind of failure, or nothing, and the requests that a fault costs."""
    number = PAGES[page]
    if kind in HARMLESS or (kind, page) in WITHOUT_EFFECT:
        return "", 3
    if kind in REFUSED:
        return "bad_request", number
    if (kind, page, is_lasting) in SPECIAL:
        return SPECIAL[kind, page, is_lasting]
    if not is_lasting:
        return "", 3 + 1
    failure = "unavailable" if kind in UNAVAILABLE else "payload"
    return "rate_limited" if kind == "429" else failure, number - 1 + PATIENCE


WITHOUT_EFFECT: Final = {
    ("lost_next_url", "last"),
    ("repeated_page", "first"),
    ("seam_overlap", "first"),
    ("trailing_cursor", "first"),
    ("trailing_cursor", "middle"),
}
"""What changes nothing that is sent, or is put right at the seam."""

SPECIAL: Final = {
    # The first page leads back to itself, and comes again where the second should.
    ("looping_cursor", "first", False): ("payload", 1 + PATIENCE),
    ("looping_cursor", "first", True): ("payload", 1 + PATIENCE),
    # Rows that came twice cost a request that shows whether the tape has them twice.
    **{("seam_overlap", page, lasts): ("", 4) for page in ("middle", "last") for lasts in (0, 1)},
    # A suspicious end costs a request that proves or disproves it.
    ("lost_next_url", "first", False): ("", 3 + 2),
    ("lost_next_url", "first", True): ("payload", 2 * PATIENCE),
    ("lost_next_url", "middle", False): ("", 3 + 2),
    ("lost_next_url", "middle", True): ("payload", 1 + 2 * PATIENCE),
    ("empty_results", "last", False): ("", 3 + 2),
    ("empty_results", "last", True): ("payload", 2 + 2 * PATIENCE),
    ("trailing_cursor", "last", False): ("", 4 + 1),
    ("trailing_cursor", "last", True): ("payload", 3 + PATIENCE),
}

CASES: Final = [
    Case(kind, page, is_lasting, *expect(kind, page, is_lasting=is_lasting))
    for kind in KINDS
    if kind not in ENDS_ALL | NOT_PAGES | UNSEEN
    for page in PAGES
    for is_lasting in (False, True)
]


@dataclass(frozen=True)
class Storm:
    """One download in which every case struck, and the same again in calm weather.

    Attributes:
        rows: What the vendor has of each ticker.
        downloaded: What the first did.
        requests: What it asked for by ticker, as the vendor counts.
        stored: Content hashes of what was on the disk after it.
        healed: What the second did.
        later_requests: What it asked for.
    """

    lakehouse: Lakehouse
    rows: dict[str, Rows]
    downloaded: Downloaded
    requests: dict[str, int]
    stored: dict[str, str]
    healed: Downloaded
    later_requests: dict[str, int]


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    keys = [case.key for case in CASES]
    rows = {
        case.ticker: make_session(SESSION, TRADES, price=1.0 + n) for n, case in enumerate(CASES)
    }
    with serve(rows, *(case.fault for case in CASES)) as server:
        lakehouse = make_lakehouse(
            tmp_path_factory.mktemp("storm"), server.url, page_limit=LIMIT, outage_after=len(CASES)
        )
        downloaded, asked = download(lakehouse, keys), server.stats.by_ticker
        stored = hash_stored(lakehouse)
        server.reset()
        healed = download(lakehouse, keys)
        later = server.stats.by_ticker
        yield Storm(lakehouse, rows, downloaded, asked, stored, healed, later)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_leaves_the_truth_or_a_reason(storm: Storm, case: Case) -> None:
    """L1, L3: never a part of a session, never a failure that counts as done."""
    outcome = storm.downloaded.outcomes[case.key]
    truth = None if case.failure else hash_rows(storm.rows[case.ticker])

    assert outcome.state == (states.FAILED if case.failure else states.COMPLETE)
    assert outcome.kind == case.failure
    assert storm.stored.get(case.key) == truth
    assert storm.requests[case.ticker] == case.requests


def test_the_lake_knows_what_the_vendor_counted(storm: Storm) -> None:
    spent = sum(storm.requests.values()) + sum(storm.later_requests.values())

    assert storm.lakehouse.ledger.totals().requests == spent
    assert storm.downloaded.summary.requests == sum(storm.requests.values())


def test_the_same_again_asks_only_for_what_failed(storm: Storm) -> None:
    """L9: what is proven is never asked for again; what failed heals."""
    failed = {case.ticker for case in CASES if case.failure}

    assert storm.later_requests == dict.fromkeys(failed, 3)
    assert storm.healed.summary.failures.total() == 0
    assert hash_stored(storm.lakehouse) == {
        case.key: hash_rows(storm.rows[case.ticker]) for case in CASES
    }
