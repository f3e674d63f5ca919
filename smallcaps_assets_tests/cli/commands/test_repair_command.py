"""`smallcaps repair` from the terminal: damage, quarantine, red partitions, one more download."""

import os
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.cli.homes import (
    count_rows,
    find_file,
    hash_content,
    lose_file,
    show_partitions,
)
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, count_trade_requests

DAMAGED = "BCPC_2024-01-10"
LOST = "CON_2024-01-31"


@pytest.fixture
def whole(user: User, market_server: EmulatorServer) -> User:
    """Return a user who has downloaded a ticker, then the rest: they lie in different files."""
    user.run("download", "--watchlist", "watchlist.csv", "--tickers", "BCPC")
    assert user.run("download").code == 0
    market_server.reset()
    return user


def list_kept(user: User) -> list[str]:
    """Return the files of the lake, without those that SQLite has while it is open."""
    return [name for name in user.list_files() if not name.endswith(("-shm", "-wal"))]


def damage_file(user: User) -> set[str]:
    """Cut the file that has a session; return all that lay in it."""
    path, keys = find_file(user, DAMAGED)
    os.truncate(path, 1_000)
    return keys


def test_repair_makes_just_the_damaged_sessions_red_and_the_download_heals_them(
    whole: User, market_server: EmulatorServer
) -> None:
    """L17: the content is what it was, and nothing else is fetched."""
    before, rows = hash_content(whole), count_rows(whole)
    damaged = damage_file(whole)

    repaired = whole.run("repair")
    red, left = show_partitions(whole), count_rows(whole)
    downloaded = whole.run("download")

    assert (repaired.code, downloaded.code) == (0, 0), downloaded.text
    assert f"9 sessions checked, {len(damaged)} damaged and 0 lost" in repaired.text
    assert f"{DAMAGED} │" in repaired.text
    assert 0 < left < rows
    assert red["FAILED"] == damaged
    assert len(red["MATERIALIZED"]) == SESSIONS - len(damaged)
    assert count_trade_requests(market_server) == 1
    assert len(show_partitions(whole)["MATERIALIZED"]) == SESSIONS
    assert hash_content(whole) == before


def test_a_dry_run_finds_what_a_repair_moves_and_changes_nothing(whole: User) -> None:
    damaged, lost = damage_file(whole), lose_file(whole, LOST)
    before = list_kept(whole)

    said = whole.run("repair", "--dry-run")
    kept, shown = list_kept(whole), set(show_partitions(whole))
    repaired = whole.run("repair")

    assert "would be moved to quarantine: 1 file" in said.text
    assert "; moved to quarantine: 1 file" in repaired.text
    assert (kept, shown) == (before, {"MATERIALIZED"})
    told = f"{len(damaged)} damaged and {len(lost)} lost"
    assert all(told in finished.text for finished in (said, repaired))
    assert show_partitions(whole)["FAILED"] == damaged | lost
    left = SESSIONS - len(damaged | lost)
    again = whole.run("repair").text
    assert again.startswith(f"{left} sessions checked, 0 damaged")
    assert "moved to quarantine: 0" in again


def test_nothing_is_deleted_unless_it_is_said(whole: User) -> None:
    damage_file(whole)
    whole.run("repair")
    kept = [whole.data_dir / name for name in whole.list_files() if "quarantine/" in name]

    deleted = whole.run("repair", "--delete")

    assert len(kept) > 1
    assert f"deleted {find_quarantine(kept[0])}" in deleted.text
    assert not find_quarantine(kept[0]).exists()


def find_quarantine(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.name == "quarantine")
