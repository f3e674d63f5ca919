import datetime as dt
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.budget.pilot import (
    PilotInputs,
    build_ladder,
    choose_pilot,
    list_candidates,
    rank_pilot,
    select_pilot,
)
from smallcaps_assets.core.events.rules import detect_events
from smallcaps_assets.core.events.watchlist import build_watchlist
from smallcaps_assets.core.plan.months import plan_months
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, plan_windows
from smallcaps_assets.core.reference.daily_bars import parse_daily_bars
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import PILOT_WATCHLIST
from smallcaps_assets_tests.core.bar_factories import read_shared_bars
from smallcaps_assets_tests.core.plan_factories import (
    BOUNDS,
    PROPERTY,
    SESSIONS,
    make_count_bars,
    make_watchlist,
    watchlists,
)

MANY = "E1|E2|E3"
WATCHLIST = make_watchlist(
    ("C", "2024-01-02", MANY),
    ("C", "2024-01-03", MANY),
    ("A", "2024-01-02", MANY),
    ("B", "2024-01-02", MANY),
    ("B", "2024-01-05", "E1|E2"),
    ("D", "2024-01-05", "E6"),
)
PER_SESSION = Calibration(bytes_per_trade=100, file_bytes=0, block_bytes=0, trades_per_session=10)


def make_inputs(*, free: int = 10**9, bars: pl.DataFrame | None = None) -> PilotInputs:
    """Make inputs by which each session stores 1,000 bytes."""
    known = make_count_bars() if bars is None else bars
    return PilotInputs(DEFAULT_WINDOWS, BOUNDS, known, PER_SESSION, free, 1_000, 60)


def test_rank_pilot_counts_sessions_with_enough_events_and_breaks_ties_by_ticker() -> None:
    ranked = rank_pilot(WATCHLIST, 3)

    assert ranked.rows() == [("C", 2), ("A", 1), ("B", 1)]


@pytest.mark.parametrize("anything", [None, 0, 1])
def test_rank_pilot_without_a_minimum_counts_every_session(anything: int | None) -> None:
    assert rank_pilot(WATCHLIST, anything).rows() == [("B", 2), ("C", 2), ("A", 1), ("D", 1)]


def test_select_pilot_keeps_the_rows_with_enough_events_of_the_best_tickers() -> None:
    pilot = PILOT_WATCHLIST.conform(select_pilot(WATCHLIST, 3, 2))

    assert pilot["ticker"].to_list() == ["A", "C", "C"]
    assert pilot["event_count"].min() == 3


@pytest.mark.parametrize("everything", [None, 0, 99])
def test_select_pilot_without_a_limit_keeps_all_tickers(everything: int | None) -> None:
    assert select_pilot(WATCHLIST, None, everything).equals(WATCHLIST)


@pytest.mark.parametrize(("events", "tickers"), [(-1, 1), (1, -1)])
def test_select_pilot_refuses_less_than_nothing(events: int, tickers: int) -> None:
    with pytest.raises(ConfigError, match="expected 0 or more"):
        select_pilot(WATCHLIST, events, tickers)


def test_build_ladder_tells_what_each_size_costs() -> None:
    two, one = build_ladder(WATCHLIST, 3, make_inputs(free=10_000), [2, 1])

    assert (one.tickers, one.rows, one.ticker_sessions) == (1, 2, 26)
    assert (one.unique_ticker_sessions, one.requests, one.bytes_stored) == (6, 1, 6_000)
    assert (two.tickers, two.rows, two.unique_ticker_sessions) == (2, 3, 11)
    assert (one.verdict.fits, two.verdict.fits) == (True, False)
    assert two.hours == pytest.approx((2 / 100 * 60 + 0.3) / 3_600)


def test_build_ladder_takes_larger_sizes_as_all_tickers_once() -> None:
    ladder = build_ladder(WATCHLIST, 3, make_inputs(), [100, 30, 3, 1])

    assert [rung.tickers for rung in ladder] == [3, 1]


def test_build_ladder_of_nothing_has_no_rung() -> None:
    assert build_ladder(make_watchlist(), 3, make_inputs()) == ()


