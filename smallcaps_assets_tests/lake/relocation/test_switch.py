"""A lake moves to another disk: whole, proven, and from any point on after any kind of end."""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from smallcaps_assets.errors import ConfigError, LakeError, PartitionConflictError, StorageError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.roots.markers import locate_roots, register_roots
from smallcaps_assets.lake.roots.register import HOME, RootState, read_register
from smallcaps_assets_tests.lake.disks import Crash, PowerLossDisk, QuotaDisk, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION
from smallcaps_assets_tests.lake.root_factories import (
    add_root,
    list_files,
    make_folder,
    make_home,
    move,
    open_store,
    read_lake,
)

FS: Final = ScriptedDisk()
MOST_OPERATIONS: Final = 300
STAYING: Final = {"lake.json", "ledger.sqlite", ".creation.lock"}
"""What stays at home, whatever moves."""


class DiskBeforeSwitch(ScriptedDisk):
    """A disk that ends the process when everything is copied and proven."""

    def rename(self, source: Path, target: Path) -> None:
        if target.name == "lake_roots.json":
            raise Crash
        super().rename(source, target)


def make_pair(folder: Path) -> tuple[LakeLayout, Path]:
    """Return a lake, and the place on another disk that it moves to."""
    make_folder(folder / "disk")
    return make_home(folder / "data"), folder / "disk" / "lake"


