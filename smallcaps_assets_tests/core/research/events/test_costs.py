import math
from typing import Any, Final

import numpy as np
import pytest

from smallcaps_assets.core.research.events.costs import (
    Trade,
    charge_commission,
    estimate_edge,
    estimate_half_spread,
    measure_net_return,
)
from smallcaps_assets.core.research.events.parameters import CostRules
from smallcaps_assets_tests.lakehouse_factories import find_shared
from smallcaps_assets_tests.research_factories import read_oracle

RULES: Final = CostRules()
FREE: Final = CostRules(
    commission_per_share=0.0, lowest_commission=0.0, sec_fee=0.0, taf_per_share=0.0, impact=0.0
)


def make_trade(**changes: float) -> Trade:
    values: dict[str, Any] = {
        "side": 1,
        "shares": 1_000,
        "entry_price": 2.0,
        "exit_price": 2.2,
        "half_spread": 0.005,
        "sigma": 0.04,
        "participation": 0.01,
        "days": 0,
    }
    return Trade(**values | changes)


def test_edge_of_known_bars() -> None:
    oracle = read_oracle("spreads/edge_12_bars.json")
    bars = np.array([oracle[name] for name in ("open", "high", "low", "close")]).T

    assert estimate_edge(bars) == pytest.approx(oracle["edge"], abs=1e-12)
    flat = np.array([[18.21, 18.21, 17.61, 17.61], *[[17.61] * 4] * 2])
    assert math.isnan(estimate_edge(flat))
    assert math.isnan(estimate_edge(bars[:2]))


def test_edge_of_a_thousand_bars_is_near_the_truth() -> None:
    bars = np.genfromtxt(
        find_shared("../oracles/spreads/bidask_ohlc_first_1000.csv"), delimiter=",", names=True
    )
    columns = [bars[name] for name in bars.dtype.names or () if name.lower() in NAMES]

    assert estimate_edge(np.array(columns).T) == pytest.approx(0.0088619, abs=5e-7)


NAMES: Final = ("open", "high", "low", "close")


def test_one_trade() -> None:
    oracle = read_oracle("backtest/one_trade.json")
    rules = CostRules(impact=0.1, sec_fee=0.0, taf_per_share=0.0, highest_commission=1.0)

    net = measure_net_return(make_trade(), rules)

    assert net == pytest.approx(oracle["net_pnl"] / 2_000, abs=1e-9)


def test_a_short_pays_for_what_it_borrows() -> None:
    oracle = read_oracle("backtest/short_through_a_halt.json")
    trade = make_trade(side=-1, shares=100, entry_price=10.0, exit_price=14.0, half_spread=0.0)

    net = measure_net_return(trade, FREE) * 1_000

    assert net == pytest.approx(oracle["gross_pnl"] - oracle["borrow"]["cost"])


@pytest.mark.parametrize(
    "changes", [{"impact": 2.0}, {"commission_per_share": 0.01}, {"sec_fee": 0.01}]
)
def test_a_higher_cost_leaves_less(changes: dict[str, float]) -> None:
    dearer = CostRules(**changes)

    assert measure_net_return(make_trade(), dearer) < measure_net_return(make_trade(), RULES)


def test_the_cap_of_a_commission_wins_over_its_floor() -> None:
    assert charge_commission(100, 10.0, RULES) == 1.0
    assert charge_commission(1_000, 10.0, RULES) == 5.0
    assert charge_commission(100, 0.5, RULES) == 0.5


def test_the_spread_has_floors_and_is_guessed_where_bars_are_few() -> None:
    quiet = np.full((60, 4), 100.0)

    assert estimate_half_spread(quiet[:59], 10.0, RULES) == 0.005
    assert estimate_half_spread(quiet[:59], 0.5, RULES) == 0.01
    assert estimate_half_spread(quiet, 100.0, RULES) == 0.0005
    assert estimate_half_spread(quiet, 2.0, RULES) == 0.0025
    assert estimate_half_spread(quiet, 0.5, RULES) == 0.0005
