"""A lake moves to another folder: whole, proven, and on from any kind of end."""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import ConfigError, LakeError, PartitionConflictError, StorageError
from smallcaps_assets.lake.home.identity import open_lake
from smallcaps_assets.lake.home.place import put_lake, recall_home, require_mounted
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.relocation.moves import (
    Removal,
    empty_left,
    finish_move,
    plan_move,
    prepare_copy,
    require_room,
    switch_lake,
)
from smallcaps_assets.lake.segments.commit import commit_segments
from smallcaps_assets.lake.segments.reading import list_months, read_entries, read_month
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.free_space import FreeSpace
from smallcaps_assets.lake.upkeep.snapshots import index_month, write_snapshot
from smallcaps_assets_tests.lake.disks import Crash, PowerLossDisk, QuotaDisk, ScriptedDisk
from smallcaps_assets_tests.lake.home_factories import SOURCE, list_files, make_folder
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    SMALL,
    make_draft,
    make_lake,
    make_sessions,
)
from smallcaps_assets_tests.lakehouse_factories import flip_byte

FS: Final = ScriptedDisk()
MOST_OPERATIONS: Final = 200
INDEX: Final = {"ledger.sqlite", ".creation.lock"}
"""What the data folder has of its own in the folder ``lake``."""


def make_home(folder: Path) -> LakeLayout:
    """Return the data folder of a lake with two parts, a stray, a snapshot and evidence."""
    home = LakeLayout(make_folder(folder))
    open_lake(home, FS, SOURCE)
    home.ledger_file.touch()
    lake = make_lake(home.lake_dir)
    commit_segments(lake, [make_draft(make_sessions(), shape=SMALL)])
    months = [index_month(read_month(lake, month)) for month in list_months(lake)]
    write_snapshot(lake, pl.concat(months))
    stray = f"segments/2024-03/20240402T101530Z-{'9' * 16}.parquet"
    lake.storage.save({"quarantine/sessions/one/reason.json": b"{}", stray: b"rows of nobody"})
    return home


def make_pair(folder: Path) -> tuple[LakeLayout, Path]:
    """Return a lake, and the place on another disk that it moves to."""
    make_folder(folder / "disk")
    return make_home(folder / "data"), folder / "disk" / "lake"


def locate(home: LakeLayout) -> LakeLayout:
    """Return the paths of a data folder whose lake is there."""
    return require_mounted(recall_home(home.data_dir, FS), FS)


def read_lake(home: LakeLayout) -> dict[str, str]:
    """Return what readers see: the hash of the rows of each month; damage raises."""
    lake = make_lake(locate(home).lake_dir)
    winners = {month: read_month(lake, month).winners for month in list_months(lake)}
    return {
        month: hash_trades(read_entries(lake, month, entries)) for month, entries in winners.items()
    }


def move(home: LakeLayout, fs: FileSystem, dest: Path) -> Removal:
    """Move a lake as ``operations.repair.moving`` does, but for the catalog."""
    removal = empty_left(recall_home(home.data_dir, fs), fs)
    plan = plan_move(recall_home(home.data_dir, fs), fs, dest)
    if not plan.is_done:
        prepare_copy(plan)
        plan.copies.make()
        plan.copies.prove()
        plan.copies.remove_outdated()
        switch_lake(plan)
    finish_move(plan.target, fs)
    return removal if plan.is_done else empty_left(plan.target, fs)


