"""What tests of several packages share and has to be torn down: a served market, a lake."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.lake.roots import identity
from smallcaps_assets_tests.lakehouse_factories import (
    SMALL_MARKET,
    SmallLake,
    build_small_lake,
)

# No test is timed: a busy machine is no defect.  The rest stays as the environment chose it.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


LONGEST: Final = (
    "documents/test_readme.py",
    "defs/test_resume.py",
    "cli/test_small_lake.py",
    "test_secrets.py",
    "test_replay.py",
    "defs/test_interrupts.py",
)
"""Files of a few tests that take longest: they begin first, so that no worker waits at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file the order stays."""
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


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
    return _finish_lake(small_market, tmp_path_factory.mktemp("small_lake"))


@pytest.fixture(scope="session")
def small_receipt_lake(small_market: Market, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    """Return the same lake with a file and a receipt for each session; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "WRITTEN_FORMAT", identity.RECEIPTS_FORMAT)
        return _finish_lake(small_market, tmp_path_factory.mktemp("small_receipt_lake"))


@pytest.fixture(scope="session")
def small_segment_lake(small_market: Market, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    """Return the same lake of segments; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "WRITTEN_FORMAT", identity.SEGMENTS_FORMAT)
        return _finish_lake(small_market, tmp_path_factory.mktemp("small_segment_lake"))


@pytest.fixture
def receipt_lakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new lakes of a file and a receipt for each session: for tests of that format alone."""
    monkeypatch.setattr(identity, "WRITTEN_FORMAT", identity.RECEIPTS_FORMAT)


def _finish_lake(market: Market, folder: Path) -> SmallLake:
    with EmulatorServer(market) as server:
        lakehouse = build_small_lake(folder, server.url)
        lakehouse.ledger.close()
    return SmallLake(folder, server.url)
