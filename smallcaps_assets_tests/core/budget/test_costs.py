import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.budget.costs import (
    Estimate,
    compare_estimates,
    judge_disk,
)
from smallcaps_assets.core.figures import GB
from smallcaps_assets.errors import ConfigError
from smallcaps_assets_tests.core.plan_factories import PROPERTY


def make_estimate(*, stored: int = 0, overhead: int = 0, sessions: int = 0) -> Estimate:
    return Estimate("calibrated", sessions, 0, 0, stored, 48.0, "made up", overhead)


def test_estimate_adds_what_the_file_system_takes() -> None:
    estimate = make_estimate(stored=10, overhead=5)

    assert (estimate.bytes_on_disk, estimate.days) == (15, 2.0)


@pytest.mark.parametrize(
    ("stored", "margin", "words"),
    [
        (70 * GB, 10 * GB, "fits, 10.0 GB left"),
        (80 * GB, 0, "fits, 0 bytes left"),
        (81 * GB, -GB, "does not fit, 1.0 GB lacking"),
    ],
)
def test_judge_disk_allows_four_fifths(stored: int, margin: int, words: str) -> None:
    verdict = judge_disk(make_estimate(stored=stored), 100 * GB)

    assert (verdict.fits, verdict.margin_bytes) == (margin >= 0, margin)
    assert verdict.arithmetic.endswith(f"100.0 GB free x 0.8 = 80.0 GB allowed: {words}")


def test_judge_disk_counts_the_blocks_of_the_file_system() -> None:
    verdict = judge_disk(make_estimate(stored=70 * GB, overhead=11 * GB), 100 * GB)

    assert (verdict.fits, verdict.needed_bytes) == (False, 81 * GB)


@pytest.mark.parametrize(("free", "share"), [(-1, 0.8), (1, 0.0), (1, 1.1)])
def test_judge_disk_refuses_an_impossible_disk(free: int, share: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 < share <= 1"):
        judge_disk(make_estimate(), free, share)


@PROPERTY
@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_judge_disk_adds_up(stored: int, free: int) -> None:
    verdict = judge_disk(make_estimate(stored=stored), free)

    assert verdict.needed_bytes + verdict.margin_bytes == verdict.allowed_bytes <= free
    assert verdict.fits == (verdict.margin_bytes >= 0)


def test_compare_estimates_of_nothing_saves_nothing() -> None:
    comparison = compare_estimates(make_estimate(), make_estimate())

    assert comparison.saved_ratio == 0


def test_compare_estimates_keeps_both() -> None:
    naive, optimised = make_estimate(sessions=100), make_estimate(sessions=25)

    comparison = compare_estimates(naive, optimised)

    assert (comparison.naive, comparison.optimised) == (naive, optimised)
    assert comparison.saved_ratio == 0.75
    assert comparison.arithmetic.startswith("100 - 25 = 75 ticker-sessions, 75.0 % less; ")
