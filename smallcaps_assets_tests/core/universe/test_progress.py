import datetime as dt

import polars as pl
from hypothesis import given

from smallcaps_assets.core.universe.progress import (
    explain_reds,
    find_missing,
    measure_tickers,
    measure_units,
    select_missing,
    select_units,
)
from smallcaps_assets.core.universe.units import list_owed
from smallcaps_assets_tests.core.plan_factories import PROPERTY
from smallcaps_assets_tests.core.unit_factories import (
    key_sets,
    list_month,
    make_plan,
    make_proven,
    plans,
)

Day = dt.date
Key = tuple[str, Day]

JANUARY = list_month("2024-01")
FEBRUARY = list_month("2024-02")
PLAN = make_plan({("A", "2024-01"): JANUARY, ("B", "2024-01"): JANUARY, ("A", "2024-02"): FEBRUARY})


def make_states(*rows: tuple[str, Day, str]) -> pl.DataFrame:
    schema = {"ticker": pl.String(), "session_date": pl.Date(), "state": pl.String()}
    return pl.DataFrame(list(rows), schema, orient="row")


@PROPERTY
@given(plans, key_sets)
def test_what_is_missing_is_what_is_owed_and_not_proven(plan: pl.DataFrame, keys: set[Key]) -> None:
    proven = make_proven(keys)

    missing = find_missing(plan, proven)

    owed = set(list_owed(plan).rows())
    assert set(missing.rows()) == owed - keys
    units = measure_units(plan, proven)
    assert units["missing"].sum() == missing.height
    assert units["owed"].sum() == len(owed)
    assert (units["owed"] == units["proven"] + units["missing"]).all()


@PROPERTY
@given(plans, key_sets)
def test_tickers_are_measured_alike_by_themselves_and_by_year(
    plan: pl.DataFrame, keys: set[Key]
) -> None:
    proven = make_proven(keys)

    alone = measure_tickers(plan, proven)
    by_year = measure_tickers(plan, proven, by_year=True)

    assert alone.rows() == by_year.drop("year").rows(), "all is of one year"
    assert set(by_year["year"]) <= {2024}
    for ticker, owed, found, status in alone.rows():
        assert status == {0: "none", owed: "complete"}.get(found, "partial")
        assert found == len({key for key in keys if key[0] == ticker} & set(list_owed(plan).rows()))


def test_a_unit_says_what_is_missing() -> None:
    units = measure_units(PLAN, make_proven(("A", day) for day in JANUARY))

    assert units.select("unit", "tickers", "owed", "proven", "missing").rows() == [
        ("b001_2024-01", 2, 42, 21, 21),
        ("b001_2024-02", 1, 20, 0, 20),
    ]


def test_the_hash_of_what_is_owed_changes_with_it_and_with_nothing_else() -> None:
    proven = make_proven(("A", day) for day in JANUARY)
    less = make_plan({("A", "2024-01"): JANUARY, ("B", "2024-01"): JANUARY[1:]})

    before = measure_units(PLAN, make_proven([]))["owed_hash"][0]

    assert measure_units(PLAN.reverse(), proven)["owed_hash"][0] == before
    assert measure_units(less, proven)["owed_hash"][0] != before


@PROPERTY
@given(plans, key_sets)
def test_what_lacks_something_is_a_smaller_plan(plan: pl.DataFrame, keys: set[Key]) -> None:
    proven = make_proven(keys)
    told = plan.with_columns(expected_rows=pl.col("owed").bitwise_count_ones().cast(pl.Int64) * 7)

    left = select_missing(told, proven)

    assert set(list_owed(left).rows()) == set(find_missing(plan, proven).rows())
    assert left["expected_rows"].sum() == 7 * list_owed(left).height


def test_select_units_takes_units_whole() -> None:
    units = measure_units(PLAN, make_proven([])).filter(pl.col("month") == "2024-01")

    assert select_units(PLAN, units)["ticker"].to_list() == ["A", "B"]


def test_a_unit_is_red_because_its_plan_grew() -> None:
    before = PLAN.filter(pl.col("ticker") == "A")
    proven = make_proven(list_owed(before).rows())

    reds = explain_reds(before, PLAN, proven, make_states())

    assert reds.rows() == [("b001_2024-01", "plan grew: B")]


def test_a_unit_is_red_because_of_its_sessions() -> None:
    lost = {("A", day) for day in (*JANUARY[:3], JANUARY[4])} | {("B", JANUARY[9])}
    proven = make_proven(set(list_owed(PLAN).rows()) - lost - {("A", FEBRUARY[0])})
    states = make_states(
        *(("A", day, "quarantined") for day in JANUARY[:3]),
        ("A", JANUARY[4], "disputed"),
        ("B", JANUARY[8], "failed"),
        ("Z", JANUARY[8], "failed"),
        ("A", FEBRUARY[0], "failed"),
    )

    reds = explain_reds(PLAN, PLAN, proven, states)

    assert reds.rows() == [
        (
            "b001_2024-01",
            "disputed by later bars: 1; not proven: 1 session; quarantined: 3 sessions",
        ),
        ("b001_2024-02", "failed: 1 session"),
    ]


def test_a_reason_names_a_few_tickers() -> None:
    after = make_plan({(f"T{n}", "2024-01"): JANUARY for n in range(8)})
    before = make_plan({("T0", "2024-01"): JANUARY})

    reds = explain_reds(before, after, make_proven(list_owed(before).rows()), make_states())

    assert reds["reason"].to_list() == ["plan grew: T1, T2, T3, T4, T5 and 2 more"]


def test_where_nobody_knows_the_plan_before_nothing_is_said_to_have_grown() -> None:
    reds = explain_reds(PLAN.clear(), PLAN, make_proven([]), make_states())

    assert reds["reason"].to_list() == ["not proven: 42 sessions", "not proven: 20 sessions"]


@PROPERTY
@given(plans, plans, key_sets)
def test_every_red_unit_has_a_reason_and_no_green_one(
    before: pl.DataFrame, after: pl.DataFrame, keys: set[Key]
) -> None:
    proven = make_proven(keys)
    states = make_states(*((ticker, day, "failed") for ticker, day in sorted(keys)[::2]))

    reds = explain_reds(before, after, proven, states)

    units = measure_units(after, proven)
    assert reds["unit"].to_list() == units.filter(pl.col("missing") > 0)["unit"].to_list()
    assert all(reds["reason"].str.len_chars() > 0)
