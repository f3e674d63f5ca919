import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.reference.membership import (
    ABOVE_CAP,
    OUTSIDE_PERIOD,
    REASONS,
    UNLISTED,
    label_outside,
    measure_outside,
)
from smallcaps_assets_tests.core.universe_factories import AS_OF, make_universe

LISTED, ENDED = dt.date(2010, 1, 4), dt.date(2020, 5, 6)
SESSION = dt.date(2015, 1, 5)
KEYS = pl.Schema({"ticker": pl.String(), "session_date": pl.Date()})

dates = st.dates(dt.date(2004, 1, 2), dt.date(2024, 12, 31))
maybe = st.none() | dates


def make_keys(*rows: tuple[str, dt.date]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), KEYS, orient="row")


def find_reason(row: tuple[str, dt.date], *listings: dict[str, object]) -> str | None:
    reason: str | None = label_outside(make_keys(row), make_universe(*listings))["outside"][0]
    return reason


@pytest.mark.parametrize(
    ("session_date", "reason"),
    [
        (LISTED - dt.timedelta(days=1), OUTSIDE_PERIOD),
        (LISTED, None),
        (SESSION, None),
        (ENDED, None),
        (ENDED + dt.timedelta(days=1), OUTSIDE_PERIOD),
    ],
)
def test_label_outside_goes_by_listing_period(session_date: dt.date, reason: str | None) -> None:
    """L22: who is a member is decided by when it was listed."""
    listing = {"ticker": "A", "listed_date": LISTED, "delisted_date": ENDED}

    assert find_reason(("A", session_date), listing) == reason


def test_label_outside_knows_no_listing_of_another_ticker() -> None:
    assert find_reason(("BCpC", SESSION), {"ticker": "BCPC"}) == UNLISTED


@pytest.mark.parametrize("listing", [{}, {"is_active": False}])
def test_label_outside_takes_an_unknown_date_for_no_bound(listing: dict[str, object]) -> None:
    assert find_reason(("A", SESSION), {"ticker": "A", **listing}) is None


@pytest.mark.parametrize(
    ("session_date", "reason"), [(SESSION, OUTSIDE_PERIOD), (LISTED, None), (AS_OF, None)]
)
def test_label_outside_keeps_the_gap_between_two_companies_of_a_ticker(
    session_date: dt.date, reason: str | None
) -> None:
    """L22: a recycled ticker is two listings, not one long life."""
    old = {"ticker": "RC", "listed_date": LISTED, "delisted_date": dt.date(2012, 1, 3)}
    new = {"ticker": "RC", "listed_date": dt.date(2020, 1, 2)}

    assert find_reason(("RC", session_date), old, new) == reason


@pytest.mark.parametrize(
    ("session_date", "is_backward", "reason"),
    [
        (SESSION, False, None),
        (AS_OF, False, ABOVE_CAP),
        (SESSION, True, ABOVE_CAP),
    ],
)
def test_label_outside_applies_a_cap_from_its_date_on(
    session_date: dt.date, *, is_backward: bool, reason: str | None
) -> None:
    """L22: today's market cap decided membership of 2004."""
    large = {
        "ticker": "A",
        "market_cap_usd": 3e9,
        "market_cap_as_of_date": AS_OF,
        "is_below_cap": False,
    }
    keys = make_keys(("A", session_date))

    labelled = label_outside(keys, make_universe(large), is_cap_backward=is_backward)

    assert labelled["outside"].to_list() == [reason]


def test_label_outside_keeps_rows_and_their_order() -> None:
    keys = make_keys(("B", SESSION), ("A", SESSION), ("C", SESSION)).with_columns(x=pl.lit(1))

    labelled = label_outside(keys, make_universe({"ticker": "A"}))

    assert labelled.drop("outside").equals(keys)
    assert labelled["outside"].to_list() == [UNLISTED, None, UNLISTED]


@given(st.lists(st.tuples(maybe, maybe), max_size=4), st.tuples(maybe, maybe), dates)
def test_label_outside_finds_no_less_inside_with_one_listing_more(
    periods: list[tuple[dt.date | None, dt.date | None]],
    another: tuple[dt.date | None, dt.date | None],
    session_date: dt.date,
) -> None:
    rows: list[dict[str, object]] = [
        {"ticker": "A", "name": f"{n}", "listed_date": start, "delisted_date": end}
        for n, (start, end) in enumerate([*periods, another])
    ]

    few = find_reason(("A", session_date), *rows[:-1])
    many = find_reason(("A", session_date), *rows)

    assert few is not None or many is None


def test_measure_outside_counts_by_reason_and_shows_tickers() -> None:
    keys = make_keys(("A", SESSION), ("B", SESSION), ("B", ENDED), ("C", SESSION))
    universe = make_universe({"ticker": "A"}, {"ticker": "C", "listed_date": ENDED})

    facts = measure_outside(label_outside(keys, universe))

    assert (facts.rows, facts.tickers) == (3, 2)
    assert facts.rows_by_reason == dict(zip(REASONS, (2, 1, 0), strict=True))
    assert facts.shown.rows() == [
        ("B", UNLISTED, 2, SESSION, ENDED),
        ("C", OUTSIDE_PERIOD, 1, SESSION, SESSION),
    ]
