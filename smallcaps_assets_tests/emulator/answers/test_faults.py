import datetime as dt
from dataclasses import replace

import pytest

from smallcaps_assets.emulator.answers.faults import (
    Fault,
    FaultBook,
    FaultError,
    Occasion,
    build_fault,
    parse_fault,
)

JANUARY = dt.date(2024, 1, 3)


PLAIN = Occasion("/v3/trades/A?limit=1", "trades", "A")
DATED = replace(PLAIN, first=JANUARY, last=JANUARY)


def count_hits(book: FaultBook, *occasions: Occasion) -> list[bool]:
    return [book.strike(occasion) is not None for occasion in occasions]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault("503")),
        ("429:page=2,times=1,retry_after=1", Fault("429", page=2, times=1, retry_after=1.0)),
        ("cut_body:page=last,ticker=BRK.A", Fault("cut_body", page="last", ticker="BRK.A")),
        ("timeframe:before=2024-01-03", Fault("timeframe", before=JANUARY)),
        ("slow:seconds=0.5,date=2024-01-03", Fault("slow", seconds=0.5, date=JANUARY)),
        ("outage:after=5,requests=3", Fault("outage", after=5, requests=3)),
        ("500:probability=0.2,seed=7,each=1", Fault("500", probability=0.2, seed=7, each=1)),
        (
            "short_page:page=last,share=0.5,error=partial result",
            Fault("short_page", page="last", share=0.5, error="partial result"),
        ),
        ("short_page:by=row,rows=7,seed=2", Fault("short_page", by="row", rows=7, seed=2)),
        (
            "revised_history:revision=size,at=last,after=1,generation=2",
            Fault("revised_history", revision="size", at="last", after=1, generation=2),
        ),
    ],
)
def test_parse_fault_reads_the_text_form(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("418", "unknown fault '418'"),
        ("", "unknown fault ''"),
        ("503:page", "expected name=value, got 'page'"),
        ("503:colour=red", "unknown member 'colour'"),
        ("503:times=soon", "times=soon: Expected `int"),
        ("503:page=third", "page 'third': expected first, middle, last or a number"),
        ("short_page:by=colour", "by 'colour': expected page or row"),
        ("short_page:share=1.5", "share 1.5: expected more than 0, at most 1"),
        ("short_page:rows=-1", "rows -1: expected 0 or more"),
        ("short_page:rows=3,share=0.5", "rows and share: expected one of them"),
        ("short_page:by=row,page=last", "page goes with by=page"),
        ("short_page:rows=many", "fault 'short_page': rows=many: Expected `int"),
        ("503:date=2024-02-31", "date=2024-02-31: Invalid"),
        ("revised_history:at=noon", "at 'noon': expected first or middle or last"),
        ("revised_history:revision=lost", "expected removed or inserted or price or size or"),
    ],
)
def test_parse_fault_says_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        parse_fault(text)


def test_build_fault_takes_json() -> None:
    members = {"kind": "response", "status": 418, "body": "PGh0bWw+", "page": 3}

    assert build_fault(members) == Fault(status=418, body=b"<html>", page=3)


@pytest.mark.parametrize(
    ("fault", "occasion", "is_hit"),
    [
        (Fault("503"), PLAIN, True),
        (Fault("503", endpoint="trades", ticker="A"), PLAIN, True),
        (Fault("503", page=2), replace(PLAIN, page=2), True),
        (Fault("503", page="2"), replace(PLAIN, page=2), True),
        (Fault("503", page="first"), replace(PLAIN, is_last=False), True),
        (Fault("503", page="middle"), replace(PLAIN, page=2, is_last=False), True),
        (Fault("503", page="last"), PLAIN, True),
        (Fault("503", date=JANUARY), DATED, True),
        (Fault("timeframe", before=JANUARY + dt.timedelta(days=1)), DATED, True),
        (Fault("503", endpoint="grouped"), PLAIN, False),
        (Fault("503", ticker="a"), PLAIN, False),
        (Fault("503", page=1), replace(PLAIN, page=2), False),
        (Fault("503", page="middle"), replace(PLAIN, is_last=False), False),
        (Fault("503", page="last"), replace(PLAIN, page=2, is_last=False), False),
        (Fault("503", date=JANUARY), PLAIN, False),
        (Fault("503", date=dt.date(2024, 1, 4)), DATED, False),
        (Fault("timeframe", before=JANUARY), DATED, False),
    ],
)
def test_a_fault_hits_what_it_is_restricted_to_alone(
    fault: Fault, occasion: Occasion, *, is_hit: bool
) -> None:
    assert count_hits(FaultBook([fault]), occasion) == [is_hit]


def test_times_counts_hits_and_each_counts_requests() -> None:
    one, other = replace(PLAIN, target="1"), replace(PLAIN, target="2")

    assert count_hits(FaultBook([Fault("503", times=1)]), one, other) == [True, False]
    assert count_hits(FaultBook([Fault("503", each=1)]), one, one, other) == [True, False, True]


def test_the_first_fault_that_is_due_strikes() -> None:
    book = FaultBook([Fault("503", times=1), Fault("429")])

    kinds = [fault.kind for _ in range(3) if (fault := book.strike(PLAIN))]

    assert kinds == ["503", "429", "429"]
    assert book.hits == {"503": 1, "429": 2}


def test_chance_depends_on_seed_and_request_alone() -> None:
    occasions = [replace(PLAIN, target=f"{number}") for number in range(400)]
    fault = Fault("503", probability=0.25, seed=3)

    forward = count_hits(FaultBook([fault]), *occasions)
    backward = count_hits(FaultBook([fault]), *occasions[::-1])

    assert forward == backward[::-1]
    assert 60 < sum(forward) < 140


def test_any_fault_may_begin_later() -> None:
    assert count_hits(FaultBook([Fault("503", after=2)]), *[PLAIN] * 4) == [False] * 2 + [True] * 2


def test_a_generation_counts_how_often_a_range_was_asked_for_whatever_its_pages() -> None:
    first = replace(PLAIN, target="1", chain="A", is_last=False)
    second, proof = replace(first, target="2", page=2), replace(PLAIN, target="3", chain="A end")
    again = replace(first, target="4")
    book = FaultBook([Fault("short_page", generation=2)])

    hits = count_hits(book, first, second, proof, again, second)

    assert hits == [False, False, False, True, True]


def test_an_outage_begins_and_ends_by_requests() -> None:
    book = FaultBook([Fault("outage", after=2, requests=3)])

    assert count_hits(book, *[PLAIN] * 7) == [False] * 2 + [True] * 3 + [False] * 2


def test_an_outage_ends_by_time() -> None:
    now = iter([10.0, 10.0, 11.9, 12.1]).__next__
    book = FaultBook([Fault("outage", after=1, seconds=2)], clock=now)

    assert count_hits(book, *[PLAIN] * 4) == [False, True, True, False]
