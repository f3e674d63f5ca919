"""Plans of universes, proven bits and lives from what a test cares about, and any of them."""

import datetime as dt
from collections.abc import Iterable, Mapping

import polars as pl
from hypothesis import strategies as st

from smallcaps_assets.core.sessions import load_calendar, month_bounds
from smallcaps_assets.core.universe.lives import build_lives
from smallcaps_assets.core.universe.progress import PROVEN
from smallcaps_assets.core.universe.units import assign_batches, plan_ticker_months
from smallcaps_assets.schemas import DAILY_BARS, UNIVERSE_PLAN

CALENDAR = load_calendar()
FIRST, LAST = dt.date(2024, 1, 1), dt.date(2024, 4, 30)
SESSIONS = CALENDAR.dates(FIRST, LAST)
MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04")

Period = tuple[dt.date | None, dt.date | None]


def to_bits(dates: Iterable[dt.date]) -> int:
    """Gather dates of one month as bits."""
    return sum(1 << date.day for date in set(dates))


def list_month(month: str) -> list[dt.date]:
    """List the sessions of a month."""
    return CALENDAR.dates(*month_bounds(month))


def make_plan(
    owed: Mapping[tuple[str, str], Iterable[dt.date]], batches: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """Make a plan from the sessions of tickers and months; all are of batch 1 by default."""
    rows = [
        (month, ticker, (batches or {}).get(ticker, 1), to_bits(dates), None)
        for (ticker, month), dates in owed.items()
    ]
    plan = pl.DataFrame(rows, UNIVERSE_PLAN.schema, orient="row")
    return UNIVERSE_PLAN.conform(plan.filter(pl.col("owed") != 0)).sort(UNIVERSE_PLAN.key)


def make_proven(keys: Iterable[tuple[str, dt.date]]) -> pl.DataFrame:
    """Make proven bits of tickers and sessions."""
    bits: dict[tuple[str, str], int] = {}
    for ticker, date in keys:
        place = (f"{date:%Y-%m}", ticker)
        bits[place] = bits.get(place, 0) | 1 << date.day
    return pl.DataFrame([(*place, held) for place, held in bits.items()], PROVEN, orient="row")


def make_bars(keys: Iterable[tuple[str, dt.date]], trades: int | None = 10) -> pl.DataFrame:
    """Make daily bars of tickers and sessions, all with the same number of trades."""
    rows = [
        {"ticker": ticker, "session_date": date, "volume": None, "trade_count": trades}
        for ticker, date in keys
    ]
    return pl.DataFrame(rows, DAILY_BARS.schema)


def make_lifetimes(*rows: tuple[str, dt.date | None, dt.date | None]) -> pl.DataFrame:
    """Make the part of a universe that tells lives."""
    schema = {"ticker": pl.String(), "listed_date": pl.Date(), "delisted_date": pl.Date()}
    return pl.DataFrame(list(rows), schema, orient="row")


def plan_universe(
    listings: pl.DataFrame, bars: pl.DataFrame | None = None, size: int = 2
) -> pl.DataFrame:
    """Plan listings from :data:`FIRST` to :data:`LAST`, as the product does."""
    lives = build_lives(listings, bars, FIRST, LAST)
    begun = lives.group_by("ticker").agg(first_month=pl.col("first_date").min())
    batches = assign_batches(begun, {}, size)
    return plan_ticker_months(lives, bars, CALENDAR, FIRST, LAST, batches)


days = st.dates(dt.date(2023, 11, 1), dt.date(2024, 6, 30))
periods = st.tuples(st.none() | days, st.none() | days)
tickers = st.sampled_from(["A", "B", "BRK.A", "Cpd"])
listings = st.lists(st.tuples(tickers, periods), max_size=6).map(
    lambda rows: [(ticker, *period) for ticker, period in rows]
)
"""Listings without dates, reversed ones and tickers that were used twice among them."""
bar_keys = st.sets(st.tuples(tickers, st.sampled_from(SESSIONS)), max_size=12)
plans = st.dictionaries(
    st.tuples(tickers, st.sampled_from(MONTHS)), st.sets(st.integers(0, 60), min_size=1), max_size=8
).map(
    lambda months: make_plan(
        {
            (ticker, month): [list_month(month)[n % len(list_month(month))] for n in chosen]
            for (ticker, month), chosen in months.items()
        },
        {"A": 1, "B": 1, "BRK.A": 2, "Cpd": 3},
    )
)
"""Plans of four tickers in three batches and four months."""
key_sets = st.sets(st.tuples(tickers, st.sampled_from(SESSIONS)), max_size=60)
"""Sessions that may be proven, planned or not."""
