import datetime as dt
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given

from smallcaps_assets.core.universe.lives import SLACK, build_lives
from smallcaps_assets_tests.core.plan_factories import PROPERTY
from smallcaps_assets_tests.core.unit_factories import (
    FIRST,
    LAST,
    SESSIONS,
    bar_keys,
    listings,
    make_bars,
    make_lifetimes,
)

Day = dt.date


def live(
    *rows: tuple[str, Day | None, Day | None], bars: pl.DataFrame | None = None
) -> Sequence[object]:
    return build_lives(make_lifetimes(*rows), bars, FIRST, LAST).rows()


def test_a_life_is_longer_than_its_listing_on_both_sides() -> None:
    lives = live(("A", Day(2024, 2, 10), Day(2024, 3, 10)))

    assert lives == [("A", Day(2024, 1, 11), Day(2024, 4, 9))]


def test_unknown_dates_are_bounds_of_the_plan() -> None:
    assert live(("A", None, None)) == [("A", FIRST, LAST)]


def test_an_unknown_beginning_is_that_of_the_bars() -> None:
    bars = make_bars([("A", Day(2024, 3, 4)), ("A", Day(2024, 3, 1))])

    assert live(("A", None, None), bars=bars) == [("A", Day(2024, 3, 1) - SLACK, LAST)]


def test_bars_that_begin_behind_the_end_of_a_listing_are_of_another_one() -> None:
    bars = make_bars([("A", Day(2024, 4, 1))])

    lives = live(("A", None, Day(2024, 1, 10)), ("A", Day(2024, 4, 1), None), bars=bars)

    assert lives == [("A", FIRST, Day(2024, 2, 9)), ("A", Day(2024, 3, 2), LAST)]


def test_bars_at_the_edge_of_what_is_stored_say_nothing_of_before() -> None:
    """Bars of 2024 alone must not take the years before from a listing without a date."""
    bars = make_bars([("A", Day(2024, 2, 1)), ("B", Day(2024, 2, 1)), ("B", Day(2024, 4, 12))])
    stored = (Day(2024, 2, 1), Day(2024, 4, 26))

    lives = build_lives(make_lifetimes(("A", None, None)), bars, FIRST, LAST, stored)

    assert lives.rows() == [("A", FIRST, LAST), ("B", FIRST, LAST)]


def test_a_listing_that_ends_before_it_begins_has_an_unknown_beginning() -> None:
    lives = live(("A", Day(2024, 4, 1), Day(2024, 1, 15)))

    assert lives == [("A", FIRST, Day(2024, 2, 14))]


def test_lives_of_a_recycled_ticker_are_united_where_they_meet() -> None:
    lives = live(
        ("A", Day(2023, 1, 1), Day(2023, 12, 20)),
        ("A", Day(2024, 2, 19), Day(2024, 2, 20)),
        ("B", Day(2023, 1, 1), Day(2023, 12, 20)),
        ("B", Day(2024, 3, 20), None),
    )

    assert lives == [
        ("A", FIRST, Day(2024, 3, 21)),
        ("B", FIRST, Day(2024, 1, 19)),
        ("B", Day(2024, 2, 19), LAST),
    ]


def test_a_ticker_without_a_listing_lives_as_long_as_it_has_bars() -> None:
    bars = make_bars([("A", Day(2024, 2, 15)), ("A", Day(2024, 3, 1))])

    assert live(bars=bars) == [("A", Day(2024, 1, 16), Day(2024, 3, 31))]


@pytest.mark.parametrize("period", [(None, Day(2003, 5, 1)), (Day(2025, 1, 1), None)])
def test_a_listing_outside_the_plan_has_no_life(period: tuple[Day | None, Day | None]) -> None:
    assert live(("A", *period)) == []


@PROPERTY
@given(listings, bar_keys)
def test_lives_are_disjoint_inside_the_plan_and_hold_every_listed_date(
    rows: list[tuple[str, Day | None, Day | None]], keys: set[tuple[str, Day]]
) -> None:
    lives = build_lives(make_lifetimes(*rows), make_bars(keys), FIRST, LAST).rows()

    assert lives == sorted(lives)
    for ticker, first, last in lives:
        assert FIRST <= first <= last <= LAST
        others = [life for life in lives if life[0] == ticker and life[1] > first]
        assert all(other[1] > last + dt.timedelta(days=1) for other in others)
    for ticker, listed, delisted in rows:
        if listed is None or delisted is None or delisted < listed:
            continue
        for session in SESSIONS:
            if listed <= session <= delisted:
                assert any(life[0] == ticker and life[1] <= session <= life[2] for life in lives)
