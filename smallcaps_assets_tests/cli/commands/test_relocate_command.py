"""`smallcaps relocate` and SMALLCAPS_LAKE: moved, repaired, unmounted, moved by hand, lost."""

import json
import shutil
from pathlib import Path

import pytest

from smallcaps_assets import Lake
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User, check_refusal
from smallcaps_assets_tests.cli.homes import count_rows, hash_content, show_partitions
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, count_trade_requests, flip_byte


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return a place on another disk than the data folder, where there are two."""
    return tmp_path / "lake"


def list_parts(folder: Path) -> list[Path]:
    """Return the files of segments below a folder."""
    return list(folder.rglob("segments/*/*"))


def test_relocate_moves_the_lake_and_the_download_goes_on(
    filled: User, market_server: EmulatorServer, dest: Path
) -> None:
    """Nothing is fetched again, the catalog follows, and Dagster notices nothing."""
    user, parts = filled, list_parts(filled.data_dir)
    content, rows = hash_content(user), count_rows(user)

    moved = user.run("relocate", str(dest))

    assert (moved.code, moved.err) == (0, "")
    assert f"{SESSIONS} sessions" in moved.text
    assert f"the lake is in {dest}" in moved.text
    assert len(list_parts(dest)) == len(parts) > 0
    assert list_parts(user.data_dir) == []
    assert hash_content(user) == content
    assert count_rows(user) == Lake(user.data_dir).trades().collect().height == rows
    assert "nothing is missing" in user.run("download").text
    assert len(show_partitions(user)["MATERIALIZED"]) == SESSIONS
    assert user.run("audit", "--deep").code == 0
    assert market_server.requests == []

    (user.folder / "watchlist.csv").write_text("ticker,date,events\nBCPC,2024-03-12,E6\n")
    assert user.run("download", "--watchlist", "watchlist.csv").code == 0
    assert len(list_parts(dest)) > len(parts)
    assert list_parts(user.data_dir) == []


def test_the_same_command_again_does_nothing(filled: User, dest: Path) -> None:
    filled.run("relocate", str(dest))

    again = filled.run("relocate", str(dest))

    assert again.code == 0
    assert f"there already; the lake is in {dest}" in again.text


def test_a_dry_run_says_what_it_would_do(filled: User, dest: Path) -> None:
    said = filled.run("relocate", "--dry-run", str(dest))

    assert f"{SESSIONS} sessions" in said.text
    assert "are still to be copied, and fit" in said.text
    assert not dest.exists()


def test_a_damaged_lake_is_repaired_before_it_moves(
    filled: User, market_server: EmulatorServer, dest: Path
) -> None:
    user, content = filled, hash_content(filled)
    parts = (path for path in list_parts(user.data_dir) if ".record" not in path.name)
    flip_byte(max(parts, key=lambda path: path.stat().st_size))

    refused = user.run("relocate", str(dest))
    user.run("repair")
    moved, downloaded = user.run("relocate", str(dest)), user.run("download")

    check_refusal(refused, 1, "1 file damaged", "smallcaps repair")
    assert (moved.code, downloaded.code) == (0, 0)
    assert count_trade_requests(market_server) > 0
    assert hash_content(user) == content


def test_a_missing_disk_is_an_error_of_every_command(filled: User, dest: Path) -> None:
    """Never an empty lake, and nothing is fetched again onto the wrong disk."""
    user = filled
    user.run("relocate", str(dest))
    dest.rename(dest.with_name("unmounted"))
    dest.mkdir()

    for command in (["download"], ["status"], ["audit", "--deep"], ["repair"], ["catalog"]):
        check_refusal(user.run(*command), 1, "lake.json", "mount")
    assert list(dest.iterdir()) == []


def test_a_lake_that_was_moved_by_hand_is_found_by_the_setting(filled: User, dest: Path) -> None:
    user, content = filled, hash_content(filled)
    user.run("relocate", str(dest))
    other = dest.rename(dest.with_name("other"))

    assert user.run("reindex", SMALLCAPS_LAKE=other).code == 0
    assert hash_content(user) == content


def test_a_setting_of_the_old_place_is_named_and_then_refused(filled: User, dest: Path) -> None:
    old = {"SMALLCAPS_LAKE": filled.data_dir / "lake"}

    moved = filled.run("relocate", str(dest), **old)
    again = filled.run("relocate", str(dest), **old)

    assert "SMALLCAPS_LAKE still names the old place" in moved.text
    assert again.code == 0
    check_refusal(filled.run("status", **old), 2, "remove SMALLCAPS_LAKE", str(dest))


def test_a_lake_begins_where_the_setting_says(user: User, dest: Path) -> None:
    first = user.run("download", "--watchlist", "watchlist.csv", SMALLCAPS_LAKE=dest)

    assert first.code == 0, first.text
    assert len(list_parts(dest)) > 0
    assert list_parts(user.data_dir) == []
    assert json.loads(user.run("status", "--json").out)["partitions"]["done"] == SESSIONS
    assert Lake(user.data_dir).trades().collect().height == count_rows(user) > 0


def test_a_ledger_without_its_lake_begins_no_new_one(filled: User, dest: Path) -> None:
    user, content = filled, hash_content(filled)
    user.run("relocate", str(dest))
    (user.data_dir / "lake_roots.json").unlink()

    check_refusal(user.run("download"), 1, "set SMALLCAPS_LAKE")
    assert user.run("reindex", SMALLCAPS_LAKE=dest).code == 0
    assert hash_content(user) == content


def test_a_lake_outlives_its_data_folder(filled: User, dest: Path) -> None:
    """All that is asked for again is the plan."""
    user, content = filled, hash_content(filled)
    user.run("relocate", str(dest))
    shutil.rmtree(user.data_dir)

    again = user.run("download", "--watchlist", "watchlist.csv", SMALLCAPS_LAKE=dest)

    assert again.code == 0, again.text
    assert hash_content(user) == content
