import datetime as dt
import itertools
from collections.abc import Mapping, Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.rules import detect_events
from smallcaps_assets.core.events.watchlist import build_watchlist
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.publication import PlanFacts, judge_plan, measure_plan
from smallcaps_assets.core.plan.ranges import plan_request_ranges
from smallcaps_assets.core.plan.windows import (
    DEFAULT_WINDOWS,
    EventWindow,
    plan_windows,
    select_sessions,
)
from smallcaps_assets.core.reference.daily_bars import parse_daily_bars
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, REQUEST_RANGES
from smallcaps_assets_tests.core.bar_factories import read_shared_bars
from smallcaps_assets_tests.core.plan_factories import (
    BOUNDS,
    CALENDAR,
    PROPERTY,
    SESSIONS,
    bounds,
    key_sets,
    make_keys,
    make_watchlist,
    watchlists,
    windows_by_event,
)

FIRST, LAST = dt.date(2024, 3, 14), dt.date(2024, 3, 20)
WEEK = CALENDAR.dates(FIRST, LAST)


def plan_ranges(
    sessions: pl.DataFrame, *, max_rows: int = 1_000, max_sessions: int = 60
) -> pl.DataFrame:
    return plan_request_ranges(sessions, CALENDAR, max_rows, max_sessions)


def make_plan(**columns: Sequence[object]) -> pl.DataFrame:
    """Make the plan of one E6 on 2024-03-15, with columns replaced."""
    watchlist = make_watchlist(("A", "2024-03-15", "E6"))
    plan = plan_windows(watchlist, DEFAULT_WINDOWS, BOUNDS).plan
    values = {name: pl.Series(values, dtype=plan.schema[name]) for name, values in columns.items()}
    return plan.with_columns(**values)


def measure(
    plan: pl.DataFrame, windows: Mapping[str, EventWindow] | None = DEFAULT_WINDOWS
) -> PlanFacts:
    return measure_plan(plan, CALENDAR, last_available=BOUNDS.last_available, windows=windows)


def test_plan_request_ranges_joins_sessions_across_a_weekend_and_a_holiday() -> None:
    """L15: neighbours are neighbouring sessions, not days."""
    easter = CALENDAR.dates(dt.date(2024, 3, 27), dt.date(2024, 4, 2))

    ranges = plan_ranges(make_keys("A", easter, 10))

    assert ranges.rows() == [("A", easter[0], easter[-1], 4, 40, 4)]


def test_plan_request_ranges_cuts_at_a_gap_and_at_a_ticker() -> None:
    sessions = pl.concat([make_keys("B", WEEK[:2], 1), make_keys("A", [WEEK[0], *WEEK[2:]], 1)])

    ranges = plan_ranges(sessions)

    assert ranges.select("ticker", "first_session", "session_count").rows() == [
        ("A", WEEK[0], 1),
        ("A", WEEK[2], 3),
        ("B", WEEK[0], 2),
    ]


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([400, 400, 200, 1, 999], [3, 2]),
        ([5_000, 1, 1_000, 1, 0], [1, 1, 1, 2]),
        ([0, 0, 0, 1_000, 0], [5]),
        ([None, None, 900, 100, None], [2, 2, 1]),
    ],
)
def test_plan_request_ranges_fills_a_range_up_to_its_rows(
    rows: list[int | None], counts: list[int]
) -> None:
    """Sessions of unknown size count as a tenth of a range; one session may be too large."""
    sessions = make_keys("A", WEEK).with_columns(expected_rows=pl.Series(rows, dtype=pl.Int64))

    ranges = plan_ranges(sessions)

    assert ranges["session_count"].to_list() == counts


def test_plan_request_ranges_sizes_an_unknown_session_by_its_estimate() -> None:
    sessions = make_keys("A", WEEK).with_columns(estimated_rows=pl.lit(500, pl.Int64))

    ranges = plan_ranges(sessions)

    assert ranges["session_count"].to_list() == [2, 2, 1]
    assert ranges["expected_rows"].to_list() == [None] * 3


def test_plan_request_ranges_claims_no_sum_when_a_part_is_unknown() -> None:
    sessions = pl.concat([make_keys("A", WEEK[:2], 7), make_keys("A", WEEK[2:3])])

    assert plan_ranges(sessions)["expected_rows"].to_list() == [None]


def test_plan_request_ranges_of_nothing_is_nothing() -> None:
    assert plan_ranges(make_keys("A", [])).equals(REQUEST_RANGES.empty())


