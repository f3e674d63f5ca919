"""Which runs fetch what is missing: each wanted key once, and no other missing one."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.plan.spans import BRIDGED_KEYS, count_spans, find_spans

KEYS = [f"ABCD_{number:04d}" for number in range(400)]


def test_find_spans_bridges_finished_keys_and_no_longer_gap() -> None:
    near, far = [KEYS[0], KEYS[BRIDGED_KEYS]], [KEYS[0], KEYS[BRIDGED_KEYS + 1]]

    assert find_spans(KEYS, near, near) == [(near[0], near[1])]
    assert find_spans(KEYS, far, far) == [(key, key) for key in far]


@given(st.sets(st.integers(0, 399)), st.sets(st.integers(0, 399)))
def test_spans_hold_each_wanted_key_once_and_no_other_missing_one(
    wanted: set[int], other: set[int]
) -> None:
    missing = [KEYS[number] for number in sorted(wanted | other)]

    spans = find_spans(KEYS, [KEYS[number] for number in wanted], missing)

    held = [key for first, last in spans for key in KEYS if first <= key <= last]
    assert [key for key in held if key in missing] == [KEYS[number] for number in sorted(wanted)]


@given(st.sets(st.integers(0, 399), max_size=8))
def test_an_estimate_counts_the_runs_that_a_download_makes(missing: set[int]) -> None:
    keys = [KEYS[number] for number in sorted(missing)]

    counted = count_spans(pl.Series([key in keys for key in KEYS], dtype=pl.Boolean))

    assert counted == len(find_spans(KEYS, keys, keys))
