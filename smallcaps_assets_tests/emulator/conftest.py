"""One small market for all tests of the emulator: it never changes."""

from collections.abc import Iterator

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig


@pytest.fixture(scope="session")
def market() -> Market:
    return Market(MarketConfig(tickers=14, listings=260))


@pytest.fixture
def vendor(market: Market) -> Iterator[EmulatorServer]:
    with EmulatorServer(market) as server:
        yield server
