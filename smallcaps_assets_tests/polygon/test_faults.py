"""Every fault on the first, the middle and the last page, once and forever.

L3, L1: an answer is whole or an error, whatever breaks wherever; nothing in between.
"""

from collections.abc import Iterator

import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import (
    AuthenticationError,
    BadRequestError,
    NotEntitledError,
    PayloadError,
    RateLimitError,
    VendorError,
    VendorUnavailableError,
)
from smallcaps_assets_tests.polygon.polygon_factories import (
    KEY,
    RETRIES,
    fetch,
    make_frame,
    make_wire_trades,
    render_page,
)

ROWS = make_wire_trades(25)
LIMIT = 10
PAGES = {"first": 1, "middle": 2, "last": 3}

TRANSIENT: dict[str, type[VendorError]] = {
    "429": RateLimitError,
    "500": VendorUnavailableError,
    "502": VendorUnavailableError,
    "503": VendorUnavailableError,
    "504": VendorUnavailableError,
    "refuse": VendorUnavailableError,
    "reset": VendorUnavailableError,
    "bad_gzip": PayloadError,
    "cut_body": PayloadError,
    "cut_gzip": PayloadError,
    "cut_json": PayloadError,
    "empty_body": PayloadError,
    "error_status": PayloadError,
    "foreign_next_url": PayloadError,
    "gzip_bomb": PayloadError,
    "html": PayloadError,
    "out_of_order": PayloadError,
    "short_page": PayloadError,
}
TRANSIENT_CASES = [(kind, page) for kind in TRANSIENT for page in PAGES] + [
    ("looping_cursor", "middle"),
    ("missing_results", "middle"),
    ("missing_results", "last"),
    ("null_results", "middle"),
    ("null_results", "last"),
    ("empty_results", "middle"),
    ("repeated_page", "middle"),
    ("repeated_page", "last"),
]
FINAL: dict[str, type[VendorError]] = {
    "400": BadRequestError,
    "401": AuthenticationError,
    "404": BadRequestError,
    "not_entitled": NotEntitledError,
    "not_authorized": NotEntitledError,
    "redirect": BadRequestError,
    "timeframe": NotEntitledError,
}
HARMLESS = ("delayed", "slow", "stall", "wrong_content_type")


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(StaticSource({"ABCD": ROWS})) as server:
        yield server


def make_fault(kind: str, page: str, times: int | None = None) -> Fault:
    error = "partial result" if kind == "short_page" else ""
    return Fault(kind, page=page, times=times, rows=3, seconds=0.01, error=error)


@pytest.mark.parametrize(("kind", "page"), TRANSIENT_CASES)
def test_a_passing_fault_costs_one_request_and_no_row(
    emulator: EmulatorServer, kind: str, page: str
) -> None:
    emulator.faults = [make_fault(kind, page, times=1)]

    fetched = fetch(emulator, page_limit=LIMIT, max_body_bytes=2**20)

    assert_frame_equal(fetched.trades, make_frame(ROWS))
    assert (fetched.pages, fetched.requests) == (3, 4)


@pytest.mark.parametrize(("kind", "page"), TRANSIENT_CASES)
def test_a_lasting_fault_fails_the_whole_answer_after_bounded_retries(
    emulator: EmulatorServer, kind: str, page: str
) -> None:
    """L3: 50,000 of 120,000 rows must never pass for a day."""
    emulator.reset()
    emulator.faults = [make_fault(kind, page)]

    with pytest.raises(TRANSIENT.get(kind, PayloadError)) as caught:
        fetch(emulator, page_limit=LIMIT, max_body_bytes=2**20)

    assert caught.value.requests == PAGES[page] + RETRIES == emulator.stats.requests


@pytest.mark.parametrize("rows", [0, 3])
def test_an_error_beside_a_good_status_is_believed(emulator: EmulatorServer, rows: int) -> None:
    """L27: whatever rows a page has, one that says "partial result" is not an answer."""
    error = f"partial result\x1b for {KEY}"
    emulator.faults = [Fault("short_page", page="last", rows=rows, error=error)]

    with pytest.raises(PayloadError, match="status OK with an error: partial result") as caught:
        fetch(emulator, page_limit=LIMIT)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("You've exceeded the maximum requests per minute", RateLimitError),
        ({"code": 7}, PayloadError),
        (["late"], PayloadError),
    ],
)
def test_an_error_of_any_type_is_one(
    emulator: EmulatorServer, error: object, expected: type[VendorError]
) -> None:
    emulator.faults = [Fault(body=render_page(ROWS, error=error))]

    with pytest.raises(expected):
        fetch(emulator, page_limit=LIMIT)


@pytest.mark.parametrize("error", [None, "", []])
def test_an_empty_error_is_none(emulator: EmulatorServer, error: object) -> None:
    emulator.faults = [Fault(body=render_page(ROWS, error=error))]

    assert_frame_equal(fetch(emulator, page_limit=100).trades, make_frame(ROWS))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", FINAL)
