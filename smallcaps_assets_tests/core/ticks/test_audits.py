"""Verdicts of the audits."""

import datetime as dt

import polars as pl
import pytest

from smallcaps_assets.core.ticks.audits import (
    SizeFacts,
    judge_corruption,
    judge_coverage,
    judge_days,
    judge_order,
    judge_orphans,
    judge_prices,
    judge_size,
    judge_volume,
    judge_window_coverage,
)
from smallcaps_assets.core.ticks.bar_prices import compare_prices
from smallcaps_assets.core.ticks.conditions import measure_conditions
from smallcaps_assets.core.ticks.quality import measure_residual_conditions, measure_sessions
from smallcaps_assets.core.verdicts import (
    DEFAULT_THRESHOLDS,
    Thresholds,
)
from smallcaps_assets.schemas import COVERAGE, DAILY_BARS, EVENT_WINDOW_PLAN
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, SESSION, make_bars, make_trades

STRICT = Thresholds(volume_residual=0.0, count_residual=0.0, price_outside=0.0)
GB = 1024**3


def make_states(*states: str) -> pl.DataFrame:
    """Return ``schemas.COVERAGE``: one session after the other of one ticker."""
    dates = [dt.date(2024, 3, 11) + dt.timedelta(days=day) for day in range(len(states))]
    columns = {"ticker": ["ABCD"] * len(states), "session_date": dates, "state": list(states)}
    return pl.DataFrame(
        columns | dict.fromkeys(("rows", "error_kind", "marks", "revision")), COVERAGE.schema
    )


def make_plan(*events: list[tuple[str, int]]) -> pl.DataFrame:
    """Return ``schemas.EVENT_WINDOW_PLAN``: events of each session with the day they happened."""
    keys = make_states(*["planned"] * len(events)).select("ticker", "session_date")
    return keys.with_columns(
        pl.Series("events", [[name for name, _ in row] for row in events], pl.List(pl.String)),
        pl.Series(
            "event_dates", [[dt.date(2024, 3, day) for _, day in row] for row in events]
        ).cast(pl.List(pl.Date)),
        pl.Series("offsets", [[0] * len(row) for row in events], pl.List(pl.Int16)),
    ).match_to_schema(EVENT_WINDOW_PLAN.schema)


def measure(trades: pl.DataFrame, *bars: dict[str, object]) -> pl.DataFrame:
    sessions = trades.select("ticker", "session_date").unique()
    return measure_sessions(trades, make_bars(*bars), sessions)


@pytest.mark.parametrize("green", [18, 19, 20])
def test_judge_coverage_demands_95_percent(green: int) -> None:
    states = make_states(*["complete"] * green, *["failed"] * (20 - green))

    verdict = judge_coverage(states, DEFAULT_THRESHOLDS)

    assert verdict.passed is (green >= 19)
    assert verdict.offenders.height == 20 - green
    assert verdict.numbers["ratio"] == green / 20


def test_judge_coverage_counts_every_state_and_what_is_not_due_apart() -> None:
    states = make_states(
        *("complete", "empty", "empty_unverified", "planned", "not_entitled", "not_yet_available")
    )

    verdict = judge_coverage(states, DEFAULT_THRESHOLDS)

    assert verdict.numbers == {
        "planned": 5,
        "green": 3,
        "ratio": 0.6,
        "complete_sessions": 1,
        "empty_sessions": 1,
        "empty_unverified_sessions": 1,
        "not_entitled_sessions": 1,
        "not_yet_available_sessions": 1,
        "planned_sessions": 1,
    }
    assert verdict.offenders["state"].to_list() == ["planned", "not_entitled"]
    assert verdict.summary == (
        "3 of 5 planned ticker-sessions are green (60.00%); at least 95.00% are demanded"
    )


def test_coverage_of_nothing_does_not_pass() -> None:
    assert not judge_coverage(make_states(), DEFAULT_THRESHOLDS).passed
    assert not judge_window_coverage(make_plan(), make_states(), DEFAULT_THRESHOLDS).passed


def test_judge_window_coverage_wants_every_session_of_a_window() -> None:
    """A window with a hole is not covered, though 2 of its 3 sessions are."""
    plan = make_plan([("E1", 12)], [("E1", 12), ("E4", 13)], [("E1", 12)], [("E4", 13)])
    states = make_states("complete", "complete", "failed", "empty")

    verdict = judge_window_coverage(plan, states, DEFAULT_THRESHOLDS)

    assert (verdict.passed, verdict.numbers["ratio"]) == (False, 0.5)
    assert verdict.offenders.rows() == [("ABCD", dt.date(2024, 3, 12), "E1", 3, 1)]


def test_judge_window_coverage_takes_a_session_without_a_state_for_missing() -> None:
    """L1: only what is known to be green is green."""
    plan = make_plan([("E1", 11)], [("E1", 11)])

    verdict = judge_window_coverage(plan, make_states("complete"), DEFAULT_THRESHOLDS)

    assert not verdict.passed
    assert verdict.offenders["missing"].to_list() == [1]


