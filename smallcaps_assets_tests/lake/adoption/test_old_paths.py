"""Roots and folders of a lake of receipts: found by their marks, and nothing else is believed."""

import json
from pathlib import Path

import pytest

from benchmarks.format1.lake import ReceiptLake
from smallcaps_assets.errors import LedgerMismatchError, StorageError
from smallcaps_assets.lake.adoption.old_paths import OldRoot, find_roots, walk_sessions
from smallcaps_assets_tests.lake.adoption.old_lakes import (
    SOURCE,
    adopt,
    hash_rows,
    make_old_lake,
    make_session,
    read_fields,
)
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION


@pytest.fixture
def home(tmp_path: Path) -> OldRoot:
    """Return the folder of a lake of two roots, its register in it."""
    make_old_lake(tmp_path / "data", second_root=tmp_path / "disk")
    (tmp_path / "data" / "lake_roots.json").rename(tmp_path / "data" / "lake" / "lake_roots.json")
    return OldRoot(tmp_path / "data" / "lake", tmp_path / "data" / "quarantine")


def set_state(home: OldRoot, number: int, state: str) -> None:
    register = read_fields(home.folder / "lake_roots.json")
    register["roots"][number]["state"] = state
    (home.folder / "lake_roots.json").write_text(json.dumps(register), encoding="utf-8")


def test_active_roots_are_found_in_their_order(home: OldRoot, tmp_path: Path) -> None:
    disk = OldRoot(tmp_path / "disk", tmp_path / "disk" / "quarantine")

    assert find_roots(home, ScriptedDisk()) == [home, disk]


@pytest.mark.parametrize("state", ["leaving", "retired"])
def test_roots_whose_sessions_were_moved_are_not_looked_at(
    home: OldRoot, tmp_path: Path, state: str
) -> None:
    set_state(home, 0, state)
    roots = find_roots(home, ScriptedDisk())
    set_state(home, 1, state)
    (tmp_path / "disk").rename(tmp_path / "away")

    assert [root.folder for root in roots] == [tmp_path / "disk"]
    assert find_roots(home, ScriptedDisk()) == []


def test_another_disk_in_the_place_of_a_root_is_refused(home: OldRoot, tmp_path: Path) -> None:
    (tmp_path / "disk" / "root.json").write_text('{"id": "other"}', encoding="utf-8")

    with pytest.raises(StorageError, match="found other"):
        find_roots(home, ScriptedDisk())


def test_a_damaged_register_is_refused(home: OldRoot) -> None:
    (home.folder / "lake_roots.json").write_bytes(b"{")

    with pytest.raises(LedgerMismatchError, match="is damaged"):
        find_roots(home, ScriptedDisk())


def test_what_is_no_session_is_a_stray(home: OldRoot, tmp_path: Path) -> None:
    tree = home.folder / "trades"
    (tree / "notes.txt").touch()
    (tree / "ticker=ABCD" / "2024-03-15").mkdir()
    (tree / "ticker=ABCD" / "date=2024-03-20").symlink_to(tmp_path)
    (tree / "ticker=LINK").symlink_to(tmp_path)
    strays: list[Path] = []

    found = list(walk_sessions(ScriptedDisk(), tree, home.folder, strays))

    assert {folder.ticker for folder in found} >= {"ABCD", "BCpC"}
    names = {"notes.txt", "2024-03-15", "date=2024-03-20", "ticker=LINK"}
    assert {path.name for path in strays} == names


def test_a_tree_behind_a_link_is_refused(home: OldRoot, tmp_path: Path) -> None:
    (home.folder / "trades").rename(tmp_path / "elsewhere")
    (home.folder / "trades").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageError, match="is a link"):
        list(walk_sessions(ScriptedDisk(), home.folder / "trades", home.folder, []))


def test_a_session_of_two_roots_is_that_of_the_first(tmp_path: Path) -> None:
    home = make_old_lake(tmp_path / "data", second_root=tmp_path / "disk")
    other = ReceiptLake(tmp_path / "other", SOURCE, ScriptedDisk())
    other.begin()
    other.commit([make_session(other, 9, "ABCD", SESSION)])
    place = Path("trades", "ticker=ABCD", f"date={SESSION}")
    (tmp_path / "disk" / place.parent).mkdir(parents=True)
    (other.roots[0] / place).rename(tmp_path / "disk" / place)
    key = f"ABCD_{SESSION}"
    expected = str(read_fields(home.lake_dir / place / "_SUCCESS")["content_hash"])

    facts = adopt(home)

    assert facts.strays == [tmp_path / "disk" / place]
    assert hash_rows(home)["session", key] == expected
