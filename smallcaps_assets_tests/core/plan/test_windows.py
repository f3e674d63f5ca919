import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.watchlist import merge_watchlists
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.intervals import expand_sessions
from smallcaps_assets.core.plan.windows import (
    DEFAULT_WINDOWS,
    EventWindow,
    WindowValue,
    merge_windows,
    parse_windows,
    plan_windows,
    select_sessions,
    widest_window,
)
from smallcaps_assets.errors import ConfigError, CoverageError, DataError, SchemaError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN
from smallcaps_assets_tests.core.plan_factories import (
    BOUNDS,
    CALENDAR,
    GOLDEN,
    PROPERTY,
    bounds,
    list_members,
    make_watchlist,
    plan_slowly,
    watchlists,
    windows_by_event,
)

KEY = EVENT_WINDOW_PLAN.key


def list_sessions(plan: pl.DataFrame) -> list[str]:
    return [date.isoformat() for date in plan["session_date"]]


def test_default_windows_are_those_of_the_rules() -> None:
    """L16: every event has a window of its own."""
    sizes = {name.partition("_")[0]: window.size for name, window in DEFAULT_WINDOWS.items()}

    expected = [1, 5, 5, 3, 7, 5, 3, 5, 7, 3, 7, 7]
    assert sizes == {f"E{number}": size for number, size in enumerate(expected)}
    assert all(window.before == window.after for window in DEFAULT_WINDOWS.values())