def test_judge_window_coverage_does_not_wait_for_sessions_to_come() -> None:
    plan = make_plan([("E1", 11)], [("E1", 11)])
    states = make_states("complete", "not_yet_available")

    assert judge_window_coverage(plan, states, DEFAULT_THRESHOLDS).passed


def test_judge_window_coverage_passes_a_plan_without_events() -> None:
    verdict = judge_window_coverage(make_plan([]), make_states("failed"), DEFAULT_THRESHOLDS)

    assert (verdict.passed, verdict.summary) == (True, "no event window is due")


@pytest.mark.parametrize(
    ("estimated", "budget"), [(100 * GB, 120 * GB), (150 * GB, None), (None, None), (0, 120 * GB)]
)
def test_judge_size_passes_within_budget_and_tolerance(
    estimated: float | None, budget: float | None
) -> None:
    assert judge_size(SizeFacts(120 * GB, estimated, budget), DEFAULT_THRESHOLDS).passed


@pytest.mark.parametrize(
    ("estimated", "budget", "complaint"),
    [
        (None, 119 * GB, "120 GB exceed the budget of 119 GB"),
        (99 * GB, None, "120 GB are 1.21 times the estimated 99 GB; 20% of difference are"),
        (151 * GB, None, "120 GB are 0.79 times the estimated 151 GB"),
    ],
)
def test_judge_size_says_what_does_not_fit(
    estimated: float | None, budget: float | None, complaint: str
) -> None:
    verdict = judge_size(SizeFacts(120 * GB, estimated, budget), DEFAULT_THRESHOLDS)

    assert not verdict.passed
    assert complaint in verdict.summary
    assert verdict.numbers["stored_bytes"] == 120 * GB


def test_judge_size_compares_only_what_the_estimate_speaks_of() -> None:
    """Sessions without a bar count for the budget, and for no estimate."""
    facts = SizeFacts(200 * GB, 100 * GB, 200 * GB, compared_bytes=100 * GB)

    assert judge_size(facts, DEFAULT_THRESHOLDS).passed


def test_judge_corruption_tolerates_no_damage() -> None:
    """L17: a file that exists is no file that is whole."""
    kinds = ["sha256", "missing_file", "sha256"]
    damages = pl.DataFrame({"key": ["A", "B", "C"], "kind": kinds, "message": ["", "", ""]})

    verdict = judge_corruption(damages, checked=100)

    assert not verdict.passed
    assert verdict.numbers == {"checked": 100, "missing_file": 1, "sha256": 2}
    assert verdict.summary == "3 damages in 100 sessions checked: 1 missing_file, 2 sha256"
    assert verdict.offenders.height == 3


def test_corruption_and_orphans_pass_where_there_are_none() -> None:
    verdict = judge_corruption(pl.DataFrame(), checked=7)

    assert (verdict.passed, verdict.summary) == (True, "0 damages in 7 sessions checked")
    assert judge_orphans(pl.DataFrame()).summary == "0 orphans are faults, of 0"


@pytest.mark.parametrize("kind", ["unplanned", "stray", "temporary_file"])
def test_judge_orphans_lists_all_and_fails_on_faults(kind: str) -> None:
    """L18: leftovers are never counted as results."""
    orphans = pl.DataFrame({"kind": [kind], "path": ["trades.parquet"]})

    verdict = judge_orphans(orphans)

    assert verdict.passed is (kind != "temporary_file")
    assert (verdict.numbers["orphans"], verdict.numbers[kind]) == (1, 1)
    assert verdict.offenders.height == 1


def test_judge_order_tolerates_no_unsorted_row_and_reports_duplicates() -> None:
    early, late = {"sip_timestamp": OPENING_NS}, {"sip_timestamp": OPENING_NS + 1}
    twice = early | {"ticker": "TWICE", "sequence_number": 1, "id": "1"}

    verdict = judge_order(measure(make_trades(late, early, twice, twice)))

    assert not verdict.passed
    assert verdict.numbers == {"checked": 2, "unsorted_rows": 1, "exact_duplicates": 1}
    assert verdict.offenders["ticker"].to_list() == ["ABCD", "TWICE"]


def test_judge_order_passes_duplicates_alone() -> None:
    """L4: equal rows may be different trades."""
    row = {"sip_timestamp": OPENING_NS, "sequence_number": 1, "id": None}

    assert judge_order(measure(make_trades(row, row))).passed


def test_judge_days_tolerates_no_row_of_another_day() -> None:
    """L6: a tape cut at UTC midnights would be seen."""
    next_day = {"session_date": dt.date(2024, 3, 14)}

    verdict = judge_days(measure(make_trades({"ticker": "GOOD"}, next_day)))

    assert not verdict.passed
    assert verdict.offenders["ticker"].to_list() == ["ABCD"]
    assert judge_days(measure(make_trades({}))).passed


AS_IN_THE_BAR = compare_prices(make_trades({}), DAILY_BARS.empty())
"""No price of any session is another than its bar's."""


