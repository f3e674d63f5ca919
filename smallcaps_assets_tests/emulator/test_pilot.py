"""The default market is worth a demonstration: every event, a pilot of the right size."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.budget.pilot import select_pilot
from smallcaps_assets.core.events.rules import EVENT_NAMES, detect_events
from smallcaps_assets.core.events.watchlist import build_watchlist
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, plan_windows
from smallcaps_assets.core.reference.daily_bars import parse_daily_bars
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.market.synthetic import FIRST_SESSION, LAST_SESSION, Market
from smallcaps_assets.emulator.replay.folder import BAR_NAMES


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


@pytest.fixture(scope="module")
def bars(market: Market) -> pl.DataFrame:
    rows = [
        {"session_date": date, **row}
        for ticker in market.tickers
        for date, row in market.read_ticker_bars(ticker, FIRST_SESSION, LAST_SESSION)
    ]
    return parse_daily_bars(pl.DataFrame(rows, infer_schema_length=None).rename(BAR_NAMES))


@pytest.fixture(scope="module")
def events(market: Market, bars: pl.DataFrame) -> pl.DataFrame:
    splits = pl.DataFrame(market.read_splits()).select(
        "ticker",
        pl.col("execution_date").str.to_date(),
        pl.col("split_from", "split_to").cast(pl.Float64),
    )
    return detect_events(bars.lazy(), splits.lazy()).collect()


def test_every_event_happens(events: pl.DataFrame) -> None:
    assert set(events["event"]) == set(EVENT_NAMES)
    assert min(events["event"].value_counts()["count"].to_list()) >= 15


def test_an_ordinary_session_has_about_500_trades(bars: pl.DataFrame) -> None:
    assert 350 < np.median(bars["trade_count"].to_numpy()) < 650
    assert bars.height > 15_000


def test_the_pilot_is_a_minute_of_download_with_very_busy_days(
    bars: pl.DataFrame, events: pl.DataFrame
) -> None:
    """L2: the busiest days are the reason for the download."""
    watchlist = build_watchlist(events.lazy()).collect()
    bounds = PlanBounds(
        first=dt.date(2023, 1, 3), last_available=LAST_SESSION, calendar=load_calendar()
    )

    plan = plan_windows(select_pilot(watchlist, 3, 15), DEFAULT_WINDOWS, bounds).plan

    trades = plan.join(bars, on=["ticker", "session_date"], how="left")["trade_count"]
    assert plan["ticker"].n_unique() == 15
    assert 500 < plan.height < 1_200
    assert 1_000_000 < trades.sum() < 3_000_000
    assert trades.filter(trades > 50_000).len() >= 5
    assert trades.filter(trades > 100_000).len() >= 1
    assert 0 < trades.null_count() < 10