def test_a_refusal_is_not_asked_again(emulator: EmulatorServer, kind: str, page: str) -> None:
    emulator.faults = [make_fault(kind, page)]

    with pytest.raises(FINAL[kind]) as caught:
        fetch(emulator, page_limit=LIMIT)

    assert caught.value.requests == PAGES[page]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_no_fault_costs_nothing(emulator: EmulatorServer, kind: str, page: str) -> None:
    emulator.faults = [make_fault(kind, page)]

    fetched = fetch(emulator, page_limit=LIMIT)

    assert_frame_equal(fetched.trades, make_frame(ROWS))
    assert fetched.requests == 3
    assert fetched.status == ("DELAYED" if kind == "delayed" else "OK")


@pytest.mark.parametrize("page", ["first", "middle"])
@pytest.mark.parametrize("times", [1, None])
def test_a_lost_next_url_is_found_out(
    emulator: EmulatorServer, page: str, times: int | None
) -> None:
    """L3: a full page without ``next_url`` has to prove that it is the last."""
    emulator.faults = [make_fault("lost_next_url", page, times)]

    if times:
        fetched = fetch(emulator, page_limit=LIMIT, expected_rows=24)
        assert_frame_equal(fetched.trades, make_frame(ROWS))
        assert fetched.requests == 3 + 2
    else:
        with pytest.raises(PayloadError, match="the end is not proven") as caught:
            fetch(emulator, page_limit=LIMIT)
        assert caught.value.requests == PAGES[page] - 1 + 2 * (RETRIES + 1)


@pytest.mark.parametrize("times", [1, None])
def test_an_empty_last_page_is_found_out(emulator: EmulatorServer, times: int | None) -> None:
    """L3: the last page of a chain comes as ``results: []``."""
    emulator.faults = [make_fault("empty_results", "last", times)]

    if times:
        fetched = fetch(emulator, page_limit=LIMIT)
        assert_frame_equal(fetched.trades, make_frame(ROWS))
        assert fetched.requests == 3 + 2
    else:
        with pytest.raises(PayloadError, match="the end is not proven"):
            fetch(emulator, page_limit=LIMIT)


def test_a_cursor_to_an_empty_page_is_proven_to_be_the_end(emulator: EmulatorServer) -> None:
    emulator.faults = [make_fault("trailing_cursor", "last", times=1)]

    fetched = fetch(emulator, page_limit=LIMIT)

    assert_frame_equal(fetched.trades, make_frame(ROWS))
    assert (fetched.pages, fetched.requests) == (4, 5)


@pytest.mark.parametrize("page", PAGES)
def test_a_first_page_may_not_lead_back_to_itself(emulator: EmulatorServer, page: str) -> None:
    emulator.faults = [make_fault("looping_cursor", page)]

    with pytest.raises(PayloadError):
        fetch(emulator, page_limit=LIMIT)


def test_a_first_page_without_results_is_empty_unless_more_is_announced(
    emulator: EmulatorServer,
) -> None:
    """L9: no trades is an answer; a page that names a next one is not."""
    emulator.faults = [make_fault("missing_results", "first")]

    assert fetch(emulator).trades.height == 0
    with pytest.raises(PayloadError, match="a page without rows has a next_url"):
        fetch(emulator, page_limit=LIMIT)


@pytest.mark.parametrize("page", ["middle", "last"])
def test_repeats_at_the_last_timestamp_are_dropped_and_counted(
    emulator: EmulatorServer, page: str
) -> None:
    emulator.faults = [Fault("seam_overlap", page=page, rows=1)]

    fetched = fetch(emulator, page_limit=LIMIT)

    assert_frame_equal(fetched.trades, make_frame(ROWS))
    assert (fetched.repeats_dropped, fetched.is_seam_ambiguous) == (1, False)


@pytest.mark.parametrize(("start", "repeats"), [(20, 0), (19, 1), (18, 2)])
def test_a_last_page_may_repeat_rows_of_the_last_timestamp(
    emulator: EmulatorServer, start: int, repeats: int
) -> None:
    emulator.faults = [Fault(page="last", body=render_page(ROWS[start:]))]

    fetched = fetch(emulator, page_limit=LIMIT)

    assert_frame_equal(fetched.trades, make_frame(ROWS))
    assert fetched.repeats_dropped == repeats


@pytest.mark.parametrize("start", [0, 10, 17])
def test_a_page_that_starts_before_the_last_timestamp_is_not_believed(
    emulator: EmulatorServer, start: int
) -> None:
    emulator.faults = [Fault(page="last", body=render_page(ROWS[start:]))]

    with pytest.raises(PayloadError, match="starts before its place"):
        fetch(emulator, page_limit=LIMIT)
