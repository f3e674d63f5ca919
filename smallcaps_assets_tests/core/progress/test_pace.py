"""Forecasts of simulated runs: as near to what comes as the documents promise."""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.progress.pace import (
    FULL_OVERLAP,
    WINDOW_S,
    Pace,
    Step,
    Work,
    choose_interval_s,
    measure_pace,
    predict_left,
)

SESSIONS = 8_000
works = st.builds(Work, st.integers(0, 9), st.integers(0, 99), st.integers(0, 10**6))
steps_of_runs = st.lists(st.builds(Step, st.floats(0.5, 600), works), max_size=40)


def simulate(slower: float = 1.0) -> list[Step]:
    """Fetch session by session; those of the second half are five times larger.

    The vendor's round trips scatter, and none of its costs is in the proportion that the product
    takes for granted.
    """
    draw, steps = np.random.default_rng(5), []
    for place in range(SESSIONS):
        is_late = place >= SESSIONS // 2
        rows = round(draw.lognormal(7.5, 1.3) * (5 if is_late else 1))
        pages = 1 + rows // 50_000
        seconds = 0.005 + draw.uniform(0.1, 0.3) * pages + 4e-6 * rows
        steps.append(Step(seconds * (slower if is_late else 1), Work(1, pages, rows)))
    return steps


def measure_error(steps: Sequence[Step], place: int) -> float:
    """Foretell the rest of a run; +0.1 is a tenth too long."""
    pace = measure_pace(steps[:place])
    assert pace is not None
    left = sum((step.work for step in steps[place:]), Work())
    return pace.predict_seconds(left) / math.fsum(step.seconds for step in steps[place:]) - 1


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_an_even_vendor_is_foretold_to_a_tenth(share: float) -> None:
    """Small sessions foretell large ones: work counts, not sessions."""
    assert abs(measure_error(simulate(), round(share * SESSIONS))) < 0.1


def test_a_slower_vendor_is_foretold_to_a_quarter_once_a_window_has_passed() -> None:
    steps, half = simulate(slower=4.0), SESSIONS // 2
    passed = accumulate(step.seconds for step in steps[half:])
    place = half + sum(seconds < WINDOW_S for seconds in passed)

    assert abs(measure_error(steps, half)) > 0.25
    assert abs(measure_error(steps, place)) < 0.25


def test_measure_pace_is_the_mean_of_the_window() -> None:
    steps = [Step(60.0, Work(0, 900))] + [Step(60.0, Work(0, 120))] * 4 + [Step(60.0, Work(0, 60))]

    assert measure_pace(steps) == Pace(cost_per_s=1.8, seconds=WINDOW_S)


def test_work_is_weighed_in_requests() -> None:
    assert Work(sessions=5, requests=2, rows=25_000).cost == 3.0


@pytest.mark.parametrize("steps", [[], [Step(3.0, Work())], [Step(0.0, Work(1, 1, 1))]])
def test_measure_pace_of_nothing_is_none(steps: list[Step]) -> None:
    assert measure_pace(steps) is None


@settings(max_examples=50)
@given(steps_of_runs, st.integers(1, 20))
def test_measure_pace_leaves_a_pause_at_the_end_out(steps: list[Step], length: int) -> None:
    paused = [*steps, *[Step(1.0, Work())] * length]

    assert measure_pace(paused) == measure_pace(steps)


@settings(max_examples=50)
@given(steps_of_runs, works)
def test_a_forecast_is_a_number_of_seconds(steps: list[Step], left: Work) -> None:
    pace = measure_pace(steps)

    seconds = 0.0 if pace is None else pace.predict_seconds(left)

    assert math.isfinite(seconds)
    assert seconds >= 0


def test_predict_left_corrects_promises_by_what_came() -> None:
    left = predict_left(Work(10, 10, 900), Work(20, 20, 300), Work(20, 40, 600), Work(0, 3, 50))

    assert left == Work(10, 17, 1750)


@settings(max_examples=50)
@given(works, works, works, works)
def test_predict_left_of_sessions_is_never_nothing(
    planned: Work, expected: Work, found: Work, under_way: Work
) -> None:
    left = predict_left(planned, expected, found, under_way)

    assert left.rows >= 0
    assert (left.requests > 0) == bool(planned.sessions or planned.requests)


def test_small_runs_do_not_overstate_what_one_large_run_takes() -> None:
    """Eight runs of one request each are no measure of eight requests at once, nor vice versa."""
    alone, together = Step(2.0, Work(1, 1), run_requests=1), Step(2.0, Work(1, 1))

    assert together.overlap_fully() == together
    assert alone.overlap_fully().seconds == pytest.approx(2.0 / (16 / 9))
    costs = Calibration(requests_per_minute=0, start_s=0)
    large = costs.predict_seconds(FULL_OVERLAP, 0, 0)
    assert costs.predict_seconds(FULL_OVERLAP, 0, 0, runs=FULL_OVERLAP) == large * 16 / 9
    assert costs.predict_seconds(10 * FULL_OVERLAP, 0, 0, runs=10) == 10 * large


@pytest.mark.parametrize(("elapsed_s", "interval_s"), [(0, 1), (400, 2), (10**6, 60)])
def test_choose_interval_grows_with_the_run(elapsed_s: float, interval_s: float) -> None:
    assert choose_interval_s(elapsed_s) == interval_s
