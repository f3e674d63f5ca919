import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.lakehouse_factories import WATCHLIST_TEXT, open_memory, write_text


@pytest.fixture
def user(market_server: EmulatorServer) -> Iterator[User]:
    """Return a user of the emulated market, who has an empty folder and a watchlist."""
    environment = {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_BASE_URL": market_server.url}
    with open_memory() as folder:
        write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
        yield User(folder, environment)


@pytest.fixture(scope="session")
def downloaded(small_market: Market) -> Iterator[Path]:
    """Return a data folder filled by `smallcaps download`, Dagster's home in it; tests copy it."""
    with open_memory() as folder:
        write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
        with EmulatorServer(small_market) as server:
            environment = {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_BASE_URL": server.url}
            finished = User(folder, environment).run("download", "--watchlist", "watchlist.csv")
        assert finished.code == 0, finished.text
        yield folder / "data"


@pytest.fixture
def filled(user: User, downloaded: Path) -> User:
    """Return a user who has downloaded the watchlist; the server has not seen those requests."""
    shutil.copytree(downloaded, user.data_dir)
    return user
