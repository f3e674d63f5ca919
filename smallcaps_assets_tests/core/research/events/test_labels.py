import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.research.events.labels import (
    Decision,
    Hours,
    Outcome,
    Tape,
    label_horizon,
    mirror,
    sample_cusum,
    select_continuous,
    walk_path,
)
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.research.prints import label_prints
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.core.tape_factories import make_trades
from smallcaps_assets_tests.research_factories import read_oracle

Row = tuple[float, int, float, Sequence[int]]

SECOND_NS: Final = 1_000_000_000
RULES: Final = LabelRules(latency_s=0.0)
FIRST: Final = dt.date(2024, 3, 6)
NO_HALTS: Final = np.empty((0, 2), dtype=np.int64)


def read_hours() -> Hours:
    frame = load_calendar().frame.select(pl.col("regular_open", "regular_close").cast(pl.Int64))
    return Hours(*(frame[name].to_numpy() for name in frame.columns))


HOURS: Final = read_hours()
D0: Final = load_calendar().index_of(FIRST)
FLAT: Final = {D0 + day: (1.0, 0) for day in range(9)}


def make_row(second: float, day: int, price: float, conditions: Sequence[int]) -> dict[str, Any]:
    instant = int(HOURS.opens[D0 + day] + second * SECOND_NS)
    is_regular = second < 23_400
    return {
        "sip_timestamp": instant,
        "session_date": load_calendar().shift(FIRST, day),
        "price": price,
        "conditions": list(conditions),
        "trading_phase": "regular" if is_regular else "after_hours",
    }


def make_tape(
    rows: Sequence[Row],
    *,
    missing: Sequence[int] = (),
    halts: np.ndarray[Any, Any] = NO_HALTS,
    factors: dict[int, tuple[float, int]] | None = None,
) -> Tape:
    """Return the tape of nine sessions from rows of second, day, price and conditions."""
    by_session = FLAT | (factors or {})
    prints = select_continuous(label_prints(make_trades(*(make_row(*row) for row in rows))))
    places = [load_calendar().index_of(date) for date in prints["session_date"]]
    scale = np.array([by_session[place][0] for place in places])
    proven = frozenset(D0 + day for day in range(9) if day not in missing)
    times = prints["sip_timestamp"].cast(pl.Int64).to_numpy()
    return Tape(times, prints["price"].to_numpy() * scale, halts, proven, by_session)


def decide(second: float = 60, **changes: float) -> Decision:
    values: dict[str, Any] = {
        "session": D0,
        "entry_session": D0,
        "instant": int(HOURS.opens[D0] + second * SECOND_NS),
        "sigma": 0.1,
        "half_spread": 0.001,
        "is_intraday": True,
    }
    return Decision(**values | changes)


def label(tape: Tape, horizon: int = 0, **changes: float) -> Outcome:
    """Label with a barrier of 10 % whatever the horizon."""
    sigma = 0.1 / np.sqrt(horizon + 1)
    return label_horizon(decide(**{"sigma": sigma} | changes), horizon, tape, HOURS, RULES)


def test_every_known_walk() -> None:
    for case in read_oracle("labels/hand_cases.json")["cases"]:
        segment = case["segment"]
        prices = np.array(case["prices"], dtype=float)[: segment.count(segment[0])]
        path = prices[: case["vertical"] + 1]

        walk = walk_path(path, case["side"], (case["profit"], case["stop"]))

        is_cut = len(path) < len(case["prices"]) and walk.outcome == "time"
        outcome = "cut" if is_cut and case["outcome"] == "cut" else walk.outcome
        assert (walk.place, outcome) == (case["exit_index"], case["outcome"]), case["name"]
        found = case["side"] * (path[walk.place] / path[0] - 1)
        assert found == pytest.approx(case["return_of_side"], abs=1e-12)


def test_the_order_of_prints_decides_inside_one_bar() -> None:
    oracle = read_oracle("labels/same_bar.json")

    barriers = (oracle["profit"], oracle["stop"])
    for name in ("A", "B"):
        walk = walk_path(np.array(oracle[f"trades_{name}"], dtype=float), 1, barriers)
        assert walk.outcome == oracle[f"outcome_{name}"]


def test_every_known_walk_in_real_time() -> None:
    for case in read_oracle("research/labels_clock.json")["cases"]:
        tape = make_tape(
            [tuple(row) for row in case["prints"]], missing=case.get("unproven_days", ())
        )

        outcome = label(tape, case["H"])

        name = case["name"]
        assert mirror(outcome.outcome, case["side"]) == case["outcome"], name
        if "exit_price" in case:
            assert outcome.exit_price == case["exit_price"], name
        if "return_of_side" in case:
            assert outcome.gross == pytest.approx(case["side"] * case["return_of_side"]), name


