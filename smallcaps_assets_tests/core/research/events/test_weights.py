import datetime as dt
from typing import Any, Final

import numpy as np
import pytest

from smallcaps_assets.core.research.events.weights import (
    MinuteClock,
    attribute_returns,
    average_over,
    count_concurrency,
    decay_weights,
    draw_sequentially,
    invert_concurrency,
    normalise,
    weigh_draw,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.core.tape_factories import ny
from smallcaps_assets_tests.research_factories import read_oracle

CLOCK: Final = MinuteClock.of(load_calendar())


def read_spans(oracle: dict[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.array(oracle["first"]), np.array(oracle["last_included"])


@pytest.mark.parametrize("name", ["afml_4_5", "risklab"])
def test_concurrency_and_uniqueness(name: str) -> None:
    oracle = read_oracle(f"weights/{name}.json")
    first, last = read_spans(oracle)

    concurrency = count_concurrency(first, last, oracle["bars"])

    uniqueness = average_over(invert_concurrency(concurrency), first, last)
    assert concurrency.tolist() == oracle["concurrency"]
    assert uniqueness == pytest.approx(oracle["average_uniqueness"], abs=1e-12)


def test_attribution_leaves_out_the_return_before_the_entry() -> None:
    oracle = read_oracle("weights/return_attribution.json")
    first, last = read_spans(oracle)
    closes = np.array(oracle["closes"], dtype=float)
    returns = np.diff(np.log(closes), prepend=np.log(closes[0]))

    weights = attribute_returns(returns, count_concurrency(first, last, closes.size), first, last)

    wanted = oracle["ours_sum_over_returns_inside_the_label_only"]
    assert weights == pytest.approx(wanted, abs=1e-12)
    assert normalise(weights) == pytest.approx(oracle["ours_normalised_to_count"], abs=1e-12)


def test_a_label_of_one_place_has_no_return_inside() -> None:
    one = np.array([3])

    assert attribute_returns(np.ones(5), np.ones(5, np.int64), one, one).tolist() == [0.0]


def test_decay_in_order_of_time() -> None:
    oracle = read_oracle("weights/risklab.json")["time_decay"]

    for name in ("1", "0", "0.5"):
        weights = decay_weights(np.array(oracle["uniqueness"]), float(name))
        assert weights == pytest.approx(oracle[f"last_weight_{name}"], abs=1e-12)
    assert decay_weights(np.ones(4), -0.5).tolist() == [0.0, 0.0, 0.5, 1.0]


def test_odds_of_the_sequential_bootstrap() -> None:
    oracle = read_oracle("weights/afml_4_5.json")
    first, last = read_spans(oracle)
    taken = np.zeros(oracle["bars"], dtype=np.int64)
    wanted = oracle["sequential_bootstrap"]

    def share() -> np.ndarray[Any, Any]:
        odds = weigh_draw(first, last, taken)
        shares: np.ndarray[Any, Any] = odds / odds.sum()
        return shares

    assert share() == pytest.approx(wanted["first_draw"])
    taken[first[1] : last[1] + 1] += 1
    assert share() == pytest.approx(wanted["after_drawing_label_1"])
    taken[first[2] : last[2] + 1] += 1
    assert share() == pytest.approx(wanted["after_1_then_2"])


def test_draws_follow_their_odds() -> None:
    first, last = np.array([0, 2, 4]), np.array([2, 3, 5])

    drawn = draw_sequentially(first, last, 6, np.array([0.5, 0.9, 0.0]))

    assert drawn.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("instant", "place"),
    [
        ("2024-03-06 09:30:00", 0),
        ("2024-03-06 09:30:59", 0),
        ("2024-03-06 15:59:59", 389),
        ("2024-03-06 08:00:00", 0),
        ("2024-03-06 16:00:00", 390),
        ("2024-03-07 09:31:00", 391),
    ],
)
def test_the_clock_counts_regular_minutes(instant: str, place: int) -> None:
    origin, found = CLOCK.place(np.array([ny("2024-03-06 09:30:00"), ny(instant)]))

    assert found - origin == place


def test_an_early_close_has_210_minutes() -> None:
    index = load_calendar().index_of(dt.date(2024, 7, 3))

    assert np.diff(CLOCK.firsts)[index - 1 : index + 1].tolist() == [390, 210]
