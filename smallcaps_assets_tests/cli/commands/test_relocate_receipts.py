"""`smallcaps relocate` of receipts: moved, repaired, unmounted, mounted elsewhere, lost."""

from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets import Lake
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User, check_refusal
from smallcaps_assets_tests.cli.homes import count_rows, hash_content, show_partitions
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, count_trade_requests

BAD_ROOTS: Final = {
    "nowhere": "is no folder: mount the disk",
    "data/lake": "were moved to",
    "data/reports": "lie in one another",
}
"""Settings of one root, and what is said of them."""


@pytest.fixture
def filled(filled_receipts: User) -> User:
    return filled_receipts


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return a place on another disk than the data folder, where there are two."""
    return tmp_path / "lake"


def list_sessions(folder: Path) -> int:
    """Return how many receipts lie below a folder."""
    return len(list(folder.rglob("_SUCCESS")))


def test_relocate_moves_the_lake_and_the_download_goes_on(
    filled: User, market_server: EmulatorServer, dest: Path
) -> None:
    """Nothing is fetched again, the catalog follows, and Dagster notices nothing."""
    content, rows = hash_content(filled), count_rows(filled)

    moved = filled.run("relocate", str(dest))

    assert (moved.code, moved.err) == (0, "")
    assert f"{SESSIONS} sessions" in moved.text
    assert f"the lake is in {dest}" in moved.text
    assert list_sessions(dest) == SESSIONS
    assert list_sessions(filled.data_dir) == 0
    assert hash_content(filled) == content
    assert count_rows(filled) == Lake(filled.data_dir).trades().collect().height == rows
    assert "nothing is missing" in filled.run("download").text
    assert len(show_partitions(filled)["MATERIALIZED"]) == SESSIONS
    assert filled.run("audit", "--deep").code == 0
    assert market_server.requests == []

    (filled.folder / "watchlist.csv").write_text("ticker,date,events\nBCPC,2024-03-12,E6\n")
    assert filled.run("download", "--watchlist", "watchlist.csv").code == 0
    assert list_sessions(dest) == SESSIONS + 3
    assert list_sessions(filled.data_dir) == 0


def test_a_dry_run_says_what_it_would_do(filled: User, dest: Path) -> None:
    said = filled.run("relocate", "--dry-run", str(dest))

    assert f"{SESSIONS} sessions" in said.text
    assert "are still to be copied, and fit" in said.text
    assert not dest.exists()


def test_a_damaged_lake_is_repaired_before_it_moves(
    filled: User, market_server: EmulatorServer, dest: Path
) -> None:
    content = hash_content(filled)
    file = next((filled.data_dir / "lake" / "trades").rglob("trades.parquet"))
    file.write_bytes(b"PAR1")

    refused = filled.run("relocate", str(dest))
    filled.run("repair")
    moved, downloaded = filled.run("relocate", str(dest)), filled.run("download")

    check_refusal(refused, 1, "1 session damaged", "smallcaps repair")
    assert (moved.code, downloaded.code) == (0, 0)
    assert count_trade_requests(market_server) == 1
    assert hash_content(filled) == content


def test_a_missing_disk_is_an_error_of_every_command(filled: User, dest: Path) -> None:
    """Never an empty lake, and nothing is fetched again onto the wrong disk."""
    filled.run("relocate", str(dest))
    dest.rename(dest.with_name("unmounted"))
    dest.mkdir()

    for command in (["download"], ["status"], ["audit", "--deep"], ["repair"], ["catalog"]):
        check_refusal(filled.run(*command), 1, "root.json", "mount it there again")
    assert list(dest.iterdir()) == []


def test_a_disk_that_is_mounted_elsewhere_is_found_by_reindex(filled: User, dest: Path) -> None:
    content = hash_content(filled)
    filled.run("relocate", str(dest))
    other = dest.rename(dest.with_name("other"))

    found = filled.run("reindex", SMALLCAPS_LAKE_ROOTS=other)

    assert f"{SESSIONS} receipts indexed, 0 sessions had none" in found.text
    assert hash_content(filled) == content


def test_a_disk_that_is_lost_is_given_up_on_request(
    filled: User, market_server: EmulatorServer, dest: Path
) -> None:
    content = hash_content(filled)
    filled.run("relocate", str(dest))
    filled.run("relocate", "--from", str(dest), str(filled.data_dir / "lake"))
    filled.run("relocate", str(dest.with_name("again")))
    dest.with_name("again").rename(dest.with_name("lost"))
    spare = dest.with_name("spare")
    spare.mkdir()

    refused = filled.run("reindex", "--forget-root", str(dest.with_name("again")))
    kept = {"SMALLCAPS_LAKE_ROOTS": spare}
    given_up = filled.run("reindex", "--forget-root", str(dest.with_name("again")), **kept)
    healed = filled.run("download")

    check_refusal(refused, 2, "no root that could be forgotten")
    assert "0 receipts indexed" in given_up.text
    assert healed.code == 0, healed.text
    assert count_trade_requests(market_server) > 0
    assert list_sessions(spare) == SESSIONS
    assert hash_content(filled) == content


def test_a_bad_list_of_roots_is_told_before_a_run_begins(filled: User, dest: Path) -> None:
    filled.run("relocate", str(dest))
    (filled.folder / "watchlist.csv").write_text("ticker,date,events\nBCPC,2024-03-12,E6\n")
    filled.run("plan", "--watchlist", "watchlist.csv")

    for setting, words in BAD_ROOTS.items():
        refused = filled.run("download", SMALLCAPS_LAKE_ROOTS=filled.folder / setting)
        check_refusal(refused, 2, words)
    assert len(show_partitions(filled)["MISSING"]) == 3
