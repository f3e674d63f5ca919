"""The vendor's own clients read the emulator's truth: the contract of the wire format."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, TypeAlias

import massive
import polars as pl
import polygon
import pytest

from smallcaps_assets.core.ticks.conditions import CONDITION_RULES
from smallcaps_assets.emulator.endpoints.catalogue import list_exchanges
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.emulator.emulator_factories import KEY

SESSION = dt.date(2023, 3, 6)
OfficialClient: TypeAlias = Any
"""Either of the two; they have no common base."""
GROUPED = ("open", "high", "low", "close", "volume", "vwap", "transactions")
WIRE = ("o", "h", "l", "c", "v", "vw", "n")


@pytest.fixture(params=[massive.RESTClient, polygon.RESTClient], ids=["massive", "polygon"])
def client(request: pytest.FixtureRequest, vendor: EmulatorServer) -> Iterator[OfficialClient]:
    official = request.param(KEY, base=vendor.url)
    yield official
    official.client.clear()


def list_truth(market: Market, ticker: str) -> list[dict[str, Any]]:
    """Return the market's trades as a client of the vendor should see them."""
    numbers = pl.col("conditions").str.split(",").list.eval(pl.element().cast(pl.Int64))
    never_zero = pl.col("trf_id", "trf_timestamp", "correction")
    return (
        market.read_trades(ticker, SESSION)
        .with_columns(pl.when(pl.col("conditions") != "").then(numbers).alias("conditions"))
        .with_columns(never_zero.replace(0, None))
        .to_dicts()
    )


@pytest.mark.parametrize("limit", [100, 50_000])
@pytest.mark.parametrize("ticker", ["CON", "BCpC", "BRK.A"])
def test_trades(client: OfficialClient, market: Market, ticker: str, limit: int) -> None:
    found = list(client.list_trades(ticker, SESSION, order="asc", sort="timestamp", limit=limit))

    truth = list_truth(market, ticker)
    names = [name for name in truth[0] if hasattr(found[0], name)]
    assert [[getattr(trade, name) for name in names] for trade in found] == [
        [row[name] for name in names] for row in truth
    ]
    assert set(truth[0]) - set(names) <= {"decimal_size"}


def test_tickers(client: OfficialClient, market: Market) -> None:
    found = [
        row.ticker
        for active in (True, False)
        for row in client.list_tickers(market="stocks", active=active, limit=100)
    ]

    assert sorted(found) == sorted(row["ticker"] for row in market.read_listings())
    assert len(found) == 260


def test_grouped_bars(client: OfficialClient, market: Market) -> None:
    found = client.get_grouped_daily_aggs(SESSION, adjusted=False)

    truth = market.read_grouped_bars(SESSION)
    assert [bar.ticker for bar in found] == [row["T"] for row in truth]
    assert [[getattr(bar, name) for name in GROUPED] for bar in found] == [
        [row[name] for name in WIRE] for row in truth
    ]


def test_bars_of_a_ticker(client: OfficialClient, market: Market) -> None:
    last = SESSION + dt.timedelta(days=11)

    found = list(client.list_aggs("CON", 1, "day", SESSION, last, adjusted=False, limit=4))

    truth = market.read_ticker_bars("CON", SESSION, last)
    assert [(bar.volume, bar.close) for bar in found] == [(row["v"], row["c"]) for _, row in truth]


def test_splits(client: OfficialClient, market: Market) -> None:
    found = [
        (split.ticker, split.execution_date, split.split_from, split.split_to)
        for split in client.list_splits(limit=2)
    ]

    assert found == [
        (row["ticker"], row["execution_date"], row["split_from"], row["split_to"])
        for row in market.read_splits()
    ]
    assert len(found) > 2


def test_conditions(client: OfficialClient) -> None:
    found = list(client.list_conditions(asset_class="stocks", data_type="trade", limit=1000))

    assert {row.id: row.name for row in found} == {
        rule.id: rule.name for rule in CONDITION_RULES.values()
    }
    form_t = next(row for row in found if row.id == 12)
    assert form_t.update_rules.consolidated.updates_volume
    assert not form_t.update_rules.consolidated.updates_high_low


def test_exchanges(client: OfficialClient) -> None:
    found = client.get_exchanges(asset_class="stocks", locale="us")

    assert [(row.id, row.name) for row in found] == [(r["id"], r["name"]) for r in list_exchanges()]


def test_details_and_renamings(client: OfficialClient, market: Market) -> None:
    details = client.get_ticker_details("NEWN")
    changes = client.get_ticker_events("NEWN", types="ticker_change")

    assert (details.ticker, details.active) == ("NEWN", True)
    assert [event["ticker_change"]["ticker"] for event in changes.events] == ["NEWN", "OLDN"]
    assert [str(date) for date, _ in market.read_changes("NEWN")] == [
        event["date"] for event in changes.events
    ]


def test_holidays(client: OfficialClient) -> None:
    found = client.get_market_holidays()

    assert {row.status for row in found} == {"closed", "early-close"}
    assert {row.exchange for row in found} == {"NYSE", "NASDAQ"}
