import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.universe.lives import build_lives
from smallcaps_assets.core.universe.units import (
    assign_batches,
    decode_unit,
    encode_unit,
    list_owed,
    list_units,
    plan_ticker_months,
)
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import UNIVERSE_PLAN
from smallcaps_assets_tests.core.plan_factories import PROPERTY
from smallcaps_assets_tests.core.unit_factories import (
    CALENDAR,
    FIRST,
    LAST,
    MONTHS,
    SESSIONS,
    bar_keys,
    list_month,
    listings,
    make_bars,
    make_lifetimes,
    plan_universe,
    plans,
    tickers,
    to_bits,
)

Day = dt.date


@PROPERTY
@given(listings, bar_keys)
def test_a_plan_owes_the_sessions_of_lives_and_bars_and_no_other(
    rows: list[tuple[str, Day | None, Day | None]], keys: set[tuple[str, Day]]
) -> None:
    bars, universe = make_bars(keys), make_lifetimes(*rows)

    plan = plan_universe(universe, bars)

    lives = build_lives(universe, bars, FIRST, LAST).rows()
    owed = {
        (ticker, session)
        for ticker, first, last in lives
        for session in SESSIONS
        if first <= session <= last
    }
    listed = list_owed(plan)
    assert set(listed.rows()) == owed | keys
    assert listed.is_duplicated().sum() == 0
    assert_frame_equal(plan, UNIVERSE_PLAN.conform(plan).sort("batch", "month", "ticker"))


def test_a_month_holds_the_sessions_of_the_exchange_alone() -> None:
    plan = plan_universe(make_lifetimes(("A", Day(2024, 1, 31), Day(2024, 2, 2))))

    owed = dict(plan.select("month", "owed").rows())
    assert owed["2024-01"] == to_bits(list_month("2024-01"))
    assert owed["2024-03"] == to_bits([Day(2024, 3, 1)])


def test_expected_trades_are_those_of_the_bars() -> None:
    january = list_month("2024-01")
    bars = make_bars([("B", day) for day in january] + [("A", day) for day in january[:3]])

    plan = plan_universe(make_lifetimes(("A", FIRST, None), ("B", FIRST, None)), bars)

    expected = {(row["ticker"], row["month"]): row["expected_rows"] for row in plan.to_dicts()}
    assert expected["A", "2024-01"] == 30
    assert expected["B", "2024-01"] == 10 * len(january)
    assert expected["A", "2024-02"] is None, "no session of February has a bar"


def test_expected_trades_follow_from_the_volume_where_a_bar_has_no_count() -> None:
    days = list_month("2024-01")
    bars = make_bars([("A", day) for day in days], trades=None).with_columns(volume=pl.lit(1900.0))

    plan = plan_universe(make_lifetimes(("A", FIRST, Day(2024, 1, 1))), bars)

    assert plan.filter(pl.col("month") == "2024-01")["expected_rows"].item() == 10 * len(days)


def test_a_bar_that_says_nothing_leaves_the_trades_of_its_month_unknown() -> None:
    days = list_month("2024-01")
    bars = pl.concat(
        [make_bars([("A", day) for day in days[1:]]), make_bars([("A", days[0])], trades=None)]
    )

    plan = plan_universe(make_lifetimes(("A", FIRST, None)), bars)

    assert plan["expected_rows"].to_list() == [None] * 4


def test_bars_may_hold_nothing_but_their_key() -> None:
    keys = [("A", day) for day in list_month("2024-01")]
    bare = make_bars(keys).select("ticker", "session_date")

    plan = plan_universe(make_lifetimes(("A", FIRST, None)), bare)

    assert plan.select("ticker", "owed").equals(
        plan_universe(make_lifetimes(("A", FIRST, None)), make_bars(keys)).select("ticker", "owed")
    )


def test_what_has_no_batch_is_not_planned() -> None:
    lives = build_lives(make_lifetimes(("A", FIRST, None), ("B", FIRST, None)), None, FIRST, LAST)

    plan = plan_ticker_months(lives, None, CALENDAR, FIRST, LAST, {"B": 7})

    assert plan.select("ticker", "batch").unique().rows() == [("B", 7)]


def test_batches_go_by_first_month_then_by_symbol() -> None:
    begun = pl.DataFrame(
        {
            "ticker": ["D", "B", "A", "C"],
            "first_month": ["2004-02", "2004-01", "2004-02", "2004-01"],
        }
    )

    assert assign_batches(begun, {}, 2) == {"B": 1, "C": 1, "A": 2, "D": 2}


@PROPERTY
@given(st.sets(tickers), st.sets(tickers), st.integers(1, 3))
def test_what_was_assigned_stays_and_what_is_new_comes_into_new_batches(
    some: set[str], more: set[str], size: int
) -> None:
    first = assign_batches(_begin(some), {}, size)

    second = assign_batches(_begin(more), first, size)

    assert {ticker: second[ticker] for ticker in first} == first
    assert second.keys() == some | more
    fresh = [batch for ticker, batch in second.items() if ticker not in first]
    assert not set(fresh) & set(first.values())
    assert all(list(second.values()).count(batch) <= size for batch in second.values())


def test_assign_batches_refuses_batches_of_nothing() -> None:
    with pytest.raises(ConfigError, match="at least one ticker"):
        assign_batches(_begin({"A"}), {}, 0)


@given(st.integers(1, 99_999), st.sampled_from(MONTHS))
def test_a_unit_is_named_and_found_again(batch: int, month: str) -> None:
    assert decode_unit(encode_unit(batch, month)) == (batch, month)


def test_encode_unit_writes_what_people_read() -> None:
    assert encode_unit(17, "2024-03") == "b017_2024-03"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "b17_2024-03",
        "b0017_2024-03",
        "17_2024-03",
        "b017_2024-13",
        "b017_2024-03-01",
        "b000_2024",
    ],
)
def test_decode_unit_refuses_what_is_no_unit(key: str) -> None:
    with pytest.raises(ConfigError, match="expected a batch and a month, such as b017_2024-03"):
        decode_unit(key)


@PROPERTY
@given(plans)
def test_units_count_what_the_plan_owes(plan: pl.DataFrame) -> None:
    units = list_units(plan)

    assert units.select("batch", "month").rows() == sorted(
        set(plan.select("batch", "month").rows())
    )
    assert units["tickers"].sum() == plan.height
    assert units["sessions"].sum() == list_owed(plan).height


def test_units_are_in_order_of_numbers_whatever_their_names() -> None:
    plan = plan_ticker_months(
        build_lives(make_lifetimes(("A", FIRST, None), ("B", FIRST, None)), None, FIRST, LAST),
        None,
        CALENDAR,
        FIRST,
        Day(2024, 1, 31),
        {"A": 1000, "B": 999},
    )

    assert list_units(plan)["unit"].to_list() == ["b999_2024-01", "b1000_2024-01"]


def _begin(tickers: set[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"ticker": sorted(tickers), "first_month": ["2024-01"] * len(tickers)},
        {"ticker": pl.String(), "first_month": pl.String()},
    )
