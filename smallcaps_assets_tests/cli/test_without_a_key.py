"""A lake that exists knows its source: what does not fetch needs neither a key nor a setting."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal
from smallcaps_assets_tests.lakehouse_factories import (
    SMALL_MARKET,
    WATCHLIST_TEXT,
    open_memory,
    write_text,
)

COMMANDS: Final = (
    ["status"],
    ["download"],
    ["audit"],
    ["report"],
    ["repair"],
    ["reindex"],
    ["reconcile"],
    ["catalog"],
    ["tidy"],
    ["audit", "--deep"],
    ["report", "--html"],
    ["export", "--layout", "date", "out"],
    ["plan", "--diff"],
    ["relocate", "elsewhere"],
)


@pytest.fixture(scope="module")
def bought(small_market: Market) -> Iterator[Path]:
    """Return the folder of a lake that was bought of a vendor, who is gone now."""
    with open_memory() as folder:
        write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
        with EmulatorServer(small_market) as server:
            someone = User(folder, {"SMALLCAPS_BASE_URL": server.url, "POLYGON_API_KEY": "key"})
            finished = someone.run("download", "--watchlist", "watchlist.csv")
        assert finished.code == 0, finished.text
        yield folder


def test_a_lake_of_the_vendor_needs_a_key_to_fetch_only(bought: Path) -> None:
    """L50: every command but a few asked for a key."""
    nobody = User(bought, {"SMALLCAPS_WATCHLIST": "watchlist.csv"})

    codes = {" ".join(command): nobody.run(*command).code for command in COMMANDS}

    # An audit may fail for what it finds, which is no refusal.
    assert {name for name, code in codes.items() if code == REFUSED} == set()
    assert {name for name, code in codes.items() if code} <= {"audit"}


def test_a_lake_of_the_vendor_says_that_a_fetch_needs_a_key(bought: Path) -> None:
    """L50."""
    write_text(bought / "more.csv", WATCHLIST_TEXT.replace("2024-01-10", "2024-02-14"))

    finished = User(bought, {}).run("download", "--watchlist", "more.csv")

    check_refusal(finished, REFUSED, "no key for", "set POLYGON_API_KEY")


def test_a_lake_of_an_emulated_market_starts_it_by_itself(filled: User) -> None:
    """L50: its seed stands in the lake."""
    nobody = User(filled.folder, {})

    status, downloaded = nobody.run("status"), nobody.run("download", "--tickers", "CON")

    assert (status.code, downloaded.code) == (0, 0), downloaded.text


def test_another_source_is_refused_as_ever(bought: Path) -> None:
    someone = User(bought, {"SMALLCAPS_SOURCE": "emulator"})

    check_refusal(someone.run("report"), REFUSED, "is bound to vendor:loopback")


def test_a_new_lake_is_bound_to_the_market_that_is_served(user: User) -> None:
    """L53: without a setting beside it, the lake of a replay was bound to a seed."""
    with EmulatorServer(Market(replace(SMALL_MARKET, seed=7))) as server:
        someone = User(user.folder, {**user.environment, "SMALLCAPS_BASE_URL": server.url})
        planned = someone.run("plan", "--watchlist", "watchlist.csv")
        again = someone.run("plan", "--watchlist", "watchlist.csv")

    lake = json.loads((user.data_dir / "lake" / "lake.json").read_text(encoding="utf-8"))
    assert (planned.code, again.code) == (0, 0), planned.text + again.text
    assert (lake["kind"], lake["name"]) == ("emulator", "seed=7")
