"""Whether the vendor is down or a ticker fails, and in which order ranges are asked for."""

import datetime as dt

import pytest

from smallcaps_assets.ingest.ticks.failing import GIVE_UP_AFTER, VendorWatch
from smallcaps_assets.ingest.ticks.ranges import RangeQueue, RequestRange, queue_ranges
from smallcaps_assets_tests.ingest.ingest_factories import SESSIONS


def make_range(ticker: str, date: dt.date = SESSIONS[0]) -> RequestRange:
    return RequestRange(ticker, date, date, None)


def fail(watch: VendorWatch, *tickers: str) -> None:
    for ticker in tickers:
        watch.note_failure(ticker)


def test_as_many_tickers_in_a_row_are_an_outage_as_the_setting_says() -> None:
    """L46: tickers count, not ranges; other threads were under way when the first one failed."""
    watch = VendorWatch(3, workers=2)
    watch.note_answer("ZZZZ")

    fail(watch, *["AAAA"] * 9, "BBBB", "CCCC")
    assert watch.describe_outage(["DDDD"]) == ""
    fail(watch, "DDDD")

    assert watch.describe_outage([]) == "the vendor failed 12 ranges in a row, of 4 tickers"


def test_who_fails_while_others_are_answered_proves_nothing() -> None:
    """L46: neither in this run nor, once the vendor is known to be there, in an earlier one."""
    watch = VendorWatch(2, workers=1)
    watch.expect_failures(["CCCC", "DDDD"])
    fail(watch, "AAAA")
    watch.note_answer("BBBB")

    fail(watch, "AAAA", "CCCC", "DDDD", "AAAA")
    assert (watch.describe_outage(["AAAA"]), watch.suspects) == ("", 0)

    watch.note_answer("AAAA")
    fail(watch, "AAAA", "BBBB")
    assert watch.describe_outage([]) != ""


@pytest.mark.parametrize(("waiting", "is_down"), [(["AAAA"], True), (["BBBB"], False)], ids=str)
def test_a_vendor_that_never_answered_is_down_when_nobody_else_is_left(
    waiting: list[str], *, is_down: bool
) -> None:
    """L46: one ticker alone in a plan cannot be told from an outage."""
    watch = VendorWatch(20, workers=1)
    fail(watch, *["AAAA"] * 20)

    assert bool(watch.describe_outage(waiting)) is is_down


def test_a_ticker_is_hopeless_until_it_is_answered() -> None:
    watch = VendorWatch(3, workers=1)

    turned = [watch.note_failure("AAAA") for _ in range(GIVE_UP_AFTER + 1)]
    assert turned == [False] * (GIVE_UP_AFTER - 1) + [True, False]
    assert watch.is_hopeless("AAAA")

    watch.note_answer("AAAA")
    assert not watch.is_hopeless("AAAA")


def test_what_failed_before_is_asked_for_last_and_begins_elsewhere_each_run() -> None:
    """L46: whatever a run gives up on, some later run comes to it."""
    known = [make_range("AAAA", date) for date in SESSIONS[:9]]
    fresh = [make_range("BBBB", date) for date in SESSIONS[:3]]
    failed = {(span.ticker, span.first_session) for span in known}
    firsts = set()
    for run in range(40):
        queue = queue_ranges([*known, *fresh], failed, f"run-{run}")
        order = [queue.take() for _ in range(len(queue))]
        assert order[:3] == [fresh[2], fresh[0], fresh[1]]
        assert sorted(order[3:], key=lambda span: span.first_session) == known
        firsts.add(order[3])

    assert len(firsts) > 5


def test_probes_look_at_other_places_and_lose_no_range() -> None:
    """L46: twenty sick tickers side by side are not twenty in a row."""
    spans = [make_range(f"T{number:02d}") for number in range(100)]
    queue = RangeQueue()
    queue.put(spans)

    for turn in range(2, 8):
        queue.probe(turn)
    probed = [int(queue.take().ticker[1:]) for _ in range(6)]

    assert max(probed) - min(probed) > 50
    assert len({number // 20 for number in probed}) >= 4
    assert sorted([*queue, *(spans[number] for number in probed)], key=lambda s: s.ticker) == spans


def test_ranges_of_a_ticker_that_fails_come_after_all_others() -> None:
    spans = [make_range(ticker) for ticker in ("AAAA", "BBBB", "CCCC", "DDDD")]
    queue = RangeQueue()
    queue.put_first(spans[:2])
    queue.put(spans[2:3])
    queue.put_last(spans[3:])

    queue.postpone("AAAA")

    assert [queue.take().ticker for _ in range(4)] == ["BBBB", "CCCC", "DDDD", "AAAA"]
