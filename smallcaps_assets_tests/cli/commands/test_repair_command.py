"""`smallcaps repair` from the terminal: damage, quarantine, red partitions, one more download."""

import os
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.cli.homes import count_rows, hash_content, show_partitions
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, count_trade_requests

DAMAGED = "BCPC_2024-01-10"
LOST = "CON_2024-01-31"


@pytest.fixture
def hurt(filled: User) -> User:
    """Return a user one of whose sessions is cut, and one is gone."""
    os.truncate(find_folder(filled, DAMAGED) / "trades.parquet", 1_000)
    folder = find_folder(filled, LOST)
    for file in folder.iterdir():
        file.unlink()
    return filled


def find_folder(user: User, key: str) -> Path:
    """Return the folder of a session."""
    ticker, date = key.replace("CON", "%43ON").split("_")
    return user.data_dir / "lake" / "trades" / f"ticker={ticker}" / f"date={date}"


def list_kept(user: User) -> list[str]:
    """Return the files of the lake, without those that SQLite has while it is open."""
    return [name for name in user.list_files() if not name.endswith(("-shm", "-wal"))]


def test_repair_makes_just_the_damaged_sessions_red_and_the_download_heals_them(
    filled: User, market_server: EmulatorServer
) -> None:
    """L17: the content is what it was, and nothing else is fetched."""
    before, rows = hash_content(filled), count_rows(filled)
    os.truncate(find_folder(filled, DAMAGED) / "trades.parquet", 1_000)

    repaired = filled.run("repair")
    red, left = show_partitions(filled), count_rows(filled)
    downloaded = filled.run("download")

    assert (repaired.code, downloaded.code) == (0, 0), downloaded.text
    assert "9 sessions checked, 1 damaged and 0 lost" in repaired.text
    assert f"{DAMAGED} │ bytes" in repaired.text
    assert 0 < left < rows
    assert red["FAILED"] == {DAMAGED}
    assert len(red["MATERIALIZED"]) == SESSIONS - 1
    assert count_trade_requests(market_server) == 1
    assert len(show_partitions(filled)["MATERIALIZED"]) == SESSIONS
    assert hash_content(filled) == before


def test_a_dry_run_finds_what_a_repair_moves_and_changes_nothing(hurt: User) -> None:
    before = list_kept(hurt)

    said = hurt.run("repair", "--dry-run")
    kept, shown = list_kept(hurt), set(show_partitions(hurt))
    repaired = hurt.run("repair")

    assert "would be moved to quarantine: 1" in said.text
    assert (kept, shown) == (before, {"MATERIALIZED"})
    assert all("1 damaged and 1 lost" in finished.text for finished in (said, repaired))
    assert show_partitions(hurt)["FAILED"] == {DAMAGED, LOST}
    assert hurt.run("repair").text.startswith("7 sessions checked, 0 damaged and 0 lost")


def test_nothing_is_deleted_unless_it_is_said(hurt: User) -> None:
    hurt.run("repair")
    kept = [name for name in hurt.list_files() if name.startswith("quarantine/")]

    deleted = hurt.run("repair", "--delete")

    names = {Path(name).name for name in kept}
    assert names == {"trades.parquet", "_SUCCESS", "evidence.json"}
    assert f"deleted {hurt.data_dir / 'quarantine'}" in deleted.text
    assert not (hurt.data_dir / "quarantine").exists()