def test_a_split_inside_the_horizon_is_undone() -> None:
    oracle = read_oracle("labels/split.json")
    split = oracle["split"]
    factor = split["split_to"] / split["split_from"]
    rows: list[Row] = [
        (60, 0, oracle["entry"]["price"], []),
        (60, 1, oracle["next_session_price"], []),
    ]

    outcome = label(make_tape(rows, factors={D0 + 1: (factor, 0)}), 1)

    assert outcome.outcome == "time"
    assert outcome.gross == pytest.approx(oracle["expected_return"], abs=1e-12)


def test_a_split_of_unknown_ratio_cuts() -> None:
    rows: list[Row] = [(60, 0, 2.0, []), (61, 0, 3.0, [])]

    outcome = label(make_tape(rows, factors={D0 + 1: (1.0, 1)}), 1)

    assert (outcome.outcome, outcome.reason) == ("cut", "unknown_split")


def test_a_hole_cuts_even_what_was_decided_before_it() -> None:
    rows: list[Row] = [(60, 0, 10.0, []), (61, 0, 11.5, [])]

    assert label(make_tape(rows), 2).outcome == "profit"
    outcome = label(make_tape(rows, missing=[2]), 2)
    assert (outcome.outcome, outcome.reason, outcome.gross) == ("cut", "not_proven", None)


def test_a_session_proven_without_trades_is_no_hole() -> None:
    outcome = label(make_tape([(60, 0, 10.0, []), (61, 2, 11.0, [])]), 2)

    assert outcome.outcome == "profit"


def test_a_stock_that_stops_trading_exits_at_its_last_print() -> None:
    outcome = label(make_tape([(60, 0, 10.0, []), (61, 0, 9.9, [])]), 3)

    assert (outcome.outcome, outcome.exit_price) == ("time", 9.9)


@pytest.mark.parametrize(
    ("rows", "changes", "found"),
    [
        ([(361, 0, 10.0, [])], {}, ("no_entry", "no_print")),
        ([], {}, ("no_entry", "no_print")),
        ([(60, 0, 10.0, [])], {}, ("no_exit", None)),
        ([(60, 0, 10.0, [37])], {}, ("no_entry", "no_print")),
        ([(60, 0, 10.0, [])], {"sigma": np.nan}, ("no_target", None)),
        ([(60, 0, 10.0, [])], {"entry_session": D0 + 1}, ("no_entry", "no_horizon")),
    ],
)
def test_without_entry_exit_or_target_there_is_no_return(
    rows: list[Row],
    changes: dict[str, Any],
    found: tuple[str, str | None],
) -> None:
    outcome = label(make_tape(rows), 0, **changes)

    assert (outcome.outcome, outcome.reason) == found
    assert outcome.gross is None


def test_an_entry_session_that_is_not_in_the_lake() -> None:
    outcome = label(make_tape([], missing=[0]))

    assert (outcome.outcome, outcome.reason) == ("no_entry", "not_in_lake")


def test_nobody_enters_a_halted_stock_before_it_reopens() -> None:
    opening = int(HOURS.opens[D0])
    halts = np.array([[opening + 50 * SECOND_NS, opening + 700 * SECOND_NS]])

    outcome = label(make_tape([(700, 0, 10.0, []), (701, 0, 14.0, [])], halts=halts))

    assert (outcome.outcome, outcome.reason) == ("no_entry", "halted")


def test_an_entry_that_waits_is_at_the_first_print_in_time() -> None:
    outcome = label(make_tape([(59, 0, 9.0, []), (360, 0, 10.0, []), (361, 0, 11.0, [])]))

    assert outcome.outcome == "profit"
    assert outcome.gross == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "barrier"),
    [
        ({}, 0.1),
        ({"sigma": 0.001}, 0.02),
        ({"sigma": 0.001, "half_spread": 0.02}, 0.08),
        ({"sigma": 5.0}, 0.5),
    ],
)
def test_the_barrier_has_a_floor_and_a_ceiling(changes: dict[str, float], barrier: float) -> None:
    outcome = label(make_tape([(60, 0, 10.0, []), (61, 0, 10.0, [])]), 0, **changes)

    assert outcome.barrier == pytest.approx(barrier)


def test_cusum_samples() -> None:
    oracle = read_oracle("labels/cusum_risklab.json")
    prices = np.array(oracle["prices"], dtype=float)

    found = sample_cusum(prices, oracle["threshold"], is_log=False)

    assert found.tolist() == oracle["events_index"]
    assert sample_cusum(np.array([1.0, 1.1, 1.0]), 0.09).tolist() == [1, 2]
