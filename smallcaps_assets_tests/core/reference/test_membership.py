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


def find_reason(
    session_date: dt.date, *listings: dict[str, object], is_cap_backward: bool = False
) -> str | None:
    keys, universe = make_keys(("A", session_date)), make_universe(*listings)
    labelled = label_outside(keys, universe, is_cap_backward=is_cap_backward)
    reason: str | None = labelled["outside"][0]
    return reason


DAY = dt.timedelta(days=1)
LIFE = {"ticker": "A", "listed_date": LISTED, "delisted_date": ENDED}
RECYCLED = [
    {"ticker": "A", "listed_date": LISTED, "delisted_date": dt.date(2012, 1, 3)},
    {"ticker": "A", "listed_date": dt.date(2020, 1, 2)},
]
"""One ticker, two companies, and years between them."""
LARGE = {
    "ticker": "A",
    "market_cap_usd": 3e9,
    "market_cap_as_of_date": AS_OF,
    "is_below_cap": False,
}


@pytest.mark.parametrize(
    ("session_date", "listings", "reason"),
    [
        (LISTED - DAY, [LIFE], OUTSIDE_PERIOD),
        (LISTED, [LIFE], None),
        (SESSION, [LIFE], None),
        (ENDED, [LIFE], None),
        (ENDED + DAY, [LIFE], OUTSIDE_PERIOD),
        (SESSION, [{"ticker": "a"}], UNLISTED),
        (SESSION, [{"ticker": "A"}], None),
        (SESSION, [{"ticker": "A", "is_active": False}], None),
        (SESSION, RECYCLED, OUTSIDE_PERIOD),
        (LISTED, RECYCLED, None),
        (AS_OF, RECYCLED, None),
        (SESSION, [LARGE], None),
        (AS_OF, [LARGE], ABOVE_CAP),
    ],
)
def test_label_outside_goes_by_listing_period_and_by_a_cap_from_its_date_on(
    session_date: dt.date, listings: list[dict[str, object]], reason: str | None
) -> None:
    """L22: who is a member is decided by when it was listed; an unknown date is no bound."""
    assert find_reason(session_date, *listings) == reason


def test_label_outside_applies_a_cap_backwards_on_demand_only() -> None:
    """L22: today's market cap decided membership of 2004."""
    assert find_reason(SESSION, LARGE, is_cap_backward=True) == ABOVE_CAP


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

    few = find_reason(session_date, *rows[:-1])
    many = find_reason(session_date, *rows)

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
