"""What tests of several packages share and has to be torn down: a served market, a lake."""

from collections.abc import Iterator
from typing import Final

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
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


@pytest.fixture(scope="session", autouse=True)
def revisions_read_once() -> Iterator[None]:
    """Let alembic compile the 90 revisions of Dagster's databases once, not for every home."""
    read, usual = dict[str, ScriptDirectory](), ScriptDirectory.from_config

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location", "")
        if place not in read:
            read[place] = usual(config)
        return read[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


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
        build_small_lake(folder, server.url).ledger.close()
    return SmallLake(folder, server.url)