@pytest.mark.parametrize(
    ("value", "window"),
    [
        (4, EventWindow(4, 4)),
        ([1, 3], EventWindow(1, 3)),
        ((0, 60), EventWindow(0, 60)),
        ({"before": 2, "after": 0}, EventWindow(2, 0)),
    ],
)
@pytest.mark.parametrize("name", ["E6_MultipleGreenDays", "e6", " E6 "])
def test_parse_windows_reads_every_form(name: str, value: WindowValue, window: EventWindow) -> None:
    windows = parse_windows({name: value})

    assert windows == {**DEFAULT_WINDOWS, "E6_MultipleGreenDays": window}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"E12": 1}, "'E12' is unknown"),
        ({"E1": 1, "E1_VolExplosion": 2}, "given twice"),
        ({"E1": -1}, "from 0 to 60"),
        ({"E1": 61}, "from 0 to 60"),
        ({"E1": True}, "from 0 to 60"),
        ({"E1": [1, 1.5]}, "from 0 to 60"),
        ({"E1": [1, 2, 3]}, r"expected sessions on each side as 2"),
        ({"E1": {"before": 1}}, r"expected sessions on each side as 2"),
        ({"E1": {"before": 1, "after": 1, "around": 1}}, r"expected sessions on each side as 2"),
        ({"E1": "2"}, r"expected sessions on each side as 2"),
    ],
)
def test_parse_windows_refuses_what_is_no_window(
    overrides: dict[str, WindowValue], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_windows(overrides)


def test_widest_window_takes_each_side_apart() -> None:
    windows = {"E1": EventWindow(4, 0), "E2": EventWindow(1, 2)}

    assert widest_window(windows) == EventWindow(4, 2)


def test_plan_windows_gives_the_plan_worked_out_by_hand() -> None:
    """L15: windows count sessions, across weekends and holidays."""
    watchlist = make_watchlist(
        *pl.read_csv(GOLDEN / "event_windows" / "watchlist.csv").iter_rows(named=False)
    )
    answers = pl.read_csv(GOLDEN / "event_windows" / "plan.csv", try_parse_dates=True)

    planned = plan_windows(watchlist, DEFAULT_WINDOWS, BOUNDS)

    assert list_members(planned.plan) == answers.rows()


def test_plan_windows_counts_what_it_leaves_out() -> None:
    watchlist = make_watchlist(
        ("A", "2024-03-04", "E4|E1"), ("A", "2024-03-15", "E4"), ("A", "2024-03-16", "E4")
    )
    some = PlanBounds(dt.date(2024, 3, 2), dt.date(2024, 3, 15), CALENDAR, dt.date(2024, 3, 19))

    planned = plan_windows(watchlist, DEFAULT_WINDOWS, some)

    facts = planned.facts
    assert (facts.watchlist_rows, facts.tickers, facts.unique_ticker_sessions) == (3, 1, 8)
    assert (facts.clipped_before, facts.clipped_after, facts.not_yet_available) == (3, 1, 2)
    assert (facts.undeduplicated_ticker_sessions, facts.naive_ticker_sessions) == (26, 21)
    assert (facts.non_session_events, facts.non_session_keys) == (1, ("A_2024-03-16",))
    assert list_sessions(planned.not_yet_available) == ["2024-03-18", "2024-03-19"]


def test_plan_windows_clips_what_lies_before_the_calendar() -> None:
    watchlist = make_watchlist(("A", CALENDAR.first.isoformat(), "E4"))

    planned = plan_windows(watchlist, DEFAULT_WINDOWS, BOUNDS)

    assert (planned.plan.height, planned.facts.clipped_before) == (4, 3)


def test_plan_windows_refuses_a_date_the_calendar_does_not_know() -> None:
    with pytest.raises(CoverageError, match="1999-03-15"):
        plan_windows(make_watchlist(("A", "1999-03-15", "E1")), DEFAULT_WINDOWS, BOUNDS)


@pytest.mark.parametrize("events", [["E99"], [], [None]])
def test_merge_windows_refuses_rows_without_a_window(events: list[str]) -> None:
    watchlist = make_watchlist(("A", "2024-03-15", "E1"))
    listed = pl.Series([events], dtype=pl.List(pl.String))

    with pytest.raises(DataError, match="expected"):
        merge_windows(watchlist.with_columns(events=listed), DEFAULT_WINDOWS, CALENDAR)


def test_merge_windows_refuses_another_table() -> None:
    watchlist = make_watchlist(("A", "2024-03-15", "E1")).rename({"events": "names"})

    with pytest.raises(SchemaError, match="watchlist"):
        merge_windows(watchlist, DEFAULT_WINDOWS, CALENDAR)


@PROPERTY
@given(watchlists, windows_by_event, bounds)
def test_plan_windows_equals_the_slow_way(
    watchlist: pl.DataFrame, windows: dict[str, EventWindow], bounds: PlanBounds
) -> None:
    planned = plan_windows(watchlist, windows, bounds)

    assert list_members(planned.plan) == plan_slowly(watchlist, windows, bounds)


@PROPERTY
@given(watchlists, windows_by_event, bounds)
def test_plan_windows_loses_no_session(
    watchlist: pl.DataFrame, windows: dict[str, EventWindow], bounds: PlanBounds
) -> None:
    """Sessions planned, clipped and waiting are all that the windows cover."""
    planned = plan_windows(watchlist, windows, bounds)
    covered = expand_sessions(merge_windows(watchlist, windows, CALENDAR), CALENDAR)

    facts = planned.facts
    left_out = facts.clipped_before + facts.clipped_after + facts.not_yet_available
    assert planned.plan.height == facts.unique_ticker_sessions
    assert planned.not_yet_available.height == facts.not_yet_available
    assert facts.unique_ticker_sessions + left_out == covered.height


@PROPERTY
@given(watchlists, windows_by_event)
def test_merge_windows_gives_disjoint_intervals_that_never_adjoin(
    watchlist: pl.DataFrame, windows: dict[str, EventWindow]
) -> None:
    merged = merge_windows(watchlist, windows, CALENDAR)

    gap = (pl.col("first_index") - pl.col("last_index").shift(1)).over("ticker")
    assert merged.filter(gap <= 1).is_empty()
    assert merged.filter(pl.col("first_index") > pl.col("last_index")).is_empty()
    assert merged.equals(merged.sort("ticker", "first_index"))


@PROPERTY
@given(watchlists, watchlists, windows_by_event)
def test_plan_windows_of_a_union_is_the_union_of_plans(
    left: pl.DataFrame, right: pl.DataFrame, windows: dict[str, EventWindow]
) -> None:
    """L10: a larger watchlist plans everything the smaller one did, and only more."""
    plans = [plan_windows(rows, windows, BOUNDS).plan.select(KEY) for rows in (left, right)]

    union = plan_windows(merge_watchlists(left, right), windows, BOUNDS).plan.select(KEY)

    assert_frame_equal(union, pl.concat(plans).unique().sort(KEY))


@PROPERTY
@given(watchlists, st.integers(0, 2**32))
def test_plan_windows_ignores_the_order_of_rows(watchlist: pl.DataFrame, seed: int) -> None:
    shuffled = watchlist.sample(fraction=1.0, shuffle=True, seed=seed)

    plans = [plan_windows(rows, DEFAULT_WINDOWS, BOUNDS).plan for rows in (watchlist, shuffled)]

    assert_frame_equal(*plans)


def test_select_sessions_plans_every_session_of_the_tickers() -> None:
    plan = select_sessions(["B", "A", "B"], dt.date(2024, 3, 28), dt.date(2024, 4, 1), BOUNDS)

    assert EVENT_WINDOW_PLAN.conform(plan).select(KEY).rows() == [
        (ticker, date) for ticker in "AB" for date in (dt.date(2024, 3, 28), dt.date(2024, 4, 1))
    ]
    assert plan["events"].list.len().sum() == 0


def test_select_sessions_stays_inside_the_bounds() -> None:
    some = PlanBounds(dt.date(2024, 3, 14), dt.date(2024, 3, 18), CALENDAR)

    plan = select_sessions(["A"], dt.date(2024, 1, 1), dt.date(2024, 12, 31), some)

    assert list_sessions(plan) == ["2024-03-14", "2024-03-15", "2024-03-18"]


def test_select_sessions_of_days_that_are_none_is_empty() -> None:
    plan = select_sessions(["A"], dt.date(2024, 3, 16), dt.date(2024, 3, 17), BOUNDS)

    assert plan.equals(EVENT_WINDOW_PLAN.empty())


@pytest.mark.parametrize(("tickers", "last"), [([], dt.date(2024, 4, 1)), (["A"], dt.date.min)])
def test_select_sessions_refuses_an_empty_wish(tickers: list[str], last: dt.date) -> None:
    with pytest.raises(ConfigError, match="expected tickers and first <= last"):
        select_sessions(tickers, dt.date(2024, 3, 28), last, BOUNDS)


def test_select_sessions_refuses_what_is_no_ticker() -> None:
    with pytest.raises(DataError, match="bad ticker"):
        select_sessions(["../A"], dt.date(2024, 3, 28), dt.date(2024, 4, 1), BOUNDS)
