"""The README as a new user follows it, on a small emulated market: every block, in order."""

from collections.abc import Iterator

import pytest

from smallcaps_assets import Lake
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets_tests.documents.blocks import read_blocks
from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.documents.rules import RULES
from smallcaps_assets_tests.lakehouse_factories import write_text

pytestmark = pytest.mark.slow

PAGE = "README.md"
MARKET = MarketConfig(tickers=8, busy_trades=0, trades_scale=0.2)
QUICK = {
    "SMALLCAPS_FIRST_SESSION": "2024-01-08",
    "SMALLCAPS_LAST_SESSION": "2024-02-29",
    "SMALLCAPS_PILOT_TICKERS": "2",
    "SMALLCAPS_REQUESTS_PER_MINUTE": "0",
    "SMALLCAPS_WORKERS": "2",
}
"""A few weeks instead of twenty years; the page lets its reader choose them."""
OWN = "ticker,date,events\nBCPC,2024-01-10,E6\nPRN,2024-02-05,\n"


@pytest.fixture(scope="module")
def vendor() -> Iterator[EmulatorServer]:
    with EmulatorServer(Market(MARKET)) as server:
        yield server


@pytest.fixture(scope="module")
def reader(vendor: EmulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_folder(tmp_path_factory.mktemp("readme")) as folder:
        write_text(folder / "my_watchlist.csv", OWN)
        yield Reader(folder, RULES, QUICK | {"SMALLCAPS_BASE_URL": vendor.url})


def name_planned_keys(reader: Reader) -> None:
    """Put keys of the plan in place of the words of the page, as a reader would."""
    plan = Lake(reader.folder / "data").plan()
    keys = [encode_key(*row) for row in plan.select("ticker", "session_date").rows()]
    reader.placeholders |= {"FIRST": keys[0], "LAST": keys[1]}


def test_every_block_in_order(reader: Reader) -> None:
    for block in read_blocks(PAGE):
        if "FIRST...LAST" in block.text:
            name_planned_keys(reader)
        reader.do(block)

    assert all(f"{part}. " in reader.said[0] for part in range(1, 6))
    assert [command for command in reader.ran if "FIRST" in command] == []
