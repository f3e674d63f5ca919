import polars as pl
import pytest

from smallcaps_assets.core.splits import label_split_factor, measure_split_like_jumps, merge_splits
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


def test_merge_splits_ignores_the_order_of_rows() -> None:
    assert merge_splits(OUTSIDE.reverse())[0].rows() == merge_splits(OUTSIDE)[0].rows()


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

    assert jumps.rows() == [("AAAA", day(2), 1.0, 4.0, "4:1")]


@pytest.mark.parametrize(("date", "listed"), [(-1, 1), (0, 1), (1, 0), (2, 0), (3, 1)])
def test_measure_split_like_jumps_leaves_out_splits_on_record(date: int, listed: int) -> None:
    bars = make_bars([*flat(1), *flat(4)], dates=[day(0), day(2)])

    jumps = measure_split_like_jumps(bars, make_splits(("AAAA", day(date), 4, 1)))

    assert jumps.height == listed


def test_measure_split_like_jumps_does_not_cross_tickers() -> None:
    bars = pl.concat([make_bars(flat(1)), make_bars(flat(4), ticker="AAAB")])

    assert measure_split_like_jumps(bars, SPLITS.empty()).is_empty()
