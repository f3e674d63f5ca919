"""What tests of several packages share and has to be torn down: a served market, a lake."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.lakehouse_factories import (
    SMALL_MARKET,
    SmallLake,
    build_small_lake,
)

# No test is timed: a busy machine is no defect.  The rest stays as the environment chose it.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def small_market() -> Market:
    """Return the emulated market of four tickers, made once."""
    return Market(SMALL_MARKET)


@pytest.fixture
def market_server(small_market: Market) -> Iterator[EmulatorServer]:
    """Serve the small market to one test."""
    with EmulatorServer(small_market) as server:
        yield server


@pytest.fixture(scope="session")
def small_lake(small_market: Market, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    """Return a finished lake of nine sessions; tests copy it."""
    folder = tmp_path_factory.mktemp("small_lake")
    with EmulatorServer(small_market) as server:
        lakehouse = build_small_lake(folder, server.url)
        lakehouse.ledger.close()
    return SmallLake(folder, server.url)
