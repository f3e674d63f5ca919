"""Folders and files whose names mean something to others: patterns, addresses, homes."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal
from smallcaps_assets_tests.cli.homes import count_rows
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    WATCHLIST_TEXT,
    open_memory,
    write_text,
)


@pytest.fixture
def bracketed(market_server: EmulatorServer, tmp_path: Path) -> Iterator[User]:
    """Return a user in `a[1]`, beside a folder `a1` that the name matches as a pattern."""
    environment = {
        "SMALLCAPS_SOURCE": "emulator",
        "SMALLCAPS_BASE_URL": market_server.url,
        "XDG_STATE_HOME": str(tmp_path),
    }
    with open_memory() as folder:
        for name in ("a[1]", "a1"):
            (folder / name).mkdir()
            write_text(folder / name / "watchlist[1].csv", WATCHLIST_TEXT)
            other = "ticker,date,events\nNOPE,2024-01-10,E6\n"
            write_text(folder / name / "watchlist1.csv", other)
        yield User(folder / "a[1]", environment)


def test_brackets_are_letters(bracketed: User) -> None:
    """L37: a reader that takes paths for patterns read the watchlist and lake of another folder."""
    downloaded = bracketed.run("download", "--watchlist", "watchlist[1].csv")
    status = json.loads(bracketed.run("status", "--json").out)

    assert downloaded.code == 0, downloaded.text
    assert status["partitions"]["done"] == status["partitions"]["planned"] == SESSIONS
    assert bracketed.run("audit", "--deep").code == 0
    assert not (bracketed.folder.parent / "a1" / "data").exists()
    assert Lake(bracketed.data_dir).trades("BCPC").collect().height
    assert count_rows(bracketed)


def test_dagster_finds_its_configuration_between_brackets(
    bracketed: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """L37: without it telemetry was on, and downloads did not wait for one another."""
    bracketed.run("plan", "--watchlist", "watchlist[1].csv")
    (alias,) = (tmp_path / "smallcaps_assets" / "homes").iterdir()
    monkeypatch.setenv("DAGSTER_HOME", str(alias))

    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
    assert alias.resolve() == (bracketed.data_dir / "dagster").resolve()


@pytest.mark.parametrize("name", ["a%41", "what?", "a%2fb"])
@pytest.mark.parametrize("command", ["plan", "status", "download"])
def test_what_dagster_cannot_take_is_refused_before_anything_is_written(
    user: User, name: str, command: str
) -> None:
    """L37."""
    folder = user.folder / name

    finished = user.run(command, SMALLCAPS_DATA_DIR=folder)

    check_refusal(finished, REFUSED, "SMALLCAPS_DATA_DIR", str(folder), "expected a folder without")
    assert not folder.exists()
