"""Forecasts of simulated runs: off by less than a quarter where the product promises it."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.progress.pace import (
    CostMeter,
    Costs,
    Step,
    Work,
    choose_interval_s,
    measure_pace,
    predict_left,
)
from smallcaps_assets_tests.core.pace_factories import SimulatedRun, Vendor

TOLERANCE = 0.25
SEEDS = range(6)
VENDORS = {
    "round trips": Vendor(),
    "all alike": Vendor(scatter=0.0),
    "bandwidth": Vendor(latency_s=0.1, row_s=2e-5),
    "many pages": Vendor(latency_s=0.2, page_limit=2_000),
    "bars of a third": Vendor(latency_s=0.5, row_s=1e-5, promise=0.33),
    "no faults": Vendor(fault_share=0.0),
    "busy machine": Vendor(latency_s=0.2, page_limit=2_000, range_s=0.8),
}
each_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=list(VENDORS))
works = st.builds(Work, st.integers(0, 9), st.integers(0, 99), st.integers(0, 10**6))
steps_of_runs = st.lists(st.builds(Step, st.floats(0.5, 600), works), max_size=40)


def count_off(errors: Sequence[float]) -> int:
    return sum(abs(error) > TOLERANCE for error in errors)


@each_vendor
def test_a_fifth_of_a_run_foretells_the_rest(vendor: Vendor) -> None:
    runs = [SimulatedRun(vendor, seed) for seed in SEEDS]

    errors = [run.foretell(run.find_share(0.2)) for run in runs]
    later = [run.foretell(run.find_share(share)) for run in runs for share in (0.4, 0.6)]

    assert count_off(errors) == 0, errors
    assert count_off(later) <= 1, later


@each_vendor
def test_a_tenth_after_the_vendor_slows_down_foretells_the_rest(vendor: Vendor) -> None:
    slower = Vendor(**(vars(vendor) | {"slower": 4.0}))
    runs = [SimulatedRun(slower, seed) for seed in SEEDS]

    errors = [run.foretell(run.slowed_s + 0.1 * run.end_s) for run in runs]

    assert count_off(errors) <= 1, errors


def test_a_limit_of_requests_is_a_pace_as_well() -> None:
    runs = [SimulatedRun(Vendor(requests_per_minute=120), seed) for seed in SEEDS]

    errors = [run.foretell(run.find_share(0.2)) for run in runs]

    assert count_off(errors) == 0, errors


def test_a_vendor_that_becomes_faster_is_noticed_too() -> None:
    runs = [SimulatedRun(Vendor(latency_s=4.0, slower=0.25), seed) for seed in SEEDS]

    errors = [run.foretell(run.find_share(0.75)) for run in runs]

    assert count_off(errors) <= 1, errors


def test_a_plain_mean_would_not_do() -> None:
    run = SimulatedRun(Vendor(slower=4.0), seed=1)
    at_s = run.slowed_s + 0.1 * run.end_s

    steps = list(run.step(at_s))
    mean = sum(step.work.requests for step in steps) / at_s
    left = len(run.pages) - sum(step.work.requests for step in steps)

    assert left / mean / (run.end_s - at_s) < 1 - TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_changes_nothing(seed: int) -> None:
    """A step that two processes share is cut in two; the time between them is no step."""
    run = SimulatedRun(Vendor(), seed)
    steps = list(run.step(run.find_share(0.5)))
    cut = [Step(steps[9].seconds / 2, Work()), Step(steps[9].seconds / 2, steps[9].work)]

    whole = measure_pace(steps, Costs())
    resumed = measure_pace([*steps[:9], *cut, *steps[10:]], Costs())

    assert whole is not None
    assert resumed is not None
    assert resumed.cost_per_s == pytest.approx(whole.cost_per_s, rel=0.1)


def test_measure_pace_finds_the_step_at_which_the_rate_changed() -> None:
    steps = [Step(1.0, Work(0, 40)) for _ in range(60)] + [Step(1.0, Work(0, 10))] * 9

    pace = measure_pace(steps, Costs())

    assert pace is not None
    assert (pace.cost_per_s, pace.seconds) == (10.0, 9.0)


def test_measure_pace_keeps_the_whole_run_when_it_only_scatters() -> None:
    steps = [Step(1.0, Work(0, 10 + (7 * place) % 11)) for place in range(90)]

    pace = measure_pace(steps, Costs())

    assert pace is not None
    assert pace.seconds == 90


@pytest.mark.parametrize("steps", [[], [Step(3.0, Work())], [Step(0.0, Work(1, 1, 1))]])
def test_measure_pace_of_nothing_is_none(steps: list[Step]) -> None:
    assert measure_pace(steps, Costs()) is None


@settings(max_examples=50, deadline=None)
@given(steps_of_runs, st.integers(1, 20))
def test_measure_pace_leaves_a_pause_at_the_end_out(steps: list[Step], length: int) -> None:
    paused = [*steps, *[Step(1.0, Work())] * length]

    assert measure_pace(paused, Costs()) == measure_pace(steps, Costs())


@settings(max_examples=50, deadline=None)
@given(steps_of_runs, st.sampled_from([0.25, 2.0, 1024.0]))
def test_measure_pace_does_not_depend_on_the_unit_of_time(steps: list[Step], factor: float) -> None:
    stretched = [Step(step.seconds * factor, step.work) for step in steps]

    pace, slower = measure_pace(steps, Costs()), measure_pace(stretched, Costs())

    assert (pace is None) == (slower is None)
    if pace is not None and slower is not None:
        assert slower.cost_per_s * factor == pytest.approx(pace.cost_per_s)


@settings(max_examples=50, deadline=None)
@given(steps_of_runs, works)
def test_a_forecast_is_a_number_of_seconds(steps: list[Step], left: Work) -> None:
    pace = measure_pace(steps, Costs())

    seconds = 0.0 if pace is None else pace.predict_seconds(left)

    assert math.isfinite(seconds)
    assert seconds >= 0


@pytest.mark.parametrize(
    "costs",
    [
        Costs(0.5, 1e-5, 0.0),
        Costs(2.0, 0.0, 0.0),
        Costs(0.0, 2e-5, 0.0),
        Costs(0.05, 1e-3, 0.0),
        Costs(0.6, 0.0, 0.3),
    ],
)
def test_cost_meter_learns_what_work_costs(costs: Costs) -> None:
    meter, wanted = CostMeter(), Work(1_000, 100, 10**6)

    for place in range(400):
        work = Work(1 + place % 7, 1 + place % 5, 700 * (place % 37))
        meter.learn(work, costs.weigh(work))

    assert meter.costs.weigh(wanted) == pytest.approx(costs.weigh(wanted), rel=0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(works, st.floats(0, 1e4))))
def test_cost_meter_never_learns_a_cost_below_nothing(ranges: list[tuple[Work, float]]) -> None:
    meter = CostMeter()

    for work, seconds in ranges:
        meter.learn(work, seconds)

    costs = meter.costs
    assert min(costs.request_s, costs.row_s, costs.session_s) >= 0
    assert costs.request_s + costs.row_s + costs.session_s > 0


def test_predict_left_corrects_promises_by_what_came() -> None:
    left = predict_left(Work(10, 10, 900), Work(20, 20, 300), Work(20, 40, 600), Work(0, 3, 50))

    assert left == Work(10, 17, 1750)


@settings(max_examples=50, deadline=None)
@given(works, works, works, works)
def test_predict_left_of_sessions_is_never_nothing(
    planned: Work, expected: Work, found: Work, under_way: Work
) -> None:
    left = predict_left(planned, expected, found, under_way)

    assert left.rows >= 0
    assert (left.requests > 0) == bool(planned.sessions or planned.requests)


@pytest.mark.parametrize(("elapsed_s", "interval_s"), [(0, 1), (400, 2), (10**6, 600)])
def test_choose_interval_grows_with_the_run(elapsed_s: float, interval_s: float) -> None:
    assert choose_interval_s(elapsed_s) == interval_s
