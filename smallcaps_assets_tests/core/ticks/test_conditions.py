"""The vendor's condition rules, and bars by them."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.ticks.conditions import (
    CONDITION_RULES,
    UPDATE_RULES,
    build_daily_bar,
    label_update_rules,
    measure_conditions,
    measure_volume,
    merge_conditions,
)
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.core.tape_factories import (
    OPENING_NS,
    SESSION,
    make_trades,
)
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT, find_shared

GOLDEN = REPO_ROOT / "smallcaps_assets_tests" / "golden" / "condition_bars"
rows = st.lists(
    st.fixed_dictionaries(
        {
            "ticker": st.sampled_from(["ABCD", "EFGH"]),
            "price": st.sampled_from([9.5, 10.0, 10.25]),
            "size": st.sampled_from([0.0, 0.5, 1.0, 100.0]),
            "conditions": st.none() | st.lists(st.sampled_from([12, 14, 15, 32, 37, 999])),
            "correction": st.sampled_from([0, 0, 0, 1, 8, 10, 12]),
        }
    ),
    max_size=20,
)


def label(**values: object) -> tuple[bool, ...]:
    labelled = label_update_rules(make_trades(values).lazy()).collect()
    flags: tuple[bool, ...] = labelled.select(UPDATE_RULES).row(0)
    return flags


def read_listed_rules() -> list[dict[str, Any]]:
    """Return the vendor's listing; ids of quote conditions overlap with those of trades."""
    file = find_shared("vendor_samples/reference/conditions_stocks_fovi_2025.json")
    listed: list[dict[str, Any]] = json.loads(file.read_text())["results"]
    return [row for row in listed if "trade" in row["data_types"]]


def test_condition_rules_are_those_the_vendor_lists() -> None:
    for row in read_listed_rules():
        consolidated = row.get("update_rules", {}).get("consolidated", {})
        rule = CONDITION_RULES[row["id"]]

        assert rule.name == row["name"]
        assert [getattr(rule, name) for name in UPDATE_RULES] == [
            consolidated.get(name, True) for name in UPDATE_RULES
        ]


def test_condition_rules_hold_nothing_the_vendor_does_not_list() -> None:
    assert set(CONDITION_RULES) == {row["id"] for row in read_listed_rules()}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, (True, True, True)),
        ([], (True, True, True)),
        ([14, 41], (True, True, True)),
        ([10], (True, False, True)),
        ([12, 37], (False, False, True)),
        ([38], (True, True, False)),
        ([15], (False, False, False)),
        ([14, 15], (False, False, False)),
        ([38, 37], (False, False, False)),
        ([12345], (True, True, True)),
        ([12345, 32], (True, False, True)),
    ],
    ids=str,
)
def test_label_update_rules_asks_every_condition(
    conditions: list[int] | None, expected: tuple[bool, ...]
) -> None:
    """Unknown ids count for everything: a bar never shrinks in silence."""
    assert label(conditions=conditions) == expected


@pytest.mark.parametrize("correction", [0, 1, 7, 8, 10, 11, 12])
def test_label_update_rules_withdraws_what_was_cancelled_or_corrected(correction: int) -> None:
    """Originals and corrected values stay."""
    assert label(correction=correction) == (correction in {0, 12},) * 3


def test_build_daily_bar_gives_the_bars_worked_out_by_hand() -> None:
    raw = pl.read_csv(GOLDEN / "trades.csv", schema_overrides={"conditions": pl.String})
    lists = pl.col("conditions").str.split(" ").cast(pl.List(pl.Int32))
    instants = OPENING_NS + pl.col("second") * 1_000_000_000
    tape = make_trades(*raw.with_columns(lists, sip_timestamp=instants).to_dicts())
    answers = pl.read_csv(GOLDEN / "bars.csv", schema_overrides=DAILY_BARS.schema)

    bars = DAILY_BARS.conform(build_daily_bar(tape.lazy()).collect())

    assert bars["session_date"].unique().to_list() == [SESSION]
    assert_frame_equal(bars.drop("session_date"), answers, rel_tol=1e-15)


def test_build_daily_bar_of_nothing_is_the_empty_table() -> None:
    assert_frame_equal(build_daily_bar(make_trades().lazy()).collect(), DAILY_BARS.empty())


def test_build_daily_bar_has_no_vwap_without_volume() -> None:
    bar = build_daily_bar(make_trades({"size": 0.0}).lazy()).collect().row(0, named=True)

    assert (bar["volume"], bar["trade_count"], bar["vwap"], bar["open"]) == (0.0, 1, None, 10.0)


@given(rows)
def test_build_daily_bar_conserves_volume_and_count(trades_rows: list[dict[str, Any]]) -> None:
    counted = [
        row
        for row in trades_rows
        if row["correction"] in {0, 12} and 15 not in (row["conditions"] or [])
    ]

    bars = DAILY_BARS.conform(build_daily_bar(make_trades(*trades_rows).lazy()).collect())

    assert bars["volume"].sum() == sum(row["size"] for row in counted)
    assert bars["trade_count"].sum() == len(counted)


@given(rows)
def test_measure_volume_is_that_of_the_bar(trades_rows: list[dict[str, Any]]) -> None:
    trades = make_trades(*trades_rows)

    bars = build_daily_bar(trades.lazy()).collect()

    assert measure_volume(trades) == (bars["volume"].sum(), bars["trade_count"].sum())


@given(rows, st.integers(0, 99))
def test_build_daily_bar_ignores_the_order_of_rows(
    trades_rows: list[dict[str, Any]], seed: int
) -> None:
    trades = make_trades(*trades_rows)
    shuffled = trades.sample(fraction=1.0, shuffle=True, seed=seed)

    assert_frame_equal(
        build_daily_bar(shuffled.lazy()).collect(), build_daily_bar(trades.lazy()).collect()
    )


def test_measure_conditions_counts_and_names_unknown_ids() -> None:
    trades = make_trades(
        {"size": 1.0},
        {"size": 2.0, "conditions": []},
        {"size": 4.0, "conditions": [37, 999]},
        {"size": 8.0, "conditions": [15], "ticker": "EFGH"},
        {"size": 16.0, "conditions": [37], "ticker": "EFGH"},
    )

    assert measure_conditions(trades.lazy()).rows() == [
        (None, None, True, 1, 2, 3.0, 0.0),
        (15, "Market Center Official Close", True, 1, 1, 0.0, 8.0),
        (37, "Odd Lot Trade", True, 2, 2, 20.0, 0.0),
        (999, None, False, 1, 1, 4.0, 0.0),
    ]


@given(rows)
def test_merge_conditions_adds_up_disjoint_sessions(trades_rows: list[dict[str, Any]]) -> None:
    trades = make_trades(*trades_rows)
    parts = [trades.filter(pl.col("ticker") == ticker) for ticker in ("ABCD", "EFGH")]

    merged = merge_conditions([measure_conditions(part.lazy()) for part in parts])

    assert_frame_equal(merged, measure_conditions(trades.lazy()))