def test_judge_prices_judges_the_lake_and_lists_the_sessions() -> None:
    """L23: a bar of another scale has all its prices outside."""
    trades = make_trades({}, {"price": 12.0}, {"ticker": "NOBAR", "price": 99.0})
    facts = measure(trades, {"high": 10.0, "low": 10.0})

    verdict = judge_prices(facts, AS_IN_THE_BAR, Thresholds(price_outside=0.4))

    assert not verdict.passed
    assert verdict.numbers["price_outside_ratio"] == 0.5
    assert verdict.numbers["compared_sessions"] == 1
    assert verdict.offenders["ticker"].to_list() == ["ABCD"]
    assert judge_prices(facts, AS_IN_THE_BAR, Thresholds(price_outside=0.5)).passed


def test_judge_prices_says_which_sessions_have_other_prices_and_does_not_judge_it() -> None:
    """L33: what an import is refused for is at least said of what was downloaded."""
    trades = make_trades({"price": 9.9}, {"price": 10.1})
    bars = make_bars({"open": 10.1, "high": 10.1, "low": 9.9, "close": 9.9, "vwap": 10.0})
    facts = measure_sessions(trades, bars, trades.select("ticker", "session_date").unique())

    verdict = judge_prices(facts, compare_prices(trades, bars), STRICT)

    assert verdict.passed
    assert verdict.numbers["price_differs_sessions"] == 1
    assert verdict.offenders["differs"].to_list() == ["close, open"]


def test_judge_prices_passes_when_there_is_no_bar() -> None:
    assert judge_prices(measure(make_trades({})), AS_IN_THE_BAR, STRICT).passed


def test_judge_volume_adds_differences_of_both_signs() -> None:
    trades = make_trades({"ticker": "MORE", "size": 101.0}, {"ticker": "LESS", "size": 99.0})
    facts = measure(trades, {"ticker": "MORE"}, {"ticker": "LESS"})

    verdict = judge_volume(facts, measure_residual_conditions(trades, facts), DEFAULT_THRESHOLDS)

    assert not verdict.passed
    assert verdict.numbers["volume_residual_ratio"] == 0.01
    assert verdict.numbers["differing_sessions"] == 2
    assert verdict.offenders["volume_residual"].to_list() == [-1.0, 1.0]


def test_judge_volume_lists_what_remains_by_condition() -> None:
    trades = make_trades({"size": 1.0, "conditions": [15]}, {"size": 1999.0}, {"conditions": [99]})
    facts = measure(trades, {"volume": 2100.0, "trade_count": 3})
    tolerant = Thresholds(volume_residual=0.001, count_residual=0.5)

    verdict = judge_volume(facts, measure_conditions(trades.lazy()), tolerant)

    assert verdict.passed
    assert verdict.numbers["conditions"] == "none: 1999, 99: 100, 15: 1"
    assert verdict.numbers["unknown_conditions"] == "99: 100"
    assert verdict.offenders.height == 1
    assert not judge_volume(facts, None, STRICT).passed


def test_judge_volume_judges_the_count_too() -> None:
    """L4: a tape that lost one of two equal trades lacks a trade, whatever its volume."""
    facts = measure(make_trades({}), {"trade_count": 2})

    verdict = judge_volume(facts, None, DEFAULT_THRESHOLDS)

    assert (verdict.passed, verdict.numbers["count_residual_ratio"]) == (False, 0.5)


def test_judge_volume_does_not_let_half_a_session_hide_in_a_large_lake() -> None:
    trades = make_trades({"ticker": "MANY", "size": 1e6}, {"ticker": "HALF", "size": 50.0})
    facts = measure(trades, {"ticker": "MANY", "volume": 1e6}, {"ticker": "HALF", "volume": 100.0})

    verdict = judge_volume(facts, None, DEFAULT_THRESHOLDS)

    assert (verdict.passed, verdict.numbers["worst_session_ratio"]) == (False, 0.5)


def test_judge_volume_passes_equality_at_threshold_zero_in_spite_of_rounding() -> None:
    trades = make_trades(*({"size": size} for size in (0.1, 0.2, 0.3)))
    facts = measure(trades, {"volume": 0.6, "trade_count": 3})

    verdict = judge_volume(facts, measure_conditions(make_trades().lazy()), STRICT)

    assert trades["size"].sum() != 0.6
    assert (verdict.passed, verdict.numbers["conditions"]) == (True, "")


@pytest.mark.parametrize("size", [0.0, 5.0])
def test_judge_volume_against_bars_without_volume(size: float) -> None:
    facts = measure(make_trades({"size": size}), {"volume": 0.0})

    verdict = judge_volume(facts, None, DEFAULT_THRESHOLDS)

    assert verdict.passed is (size == 0)


def test_judge_volume_reads_receipts_as_well() -> None:
    """L9, L17: the quick audit has no trades at hand, only the numbers of the receipts."""
    receipts = pl.DataFrame(
        {
            "ticker": ["ABCD"],
            "session_date": [SESSION],
            "volume": [100.0],
            "trade_count": [1],
            "bar_volume": [None],
            "bar_trade_count": [None],
        },
        schema_overrides={"bar_volume": pl.Float64, "bar_trade_count": pl.Int64},
    )

    verdict = judge_volume(receipts, None, STRICT)

    assert (verdict.passed, verdict.numbers["compared_sessions"]) == (True, 0)
