"""What a vendor loses or revises unseen: the rows it lacks are those it was told to lose."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.sessions import date_of_ns, day_bounds_ns
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.endpoints.trades import answer_trades
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import WireRow
from smallcaps_assets_tests.emulator.emulator_factories import follow_chain, get, join_pages

DAYS = [dt.date(2024, 1, 3), dt.date(2024, 1, 4), dt.date(2024, 1, 5)]
WHOLE = {
    "timestamp.gte": str(day_bounds_ns(DAYS[0], DAYS[0])[0]),
    "timestamp.lt": str(day_bounds_ns(DAYS[-1], DAYS[-1])[1]),
}
Row = dict[str, Any]

counts = st.lists(st.integers(0, 25), min_size=3, max_size=3)
limits = st.integers(1, 90)
orders = st.sampled_from(["asc", "desc"])


def make_rows(counts: list[int]) -> list[Row]:
    """Return trades of the three days, two at each nanosecond, some of them alike."""
    return [
        {
            "sip_timestamp": day_bounds_ns(day, day)[0] + 34_200 * 10**9 + number // 2,
            "id": f"{number // 3 if number % 5 == 4 else number}",
            "price": 5.25,
            "size": 100,
        }
        for day, count in zip(DAYS, counts, strict=True)
        for number in range(count)
    ]


def read_chain(source: StaticSource, fault: Fault | None, **query: str) -> list[list[Row]]:
    """Return the pages of a chain whose every page a fault struck, in this process."""
    pages: list[list[Row]] = []
    asked: dict[str, str] = query
    while asked:
        payload = answer_trades(source, {"ticker": "ABCD"}, asked)
        matches = fault and (
            fault.page is None or (fault.page == "last") == (payload.next_url is None)
        )
        if fault and matches and payload.redo is not None:
            payload = payload.redo(fault)
        pages.append(msgspec.json.decode(payload.results or b"[]"))
        cursors = parse_qs(urlsplit(payload.next_url or "").query)
        asked = {name: values[0] for name, values in cursors.items()}
    return pages


def find_lost(rows: Sequence[WireRow], found: Sequence[WireRow]) -> list[Row]:
    """Return the rows that are missing; what was not there before is an error."""
    texts = Counter(msgspec.json.encode(row) for row in rows)
    texts.subtract(msgspec.json.encode(row) for row in found)
    assert min(texts.values(), default=0) >= 0
    return [msgspec.json.decode(text) for text in sorted(texts.elements())]


def count_days(rows: list[Row]) -> list[int]:
    """Return the rows of each day."""
    days = Counter(date_of_ns(row["sip_timestamp"]) for row in rows)
    return [days[day] for day in DAYS]


@settings(max_examples=50)
@given(counts, limits, orders, st.integers(0, 30), st.integers(0, 3))
def test_by_row_the_same_rows_are_lost_whatever_the_page_limit(
    counts: list[int], limit: int, order: str, number: int, seed: int
) -> None:
    source = StaticSource({"ABCD": make_rows(counts)})
    fault = Fault("short_page", by="row", rows=number, seed=seed)

    whole = join_pages(read_chain(source, fault, limit="50000", order="asc", **WHOLE))
    pages = read_chain(source, fault, limit=str(limit), order=order, **WHOLE)

    assert join_pages(pages) == (whole if order == "asc" else whole[::-1])
    assert all(len(page) == limit for page in pages[:-1])
    lost = count_days(find_lost(source.trades["ABCD"], whole))
    assert all(
        number >= found >= min(count, number) - 1 for found, count in zip(lost, counts, strict=True)
    )


@settings(max_examples=50)
@given(counts, limits, orders, st.integers(0, 30))
def test_by_page_every_page_loses_so_many_rows(
    counts: list[int], limit: int, order: str, number: int
) -> None:
    source = StaticSource({"ABCD": make_rows(counts)})
    fault = Fault("short_page", rows=number)

    honest = read_chain(source, None, limit=str(limit), order=order, **WHOLE)
    pages = read_chain(source, fault, limit=str(limit), order=order, **WHOLE)

    assert [len(page) for page in pages] == [max(0, len(page) - number) for page in honest]
    for short, page in zip(pages, honest, strict=True):
        find_lost(page, short)


@pytest.mark.parametrize(("share", "left"), [(0.5, 10), (0.01, 20), (1.0, 0)])
@pytest.mark.parametrize("by", ["page", "row"])
def test_a_share_of_the_rows_is_lost(by: str, share: float, left: int) -> None:
    rows = [row | {"id": f"{n}"} for n, row in enumerate(make_rows([20, 0, 0]))]
    source = StaticSource({"ABCD": rows})

    pages = read_chain(source, Fault("short_page", by=by, share=share), order="asc", **WHOLE)

    assert len(join_pages(pages)) == left


@pytest.mark.parametrize("by", ["page", "row"])
def test_rows_of_one_date_are_lost_in_a_chain_of_three(by: str) -> None:
    source = StaticSource({"ABCD": make_rows([9, 9, 9])})
    fault = Fault("short_page", by=by, rows=4, date=DAYS[1])

    found = join_pages(read_chain(source, fault, order="asc", **WHOLE))

    assert count_days(found) == [9, 5, 9]


def test_another_cut_loses_other_rows_of_the_last_page() -> None:
    source = StaticSource({"ABCD": make_rows([25, 25, 25])})
    fault = Fault("short_page", page="last", rows=7)
    lost = [
        find_lost(
            source.trades["ABCD"],
            join_pages(read_chain(source, fault, limit=limit, order="asc", **WHOLE)),
        )
        for limit in ("50000", "25", "25")
    ]

    assert [len(rows) for rows in lost] == [7, 7, 7]
    assert lost[0] != lost[1] == lost[2]


REVISED: dict[str, tuple[int, Row]] = {
    "removed": (-1, {}),
    "inserted": (1, {}),
    "price": (0, {"price": 5.26}),
    "size": (0, {"size": 50}),
    "correction": (0, {"correction": 8}),
}


@settings(max_examples=25)
@given(counts=counts, limit=limits, order=orders, at=st.sampled_from(["first", "middle", "last"]))
@pytest.mark.parametrize("revision", REVISED)
def test_a_revised_history_differs_in_one_trade_of_each_date(
    revision: str, counts: list[int], limit: int, order: str, at: str
) -> None:
    rows = make_rows(counts)
    source = StaticSource({"ABCD": rows})
    fault = Fault("revised_history", revision=revision, at=at)
    more, changes = REVISED[revision]

    whole = join_pages(read_chain(source, fault, limit="50000", order="asc", **WHOLE))
    found = join_pages(read_chain(source, fault, limit=str(limit), order=order, **WHOLE))

    assert found == (whole if order == "asc" else whole[::-1])
    assert count_days(whole) == [count + more if count else 0 for count in counts]
    other = [row for row in whole if row not in rows]
    assert len(other) == (sum(count > 0 for count in counts) if revision != "removed" else 0)
    assert all(row.items() >= changes.items() for row in other)


def test_a_revision_behind_the_cursor_is_seen_by_the_next_chain_alone() -> None:
    rows = [row | {"id": f"{n}"} for n, row in enumerate(make_rows([20, 0, 0]))]
    fault = Fault("revised_history", revision="inserted", after=1)

    with EmulatorServer(StaticSource({"ABCD": rows}), [fault]) as server:
        first = join_pages(follow_chain(server, "/v3/trades/ABCD", limit=8, order="asc"))
        later = join_pages(follow_chain(server, "/v3/trades/ABCD", limit=9, order="asc"))

    assert first == rows
    assert len(later) == 21
    assert [row["id"] for row in later[:3]] == ["0", "1", "0i"]


def test_the_second_asking_of_a_range_sees_another_history() -> None:
    rows = make_rows([20, 0, 0])
    fault = Fault("revised_history", at="middle", generation=2)

    with EmulatorServer(StaticSource({"ABCD": rows}), [fault]) as server:
        found = [
            len(join_pages(follow_chain(server, "/v3/trades/ABCD", limit=limit, order="asc")))
            for limit in (7, 8, 9)
        ]

    assert found == [20, 19, 19]


def test_an_error_may_stand_beside_a_good_status() -> None:
    fault = Fault("short_page", rows=2, error="partial result")

    with EmulatorServer(StaticSource({"ABCD": make_rows([9, 0, 0])}), [fault]) as server:
        body = get(server, "/v3/trades/ABCD").json()

    assert (body["status"], body["error"], len(body["results"])) == ("OK", "partial result", 7)


def test_bars_are_those_of_the_honest_tape_and_pages_without_a_fault_are_the_same_bytes(
    market: Market,
) -> None:
    """A vendor that loses rows of its pages has counted them in its bars."""
    day, ticker = DAYS[0], market.tickers[0]
    faults = [
        Fault("short_page", by="row", rows=5, ticker="NONE"),
        Fault("revised_history", generation=3),
    ]
    targets = [
        f"/v3/trades/{ticker}?timestamp={day}&order=asc",
        f"/v2/aggs/grouped/locale/us/market/stocks/{day}",
    ]
    with EmulatorServer(market) as honest, EmulatorServer(market, faults) as faulty:
        for target in targets:
            assert get(honest, target).content == get(faulty, target).content
        faulty.faults = [Fault("short_page", share=0.5), Fault("revised_history")]
        assert get(honest, targets[1]).content == get(faulty, targets[1]).content