def test_build_ladder_refuses_a_size_of_nothing() -> None:
    with pytest.raises(ConfigError, match="sizes above 0"):
        build_ladder(WATCHLIST, 3, make_inputs(), [0])


def test_build_ladder_sizes_sessions_by_their_bars() -> None:
    busy = make_count_bars(*(("A", date, 1e6, 2_500) for date in SESSIONS))

    one_by_rank = build_ladder(WATCHLIST, 3, make_inputs(bars=busy), [2])[0]

    assert one_by_rank.requests == 11


@pytest.mark.parametrize(
    ("free", "tickers"), [(7_499, 0), (7_500, 1), (13_749, 1), (13_750, 2), (20_000, 3)]
)
def test_choose_pilot_takes_the_most_tickers_that_fit_four_fifths(free: int, tickers: int) -> None:
    choice = choose_pilot(WATCHLIST, 3, make_inputs(free=free), [3, 1])

    assert choice.tickers == tickers
    assert choice.watchlist["ticker"].n_unique() == tickers
    assert {rung.tickers for rung in choice.ladder} == {3, 1, tickers or 1}


@PROPERTY
@given(watchlists, st.integers(0, 3), st.integers(0, 60_000))
def test_choose_pilot_is_the_largest_that_fits(
    watchlist: pl.DataFrame, min_events: int, free: int
) -> None:
    inputs = make_inputs(free=free)
    sizes = range(1, rank_pilot(watchlist, min_events).height + 1)
    fitting = [
        size
        for size in sizes
        if build_ladder(watchlist, min_events, inputs, [size])[0].verdict.fits
    ]

    choice = choose_pilot(watchlist, min_events, inputs)

    assert choice.tickers == max(fitting, default=0)


@PROPERTY
@given(watchlists, st.integers(0, 3), st.integers(1, 3))
def test_build_ladder_agrees_with_the_plan(
    watchlist: pl.DataFrame, min_events: int, tickers: int
) -> None:
    ladder = build_ladder(watchlist, min_events, make_inputs(), [tickers])
    pilot = select_pilot(watchlist, min_events, tickers)

    facts = plan_windows(pilot, DEFAULT_WINDOWS, BOUNDS).facts

    for rung in ladder:
        assert rung.rows == pilot.height
        assert rung.unique_ticker_sessions == facts.unique_ticker_sessions
        assert rung.ticker_sessions == facts.undeduplicated_ticker_sessions


@pytest.mark.parametrize(("most", "tickers"), [(None, 3), (0, 3), (2, 2), (9, 3)])
def test_choose_pilot_takes_no_more_than_it_may(most: int | None, tickers: int) -> None:
    choice = choose_pilot(WATCHLIST, 3, make_inputs(), most=most)

    assert choice.tickers == choice.watchlist["ticker"].n_unique() == tickers


def test_build_ladder_of_months_agrees_with_the_plan_of_months() -> None:
    inputs = replace(make_inputs(), months=(0, 1))

    [rung] = build_ladder(WATCHLIST, 3, inputs, [9])

    plan = plan_months(select_pilot(WATCHLIST, 3, 9), BOUNDS, months_after=1)
    assert rung.unique_ticker_sessions == plan.height
    assert rung.ticker_sessions == 4 * 3 * (21 + 20)


def test_list_candidates_are_the_sessions_that_pilots_may_hold() -> None:
    candidates = list_candidates(WATCHLIST, 3, make_inputs())

    plan = plan_windows(select_pilot(WATCHLIST, 3, 0), DEFAULT_WINDOWS, BOUNDS).plan
    assert candidates.rows() == plan.select("ticker", "session_date").rows()


def test_select_pilot_of_the_real_bars_has_fifteen_tickers() -> None:
    bars = parse_daily_bars(read_shared_bars())
    watchlist = build_watchlist(detect_events(bars.lazy())).collect()

    pilot = select_pilot(watchlist, 3, 15)

    ranked = rank_pilot(watchlist, 3)["sessions"]
    assert pilot["ticker"].n_unique() == 15
    assert pilot.height == ranked.head(15).sum()
    assert ranked.is_sorted(descending=True)
    assert pilot["session_date"].is_between(dt.date(2015, 3, 20), dt.date(2017, 3, 31)).all()
