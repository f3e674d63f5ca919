import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.watchlist import merge_watchlists
from smallcaps_assets.core.plan.batches import assign_batches
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import count_sessions, expand_sessions
from smallcaps_assets.core.plan.months import label_months, merge_months, plan_months
from smallcaps_assets.core.plan.publication import diff_plans, judge_plan, measure_plan
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, plan_windows
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN
from smallcaps_assets_tests.core.plan_factories import (
    BOUNDS,
    CALENDAR,
    PROPERTY,
    SESSIONS,
    key_sets,
    make_keys,
    make_watchlist,
    watchlists,
)

KEY = EVENT_WINDOW_PLAN.key


def plan_keys(watchlist: pl.DataFrame) -> pl.DataFrame:
    return plan_windows(watchlist, DEFAULT_WINDOWS, BOUNDS).plan.select(KEY)


def test_merge_watchlists_gives_a_shared_row_the_events_of_both() -> None:
    left = make_watchlist(("A", "2024-03-15", "E10|E2"), ("B", "2024-03-15", "E1"))
    right = make_watchlist(("A", "2024-03-15", "E2|E3"))

    merged = merge_watchlists(left, right)

    expected = make_watchlist(("A", "2024-03-15", "E2|E3|E10"), ("B", "2024-03-15", "E1"))
    assert_frame_equal(merged, expected)


def test_plan_months_plans_the_whole_month_of_an_event() -> None:
    watchlist = make_watchlist(("A", "2024-02-29", "E1"), ("A", "2024-02-05", "E6"))

    plan = plan_months(watchlist, BOUNDS)

    february = CALENDAR.dates(dt.date(2024, 2, 1), dt.date(2024, 2, 29))
    assert plan["session_date"].to_list() == february
    assert plan["events"].to_list() == [["E6_MultipleGreenDays", "E1_VolExplosion"]] * 20
    assert plan.row(0)[-1] == [-2, -19]
    facts = measure_plan(plan, CALENDAR, last_available=BOUNDS.last_available)
    assert judge_plan(facts) == ()


@pytest.mark.parametrize(
    ("before", "after", "first", "last"),
    [
        (1, 0, dt.date(2023, 12, 1), dt.date(2024, 1, 31)),
        (0, 1, dt.date(2024, 1, 2), dt.date(2024, 2, 29)),
        (13, 2, dt.date(2022, 12, 1), dt.date(2024, 3, 28)),
    ],
)
def test_plan_months_reaches_the_months_around(
    before: int, after: int, first: dt.date, last: dt.date
) -> None:
    watchlist = make_watchlist(("A", "2024-01-31", "E1"))

    plan = plan_months(watchlist, BOUNDS, months_before=before, months_after=after)

    assert plan["session_date"].to_list() == CALENDAR.dates(first, last)


def test_plan_months_stays_inside_the_bounds_and_ignores_what_is_no_session() -> None:
    watchlist = make_watchlist(("A", "2024-03-15", "E1"), ("B", "2024-03-16", "E1"))
    some = PlanBounds(dt.date(2024, 3, 14), dt.date(2024, 3, 18), CALENDAR)

    plan = plan_months(watchlist, some)

    assert plan["ticker"].to_list() == ["A"] * 3


def test_plan_months_refuses_negative_months_and_unknown_events() -> None:
    watchlist = make_watchlist(("A", "2024-03-15", "E1"))
    unknown = watchlist.with_columns(events=pl.Series([["E99"]]))

    with pytest.raises(ConfigError, match="months of 0 or more"):
        plan_months(watchlist, BOUNDS, months_before=-1)
    with pytest.raises(DataError, match="E99"):
        plan_months(unknown, BOUNDS)


@PROPERTY
@given(watchlists, st.integers(0, 2), st.integers(0, 2))
def test_merge_months_holds_the_sessions_of_the_plan(
    watchlist: pl.DataFrame, before: int, after: int
) -> None:
    around = {"months_before": before, "months_after": after}

    merged = merge_months(watchlist, CALENDAR, **around)

    plan = plan_months(watchlist, BOUNDS, **around)
    assert_frame_equal(expand_sessions(merged, CALENDAR), plan.select(KEY))


def test_label_months_counts_overlaps_again() -> None:
    watchlist = make_watchlist(("A", "2024-02-29", "E1|E6"), ("A", "2024-02-05", "E6"))

    assert count_sessions(label_months(watchlist, CALENDAR)) == 3 * 20


@PROPERTY
@given(key_sets, st.integers(1, 4))
def test_assign_batches_leaves_no_ticker_out_and_no_batch_empty(
    sessions: pl.DataFrame, count: int
) -> None:
    assigned = assign_batches(sessions, count)

    assert assigned.keys() == set(sessions["ticker"])
    used = min(count, sessions["ticker"].n_unique())
    assert set(assigned.values()) == set(range(1, used + 1))


def test_assign_batches_balances_the_weights() -> None:
    weights = {"A": 70, "B": 50, "C": 40, "D": 30, "E": 10}
    plan = pl.concat([make_keys(ticker, SESSIONS[:2]) for ticker in weights])
    bytes_by_ticker = pl.DataFrame({"ticker": list(weights), "weight": list(weights.values())})

    assigned = assign_batches(plan, 2, bytes_by_ticker)

    assert assigned == {"A": 1, "B": 2, "C": 2, "D": 1, "E": 2}


def test_assign_batches_spreads_tickers_without_weight() -> None:
    plan = pl.concat([make_keys(ticker, SESSIONS[:3]) for ticker in "ABCD"])

    assigned = assign_batches(plan, 2, pl.DataFrame({"ticker": ["A"], "weight": [5]}))

    assert assigned == {"A": 1, "B": 2, "C": 2, "D": 2}


@PROPERTY
@given(key_sets, key_sets, st.integers(1, 4))
def test_assign_batches_never_moves_a_ticker(
    sessions: pl.DataFrame, more: pl.DataFrame, count: int
) -> None:
    """Batches of a plan that grows between them still partition it."""
    first = assign_batches(sessions, count)
    grown = pl.concat([sessions, more]).unique(KEY)

    second = assign_batches(grown, count, None, first)

    assert {ticker: second[ticker] for ticker in first} == first
    assert set(second) == set(grown["ticker"])
    assert all(1 <= batch <= count for batch in second.values())


def test_assign_batches_refuses_no_batch() -> None:
    with pytest.raises(ConfigError, match="at least one batch"):
        assign_batches(make_keys("A", SESSIONS), 0)


@PROPERTY
@given(watchlists, watchlists)
def test_diff_plans_of_a_larger_watchlist_adds_the_difference_alone(
    small: pl.DataFrame, more: pl.DataFrame
) -> None:
    """L10: when the range grows, what is already planned is neither dropped nor asked again."""
    old, new = plan_keys(small), plan_keys(merge_watchlists(small, more))

    difference = diff_plans(old, new)

    assert difference.removed.is_empty()
    assert difference.kept == old.height
    assert_frame_equal(pl.concat([old, difference.added]).sort(KEY), new)


def test_diff_plans_tells_added_from_removed() -> None:
    old, new = make_keys("A", SESSIONS[:3]), make_keys("A", SESSIONS[2:4])

    difference = diff_plans(old, new)

    assert difference.added["session_date"].to_list() == [SESSIONS[3]]
    assert difference.removed["session_date"].to_list() == SESSIONS[:2]
    assert difference.kept == 1
