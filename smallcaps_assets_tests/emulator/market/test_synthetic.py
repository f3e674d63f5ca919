import datetime as dt
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.emulator.tape import Span
from smallcaps_assets_tests.emulator.emulator_factories import build_core_bar

FIRST, LAST = dt.date(2023, 1, 3), dt.date(2024, 12, 31)
DAY = dt.date(2023, 3, 6)
HOUR_NS = 3_600 * 10**9


def list_dates(market: Market, ticker: str) -> list[dt.date]:
    return [date for date, _ in market.read_ticker_bars(ticker, FIRST, LAST)]


def find_listings(market: Market, ticker: str) -> list[dict[str, Any]]:
    return [dict(row) for row in market.read_listings() if row["ticker"] == ticker]


@pytest.mark.parametrize("ticker", ["BCPC", "BCpC", "CON", "BRK.A", "FLTX.WS"])
@pytest.mark.parametrize("date", [DAY, dt.date(2023, 7, 3), dt.date(2023, 11, 6)])
def test_bars_agree_with_trades(market: Market, ticker: str, date: dt.date) -> None:
    """L17: on ordinary days, early closes and after DST, for busy and thin tickers."""
    bars = market.read_ticker_bars(ticker, date, date)

    expected = build_core_bar(market.read_trades(ticker, date))
    assert [{k: bar[k] for k in "ohlcvn"} for _, bar in bars] == ([expected] if expected else [])


def test_the_same_seed_makes_the_same_market_whatever_part_is_served(market: Market) -> None:
    part = Market(MarketConfig(tickers=3, first=dt.date(2023, 3, 1), last=dt.date(2023, 3, 31)))

    assert_frame_equal(part.read_trades("CON", DAY), market.read_trades("CON", DAY))
    assert part.read_trades("CON", dt.date(2023, 4, 3)).is_empty()
    assert list_dates(part, "CON") == load_calendar().dates(
        dt.date(2023, 3, 1), dt.date(2023, 3, 31)
    )


def test_another_seed_makes_another_market(market: Market) -> None:
    other = Market(MarketConfig(seed=2, tickers=3))

    assert not other.read_trades("CON", DAY).equals(market.read_trades("CON", DAY))
    assert (other.name, market.name) == ("seed=2 tickers=3", "seed=1 tickers=14")


