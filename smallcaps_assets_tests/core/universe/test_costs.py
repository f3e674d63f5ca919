import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.plan.ranges import RangeRules
from smallcaps_assets.core.universe.costs import (
    calibrate_units,
    estimate_universe,
    fill_expected,
    measure_hours,
    plan_chains,
)
from smallcaps_assets.core.universe.units import list_owed
from smallcaps_assets_tests.core.plan_factories import PROPERTY
from smallcaps_assets_tests.core.unit_factories import (
    CALENDAR,
    MONTHS,
    SESSIONS,
    list_month,
    make_plan,
    plans,
)

COSTS = calibrate_units(Calibration())
RULES = RangeRules(CALENDAR, 250_000, 60)
WHOLE = make_plan({("A", month): list_month(month) for month in MONTHS})


def expect(plan: pl.DataFrame, *rows: int | None) -> pl.DataFrame:
    return plan.with_columns(expected_rows=pl.Series(list(rows), dtype=pl.Int64()))


def test_chains_cross_months() -> None:
    chains = plan_chains(expect(WHOLE, 10, 10, 10, 10), RULES)

    assert chains.select("first_session", "last_session", "session_count").rows() == [
        (SESSIONS[0], SESSIONS[59], 60),
        (SESSIONS[60], SESSIONS[-1], len(SESSIONS) - 60),
    ]


def test_busy_months_make_chains_of_the_rows_that_one_may_have() -> None:
    chains = plan_chains(expect(WHOLE, *[21_000_000] * 4), RangeRules(CALENDAR, 2_000_000, 60))

    assert chains["session_count"].max() == 2
    assert chains["expected_rows"].sum() == 84_000_000


@PROPERTY
@given(plans, st.integers(0, 5_000), st.integers(1, 40), st.integers(1, 20_000))
def test_chains_hold_each_owed_session_once_and_every_trade(
    plan: pl.DataFrame, rows: int, max_sessions: int, max_rows: int
) -> None:
    told = plan.with_columns(expected_rows=pl.lit(rows, pl.Int64()))

    chains = plan_chains(told, RangeRules(CALENDAR, max_rows, max_sessions))

    fetched = [
        (ticker, date)
        for ticker, first, last, *_ in chains.rows()
        for date in CALENDAR.dates(first, last)
    ]
    assert sorted(fetched) == sorted(list_owed(plan).rows())
    assert chains["session_count"].max() is None or chains["session_count"].max() <= max_sessions  # type: ignore[operator]
    assert chains["expected_rows"].sum() == rows * plan.height


def test_what_bars_do_not_tell_is_as_usual() -> None:
    plan = make_plan(
        {(ticker, "2024-01"): list_month("2024-01") for ticker in "ABC"}
        | {("A", "2024-02"): list_month("2024-02")}
    )
    told = expect(plan, 2_100, None, 2_100, None)

    assert fill_expected(told, 9).filter(pl.col("ticker") == "A")["expected_rows"].to_list() == [
        2_100,
        2_000,
    ]
    assert fill_expected(told, 9)["expected_rows"].null_count() == 0
    assert fill_expected(expect(plan, *[None] * 4), 9)["expected_rows"].to_list() == [
        9 * 21,
        9 * 21,
        9 * 21,
        9 * 20,
    ]


def test_an_estimate_counts_pages_files_and_trades() -> None:
    plan = expect(WHOLE, 1_000_000, 10, 0, 0)

    estimate = estimate_universe(plan, RULES, COSTS)

    assert estimate.ticker_sessions == len(SESSIONS)
    assert estimate.rows == 1_000_010
    assert estimate.requests == 4 * 5 + 2, "chains of 5 sessions and pages, of 60 sessions, of 3"
    assert estimate.bytes_overhead == COSTS.block_bytes * len(SESSIONS)


def test_hours_are_those_of_the_rates_and_of_one_processor() -> None:
    estimate = estimate_universe(expect(WHOLE, 0, 0, 0, 0), RULES, COSTS)

    hours = measure_hours(estimate)

    assert estimate.requests == 2
    assert hours["100/min"] == pytest.approx(2 / 100 / 60)
    assert hours["50/s"] == pytest.approx(2 / 50 / 3600)
    assert hours["100/s"] == pytest.approx(2 / 100 / 3600)
    assert hours["cpu"] == pytest.approx(len(SESSIONS) * COSTS.session_s / 3600)


def test_what_a_lake_taught_of_times_is_kept() -> None:
    learned = Calibration(row_s=1.0, session_s=2.0, learned_sessions=5)

    kept = calibrate_units(learned)

    assert (kept.row_s, kept.session_s) == (1.0, 2.0)
    assert kept.block_bytes < learned.block_bytes


def test_nothing_that_is_owed_costs_nothing() -> None:
    estimate = estimate_universe(WHOLE.clear(), RULES, COSTS)

    assert (estimate.requests, estimate.bytes_on_disk, estimate.hours) == (0, 0, 0.0)
    assert dt.timedelta(hours=estimate.hours) == dt.timedelta()
