import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.plan.intervals import (
    build_plan,
    clip_intervals,
    count_sessions,
    expand_sessions,
    explode_events,
    merge_intervals,
)
from smallcaps_assets_tests.core.plan_factories import (
    CALENDAR,
    PROPERTY,
    make_watchlist,
    watchlists,
)

Interval = tuple[str, int, int]

intervals = st.lists(
    st.builds(
        lambda ticker, first, length: (ticker, first, first + length),
        st.sampled_from(["A", "B", "a"]),
        st.integers(-60, 30),
        st.integers(0, 6),
    ),
    max_size=15,
)


def make_intervals(*rows: Interval) -> pl.DataFrame:
    schema = {"ticker": pl.String, "first_index": pl.Int32, "last_index": pl.Int32}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def list_indexes(rows: list[Interval]) -> set[tuple[str, int]]:
    return {(ticker, index) for ticker, first, last in rows for index in range(first, last + 1)}


@pytest.mark.parametrize(
    ("rows", "merged"),
    [
        ([("A", 5, 7), ("A", 1, 3)], [("A", 1, 3), ("A", 5, 7)]),
        ([("A", 4, 7), ("A", 1, 3)], [("A", 1, 7)]),
        ([("A", 1, 9), ("A", 2, 3), ("A", 8, 12)], [("A", 1, 12)]),
        ([("B", 4, 7), ("A", 1, 3)], [("A", 1, 3), ("B", 4, 7)]),
        ([("A", -3, -1), ("B", 0, 0)], [("A", -3, -1), ("B", 0, 0)]),
        ([], []),
    ],
    ids=["apart", "adjoining", "nested", "two tickers", "before the calendar", "none"],
)
def test_merge_intervals_joins_what_touches(rows: list[Interval], merged: list[Interval]) -> None:
    assert_frame_equal(merge_intervals(make_intervals(*rows)), make_intervals(*merged))


@PROPERTY
@given(intervals)
def test_merge_intervals_covers_the_same_sessions(rows: list[Interval]) -> None:
    merged = merge_intervals(make_intervals(*rows))

    assert list_indexes(merged.rows()) == list_indexes(rows)
    assert count_sessions(merged) == len(list_indexes(rows))


@PROPERTY
@given(intervals, st.integers(-70, 40), st.integers(-70, 40))
def test_clip_intervals_keeps_what_lies_inside(rows: list[Interval], first: int, last: int) -> None:
    clipped = clip_intervals(merge_intervals(make_intervals(*rows)), first, last)

    inside = {(ticker, index) for ticker, index in list_indexes(rows) if first <= index <= last}
    assert list_indexes(clipped.rows()) == inside


@PROPERTY
@given(intervals)
def test_expand_sessions_gives_sessions_of_the_calendar_alone(rows: list[Interval]) -> None:
    sessions = expand_sessions(merge_intervals(make_intervals(*rows)), CALENDAR)

    dates = CALENDAR.frame["session_date"].to_list()
    expected = sorted((ticker, dates[index]) for ticker, index in list_indexes(rows) if index >= 0)
    assert sessions.rows() == expected


@PROPERTY
@given(watchlists, st.integers(1, 20))
def test_build_plan_is_the_same_in_chunks_of_any_size(
    watchlist: pl.DataFrame, chunk_rows: int
) -> None:
    index = pl.col("event_index")
    spans = explode_events(watchlist, CALENDAR).with_columns(
        first_index=index - 2, last_index=index + 1
    )

    whole = build_plan(spans, CALENDAR)

    assert_frame_equal(build_plan(spans, CALENDAR, chunk_rows=chunk_rows), whole)


def test_explode_events_leaves_out_what_is_no_session() -> None:
    watchlist = make_watchlist(("A", "2024-03-15", "E10|E2"), ("A", "2024-03-16", "E1"))

    events = explode_events(watchlist, CALENDAR)

    assert events["event"].to_list() == ["E2_GapUp", "E10_FirstGreenBounce"]
