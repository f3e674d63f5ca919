"""`smallcaps import --lake` from the terminal: in place, to another disk, from another folder."""

from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal
from smallcaps_assets_tests.cli.homes import hash_content
from smallcaps_assets_tests.lake.adoption.old_lakes import rewrite_as_receipts
from smallcaps_assets_tests.lakehouse_factories import count_trade_requests

GOING_ON = (
    "status",
    "audit --deep",
    "tidy --all",
    "tidy",
    "repair",
    "reindex",
    "reconcile",
    "catalog",
    "report --html",
    "recheck --sample 100%",
    "download --again --from 2024-01-01",
    "export --layout date out",
    "audit --deep",
)


@pytest.mark.slow
def test_a_lake_is_taken_over_and_used_on(filled: User, market_server: EmulatorServer) -> None:
    """The same rows, no request, and every command goes on."""
    before = Lake(filled.data_dir)
    trades, hashes = before.trades().collect(), before.session_hashes()
    rewrite_as_receipts(filled.data_dir)

    taken = filled.run("import", "--lake")
    again = filled.run("download")

    assert count_trade_requests(market_server) == 0
    assert taken.code == again.code == 0, taken.text + again.text
    assert f"9 sessions with {trades.height:,} trades in 1 month taken over" in taken.text
    assert {name for name in GOING_ON if filled.run(*name.split()).code} == set()
    after = Lake(filled.data_dir)
    assert after.trades().collect().equals(trades)
    assert after.session_hashes().equals(hashes)
    check_refusal(filled.run("import", "--lake"), REFUSED, "nothing to take over")


def test_a_lake_is_taken_over_to_another_disk(filled: User, tmp_path: Path) -> None:
    content, place = hash_content(filled), tmp_path / "lake"
    rewrite_as_receipts(filled.data_dir)

    refused = filled.run("status", SMALLCAPS_LAKE=place)
    taken = filled.run("import", "--lake", "--remove", SMALLCAPS_LAKE=place)

    check_refusal(refused, REFUSED, "import --lake")
    assert taken.code == 0, taken.text
    assert (place / "segments").is_dir()
    assert hash_content(filled) == content


def test_the_lake_of_another_folder_is_taken_over(
    filled: User, market_server: EmulatorServer
) -> None:
    """Its source is known by it alone, and its plan is made again."""
    content = hash_content(filled)
    rewrite_as_receipts(filled.data_dir)
    new = User(filled.folder, dict(filled.environment) | {"SMALLCAPS_DATA_DIR": "new"})

    taken = new.run("import", "--lake", "data")
    planned = new.run("download", "--watchlist", "watchlist.csv")

    assert (taken.code, planned.code) == (0, 0), taken.text + planned.text
    assert hash_content(new) == content
    assert count_trade_requests(market_server) == 0
    check_refusal(new.run("import", "--lake", "data"), REFUSED, "nothing to take over")


def test_a_folder_without_a_lake_is_refused(user: User) -> None:
    check_refusal(user.run("import", "--lake", "nowhere"), 1, "expected a data folder with a lake")


def test_odd_imports_are_refused(user: User) -> None:
    check_refusal(user.run("import", "--lake", "--dry-run"), REFUSED, "--lake goes with")
    check_refusal(user.run("import"), REFUSED, "expected the folder of an archive")
