"""Where a lake lies: the register decides, and a setting that disagrees is refused."""

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.home import identity
from smallcaps_assets.lake.home.identity import open_lake, read_identity, write_identity
from smallcaps_assets.lake.home.place import (
    find_home,
    recall_home,
    refuse_lost_place,
    remember_place,
    require_mounted,
    restore_register,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.home_factories import SOURCE, make_folder

FS: Final = ScriptedDisk()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    make_folder(tmp_path / "disk")
    return make_folder(tmp_path / "data")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "lake"


def begin(data_dir: Path, place: Path) -> LakeLayout:
    """Begin a lake where the setting says, as the first command does."""
    home = find_home(data_dir, FS, place)
    open_lake(home, FS, SOURCE)
    home.index_dir.mkdir(exist_ok=True)
    home.ledger_file.touch()
    return home


def test_a_lake_begins_where_the_setting_says_and_is_found_without_it(
    data_dir: Path, place: Path
) -> None:
    home = begin(data_dir, place)

    assert read_identity(home, FS).format == identity.SEGMENTS_FORMAT
    assert (home.identity_file, home.ledger_file) == (
        place / "lake.json",
        data_dir / "lake" / "ledger.sqlite",
    )
    assert find_home(data_dir, FS) == find_home(data_dir, FS, place) == home


def test_without_a_setting_the_lake_begins_in_the_data_folder(data_dir: Path) -> None:
    home = find_home(data_dir, FS)

    assert home == find_home(data_dir, FS, data_dir / "lake") == LakeLayout(data_dir)
    assert home.lake_dir == data_dir / "lake"


def test_a_setting_of_another_place_is_refused(data_dir: Path, place: Path) -> None:
    begin(data_dir, place)

    with pytest.raises(ConfigError, match=r"lies in .*disk/lake: remove SMALLCAPS_LAKE"):
        find_home(data_dir, FS, place.with_name("other"))


def test_a_lake_that_was_moved_by_hand_is_found_where_the_setting_says(
    data_dir: Path, place: Path
) -> None:
    begin(data_dir, place)
    other = place.rename(place.with_name("other"))

    home = find_home(data_dir, FS, other)
    remember_place(home, FS)

    assert home.lake_dir == other
    assert recall_home(data_dir, FS) == home


def test_another_lake_in_the_place_of_one_is_not_taken_for_it(
    data_dir: Path, place: Path, tmp_path: Path
) -> None:
    begin(data_dir, place)
    other = begin(make_folder(tmp_path / "second"), place.with_name("other")).lake_dir
    place.rename(place.with_name("away"))

    with pytest.raises(ConfigError, match="remove SMALLCAPS_LAKE"):
        find_home(data_dir, FS, other)
    other.rename(place)
    with pytest.raises(PartitionConflictError, match="expected id"):
        require_mounted(find_home(data_dir, FS), FS)


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_disk_that_is_not_mounted_is_missed_and_no_lake_begins_there(
    data_dir: Path, place: Path, *, is_empty: bool
) -> None:
    home = begin(data_dir, place)
    place.rename(place.with_name("away"))
    if is_empty:
        place.mkdir()

    with pytest.raises(StorageError, match="mount"):
        require_mounted(find_home(data_dir, FS, place), FS)
    with pytest.raises(StorageError, match="mount the disk"):
        open_lake(home, FS, SOURCE)


def test_a_ledger_without_lake_and_register_begins_no_other_lake(
    data_dir: Path, place: Path
) -> None:
    home = begin(data_dir, place)
    home.roots_file.unlink()

    with pytest.raises(StorageError, match=r"knows a lake.*set SMALLCAPS_LAKE"):
        refuse_lost_place(find_home(data_dir, FS), FS)
    refuse_lost_place(find_home(data_dir, FS, place), FS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data/other", "lie in one another"),
        (".", "lie in one another"),
        ("nowhere/lake", "mount the disk, or make the folder"),
        ("full", "is not empty"),
    ],
)
def test_a_folder_in_which_no_lake_can_begin_is_refused(
    data_dir: Path, tmp_path: Path, name: str, words: str
) -> None:
    (make_folder(tmp_path / "full") / "photo.jpg").touch()

    with pytest.raises(ConfigError, match=words):
        find_home(data_dir, FS, tmp_path / name)


def test_a_lake_of_receipts_stays_in_its_data_folder(data_dir: Path, place: Path) -> None:
    home = begin(data_dir, data_dir / "lake")
    told = msgspec.structs.replace(read_identity(home, FS), format=identity.RECEIPTS_FORMAT)
    write_identity(home, FS, told)

    with pytest.raises(ConfigError, match="import --lake` takes it over into SMALLCAPS_LAKE"):
        find_home(data_dir, FS, place)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff"], ids=repr)
def test_a_damaged_register_is_refused(data_dir: Path, place: Path, text: bytes) -> None:
    begin(data_dir, place).roots_file.write_bytes(text)

    with pytest.raises(LedgerMismatchError, match=r"lake_roots\.json is damaged.*SMALLCAPS_LAKE"):
        find_home(data_dir, FS)


def test_a_register_that_is_lost_is_missed_and_made_again(data_dir: Path, place: Path) -> None:
    home = begin(data_dir, place)
    before = home.roots_file.read_bytes()
    home.roots_file.unlink()

    with pytest.raises(LedgerMismatchError, match=r"lake_roots\.json is gone.*reindex"):
        require_mounted(find_home(data_dir, FS, place), FS)
    restore_register(home, FS)

    assert home.roots_file.read_bytes() == before
    assert require_mounted(find_home(data_dir, FS), FS) == home


def test_a_data_folder_can_be_moved_with_its_lake(data_dir: Path) -> None:
    begin(data_dir, data_dir / "lake")
    moved = data_dir.rename(data_dir.with_name("elsewhere"))

    assert require_mounted(find_home(moved, FS), FS) == LakeLayout(moved)


def test_a_register_of_an_earlier_version_is_read(data_dir: Path, place: Path) -> None:
    home = begin(data_dir, place)
    register = json.loads(home.roots_file.read_text())
    lake_id = read_identity(home, FS).id
    earlier = {"id": lake_id, "path": "lake", "state": "active", "moved_to": ""}
    home.roots_file.write_text(json.dumps(register | {"roots": [earlier]}))

    assert register == {
        "roots": [{"id": lake_id, "path": "lake"}],
        "lake": str(place),
        "leaving": "",
    }
    assert require_mounted(find_home(data_dir, FS), FS) == home
