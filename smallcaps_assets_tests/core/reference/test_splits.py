import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.reference.splits import (
    decide_splits,
    label_split_factor,
    measure_split_like_jumps,
    merge_splits,
    sift_splits,
)
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import SPLITS
from smallcaps_assets_tests.core.bar_factories import day, flat, make_bars, make_splits

OUTSIDE = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "ticker": ["B", "A", "A", "A"],
        "execution_date": ["2024-01-03", "2024-01-03", "2024-01-02", "2024-01-03"],
        "split_from": [1, 10, 2, 20],
        "split_to": [4, 1, 3, 2],
    }
)


def test_merge_splits_drops_and_counts_repeats() -> None:
    splits, repeated = merge_splits(OUTSIDE)

    assert splits.rows() == [
        ("A", day(1), 2.0, 3.0),
        ("A", day(2), 10.0, 1.0),
        ("B", day(2), 1.0, 4.0),
    ]
    assert splits.schema == SPLITS.schema
    assert repeated == 1


def test_merge_splits_takes_a_table_without_rows() -> None:
    splits, repeated = merge_splits(SPLITS.empty())

    assert splits.is_empty()
    assert repeated == 0


def test_merge_splits_refuses_two_ratios_on_one_date() -> None:
    contradiction = OUTSIDE.with_columns(split_to=pl.lit(5))

    with pytest.raises(DataError, match=r"2 rows that contradict .* first .'A 2024-01-03 10.0"):
        merge_splits(contradiction)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
@pytest.mark.parametrize("column", ["split_from", "split_to"])
def test_merge_splits_refuses_what_is_no_ratio(column: str, value: float | None) -> None:
    bad = OUTSIDE.with_columns(pl.lit(value, dtype=pl.Float64).alias(column))

    with pytest.raises(DataError, match="4 rows without a positive finite ratio"):
        merge_splits(bad)


def test_merge_splits_refuses_unknown_columns() -> None:
    with pytest.raises(SchemaError, match="unknown columns"):
        merge_splits(OUTSIDE.with_columns(x=1))


def test_label_split_factor_counts_splits_up_to_each_bar() -> None:
    bars = pl.concat([make_bars(flat(1, bars=5)), make_bars(flat(1, bars=2), ticker="AAAB")])
    splits = make_splits(("AAAA", day(3), 1, 4), ("AAAA", day(1), 10, 1), ("AAAC", day(0), 1, 2))

    factors = label_split_factor(bars.lazy(), splits.lazy()).collect()["split_factor"]

    assert factors.to_list() == [1.0, 0.1, 0.1, 0.4, 0.4, 1.0, 1.0]


def test_label_split_factor_counts_splits_before_the_first_bar() -> None:
    splits = make_splits(("AAAA", day(-400), 1, 2))

    factors = label_split_factor(make_bars(flat(1)).lazy(), splits.lazy()).collect()

    assert factors["split_factor"].to_list() == [2.0]


def test_label_split_factor_is_one_when_no_split_is_known() -> None:
    bars = make_bars(flat(1, bars=2)).reverse()

    factors = label_split_factor(bars.lazy(), None).collect()

    assert factors["split_factor"].to_list() == [1.0, 1.0]
    assert factors["session_date"].is_sorted()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1.00, 2.00, ["2:1"]),
        (1.00, 1.96, ["2:1"]),
        (1.00, 1.95, []),
        (1.00, 2.50, []),
        (0.35, 7.06, ["20:1"]),
        (1.00, 51.00, ["50:1"]),
        (1.00, 51.10, []),
        (10.00, 3.30, ["1:3"]),
        (10.00, 0.20, ["1:50"]),
        (10.00, 0.19, []),
        (1.00, 1.00, []),
    ],
)
def test_measure_split_like_jumps_finds_multiples_within_two_per_cent(
    before: float, after: float, expected: list[str]
) -> None:
    bars = make_bars([*flat(before), *flat(after)])

    jumps = measure_split_like_jumps(bars, SPLITS.empty())

    assert jumps["jump"].to_list() == expected


def test_measure_split_like_jumps_shows_the_prices() -> None:
    bars = make_bars([*flat(1), *flat(float("nan")), *flat(4)])

    jumps = measure_split_like_jumps(bars, SPLITS.empty())

    assert jumps.rows() == [("AAAA", day(2), 1.0, 4.0, "4:1", None, "no split is on record")]


@pytest.mark.parametrize(("date", "listed"), [(-1, 1), (0, 1), (1, 0), (2, 0), (3, 1)])
def test_measure_split_like_jumps_leaves_out_splits_on_record(date: int, listed: int) -> None:
    bars = make_bars([*flat(1), *flat(4)], dates=[day(0), day(2)])

    jumps = measure_split_like_jumps(bars, make_splits(("AAAA", day(date), 4, 1)))

    assert jumps.height == listed


