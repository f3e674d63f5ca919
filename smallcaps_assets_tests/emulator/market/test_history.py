import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.emulator.market.history import (
    UNITS_PER_USD,
    Activity,
    Day,
    History,
    build_history,
    find_tick,
)
from smallcaps_assets.emulator.market.listings import Company, list_companies

COMPANIES = list_companies(40)
RUNNERS = [company for company in COMPANIES if company.rank is not None]


def build(company: Company, sessions: int = 500, seed: int = 1, **activity: float) -> History:
    settings = {"scale": 1.0, "busy_trades": 60_000, **activity}
    rng = np.random.default_rng(seed)
    return build_history(
        company, sessions, rng, Activity(settings["scale"], int(settings["busy_trades"]))
    )


def is_possible(day: Day) -> bool:
    """Return whether a day's prices hold together and lie on the tick."""
    prices = (day.open, day.high, day.low, day.close)
    is_ordered = 0 < day.low <= min(day.open, day.close) <= max(day.open, day.close) <= day.high
    return is_ordered and all(price % find_tick(day.low) == 0 for price in prices)


@given(st.sampled_from(COMPANIES), st.integers(1, 520), st.integers(0, 10**6))
def test_a_history_of_any_length_has_possible_days(
    company: Company, sessions: int, seed: int
) -> None:
    history = build(company, sessions, seed)

    assert len(history.days) == sessions
    assert all(is_possible(day) and day.trades >= 0 for day in history.days)
    assert all(0 <= peak < sessions for peak in history.peaks)
    assert all(0 < split.session < sessions for split in history.splits)


def test_equal_seeds_make_equal_histories_and_others_do_not() -> None:
    assert build(RUNNERS[0]) == build(RUNNERS[0])
    assert build(RUNNERS[0]) != build(RUNNERS[0], seed=2)


@pytest.mark.parametrize("company", RUNNERS, ids=lambda company: company.names[0][0])
def test_runners_have_heights_of_many_times_the_usual_trades(company: Company) -> None:
    history = build(company, busy_trades=0)

    trades = [day.trades for day in history.days]
    assert len(history.peaks) == 5
    assert max(trades[peak] for peak in history.peaks) > 5 * np.median(trades)


@pytest.mark.parametrize(("rank", "busy_days"), [(0, 2), (1, 2), (2, 1), (5, 1), (6, 0)])
def test_the_first_runners_have_very_busy_days(rank: int, busy_days: int) -> None:
    """L2: days above one page of 50,000 trades, and above two."""
    trades = [day.trades for day in build(RUNNERS[rank]).days]

    assert len([count for count in trades if count > 50_000]) == busy_days
    assert (max(trades) > 100_000) == (rank in {0, 1})


def test_prices_of_a_split_continue_in_the_new_shares() -> None:
    company = next(company for company in RUNNERS if company.rank == 1)
    history = build(company)
    split = history.splits[0]

    before, after = history.days[split.session - 1], history.days[split.session]
    assert split.price_ratio == 10
    assert after.open / before.close == pytest.approx(10, rel=0.1)


def test_thin_companies_have_idle_days_and_days_of_one_phase() -> None:
    thin = next(company for company in COMPANIES if company.role.name == "thin")

    days = build(thin).days

    assert len([day for day in days if day.trades == 0]) > 30
    assert {day.phase for day in days} == {"all", "pre", "post"}


def test_some_runners_are_halted_for_a_session_after_their_first_height() -> None:
    halted = [r for r in RUNNERS if (h := build(r)).days[h.peaks[0] + 3].trades == 0]

    assert [runner.rank for runner in halted] == [2, 6, 10, 14]


def test_violent_days_have_halts() -> None:
    history = build(RUNNERS[0])

    assert history.days[history.peaks[0]].halts >= 1
    assert len([day for day in history.days if day.halts]) < 60


@pytest.mark.parametrize(("usd", "tick"), [(0.5, 1), (0.9999, 1), (1, 100), (480_000, 100)])
def test_the_tick_is_a_cent_from_one_dollar_on(usd: float, tick: int) -> None:
    assert find_tick(round(usd * UNITS_PER_USD)) == tick
