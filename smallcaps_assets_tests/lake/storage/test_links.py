"""Links inside a lake lead nowhere: neither reading nor writing follows one out of it."""

import contextlib
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.sessions.damages import DamageKind, OrphanKind
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_facts, make_session, make_tape
from smallcaps_assets_tests.lake.root_factories import (
    list_files,
    make_folder,
    make_home,
    move,
    open_store,
)
from smallcaps_assets_tests.lake.segments.lake_of_segments import SOURCE

RECEIPT: Final = "trades/ticker=ABCD/date=2024-03-15/_SUCCESS"
PLACES: Final = [
    "trades",
    "trades/ticker=ABCD",
    "trades/ticker=ABCD/date=2024-03-15",
    "trades/ticker=ABCD/date=2024-03-15/trades.parquet",
    RECEIPT,
]
"""What a hostile hand may replace by a link, the same content behind it."""


def replace_by_link(home: LakeLayout, place: str) -> Path:
    """Move a part of the lake out of it and leave a link; return where it lies now."""
    path = home.lake_dir / place
    outside = home.data_dir.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    return outside


def make_indexed(folder: Path) -> LakeLayout:
    """Return a lake whose ledger knows its sessions."""
    home = make_home(folder / "data")
    home.ledger_file.unlink()
    with Ledger(home.ledger_file) as ledger:
        ledger.reindex(open_store(home).iter_receipts())
    return home


@pytest.mark.parametrize("place", PLACES)
def test_a_session_behind_a_link_is_not_read(tmp_path: Path, place: str) -> None:
    home = make_indexed(tmp_path)
    replace_by_link(home, place)

    with pytest.raises(StorageError, match="is a link, and a lake follows none"):
        open_store(home).read_trades("ABCD", SESSION)
    if place != RECEIPT:
        with pytest.raises(MissingPartitionError, match="gone or cut"):
            Lake(home.data_dir).trades(["ABCD"])
        facts = build_catalog(home, ScriptedDisk())
        lost = 2 if place == "trades" else 1
        assert (facts.trades_files, facts.missing_files) == (2 - lost, lost)


def open_segments(home: LakeLayout) -> SegmentStore:
    """Return the store of a lake of segments, as a new process does."""
    storage = LocalStorage(home.lake_dir, ScriptedDisk())
    return SegmentStore(SegmentLake(storage, SOURCE), load_calendar())


@pytest.mark.parametrize("place", ["segments", "segments/2024-03"])
def test_a_segment_behind_a_link_is_not_read_or_written(tmp_path: Path, place: str) -> None:
    home = LakeLayout(tmp_path / "data")
    make_folder(home.lake_dir)
    prepared = open_segments(home).prepare("ABCD", SESSION, make_tape(5), make_facts())
    open_segments(home).commit([prepared])
    outside = replace_by_link(home, place)
    before = list_files(outside)

    for use in (
        lambda: open_segments(home).read_trades("ABCD", SESSION),
        lambda: open_segments(home).commit([prepared]),
    ):
        with pytest.raises(StorageError, match="is a link, and a lake follows none"):
            use()
    assert list_files(outside) == before


@pytest.mark.parametrize("place", [*PLACES[:3], ".staging"])
def test_a_commit_does_not_write_behind_a_link(tmp_path: Path, place: str) -> None:
    home = make_home(tmp_path / "data")
    outside = replace_by_link(home, place)
    before = {file: (outside / file).read_bytes() for file in list_files(outside)}
    store = open_store(home)

    with pytest.raises(StorageError, match="is a link, and a lake follows none"):
        store.commit([make_session(store, rows=9, seed=3)])

    assert {file: (outside / file).read_bytes() for file in list_files(outside)} == before


@pytest.mark.parametrize("place", PLACES[1:3])
def test_a_linked_folder_is_a_stray_that_is_moved_aside(tmp_path: Path, place: str) -> None:
    home = make_home(tmp_path / "data")
    outside = replace_by_link(home, place)
    before = list_files(outside)
    store = open_store(home)

    strays = [orphan for orphan in store.find_orphans(()) if orphan.kind is OrphanKind.FOREIGN]
    moved = store.quarantine_orphan(strays[0].path)

    assert [stray.path for stray in strays] == [home.lake_dir / place]
    assert moved.is_symlink()
    assert list_files(outside) == before
    assert not (home.lake_dir / place).exists()


def test_a_linked_file_is_damage_and_the_link_alone_is_moved(tmp_path: Path) -> None:
    home = make_home(tmp_path / "data")
    store = open_store(home)
    receipt = store.read_receipt("ABCD", SESSION)
    outside = replace_by_link(home, PLACES[3])

    damages = store.verify_session(receipt)
    folder = store.quarantine("ABCD", SESSION)

    assert [damage.kind for damage in damages] == [DamageKind.UNREADABLE]
    assert (folder / "trades.parquet").is_symlink()
    assert outside.is_file()


@pytest.mark.parametrize("place", PLACES)
def test_a_move_takes_nothing_behind_a_link(tmp_path: Path, place: str) -> None:
    """It stops, or leaves the link where it is; what lies behind is touched in no case."""
    home = make_home(tmp_path / "data")
    outside = replace_by_link(home, place)
    before = list_files(outside) or outside.read_bytes()
    make_folder(tmp_path / "disk")

    with contextlib.suppress(LakeError):
        move(home, ScriptedDisk(), tmp_path / "disk" / "lake")

    assert (list_files(outside) or outside.read_bytes()) == before
    assert (home.lake_dir / place).is_symlink()


def test_a_root_may_lie_behind_a_link(tmp_path: Path) -> None:
    """That is how people name disks."""
    home = make_indexed(tmp_path)
    rows = Lake(home.data_dir).trades().collect().height
    home.lake_dir.rename(tmp_path / "large_disk")
    home.lake_dir.symlink_to(tmp_path / "large_disk")

    store = open_store(home)
    store.commit([make_session(store, rows=9, seed=3)])

    assert Lake(home.data_dir).trades(["BCpC"]).collect().height < rows
    assert store.read_receipt("ABCD", SESSION).rows == 9


def test_a_tree_removed_from_quarantine_is_not_followed_out_of_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "outside" / "deep")
    (tmp_path / "outside" / "deep" / "file").write_text("mine")
    quarantine = make_folder(tmp_path / "quarantine" / "a")
    (quarantine / "link").symlink_to(tmp_path / "outside")

    ScriptedDisk().remove_tree(tmp_path / "quarantine")

    assert not (tmp_path / "quarantine").exists()
    assert (tmp_path / "outside" / "deep" / "file").read_text() == "mine"