@pytest.mark.parametrize(
    ("after", "split", "found"),
    [
        (4.0, (1, 1), ("4:1", "1 for 1", "a split of 1 for 1 is on record")),
        (4.0, (8, 1), ("1:2", "1 for 8", "the split on record does not fit")),
        (4.0, (1, 4), ("16:1", "4 for 1", "the split on record makes it")),
        (1.0, (10, 1), ("1:10", "1 for 10", "the split on record makes it")),
        (1.0, (4, 5), ("1.25:1", "5 for 4", "the split on record makes it")),
        (1.5, (2, 3), ("2.25:1", "3 for 2", "the split on record makes it")),
        (0.1, (1, 15), ("1.5:1", "15 for 1", "the split on record does not fit")),
        (4.0, (4, 1), None),
        (3.4, (4, 1), None),
        (4.9, (4, 1), None),
        (0.8, (4, 5), None),
        (1.3, (1, 1), None),
    ],
)
def test_measure_split_like_jumps_judges_a_record_by_what_it_leaves(
    after: float, split: tuple[int, int], found: tuple[str, str, str] | None
) -> None:
    """L39: a record of any ratio, 1:1 and the wrong way among them, silenced the check."""
    bars = make_bars([*flat(1), *flat(after)])

    jumps = measure_split_like_jumps(bars, make_splits(("AAAA", day(1), *split)))

    assert jumps.select("jump", "split", "problem").rows() == ([found] if found else [])


def test_measure_split_like_jumps_applies_all_splits_between_two_bars() -> None:
    bars = make_bars([*flat(6), *flat(1)], dates=[day(0), day(9)])
    splits = make_splits(("AAAA", day(2), 1, 2), ("AAAA", day(5), 1, 3))

    assert measure_split_like_jumps(bars, splits).is_empty()
    assert measure_split_like_jumps(bars, splits.head(1))["jump"].to_list() == ["1:3"]


def test_measure_split_like_jumps_compares_nothing_across_an_unknown_split() -> None:
    bars = make_bars([*flat(1), *flat(4), *flat(8)])
    unknown = pl.DataFrame([("AAAA", day(1), None, None)], SPLITS.schema, orient="row")

    assert measure_split_like_jumps(bars, unknown)["session_date"].to_list() == [day(2)]


RECORDS = [
    ("GOOD", day(1), 1.0, 2.0),
    ("GOOD", day(1), 2.0, 4.0),
    ("WILD", day(2), 1.0, 15.0),
    ("WILD", day(2), 15.0, 1.0),
    ("ZERO", day(3), 0.0, 1.0),
    ("", day(3), 1.0, 2.0),
    ("ztest", day(3), 1.0, 2.0),
]


def test_sift_splits_sets_contradictions_aside_and_keeps_their_dates() -> None:
    """L43: neither of two records of one date is believed, and nothing is compared across it."""
    sifted = sift_splits(pl.DataFrame(RECORDS, SPLITS.schema, orient="row"))

    assert sifted.splits.rows() == [
        ("GOOD", day(1), 1.0, 2.0),
        ("WILD", day(2), None, None),
        ("ZERO", day(3), None, None),
    ]
    assert (sifted.repeated, sifted.garbage) == (1, 2)
    assert sifted.set_aside.select("ticker", "split_from", "problem").rows() == [
        ("WILD", 1.0, "contradicts another record"),
        ("WILD", 15.0, "contradicts another record"),
        ("ZERO", 0.0, "no positive ratio"),
    ]


@given(st.permutations(RECORDS))
def test_sift_splits_ignores_the_order_of_records(rows: list[tuple[object, ...]]) -> None:
    one, other = (
        sift_splits(pl.DataFrame(some, SPLITS.schema, orient="row")) for some in (rows, RECORDS)
    )

    assert_frame_equal(one.splits, other.splits)
    assert_frame_equal(one.set_aside, other.set_aside)


def test_decide_splits_puts_decided_ones_in_place_of_all_others() -> None:
    splits = sift_splits(pl.DataFrame(RECORDS, SPLITS.schema, orient="row")).splits

    decided = decide_splits(splits, make_splits(("WILD", day(2), 15, 1), ("MORE", day(0), 1, 1)))

    assert decided.filter(pl.col("ticker").is_in(["WILD", "MORE"])).rows() == [
        ("MORE", day(0), 1.0, 1.0),
        ("WILD", day(2), 15.0, 1.0),
    ]


def test_measure_split_like_jumps_does_not_cross_tickers() -> None:
    bars = pl.concat([make_bars(flat(1)), make_bars(flat(4), ticker="AAAB")])

    assert measure_split_like_jumps(bars, SPLITS.empty()).is_empty()