def test_a_market_may_begin_earlier_and_trade_more() -> None:
    early = dt.date(2022, 6, 6)

    big = Market(MarketConfig(tickers=3, first=early, trades_scale=5.0, busy_trades=0))

    counts = [row["n"] for _, row in big.read_ticker_bars("CON", early, LAST)]
    assert sorted(counts)[len(counts) // 2] > 1_500
    assert max(counts) < 50_000


def test_tapes_come_in_the_order_of_time_or_against_it(market: Market) -> None:
    start, end = day_bounds_ns(DAY, DAY + dt.timedelta(days=4))

    forward = list(market.iter_tapes("CON", Span(start, end)))
    backward = list(market.iter_tapes("CON", Span(start, end, is_descending=True)))

    assert forward == backward[::-1]
    assert [len(tape.times) for tape in forward] == [
        market.read_trades("CON", DAY + dt.timedelta(days=n)).height for n in range(5)
    ]


def test_trades_stay_in_their_new_york_day_on_both_sides_of_dst(market: Market) -> None:
    """L6: the evening of a winter day is not the next day's."""
    for date in (dt.date(2023, 3, 10), dt.date(2023, 3, 13), dt.date(2023, 11, 6)):
        start, end = day_bounds_ns(date, date)
        times = market.read_trades("CON", date)["sip_timestamp"]
        assert times.is_between(start, end, closed="left").all()
        assert times[-1] > start + 16 * HOUR_NS


def test_an_early_close_ends_the_regular_phase_at_one(market: Market) -> None:
    date = dt.date(2023, 7, 3)
    start, _ = day_bounds_ns(date, date)
    trades = market.read_trades("CON", date)

    closing = trades.filter(pl.col("conditions") == "8,9").row(0, named=True)

    assert 0 < closing["sip_timestamp"] - start - 13 * HOUR_NS < 10**9
    assert trades["sip_timestamp"].to_list()[-1] < start + 17 * HOUR_NS + 10**9


def test_a_delisted_ticker_stops_trading_and_stays_listed(market: Market) -> None:
    listing = find_listings(market, "DLSB")[0]

    assert (listing["active"], listing["delisted_utc"][:4]) == (False, "2023")
    assert str(list_dates(market, "DLSB")[-1]) < listing["delisted_utc"]


def test_a_recycled_ticker_is_two_companies_with_a_gap(market: Market) -> None:
    """L22: a ticker is not an identity."""
    old, new = find_listings(market, "RCYX")
    dates = list_dates(market, "RCYX")

    assert (old["active"], new["active"]) == (False, True)
    assert old["composite_figi"] != new["composite_figi"]
    assert max(b - a for a, b in pairwise(dates)) > dt.timedelta(days=60)


def test_a_renamed_company_is_listed_under_its_last_ticker(market: Market) -> None:
    changes = market.read_changes("NEWN")

    assert [ticker for _, ticker in changes] == ["NEWN", "OLDN"]
    assert find_listings(market, "OLDN") == []
    assert list_dates(market, "OLDN")[-1] < changes[0][0] == list_dates(market, "NEWN")[0]


def test_a_part_that_ends_earlier_knows_nothing_of_what_comes() -> None:
    part = Market(MarketConfig(tickers=14, last=dt.date(2023, 3, 31)))

    assert [ticker for _, ticker in part.read_changes("OLDN")][-1] == "OLDN"
    assert find_listings(part, "OLDN")[0]["active"]
    assert find_listings(part, "IPOX") == []
    assert len(find_listings(part, "RCYX")) == 1
    assert part.read_splits() == []


def test_prices_jump_by_the_ratio_of_a_split(market: Market) -> None:
    """L23: prices are unadjusted."""
    for split in market.read_splits():
        date = dt.date.fromisoformat(split["execution_date"])
        bars = market.read_ticker_bars(split["ticker"], date - dt.timedelta(days=7), date)
        (_, before), (_, after) = bars[-2:]
        jump = after["o"] / before["c"] * split["split_to"] / split["split_from"]
        assert jump == pytest.approx(1, abs=0.15)
    assert {s["split_from"] > s["split_to"] for s in market.read_splits()} == {True, False}


def test_thin_tickers_have_days_without_trades_and_days_of_one_phase(market: Market) -> None:
    """L11: a day may have nothing but after-hours trades."""
    dates = load_calendar().dates(FIRST, LAST)
    missing = set(dates) - set(list_dates(market, "FLTX.WS"))
    empty = min(missing)
    first_hours = []
    for date in list_dates(market, "FLTX.WS")[:120]:
        start, _ = day_bounds_ns(date, date)
        times = market.read_trades("FLTX.WS", date)["sip_timestamp"].to_list()
        first_hours.append((times[0] - start) // HOUR_NS)

    assert 20 < len(missing) < 120
    assert market.read_trades("FLTX.WS", empty).is_empty()
    assert max(first_hours) >= 16


def test_some_saturdays_have_prints_but_no_bar(market: Market) -> None:
    saturdays = [dt.date(2023, 1, 7) + dt.timedelta(weeks=week) for week in range(100)]

    strays = [day for day in saturdays if not market.read_trades("CON", day).is_empty()]

    assert len(strays) == 1
    assert market.read_grouped_bars(strays[0]) == []


def test_listings_beyond_the_companies_never_trade(market: Market) -> None:
    listings = market.read_listings()
    bystanders = [row for row in listings if row["name"].startswith("Bystander")]

    assert len(listings) == 260
    assert len({row["composite_figi"] for row in listings}) == 260
    assert not {row["ticker"] for row in bystanders} & set(market.tickers)
    assert {bool(row["active"]) for row in bystanders} == {True, False}
    assert len({row["ticker"] for row in bystanders}) < len(bystanders)
