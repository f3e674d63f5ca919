"""Planted traps: each is there, bars agree with it, and a market without them stays as it was."""

import datetime as dt
from typing import Final

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.emulator.market.dressing import SECOND_NS, Hours, dress_prints
from smallcaps_assets.emulator.market.history import Day, History
from smallcaps_assets.emulator.market.prints import build_bar, draw_prints
from smallcaps_assets.emulator.market.scenarios import (
    HALT_NS,
    Scenario,
    find_level,
    name_scenarios,
    plant_prints,
    plant_tape,
)
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets_tests.emulator.emulator_factories import build_core_bar

DAY: Final = Day(50_000, 63_000, 48_000, 51_000, trades=3_000, mean_size=150.0)
"""Opens at 5.00, reaches 6.30, closes at 5.10: a spike of 26 % that does not last."""
HOURS: Final = Hours(0, 19_800 * SECOND_NS, 43_200 * SECOND_NS, 57_600 * SECOND_NS)
LEVEL: Final = 6.0
REGULAR: Final = pl.col("sip_timestamp").is_between(HOURS.open, HOURS.close, closed="left")
BEYOND: Final = REGULAR & (pl.col("price") >= LEVEL)
FIRST, LAST = dt.date(2023, 1, 3), dt.date(2024, 12, 31)


def make_tape(scenario: Scenario | None) -> pl.DataFrame:
    prints = draw_prints(DAY, np.random.default_rng(1))
    if scenario is not None:
        prints = plant_prints(prints, DAY, scenario, np.random.default_rng(3))
    tape = dress_prints(prints, HOURS, np.random.default_rng(2), tape=3)
    return tape if scenario is None else plant_tape(tape, DAY, HOURS, scenario)


def test_without_a_trap_many_prints_reach_the_level() -> None:
    assert find_level(DAY) == 60_000
    assert make_tape(None).filter(BEYOND).height > 50


def test_a_lone_spike_is_one_print() -> None:
    beyond = make_tape(Scenario.LONE_SPIKE).filter(BEYOND)

    assert beyond["price"].to_list() == [6.3]


def test_a_tie_reaches_the_level_and_nothing_goes_beyond() -> None:
    beyond = make_tape(Scenario.TIE).filter(BEYOND)

    assert beyond.height > 50
    assert set(beyond["price"]) == {LEVEL}


def test_out_of_sequence_prints_alone_reach_the_level() -> None:
    beyond = make_tape(Scenario.OUT_OF_SEQUENCE).filter(BEYOND)

    assert set(beyond["conditions"]) == {"32"}


def test_late_prints_alone_reach_the_level() -> None:
    beyond = make_tape(Scenario.LATE_SPIKE).filter(BEYOND)

    lag = beyond["sip_timestamp"] - beyond["participant_timestamp"]
    assert (lag > 1_000 * SECOND_NS).all()


@pytest.mark.parametrize("scenario", [Scenario.ODD_LOTS, Scenario.WITHDRAWN])
def test_odd_and_withdrawn_prints_far_above_leave_the_high_alone(scenario: Scenario) -> None:
    plain = build_bar(draw_prints(DAY, np.random.default_rng(1)))
    tape = make_tape(scenario)

    bar = build_core_bar(tape)
    assert tape.filter(pl.col("price") > 6.31 * 1.3).height == 5
    assert bar is not None
    assert plain is not None
    assert bar["h"] == plain["h"]


def test_a_halt_is_ten_minutes_without_a_print_and_ends_with_a_reopening() -> None:
    tape = make_tape(Scenario.HALT)

    gaps = tape["sip_timestamp"].diff()
    regular = tape.with_columns(gap=gaps).filter(REGULAR)
    assert (regular["gap"] >= HALT_NS).sum() == 1
    assert tape["conditions"].str.split(",").list.contains("28").sum() == 1
    assert tape["sip_timestamp"].is_sorted()


def test_the_halt_keeps_prints_their_order_and_their_lag() -> None:
    plain, planted = make_tape(None), make_tape(Scenario.HALT)

    lag = pl.col("sip_timestamp") - pl.col("participant_timestamp")
    assert_frame_equal(planted.select(lag), plain.select(lag))
    assert planted["id"].to_list() == plain["id"].to_list()


def test_quiet_sessions_get_no_trap() -> None:
    quiet = Day(50_000, 51_000, 49_000, 50_500, trades=3_000, mean_size=150.0)
    thin = Day(50_000, 63_000, 48_000, 51_000, trades=20, mean_size=150.0)

    history = History((quiet, DAY, thin, DAY), (), (3,))

    assert name_scenarios(history) == {1: Scenario.LONE_SPIKE, 3: Scenario.TIE}


def test_bars_of_a_planted_market_agree_with_its_trades() -> None:
    plain = Market(MarketConfig(tickers=6, busy_trades=0))
    planted = Market(MarketConfig(tickers=6, busy_trades=0, scenarios=True))
    bars = dict(plain.read_ticker_bars("CON", FIRST, LAST))
    changed = [
        (date, bar)
        for date, bar in planted.read_ticker_bars("CON", FIRST, LAST)
        if bar != bars[date]
    ]

    assert len(changed) > 3
    for date, bar in changed:
        assert {k: bar[k] for k in "ohlcvn"} == build_core_bar(planted.read_trades("CON", date))


def test_a_market_with_traps_has_another_name() -> None:
    assert Market(MarketConfig(tickers=1, scenarios=True)).name == "seed=1+scenarios tickers=1"
