import datetime as dt

import polars as pl
import pytest
from hypothesis import given

from smallcaps_assets.core.universe.progress import measure_units
from smallcaps_assets.core.universe.publication import diff_universe_plans, judge_universe_plan
from smallcaps_assets.core.universe.units import list_owed
from smallcaps_assets.schemas import UNIVERSE_PLAN
from smallcaps_assets_tests.core.plan_factories import PROPERTY
from smallcaps_assets_tests.core.unit_factories import (
    MONTHS,
    key_sets,
    list_month,
    make_plan,
    make_proven,
    plans,
)

TICKERS = [f"T{number:02}" for number in range(10)]
BATCHES = {ticker: 1 + place for place, ticker in enumerate(TICKERS)}
OWED = {(ticker, month): list_month(month) for ticker in TICKERS for month in MONTHS}
PLAN = make_plan(OWED, BATCHES)
"""Ten batches of a ticker and four months: forty units."""
PROVEN = make_proven(list_owed(PLAN).rows())


def grow(units: int) -> pl.DataFrame:
    """Let so many units owe a further ticker."""
    places = list(OWED)[:units]
    more = {(f"N{ticker}", month): list_month(month) for ticker, month in places}
    return make_plan(OWED | more, BATCHES | {f"N{ticker}": BATCHES[ticker] for ticker in TICKERS})


def test_the_first_plan_passes() -> None:
    verdict = judge_universe_plan(PLAN, UNIVERSE_PLAN.empty(), make_proven([]))

    assert verdict.passed
    assert verdict.summary == "40 units with 40 months of 10 tickers"


def test_new_months_and_tickers_reopen_nothing() -> None:
    old = make_plan(
        {place: dates for place, dates in OWED.items() if place[1] < "2024-04"}, BATCHES
    )

    verdict = judge_universe_plan(PLAN, old, make_proven(list_owed(old).rows()))

    assert verdict.passed
    assert verdict.numbers["new_units"] == 10
    assert verdict.numbers["reopened_units"] == 0


@pytest.mark.parametrize(("units", "passes"), [(2, True), (3, False)])
def test_a_plan_may_reopen_a_twentieth_of_the_green_units(units: int, *, passes: bool) -> None:
    verdict = judge_universe_plan(grow(units), PLAN, PROVEN)

    assert verdict.passed is passes
    assert verdict.numbers["reopened_units"] == units
    assert verdict.offenders["reason"].to_list() == ["plan grew: NT00"] * units
    if not passes:
        assert "reopens 3 green units of 40 (7.5 %; 5.0 % pass unseen)" in verdict.summary


def test_units_that_were_not_green_are_not_reopened() -> None:
    verdict = judge_universe_plan(grow(20), PLAN, make_proven([]))

    assert verdict.passed
    assert verdict.numbers["green_units"] == 0


@pytest.mark.parametrize(("tickers", "passes"), [(10, True), (9, False), (0, False)])
def test_a_plan_may_drop_a_twentieth_of_what_is_planned(tickers: int, *, passes: bool) -> None:
    kept = PLAN.filter(pl.col("ticker").is_in(TICKERS[:tickers]))

    verdict = judge_universe_plan(kept, PLAN, PROVEN)

    assert verdict.passed is passes
    assert ("drops" in verdict.summary) is not passes


def test_a_plan_that_drops_tickers_of_every_unit_drops_no_unit_and_is_found_all_the_same() -> None:
    twice = grow(40)

    verdict = judge_universe_plan(PLAN, twice, PROVEN)

    assert verdict.numbers["dropped_units"] == 0
    assert "drops 40 planned ticker-months of 80 (50.0 %" in verdict.summary


@PROPERTY
@given(plans, plans, key_sets)
def test_what_is_reopened_was_green_and_is_not(
    new: pl.DataFrame, old: pl.DataFrame, keys: set[tuple[str, dt.date]]
) -> None:
    proven = make_proven(keys)

    verdict = judge_universe_plan(new, old, proven)

    before, after = measure_units(old, proven), measure_units(new, proven)
    green = set(before.filter(pl.col("missing") == 0)["unit"])
    red = set(after.filter(pl.col("missing") > 0)["unit"])
    assert verdict.numbers["reopened_units"] == len(green & red)
    assert set(verdict.offenders["unit"]) == green & red


def test_diff_universe_plans_names_the_units_that_differ() -> None:
    shrunk = make_plan({**OWED, ("T00", "2024-01"): list_month("2024-01")[:5]}, BATCHES)
    without = shrunk.filter(pl.col("ticker") != "T09")
    later = without.filter(pl.col("month") != "2024-02")

    changed = diff_universe_plans(without, PLAN)

    assert changed.row(0) == ("b001_2024-01", 5, 21)
    assert changed["unit"].to_list()[1:] == [f"b010_{month}" for month in MONTHS]
    assert changed["before"].to_list()[1:] == [None] * 4
    assert diff_universe_plans(without, later)["after"].to_list() == [None] * 9
    assert diff_universe_plans(PLAN, PLAN).is_empty()
