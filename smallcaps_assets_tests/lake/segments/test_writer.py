import datetime as dt

import polars as pl
import pytest

from smallcaps_assets.errors import SchemaError
from smallcaps_assets.lake.segments.writer import ClosingRules, SegmentWriter
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import MONDAY, SATURDAY, enter

APRIL = dt.date(2024, 4, 1)
WIDE = ClosingRules(part_bytes=1_000_000, row_bytes=20, interval_s=30, most_bytes=1_000_000)

Writer = SegmentWriter[str]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def add(writer: Writer, date: dt.date = SESSION, rows: int = 5, ticker: str = "A") -> None:
    writer.add([enter(ticker, date, rows)], make_tape(rows, ticker=ticker, session_date=date))


def test_a_bundle_waits_until_its_interval_is_over() -> None:
    clock = Clock()
    writer: Writer = SegmentWriter(WIDE, clock)
    add(writer)
    clock.now_s = 29
    add(writer, ticker="B")
    assert writer.take_due() == []

    clock.now_s = 30

    (bundle,) = writer.take_due()
    assert (bundle.rows, len(bundle.entries)) == (10, 2)
    assert writer.take_all() == []


def test_a_full_bundle_is_taken() -> None:
    writer: Writer = SegmentWriter(ClosingRules(part_bytes=2_000, row_bytes=20), Clock())

    add(writer, rows=99)
    assert writer.take_due() == []
    add(writer, rows=1, ticker="B")

    assert [bundle.rows for bundle in writer.take_due()] == [100]


def test_of_too_much_in_hand_the_oldest_goes_first() -> None:
    clock = Clock()
    alone: Writer = SegmentWriter(WIDE, clock)
    add(alone, rows=50)
    writer: Writer = SegmentWriter(ClosingRules(most_bytes=alone.bytes_in_hand * 5 // 2), clock)
    for second, date in enumerate((APRIL, SESSION, dt.date(2024, 2, 1))):
        clock.now_s = second
        add(writer, date, rows=50)

    taken = writer.take_due()

    assert [bundle.month for bundle in taken] == ["2024-04"]
    assert writer.bytes_in_hand <= alone.bytes_in_hand * 5 // 2


def test_a_month_of_which_no_more_may_come_is_taken() -> None:
    writer: Writer = SegmentWriter(WIDE, Clock())
    add(writer, SESSION)
    add(writer, APRIL)

    (bundle,) = writer.take_due(lambda month: month != "2024-03")

    assert bundle.month == "2024-03"
    assert [bundle.month for bundle in writer] == ["2024-04"]


def test_rows_that_came_in_another_order_are_put_in_order() -> None:
    writer: Writer = SegmentWriter(WIDE, Clock())
    for ticker, date in (("B", SESSION), ("A", MONDAY), ("A", SESSION)):
        add(writer, date, ticker=ticker)

    (bundle,) = writer.take_all()
    draft = bundle.close()

    assert draft.entries.select("ticker", "session_date").rows() == [
        ("A", SESSION),
        ("A", MONDAY),
        ("B", SESSION),
    ]
    assert bundle.trades == []


def test_each_month_knows_where_it_came_from() -> None:
    writer: Writer = SegmentWriter(WIDE, Clock())
    tape = pl.concat(make_tape(3, ticker="A", session_date=date) for date in (SESSION, APRIL))

    writer.add([enter("A", SESSION, 3), enter("A", APRIL, 3)], tape, "a chain")

    assert [bundle.origins for bundle in writer.take_all()] == [["a chain"], ["a chain"]]


def test_a_chain_is_cut_at_months() -> None:
    writer: Writer = SegmentWriter(WIDE, Clock())
    friday, sunday = dt.date(2024, 3, 28), dt.date(2024, 3, 31)
    dates = (friday, sunday, APRIL)
    tape = pl.concat(make_tape(3, ticker="A", session_date=date) for date in dates)
    off = enter("A", sunday, 3, kind="off_session", owner=APRIL)
    writer.add([enter("A", friday, 3), off, enter("A", APRIL, 3)], tape)

    drafts = [bundle.close() for bundle in writer.take_all()]

    assert [(draft.month, draft.entries["session_date"].to_list()) for draft in drafts] == [
        ("2024-03", [friday]),
        ("2024-04", [sunday, APRIL]),
    ]


def test_rows_that_break_their_contract_are_not_taken() -> None:
    writer: Writer = SegmentWriter(WIDE, Clock())

    with pytest.raises(SchemaError):
        writer.add([enter("A", MONDAY, 2)], make_tape(2, session_date=SATURDAY).drop("size"))
    assert writer.take_all() == []
