import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.phases import (
    AFTER_HOURS,
    CLOSED,
    PRE_MARKET,
    REGULAR,
    label_phases,
)
from smallcaps_assets.core.ticks.profile import COUNTS, PROFILE, count_quarters, sum_profile

CALENDAR = load_calendar()
WINTER, SUMMER, EARLY = dt.date(2024, 1, 17), dt.date(2024, 7, 17), dt.date(2024, 11, 29)
SECOND_NS = 1_000_000_000


def make_trades(instants: list[dt.datetime], date: dt.date) -> pl.LazyFrame:
    stamps = pl.Series(instants, dtype=pl.Datetime("ns", "UTC"))
    return pl.LazyFrame({"sip_timestamp": stamps}).with_columns(
        ticker=pl.lit("ABCD"), session_date=pl.lit(date)
    )


def make_counts(date: dt.date, quarter: int, trades: int = 1) -> pl.DataFrame:
    return pl.DataFrame([("ABCD", date, quarter, trades)], COUNTS, orient="row")


@pytest.mark.parametrize(("date", "hour"), [(WINTER, 14), (SUMMER, 13)])
def test_count_quarters_reads_the_clock_of_new_york(date: dt.date, hour: int) -> None:
    """L6: 09:30 is 14:30 UTC in winter and 13:30 in summer."""
    opening = dt.datetime(date.year, date.month, date.day, hour, 30, tzinfo=dt.UTC)
    before, after = opening - dt.timedelta(seconds=1), opening + dt.timedelta(minutes=15)

    counts = count_quarters(make_trades([before, opening, opening, after], date)).collect()

    assert counts.schema == COUNTS
    assert dict(counts.select("quarter", "trades").iter_rows()) == {37: 1, 38: 2, 39: 1}


@pytest.mark.parametrize(
    ("date", "quarter", "phase"),
    [
        (WINTER, 15, CLOSED),
        (WINTER, 16, PRE_MARKET),
        (WINTER, 38, REGULAR),
        (WINTER, 63, REGULAR),
        (WINTER, 64, AFTER_HOURS),
        (WINTER, 80, CLOSED),
        (EARLY, 51, REGULAR),
        (EARLY, 52, AFTER_HOURS),
        (EARLY, 68, CLOSED),
    ],
)
def test_sum_profile_knows_the_phases_of_each_session(
    date: dt.date, quarter: int, phase: str
) -> None:
    profile = sum_profile(make_counts(date, quarter), CALENDAR.frame)

    assert profile.rows() == [(phase, quarter, 1)]


def test_sum_profile_of_nothing_has_no_rows() -> None:
    assert sum_profile(COUNTS.to_frame(), CALENDAR.frame).schema == PROFILE


@given(st.lists(st.integers(0, 86_399), min_size=1, max_size=40), st.sampled_from([WINTER, EARLY]))
def test_profile_agrees_with_the_phases_of_single_trades(seconds: list[int], date: dt.date) -> None:
    midnight = dt.datetime(date.year, date.month, date.day, 5, tzinfo=dt.UTC)
    trades = make_trades([midnight + dt.timedelta(seconds=second) for second in seconds], date)

    profile = sum_profile(count_quarters(trades).collect(), CALENDAR.frame)

    instants = trades.collect()["sip_timestamp"].to_physical().to_numpy()
    phases = label_phases(instants, CALENDAR).value_counts()
    found = profile.group_by("trading_phase").agg(pl.col("trades").sum())
    assert dict(found.iter_rows()) == dict(phases.iter_rows())
