"""Criteria of success: what is not known is never met, and the numbers are in the words."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.figures import GB
from smallcaps_assets.core.progress.expansion import (
    LONGEST_AUDIT_AGE_H,
    NAMED,
    AuditFacts,
    Cost,
    Criterion,
    Promise,
    Standing,
    judge_checks_criterion,
    judge_coverage_criterion,
    judge_damage_criterion,
    judge_metrics_criterion,
    judge_size_criterion,
    judge_time_criterion,
    recommend,
)

COST = Cost(
    stored_bytes=6 * GB,
    missing_bytes=2 * GB,
    budget_bytes=None,
    hours=9.0,
    missing_hours=1.0,
    planned_hours=10.0,
)
AUDIT = AuditFacts(damaged=0, damages=0, checked=100, unaudited=0, age_h=2.0)
NEAR, FAR = Promise(100, 119), Promise(100, 121)

criteria = st.lists(
    st.builds(
        lambda standing: Criterion("coverage", standing, "1", "2", "why", "do this"),
        st.sampled_from(Standing),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(
    ("green", "standing"), [(95, Standing.MET), (94, Standing.NOT_MET), (0, Standing.NOT_MET)]
)
def test_judge_coverage_criterion_demands_its_share(green: int, standing: Standing) -> None:
    criterion = judge_coverage_criterion(100, green, 0.95)

    assert criterion.standing is standing
    assert criterion.number == f"{green}.0 %"
    assert f"{green} of 100" in criterion.reason


def test_judge_coverage_criterion_of_nothing_is_unknown() -> None:
    assert judge_coverage_criterion(0, 0, 0.95).standing is Standing.UNKNOWN


def test_judge_coverage_criterion_counts_damaged_sessions_as_missing() -> None:
    """L17."""
    criterion = judge_coverage_criterion(100, 96, 0.95, damaged=2)

    assert (criterion.standing, criterion.number) == (Standing.NOT_MET, "94.0 %")


@pytest.mark.parametrize(("budget_gb", "standing"), [(8.0, Standing.MET), (7.9, Standing.NOT_MET)])
def test_judge_size_criterion_adds_what_is_missing(budget_gb: float, standing: Standing) -> None:
    cost = replace(COST, budget_bytes=budget_gb * GB)

    criterion = judge_size_criterion(cost, None, 0.2)

    assert (criterion.standing, criterion.number) == (standing, "8.0 GB")


@pytest.mark.parametrize(
    ("promise", "standing"),
    [
        (NEAR, Standing.MET),
        (FAR, Standing.NOT_MET),
        (Promise(100, 1), Standing.MET),
        (None, Standing.UNKNOWN),
    ],
)
def test_judge_size_criterion_takes_the_estimate_without_a_budget(
    promise: Promise | None, standing: Standing
) -> None:
    assert judge_size_criterion(COST, promise, 0.2).standing is standing


@pytest.mark.parametrize(
    ("hours", "missing_hours", "standing"),
    [
        (9.0, 1.0, Standing.MET),
        (12.1, 0.0, Standing.NOT_MET),
        (2.0, 11.0, Standing.NOT_MET),
        (None, 0.0, Standing.UNKNOWN),
        (2.0, None, Standing.UNKNOWN),
    ],
)
def test_judge_time_criterion_adds_the_time_to_come(
    hours: float | None, missing_hours: float | None, standing: Standing
) -> None:
    cost = replace(COST, hours=hours, missing_hours=missing_hours)

    assert judge_time_criterion(cost, 0.2).standing is standing


def test_judge_time_criterion_leaves_short_runs_their_start() -> None:
    cost = replace(COST, hours=0.2, missing_hours=0.0, planned_hours=0.01)

    assert judge_time_criterion(cost, 0.2).standing is Standing.MET


@pytest.mark.parametrize(
    ("audit", "standing"),
    [
        (AUDIT, Standing.MET),
        (None, Standing.UNKNOWN),
        (replace(AUDIT, unaudited=1), Standing.UNKNOWN),
        (replace(AUDIT, age_h=LONGEST_AUDIT_AGE_H + 1), Standing.UNKNOWN),
        (replace(AUDIT, damaged=1, damages=3), Standing.NOT_MET),
        (replace(AUDIT, damaged=1, damages=3, unaudited=9), Standing.NOT_MET),
    ],
)
def test_judge_damage_criterion_believes_only_audits_of_the_whole_lake(
    audit: AuditFacts | None, standing: Standing
) -> None:
    """L17."""
    criterion = judge_damage_criterion(audit)

    assert criterion.standing is standing
    assert ("not proven yet" in criterion.reason) == (standing is Standing.UNKNOWN)


@pytest.mark.parametrize(
    ("promises", "standing"),
    [
        ({"trades": NEAR, "bytes": NEAR, "requests": NEAR}, Standing.MET),
        ({"trades": NEAR, "bytes": FAR, "requests": NEAR}, Standing.NOT_MET),
        ({"trades": Promise(0, 5), "bytes": NEAR, "requests": NEAR}, Standing.NOT_MET),
        ({"trades": Promise(0, 0), "bytes": NEAR, "requests": NEAR}, Standing.MET),
        ({"trades": NEAR, "bytes": NEAR}, Standing.UNKNOWN),
        ({"trades": NEAR, "bytes": FAR}, Standing.NOT_MET),
        ({}, Standing.UNKNOWN),
    ],
)
def test_judge_metrics_criterion_takes_the_worst(
    promises: dict[str, Promise], standing: Standing
) -> None:
    assert judge_metrics_criterion(promises, 0.2).standing is standing


@pytest.mark.parametrize(
    ("failed", "unproven", "standing"),
    [
        ([], [], Standing.MET),
        (["no_orphans"], ["tape_is_in_order"], Standing.NOT_MET),
        ([], ["tape_is_in_order"], Standing.UNKNOWN),
    ],
)
def test_judge_checks_criterion_names_what_did_not_pass(
    failed: list[str], unproven: list[str], standing: Standing
) -> None:
    criterion = judge_checks_criterion(failed, unproven, 9)

    assert criterion.standing is standing
    assert all(name in criterion.reason for name in failed or unproven)


@given(criteria)
def test_recommend_expands_only_where_everything_is_met(criteria: list[Criterion]) -> None:
    """L1: what is unknown is never met."""
    advice = recommend(criteria, [], [])

    is_met = all(one.standing is Standing.MET for one in criteria)
    assert advice.may_expand == is_met
    assert advice.text.startswith("expand: ") == is_met
    assert advice.text.startswith("do not expand") == (not is_met)


@given(criteria, st.integers(0, 3 * NAMED), st.integers(0, 3 * NAMED))
def test_recommend_names_what_is_missing_and_damaged_whatever_is_met(
    criteria: list[Criterion], missing: int, damaged: int
) -> None:
    keys = [f"M{place:02}_2024-01-02" for place in range(missing)]
    words = [f"D{place:02}_2024-01-02 (sha256)" for place in range(damaged)]

    text = recommend(criteria, keys, words).text

    assert all(name in text for name in [*keys[:NAMED], *words[:NAMED]])
    assert (f"{missing} planned sessions missing" in text) == (missing > 0)
    assert (f"{damaged} damaged" in text) == (damaged > 0)


def test_recommend_of_no_criteria_is_not_to_expand() -> None:
    assert not recommend([], [], []).may_expand
