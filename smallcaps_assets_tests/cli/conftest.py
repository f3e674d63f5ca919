import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.lake.roots import identity
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
        _download(small_market, folder)
        yield folder / "data"


@pytest.fixture(scope="session")
def downloaded_segments(small_market: Market) -> Iterator[Path]:
    """Return the same with a lake of segments."""
    with _downloaded_as(identity.SEGMENTS_FORMAT, small_market) as data_dir:
        yield data_dir


@pytest.fixture(scope="session")
def downloaded_receipts(small_market: Market) -> Iterator[Path]:
    """Return the same with a file and a receipt for each session."""
    with _downloaded_as(identity.RECEIPTS_FORMAT, small_market) as data_dir:
        yield data_dir


@pytest.fixture
def filled(user: User, downloaded: Path) -> User:
    """Return a user who has downloaded the watchlist; the server has not seen those requests."""
    shutil.copytree(downloaded, user.data_dir)
    return user


@pytest.fixture
def filled_segments(user: User, downloaded_segments: Path) -> User:
    """Return a user who has downloaded it into a lake of segments."""
    shutil.copytree(downloaded_segments, user.data_dir)
    return user


@pytest.fixture
def filled_receipts(user: User, downloaded_receipts: Path) -> User:
    """Return a user who has downloaded it into a lake of receipts."""
    shutil.copytree(downloaded_receipts, user.data_dir)
    return user


@contextmanager
def _downloaded_as(written: int, market: Market) -> Iterator[Path]:
    """Yield a data folder whose lake is made of segments or receipts."""
    with open_memory() as folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(identity, "WRITTEN_FORMAT", written)
            _download(market, folder)
        yield folder / "data"


def _download(market: Market, folder: Path) -> None:
    write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
    with EmulatorServer(market) as server:
        environment = {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_BASE_URL": server.url}
        finished = User(folder, environment).run("download", "--watchlist", "watchlist.csv")
    assert finished.code == 0, finished.text