@pytest.mark.parametrize(
    "sessions",
    [
        make_keys("A", [dt.date(2024, 3, 16)], 1),
        make_keys("A", [WEEK[0], WEEK[0]], 1),
        make_keys("A", WEEK, -1),
    ],
    ids=["no session", "repeat", "negative"],
)
def test_plan_request_ranges_refuses_bad_sessions(sessions: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no session, occur twice, or expect a negative"):
        plan_ranges(sessions)


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_sessions": 0}])
def test_plan_request_ranges_refuses_limits_that_allow_nothing(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="limits above 0"):
        plan_ranges(make_keys("A", WEEK, 1), **limits)


@PROPERTY
@given(key_sets, st.integers(1, 1_200), st.integers(1, 9))
def test_plan_request_ranges_cover_exactly_the_sessions(
    sessions: pl.DataFrame, max_rows: int, max_sessions: int
) -> None:
    """L10: what is asked is what was missing, each session once."""
    ranges = plan_ranges(sessions, max_rows=max_rows, max_sessions=max_sessions)

    covered = [
        (ticker, date)
        for ticker, first, last, *_ in ranges.iter_rows()
        for date in CALENDAR.dates(first, last)
    ]
    assert covered == sorted(sessions.select("ticker", "session_date").iter_rows())
    assert ranges["session_count"].sum() == sessions.height


@PROPERTY
@given(key_sets, st.integers(1, 1_200), st.integers(1, 9))
def test_plan_request_ranges_are_as_large_as_the_limits_allow(
    sessions: pl.DataFrame, max_rows: int, max_sessions: int
) -> None:
    """None exceeds them, and two ranges that touch would as one."""
    filled = sessions.with_columns(pl.col("expected_rows").fill_null(0))
    sizes = {(ticker, date): rows for ticker, date, rows in filled.iter_rows()}

    ranges = plan_ranges(filled, max_rows=max_rows, max_sessions=max_sessions)

    too_many = (pl.col("expected_rows") > max_rows) & (pl.col("session_count") > 1)
    assert ranges.filter(too_many | (pl.col("session_count") > max_sessions)).is_empty()
    assert ranges["expected_rows"].sum() == filled["expected_rows"].sum()
    pairs = itertools.pairwise(ranges.iter_rows())
    for (ticker, _, last, count, rows, _), (following, start, *_) in pairs:
        touches = ticker == following and CALENDAR.shift(last, 1) == start
        fits = count < max_sessions and rows + sizes.get((following, start), 0) <= max_rows
        assert not (touches and fits)


@PROPERTY
@given(key_sets, st.integers(0, 2**32))
def test_plan_request_ranges_ignores_the_order_of_rows(sessions: pl.DataFrame, seed: int) -> None:
    shuffled = sessions.sample(fraction=1.0, shuffle=True, seed=seed)

    assert_frame_equal(plan_ranges(sessions), plan_ranges(shuffled))


@PROPERTY
@given(watchlists, windows_by_event, bounds)
def test_measure_plan_finds_no_fault_in_a_plan_of_ours(
    watchlist: pl.DataFrame, windows: dict[str, EventWindow], bounds: PlanBounds
) -> None:
    plan = plan_windows(watchlist, windows, bounds).plan

    facts = measure_plan(plan, CALENDAR, last_available=bounds.last_available, windows=windows)

    assert judge_plan(facts) == (() if plan.height else judge_plan(measure(plan)))
    assert facts.offenders.is_empty()


def test_measure_plan_says_what_a_plan_holds() -> None:
    facts = measure(make_plan())

    assert (facts.rows, facts.tickers) == (3, 1)
    assert (facts.first_session, facts.last_session) == (FIRST, dt.date(2024, 3, 18))
    assert judge_plan(facts) == ()


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"ticker": ["B", "A", "C"]}, "1 rows are out of order"),
        ({"session_date": [FIRST, FIRST, LAST]}, "1 rows repeat a ticker and session"),
        ({"ticker": ["A", "A/B", "A_B"]}, "2 rows have a text that is not a ticker"),
        ({"session_date": [FIRST, dt.date(2024, 3, 16), LAST]}, "1 rows lie on no session"),
        ({"session_date": [FIRST, LAST, dt.date(2025, 1, 2)]}, "1 rows are not available yet"),
        ({"offsets": [[-1], [0, 1], [1]]}, "1 rows have lists of different length"),
        ({"offsets": [[-1], [1], [1]]}, "1 rows have a wrong offset"),
        ({"offsets": [[-1], [None], [1]]}, "1 rows have a wrong offset"),
        ({"event_dates": [[FIRST], [dt.date(2024, 3, 16)], [LAST]]}, "3 rows have a wrong offset"),
        ({"events": [["E6_MultipleGreenDays"], ["E6"], [None]]}, "2 rows lie outside their window"),
        (
            {
                "session_date": [FIRST, dt.date(2024, 3, 15), dt.date(2024, 3, 19)],
                "offsets": [[-1], [0], [2]],
            },
            "1 rows lie outside their window",
        ),
        (
            {"events": [[]] * 3, "event_dates": [[]] * 3, "offsets": [[]] * 3},
            "3 rows have no event",
        ),
    ],
)
def test_judge_plan_names_each_fault(columns: dict[str, Sequence[object]], problem: str) -> None:
    facts = measure(make_plan(**columns))

    assert problem in judge_plan(facts)
    assert facts.offenders.height >= 1


def test_judge_plan_passes_the_plan_of_the_real_bars() -> None:
    bars = parse_daily_bars(read_shared_bars())
    watchlist = build_watchlist(detect_events(bars.lazy())).collect()

    planned = plan_windows(watchlist, DEFAULT_WINDOWS, BOUNDS)

    facts = planned.facts
    assert judge_plan(measure(planned.plan)) == ()
    assert planned.plan["events"].list.len().sum() <= facts.undeduplicated_ticker_sessions
    assert planned.plan.height < facts.undeduplicated_ticker_sessions


def test_judge_plan_refuses_an_empty_plan() -> None:
    facts = measure(EVENT_WINDOW_PLAN.empty())

    assert judge_plan(facts) == ("expected at least one session, got none",)
    assert facts.first_session is None


def test_measure_plan_of_selected_sessions_asks_for_no_event() -> None:
    plan = select_sessions(["A"], SESSIONS[0], SESSIONS[-1], BOUNDS)

    assert judge_plan(measure(plan, None)) == ()
    assert judge_plan(measure(plan)) == (f"{plan.height} rows have no event",)
