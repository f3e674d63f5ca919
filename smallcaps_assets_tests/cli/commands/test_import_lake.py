"""`smallcaps import --lake` from the terminal: to another disk, and from another folder."""

from pathlib import Path

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User, check_refusal
from smallcaps_assets_tests.cli.homes import hash_content


def test_a_lake_is_taken_over_to_another_disk(filled_receipts: User, tmp_path: Path) -> None:
    user, place = filled_receipts, tmp_path / "lake"
    content = hash_content(user)

    refused = user.run("status", SMALLCAPS_LAKE=place)
    taken = user.run("import", "--lake", "--remove", SMALLCAPS_LAKE=place)

    check_refusal(refused, 2, "import --lake", "one of receipts")
    assert taken.code == 0, taken.text
    assert (place / "segments").is_dir()
    assert hash_content(user) == content


def test_the_lake_of_another_folder_is_taken_over(
    filled_receipts: User, market_server: EmulatorServer
) -> None:
    """Its source is known by it alone, and its plan is made again."""
    user, content = filled_receipts, hash_content(filled_receipts)
    new = User(user.folder, dict(user.environment) | {"SMALLCAPS_DATA_DIR": "new"})

    taken = new.run("import", "--lake", "data")
    planned = new.run("download", "--watchlist", "watchlist.csv")

    assert (taken.code, planned.code) == (0, 0), taken.text + planned.text
    assert hash_content(new) == content
    assert not any("/v3/trades" in request.path for request in market_server.requests)
    check_refusal(new.run("import", "--lake", "data"), 2, "nothing to take over")


def test_a_folder_without_a_lake_is_refused(user: User) -> None:
    check_refusal(user.run("import", "--lake", "nowhere"), 1, "expected a data folder with a lake")