def test_a_move_takes_every_byte_and_empties_the_old_place(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before, files = read_lake(home), list_files(home.lake_dir)

    removal = move(home, FS, dest)

    assert read_lake(home) == before
    assert list_files(home.lake_dir) == STAYING
    assert list_files(dest) == files - STAYING | {"root.json"}
    assert removal.left == removal.absent == []
    assert [root.folder for root in locate_roots(home, FS).roots] == [dest]


def test_a_move_that_is_done_does_nothing_again(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    move(home, FS, dest)
    before = list_files(tmp_path)
    disk = ScriptedDisk()

    move(home, disk, dest)

    assert disk.operations == []
    assert list_files(tmp_path) == before


def test_a_kill_at_any_operation_leaves_the_lake_whole_and_the_next_call_continues(
    tmp_path: Path,
) -> None:
    """L13, L25: readers see every session at any time, and nothing is copied twice."""
    make_home(tmp_path / "data")
    before = read_lake(LakeLayout(tmp_path / "data"))
    for crash_at in range(0, MOST_OPERATIONS, 2):
        folder = tmp_path / str(crash_at)
        home, dest = LakeLayout(folder / "data"), make_folder(folder / "disk") / "lake"
        shutil.copytree(tmp_path / "data", home.data_dir)
        is_ended = True
        try:
            move(home, ScriptedDisk(crash_at=crash_at), dest)
        except Crash:
            is_ended = False

        assert read_lake(home) == before, crash_at
        copied = [file for file in list_files(dest) if file.endswith("_SUCCESS")]
        again = ScriptedDisk()
        move(home, again, dest)
        assert read_lake(home) == before, crash_at
        assert list_files(home.lake_dir) == STAYING
        renamed = [path for step, path in again.operations if step == "rename"]
        assert not {dest / file for file in copied} & set(renamed)
        if is_ended:
            break
    assert 60 < crash_at < MOST_OPERATIONS - 2


def test_a_power_failure_at_any_operation_loses_nothing(tmp_path: Path) -> None:
    """Originals go only when copies and register are sure to be on the disk."""
    rng = np.random.default_rng(5)
    make_home(tmp_path / "data")
    before = read_lake(LakeLayout(tmp_path / "data"))
    for crash_at in range(0, MOST_OPERATIONS, 7):
        folder = tmp_path / str(crash_at)
        home, dest = LakeLayout(folder / "data"), make_folder(folder / "disk") / "lake"
        shutil.copytree(tmp_path / "data", home.data_dir)
        disk = PowerLossDisk(folder, crash_at=crash_at)
        is_ended = True
        try:
            move(home, disk, dest)
        except Crash:
            is_ended = False
        for _ in range(2):
            shutil.rmtree(folder)
            disk.lose_power(make_folder(folder), rng)

            assert read_lake(home) == before, crash_at
            assert move(home, FS, dest).left == []
            assert read_lake(home) == before, crash_at
        if is_ended:
            break
    assert 60 < crash_at < MOST_OPERATIONS - 7


def test_a_copy_that_is_not_what_was_written_stops_the_move(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before = read_lake(home)

    class LyingDisk(ScriptedDisk):
        def write_new(self, path: Path, content: bytes) -> None:
            lie = bytes([content[0]]) + content[1:-1] + b"X"
            super().write_new(path, lie if content.startswith(b"PAR1") else content)

    with pytest.raises(LakeError, match=r"copies are not what was written.*where it was"):
        move(home, LyingDisk(), dest)

    assert [root.folder for root in locate_roots(home, FS).roots] == [home.lake_dir]
    assert read_lake(home) == before
    move(home, FS, dest)
    assert read_lake(home) == before


@pytest.mark.parametrize("name", ["trades.parquet", "_SUCCESS"])
def test_a_damaged_session_is_told_and_stops_the_move(tmp_path: Path, name: str) -> None:
    home, dest = make_pair(tmp_path)
    file = home.home.session_dir("ABCD", SESSION) / name
    file.write_bytes(file.read_bytes()[:-9])

    with pytest.raises(LakeError, match=r"1 session damaged.*ABCD_2024-03-15.*smallcaps repair"):
        move(home, FS, dest)

    assert [root.folder for root in locate_roots(home, FS).roots] == [home.lake_dir]
    assert len(list_files(dest / "trades")) == 3


def test_a_target_without_room_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    disk = QuotaDisk({tmp_path: 30_000})

    with pytest.raises(StorageError, match=r"too small: .* still to be copied, .* free there"):
        move(home, disk, dest)

    assert list_files(tmp_path / "disk") == set()


def test_a_disk_that_fills_up_meanwhile_stops_the_move(tmp_path: Path) -> None:
    """L25: what was copied stays copied, and the lake is where it was."""
    home, dest = make_pair(tmp_path)
    before = read_lake(home)

    class SurprisedDisk(QuotaDisk):
        def write_new(self, path: Path, content: bytes) -> None:
            self.capacities[tmp_path] = 15_000
            super().write_new(path, content)

    with pytest.raises(StorageError, match="No space left"):
        move(home, SurprisedDisk({tmp_path: 1_000_000}), dest)

    assert read_lake(home) == before
    move(home, FS, dest)
    assert read_lake(home) == before


def test_what_belongs_to_nothing_stays_and_is_named(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    folder = home.home.tree_dir(Tree.TRADES)
    strays = [folder / "notes.txt", folder / "ticker=ZZZ" / "date=2024-01-02"]
    strays[0].write_text("mine")
    make_folder(strays[1])
    (strays[1] / "trades.parquet").write_text("no receipt")

    removal = move(home, FS, dest)

    assert sorted(removal.left) == strays
    assert strays[0].read_text() == "mine"


def test_copies_of_sessions_that_are_gone_since_are_removed(tmp_path: Path) -> None:
    """An unfinished move must not bring back what a repair has moved aside."""
    home, dest = make_pair(tmp_path)
    with pytest.raises(Crash):
        move(home, DiskBeforeSwitch(), dest)
    assert (dest / "trades" / "ticker=ABCD" / "date=2024-03-15" / "_SUCCESS").exists()
    open_store(home).quarantine("ABCD", SESSION)
    before = read_lake(home)

    move(home, FS, dest)

    assert read_lake(home) == before
    assert len(before) == 3


def test_several_roots_move_to_one(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    add_root(home, tmp_path / "one", seed=2)
    add_root(home, tmp_path / "two", seed=3)
    before = read_lake(home)

    move(home, FS, dest)

    assert read_lake(home) == before
    assert [root.folder for root in locate_roots(home, FS).roots] == [dest]
    assert not (tmp_path / "one").exists()


def test_one_root_of_several_moves_to_another_of_them(tmp_path: Path) -> None:
    home, _ = make_pair(tmp_path)
    add_root(home, tmp_path / "one", seed=2)
    add_root(home, tmp_path / "two", seed=3)
    before = read_lake(home)

    move(home, FS, tmp_path / "two", tmp_path / "one")

    assert read_lake(home) == before
    folders = [root.folder for root in locate_roots(home, FS).roots]
    assert folders == [home.lake_dir, tmp_path / "two"]


def test_a_lake_moves_back_home_and_to_a_place_that_it_left(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before, files = read_lake(home), list_files(home.lake_dir)
    move(home, FS, dest)

    move(home, FS, home.lake_dir)

    assert read_lake(home) == before
    assert list_files(home.lake_dir) == files
    register = read_register(home, FS)
    assert register is not None
    assert [(e.path, e.state) for e in register.roots] == [
        (HOME, RootState.ACTIVE),
        (str(dest), RootState.RETIRED),
    ]
    move(home, FS, dest)
    assert read_lake(home) == before
    assert [root.folder for root in locate_roots(home, FS).roots] == [dest]


def test_an_old_root_that_is_not_mounted_is_emptied_later(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    old = tmp_path / "old"
    move(home, FS, old)
    before = read_lake(home)
    crash_at = next(
        number for number in range(50, MOST_OPERATIONS) if leaves_root(home, number, old, dest)
    )
    old.rename(tmp_path / "unmounted")

    absent = move(home, FS, dest).absent

    assert crash_at
    assert absent == [old]
    assert read_lake(home) == before
    (tmp_path / "unmounted").rename(old)
    assert move(home, FS, dest).absent == []
    assert not old.exists()


def leaves_root(home: LakeLayout, crash_at: int, old: Path, dest: Path) -> bool:
    """Move with a kill; return whether the switch has come and the old root is still there."""
    try:
        move(home, ScriptedDisk(crash_at=crash_at), dest)
    except Crash:
        register = read_register(home, FS)
        return register is not None and bool(register.select(RootState.LEAVING)) and old.exists()
    return False


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("data", ConfigError, "lie in one another"),
        ("data/lake/trades", ConfigError, "lie in one another"),
        ("data/elsewhere", ConfigError, "lie in one another"),
        (".", ConfigError, "lie in one another"),
        ("filled", ConfigError, r"not empty \(photos\)"),
        ("nowhere/lake", StorageError, "mount the disk again"),
    ],
)
def test_a_target_that_is_no_place_for_a_lake_is_refused(
    tmp_path: Path, place: str, error: type[Exception], message: str
) -> None:
    home, _ = make_pair(tmp_path)
    make_folder(tmp_path / "filled" / "photos")

    with pytest.raises(error, match=message):
        move(home, FS, tmp_path / place)


def test_a_target_of_another_lake_is_refused(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    move(home, FS, dest)
    other = make_home(tmp_path / "other")

    with pytest.raises(PartitionConflictError, match=r"another lake \(emulator:seed=1\)"):
        move(other, FS, dest)


def test_an_unfinished_copy_is_no_root(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    with pytest.raises(Crash):
        move(home, DiskBeforeSwitch(), dest)

    with pytest.raises(ConfigError, match="unfinished copy: finish it by `smallcaps relocate"):
        register_roots(home, FS, [dest])


def test_a_place_that_was_left_takes_no_new_sessions(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    move(home, FS, dest)

    with pytest.raises(ConfigError, match=f"were moved to {dest}: list that"):
        register_roots(home, FS, [home.lake_dir])


def test_an_origin_that_is_no_root_is_refused(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)

    with pytest.raises(ConfigError, match="expected a root with sessions, of"):
        move(home, FS, dest, tmp_path / "disk")