def test_a_move_takes_every_byte_and_empties_the_old_place(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before, files = read_lake(home), list_files(home.lake_dir)

    removal = move(home, FS, dest)

    assert read_lake(home) == before
    assert list_files(home.index_dir) == INDEX
    assert list_files(dest) == files - INDEX
    assert removal == Removal()
    assert locate(home).lake_dir == dest


def test_a_lake_moves_on_and_home_again(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before, files = read_lake(home), list_files(home.lake_dir)

    move(home, FS, dest)
    move(home, FS, tmp_path / "disk" / "other")
    move(home, FS, home.index_dir)

    assert read_lake(home) == before
    assert list_files(home.lake_dir) == files
    assert list_files(tmp_path / "disk") == set()
    assert recall_home(home.data_dir, FS) == home


def test_a_move_that_is_done_does_nothing_again(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    move(home, FS, dest)
    before, disk = list_files(tmp_path), ScriptedDisk()

    move(home, disk, dest)

    assert disk.operations == []
    assert list_files(tmp_path) == before


def test_a_kill_at_any_operation_leaves_the_lake_whole_and_the_next_call_continues(
    tmp_path: Path,
) -> None:
    """L13, L25: readers see every session at any time, and nothing is copied twice."""
    before = read_lake(make_home(tmp_path / "data"))
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
        copied = [dest / file for file in list_files(dest) if file.endswith(".parquet")]
        again = ScriptedDisk()
        move(home, again, dest)
        assert read_lake(home) == before, crash_at
        assert list_files(home.index_dir) == INDEX
        assert "relocating.json" not in list_files(dest)
        renamed = {path for step, path in again.operations if step == "rename"}
        assert renamed.isdisjoint(copied)
        shutil.rmtree(folder)
        if is_ended:
            break
    assert 30 < crash_at < MOST_OPERATIONS - 2


def test_a_power_failure_at_any_operation_loses_nothing(tmp_path: Path) -> None:
    """Originals go only when copies and register are sure to be on the disk."""
    rng = np.random.default_rng(5)
    before = read_lake(make_home(tmp_path / "data"))
    for crash_at in range(0, MOST_OPERATIONS, 3):
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
    assert 30 < crash_at < MOST_OPERATIONS - 3


def test_a_full_disk_leaves_the_lake_where_it_was(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before, files = read_lake(home), list_files(home.data_dir)
    small = QuotaDisk({dest.parent: 9_000, tmp_path: 10**9})

    with pytest.raises(StorageError, match="No space left"):
        move(home, small, dest)

    assert read_lake(home) == before
    assert list_files(home.data_dir) == files
    assert locate(home) == require_mounted(home, FS)
    move(home, FS, dest)
    assert read_lake(home) == before


def test_a_copy_that_is_not_what_was_written_stops_the_move(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before = read_lake(home)

    class LyingDisk(ScriptedDisk):
        def write_new(self, path: Path, content: bytes) -> None:
            lie = content[:-1] + b"X"
            super().write_new(path, lie if content.startswith(b"PAR1") else content)

    with pytest.raises(LakeError, match=r"copies are not what was written.*where it was"):
        move(home, LyingDisk(), dest)

    assert read_lake(home) == before
    assert move(home, FS, dest) == Removal()
    assert read_lake(home) == before


@pytest.mark.parametrize("pattern", ["*.record.parquet", "*-a???????????????.parquet"])
def test_a_damaged_lake_does_not_move(tmp_path: Path, pattern: str) -> None:
    home, dest = make_pair(tmp_path)
    flip_byte(next((home.lake_dir / "segments").rglob(pattern)))

    with pytest.raises(LakeError, match=r"1 file damaged.*where it was.*smallcaps repair"):
        move(home, FS, dest)

    assert recall_home(home.data_dir, FS) == home


def test_a_part_that_is_gone_stops_the_move(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    next((home.lake_dir / "segments").rglob("*-a???????????????.parquet")).unlink()

    with pytest.raises(LakeError, match=r"is gone.*smallcaps repair"):
        move(home, FS, dest)


def test_what_belongs_to_nothing_stays_and_is_named(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    mine = home.lake_dir / "notes.txt"
    mine.write_text("mine")

    assert move(home, FS, dest).left == [mine]
    assert mine.exists()


def test_an_old_place_that_is_not_mounted_is_emptied_later(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    move(home, FS, dest)
    other, away = tmp_path / "disk" / "other", tmp_path / "away"
    with pytest.raises(Crash):
        move(home, DiskAfterSwitch(), other)
    dest.rename(away)

    absent = move(home, FS, other).absent
    away.rename(dest)
    later = move(home, FS, other)

    assert (absent, later) == (dest, Removal())
    assert not dest.exists()


class DiskAfterSwitch(ScriptedDisk):
    """A disk that ends the process as soon as the register names the new place."""

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if target.name == "lake_roots.json":
            raise Crash


@pytest.mark.parametrize("name", ["data/lake/segments", "data/other", ".", "data"])
def test_a_folder_in_the_lake_or_around_it_is_refused(tmp_path: Path, name: str) -> None:
    home, _ = make_pair(tmp_path)

    with pytest.raises(ConfigError, match=r"lie in one another|not empty"):
        plan_move(home, FS, tmp_path / name)


def test_a_folder_on_a_disk_that_is_not_mounted_is_refused(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)

    with pytest.raises(ConfigError, match="mount the disk"):
        plan_move(home, FS, dest / "below")


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    (make_folder(dest) / "photo.jpg").touch()

    with pytest.raises(ConfigError, match=r"not empty \(photo.jpg\)"):
        plan_move(home, FS, dest)


@pytest.mark.parametrize("at", ["lake.json", "relocating.json"])
def test_the_folder_of_another_lake_is_refused(tmp_path: Path, at: str) -> None:
    home, dest = make_pair(tmp_path)
    other = make_home(tmp_path / "other")
    if at == "lake.json":
        move(other, FS, dest)
    else:
        prepare_copy(plan_move(other, FS, dest))

    with pytest.raises(PartitionConflictError, match="belongs to another lake"):
        plan_move(home, FS, dest)


def test_a_copy_that_was_begun_loses_what_the_lake_has_no_more(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    plan = plan_move(home, FS, dest)
    prepare_copy(plan)
    plan.copies.make()
    (snapshot,) = (home.lake_dir / "snapshots").iterdir()
    snapshot.unlink()

    move(home, FS, dest)

    assert not (dest / "snapshots" / snapshot.name).exists()


def replace_by_link(path: Path, outside: Path) -> set[str]:
    """Move a folder out of the lake and leave a link; return what lies behind it."""
    path.rename(outside)
    path.symlink_to(outside)
    return list_files(outside)


@pytest.mark.parametrize("place", ["segments", "snapshots"])
def test_a_folder_behind_a_link_stops_the_move(tmp_path: Path, place: str) -> None:
    home, dest = make_pair(tmp_path)
    before = replace_by_link(home.lake_dir / place, tmp_path / "outside")

    with pytest.raises(StorageError, match="is a link, and a lake follows none"):
        move(home, FS, dest)

    assert list_files(tmp_path / "outside") == before
    assert recall_home(home.data_dir, FS) == home


def test_a_month_behind_a_link_is_none_and_the_link_stays(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    before = replace_by_link(home.lake_dir / "segments" / "2024-03", tmp_path / "outside")

    assert move(home, FS, dest).left == [home.lake_dir / "segments"]

    assert list_files(tmp_path / "outside") == before
    assert (home.lake_dir / "segments" / "2024-03").is_symlink()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    plan = plan_move(home, FS, dest)
    size = plan.copies.measure()

    require_room(plan, FreeSpace(QuotaDisk({dest.parent: size.bytes}), 0), size)
    with pytest.raises(StorageError, match=r"lake is too small: .* still to be copied.*stay free"):
        require_room(plan, FreeSpace(QuotaDisk({dest.parent: size.bytes - 1}), 0), size)


def test_a_size_tells_what_is_still_to_be_copied(tmp_path: Path) -> None:
    home, dest = make_pair(tmp_path)
    plan = plan_move(home, FS, dest)
    before = plan.copies.measure()

    prepare_copy(plan)
    plan.copies.make()

    assert (before.sessions, before.needed_bytes) == (4, before.bytes)
    assert plan.copies.measure().needed_bytes == 0


def test_put_lake_takes_a_link_to_the_folder_in_the_data_folder_for_it(tmp_path: Path) -> None:
    home, _ = make_pair(tmp_path)
    (tmp_path / "link").symlink_to(home.index_dir)

    assert put_lake(home.data_dir, tmp_path / "link") == home
