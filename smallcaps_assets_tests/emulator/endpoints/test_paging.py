import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.emulator.endpoints.paging import (
    FOREVER_NS,
    QueryError,
    TradeQuery,
    decode_cursor,
    read_trade_page,
)
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import Span, Tape

gaps = st.lists(st.sampled_from([0, 0, 1, 5]), max_size=40)


def make_rows(gaps: list[int]) -> list[dict[str, Any]]:
    times = [100]
    for gap in gaps:
        times.append(times[-1] + gap)
    return [{"sip_timestamp": time, "n": number} for number, time in enumerate(times)]


class DailySource(StaticSource):
    """A source that holds a tape for every ten nanoseconds."""

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        rows = self.trades[ticker]
        days = sorted({row["sip_timestamp"] // 10 for row in rows})
        for day in reversed(days) if span.is_descending else days:
            yield Tape.from_rows([row for row in rows if row["sip_timestamp"] // 10 == day])


def read_chain(source: StaticSource, query: TradeQuery) -> list[list[dict[str, Any]]]:
    pages = []
    following: TradeQuery | None = query
    while following is not None:
        page = read_trade_page(source, "A", following)
        pages.append(msgspec.json.decode(b"[" + page.body + b"]"))
        following = page.next_query and TradeQuery.parse(
            {"cursor": page.next_query.encode_cursor()}
        )
    return pages


@given(gaps, st.integers(1, 45), st.integers(95, 160), st.integers(0, 80))
@pytest.mark.parametrize("kind", [StaticSource, DailySource])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_chain_holds_every_row_of_its_span_once_and_in_order(
    kind: type[StaticSource], order: str, gaps: list[int], limit: int, gte: int, length: int
) -> None:
    """L2, L4: pages of any size lose nothing, also where rows share a nanosecond."""
    rows = make_rows(gaps)
    bounds = {"timestamp.gte": f"{gte}", "timestamp.lt": f"{gte + length}"}

    query = TradeQuery.parse({"order": order, "limit": f"{limit}", **bounds})
    pages = read_chain(kind({"A": rows}), query)

    wanted = [row for row in rows if gte <= row["sip_timestamp"] < gte + length]
    assert [r for page in pages for r in page] == (wanted if order == "asc" else wanted[::-1])
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1] or len(pages) == 1


@pytest.mark.parametrize(
    ("parameters", "span"),
    [
        ({}, (0, FOREVER_NS)),
        ({"timestamp": "7"}, (7, 8)),
        ({"timestamp.gte": "7", "timestamp.lt": "9"}, (7, 9)),
        ({"timestamp.gt": "7", "timestamp.lte": "9"}, (8, 10)),
        ({"timestamp": "2024-01-03"}, day_bounds_ns(dt.date(2024, 1, 3), dt.date(2024, 1, 3))),
        (
            {"timestamp.gt": "2024-01-02", "timestamp.lte": "2024-01-04"},
            day_bounds_ns(dt.date(2024, 1, 3), dt.date(2024, 1, 4)),
        ),
        (
            {"timestamp.gte": "2024-01-03", "timestamp.lt": "2024-01-04"},
            day_bounds_ns(dt.date(2024, 1, 3), dt.date(2024, 1, 3)),
        ),
    ],
)
def test_bounds_are_nanoseconds_or_new_york_days(
    parameters: dict[str, str], span: tuple[int, int]
) -> None:
    asked = TradeQuery.parse(parameters)

    assert (asked.span.gte_ns, asked.span.lt_ns) == span
    assert asked.span.is_descending
    assert asked.limit == 1_000


@pytest.mark.parametrize(
    "parameters",
    [
        {"timestamp": "gt.1704290400000"},
        {"timestamp": "2024-02-30"},
        {"timestamp.gte": "2024-01-03T09:30:00Z"},
        {"timestamp.gte": "-5"},
        {"timestamp.between": "5"},
        {"limit": "0"},
        {"limit": "50001"},
        {"limit": "many"},
        {"order": "up"},
        {"sort": "sip_timestamp"},
        {"cursor": "!"},
        {"cursor": "bGltaXQ9MQ"},
        {"cursor": "bGltaXQ9MQ", "limit": "5"},
    ],
)
def test_what_the_vendor_refuses_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        TradeQuery.parse(parameters)


def test_a_cursor_is_a_query_like_the_vendors() -> None:
    page = read_trade_page(
        StaticSource({"A": make_rows([0, 1])}), "A", TradeQuery.parse({"limit": "1"})
    )

    assert page.next_query is not None
    fields = decode_cursor(page.next_query.encode_cursor())

    assert {"limit": "1", "order": "desc", "sort": "timestamp"}.items() <= fields.items()
