import datetime as dt
from itertools import pairwise

import pytest

from smallcaps_assets.core.keys import check_ticker
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.market.listings import (
    describe_bystanders,
    describe_life,
    list_companies,
    list_lives,
)

END = dt.date(2024, 12, 31)
SESSIONS = load_calendar().dates(dt.date(2023, 1, 3), END)


def list_tickers(count: int) -> list[str]:
    return [name for company in list_companies(count) for name, _ in company.names]


def test_more_companies_leave_the_first_ones_as_they_are() -> None:
    assert list_companies(60)[:40] == list_companies(40)


@pytest.mark.parametrize(
    "ticker", ["BCPC", "BCpC", "CON", "PRN", "BRK.A", "FLTX.WS", "GNTEw", "RCYX", "OLDN", "NEWN"]
)
def test_tickers_that_break_downloaders_come_first(ticker: str) -> None:
    assert ticker in list_tickers(14)


def test_every_ticker_is_one_and_only_one_is_used_twice() -> None:
    tickers = list_tickers(400)

    assert [check_ticker(ticker) for ticker in tickers] == tickers
    assert sorted(ticker for ticker in set(tickers) if tickers.count(ticker) > 1) == ["RCYX"]


def test_lives_of_a_ticker_do_not_overlap() -> None:
    lives = list_lives(list_companies(40), SESSIONS)

    for before, after in pairwise(lives):
        assert before.first <= before.last
        assert before.ticker != after.ticker or before.last < after.first


def test_a_life_that_ended_is_described_as_delisted() -> None:
    lives = {life.ticker: life for life in list_lives(list_companies(40), SESSIONS)}

    gone, alive = (describe_life(lives[ticker], END) for ticker in ("DLSA", "CON"))

    assert (gone["active"], alive["active"]) == (False, True)
    assert gone["delisted_utc"][:10] == str(lives["DLSA"].last + dt.timedelta(days=1))
    assert "delisted_utc" not in alive


def test_20000_listings_are_made_with_types_missing_and_tickers_used_twice() -> None:
    """L22: what a real list of tickers looks like."""
    rows = describe_bystanders(20_000, {"CON"}, END)

    tickers = [row["ticker"] for row in rows]
    assert len({row["composite_figi"] for row in rows}) == len(rows) == 20_000
    assert "CON" not in tickers
    assert len(set(tickers)) == 20_000 - 399
    assert 0 < len([row for row in rows if "type" not in row]) < 1_000
    assert len([row for row in rows if not row["active"]]) == 4_000
