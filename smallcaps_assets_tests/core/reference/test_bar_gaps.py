import datetime as dt
from collections.abc import Iterable, Mapping

import polars as pl
import pytest

from smallcaps_assets.core.reference.bar_gaps import LifeFacts, judge_lives, measure_lives
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.verdicts import DEFAULT_THRESHOLDS, parse_thresholds
from smallcaps_assets_tests.core.universe_factories import make_universe

SESSIONS = load_calendar().dates(dt.date(2024, 1, 2), dt.date(2024, 1, 31))
ALL = range(len(SESSIONS))
SCHEMA = pl.Schema({"ticker": pl.String(), "session_date": pl.Date()})


def measure(bars: Mapping[str, Iterable[int]], *listings: Mapping[str, object]) -> LifeFacts:
    """Measure bars of each ticker on the sessions of these numbers."""
    rows = [(ticker, SESSIONS[number]) for ticker, numbers in bars.items() for number in numbers]
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    universe = make_universe(*listings) if listings else None
    return measure_lives(frame.lazy(), universe, load_calendar())


def test_measure_lives_counts_gaps_between_bars_without_a_universe() -> None:
    facts = measure({"A": ALL, "B": [2, 3, 6]})

    assert (facts.lives, facts.sessions, facts.missing) == (2, 26, 2)
    assert facts.offenders.rows() == [("B", SESSIONS[2], SESSIONS[6], 5, 2)]
    assert not facts.is_by_listing


def test_measure_lives_counts_to_the_end_of_a_listing() -> None:
    gone = {"ticker": "B", "listed_date": SESSIONS[1], "delisted_date": SESSIONS[9]}

    facts = measure({"A": ALL, "B": [2, 3, 6]}, {"ticker": "A"}, gone)

    assert (facts.lives, facts.sessions, facts.missing) == (2, 21 + 7, 4)
    assert (facts.late_sessions, facts.bars_outside) == (1, 0)


def test_measure_lives_does_not_join_two_companies_of_a_ticker() -> None:
    """L22: the years between two companies are no gap."""
    old = {"ticker": "RC", "listed_date": SESSIONS[0], "delisted_date": SESSIONS[5]}
    new = {"ticker": "RC", "listed_date": SESSIONS[15]}
    bars = {"A": ALL, "RC": [*range(5), *range(15, 21)]}

    joined, apart = measure(bars), measure(bars, {"ticker": "A"}, old, new)

    assert (joined.missing, apart.missing) == (10, 0)
    assert apart.lives == 3


def test_measure_lives_begins_an_undated_listing_where_the_one_before_ended() -> None:
    old = {"ticker": "RC", "listed_date": SESSIONS[0], "delisted_date": SESSIONS[5]}
    bars = {"A": ALL, "RC": [*range(5), *range(15, 21)]}

    facts = measure(bars, {"ticker": "A"}, old, {"ticker": "RC"})

    assert (facts.missing, facts.late_sessions) == (0, 10)


def test_measure_lives_looks_only_at_sessions_that_are_stored() -> None:
    """Months that were never asked for are no gap."""
    facts = measure({"A": [0, 1, 19, 20], "B": [0, 1, 19, 20]}, {"ticker": "A"}, {"ticker": "B"})

    assert (facts.sessions, facts.missing) == (8, 0)


def test_measure_lives_counts_listings_without_bars_and_bars_without_a_listing() -> None:
    late = {"ticker": "A", "listed_date": SESSIONS[10]}

    facts = measure({"A": ALL, "B": ALL}, late, {"ticker": "C"})

    assert (facts.lives, facts.without_bars, facts.bars_outside) == (1, 1, 10)


def test_measure_lives_leaves_out_bars_on_no_session() -> None:
    bars = pl.DataFrame({"ticker": ["A"], "session_date": [dt.date(2024, 1, 6)]}, SCHEMA)

    assert measure_lives(bars.lazy(), None, load_calendar()).lives == 0


def test_judge_lives_tolerates_a_share() -> None:
    facts = measure({"A": ALL, "B": [0, 20]})

    verdict = judge_lives(facts, DEFAULT_THRESHOLDS)
    lax = judge_lives(facts, parse_thresholds({"missing_bars": 0.5}))

    assert (verdict.passed, lax.passed) == (False, True)
    assert verdict.numbers["missing_ratio"] == pytest.approx(19 / 42)
    assert "no universe" in verdict.summary


def test_judge_lives_does_not_pass_where_nothing_was_compared() -> None:
    verdict = judge_lives(measure({}), DEFAULT_THRESHOLDS)

    assert not verdict.passed
