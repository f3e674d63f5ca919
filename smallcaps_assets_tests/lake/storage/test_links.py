"""Links inside a lake lead nowhere: neither reading nor writing follows one out of it."""

from pathlib import Path

import pytest

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.home_factories import list_files, make_folder
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_facts, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import SOURCE


def replace_by_link(home: LakeLayout, place: str) -> Path:
    """Move a part of the lake out of it and leave a link; return where it lies now."""
    path = home.lake_dir / place
    outside = home.data_dir.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    return outside


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


def test_a_lake_may_lie_behind_a_link(tmp_path: Path) -> None:
    """That is how people name disks."""
    home = LakeLayout(tmp_path / "data")
    make_folder(tmp_path / "large_disk")
    make_folder(home.data_dir)
    home.lake_dir.symlink_to(tmp_path / "large_disk")

    store = open_segments(home)
    store.commit([store.prepare("ABCD", SESSION, make_tape(5), make_facts())])

    assert open_segments(home).read_trades("ABCD", SESSION).height == 5
    assert list_files(tmp_path / "large_disk")


def test_a_tree_removed_from_quarantine_is_not_followed_out_of_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "outside" / "deep")
    (tmp_path / "outside" / "deep" / "file").write_text("mine")
    quarantine = make_folder(tmp_path / "quarantine" / "a")
    (quarantine / "link").symlink_to(tmp_path / "outside")

    ScriptedDisk().remove_tree(tmp_path / "quarantine")

    assert not (tmp_path / "quarantine").exists()
    assert (tmp_path / "outside" / "deep" / "file").read_text() == "mine"
