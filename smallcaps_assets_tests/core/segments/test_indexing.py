import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.segments.indexing import (
    count_entries,
    index_records,
    index_tickers,
    list_sessions,
    measure_change,
)
from smallcaps_assets.core.segments.merging import is_green, select_winners
from smallcaps_assets_tests.core.segments.segment_factories import (
    Records,
    draw_records,
    frame_records,
    make_entry,
)

PARTS = pl.DataFrame({"part": ["p1.parquet", "p2.parquet"], "bytes": [100, 1000], "rows": [9, 11]})
"""Of the three parts that made-up entries name one is gone."""


def count(records: Records) -> pl.DataFrame:
    return count_entries(select_winners(frame_records(records)), PARTS)


@given(draw_records())
def test_bits_hold_each_session_once(records: Records) -> None:
    counted = count(records)
    bits = index_tickers(counted)

    told = pl.concat([list_sessions(bits, "proven"), list_sessions(bits, "red")])

    sessions = counted.filter(pl.col("kind") == "session")
    assert sorted(told.rows()) == sorted(
        sessions.select("ticker", "session_date", "segment").rows()
    )
    proven = sessions.filter(is_green() & (pl.col("part") != "p3.parquet").fill_null(value=True))
    assert list_sessions(bits, "proven").height == proven.height


@settings(max_examples=20)
@given(draw_records(), draw_records())
def test_a_change_leads_from_one_index_to_the_other(one: Records, other: Records) -> None:
    before, after = count(one), count(other)

    for index in (index_records, index_tickers):
        change = measure_change(before, after, index)
        keys = [name for name, dtype in change.schema.items() if dtype == pl.String()]
        reached = pl.concat([index(before), change]).group_by(keys).sum()
        left = reached.filter(pl.any_horizontal(pl.exclude(keys) != 0))
        assert_frame_equal(left.sort(keys), index(after).sort(keys), check_column_order=False)


@given(st.integers(1, 10**8), st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_shares_of_a_part_sum_up_to_it(size: int, rows: list[int]) -> None:
    starts = [sum(rows[:number]) for number in range(len(rows))]
    entries = frame_records(
        {"s1": [make_entry(rows=n, first_row=start) for n, start in zip(rows, starts, strict=True)]}
    )
    parts = pl.DataFrame({"part": ["p1.parquet"], "bytes": [size], "rows": [sum(rows)]})

    assert count_entries(entries, parts)["bytes"].sum() == size


def test_a_date_of_the_month_before_has_a_bit_of_its_own() -> None:
    """Both dates without a session belong to a session of October 2012."""
    owner = dt.date(2012, 10, 31)
    dates = [dt.date(2012, 9, 29), dt.date(2012, 10, 29)]
    told = [make_entry(session_date=date, owner=owner, kind="off_session") for date in dates]

    bits = index_tickers(count({"s1": told}))

    assert bits.select("month", "proven", "beside").rows() == [("2012-10", 0, 2**60 + 2**29)]
