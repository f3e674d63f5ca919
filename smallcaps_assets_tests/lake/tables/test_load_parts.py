from pathlib import Path

import pytest

from smallcaps_assets.errors import MissingPartitionError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.load_parts import PartStore


@pytest.fixture
def parts(tmp_path: Path) -> PartStore:
    return PartStore(tmp_path / "reference" / "parts", FileSystem(), root=tmp_path)


def test_parts_are_kept_by_name_and_listed_in_order(parts: PartStore) -> None:
    for name in ("b-000002", "b-000001", "a-000001"):
        parts.write(name, name.encode())
    parts.write("a-000001", b"new")

    assert parts.list_names() == ["a-000001", "b-000001", "b-000002"]
    assert parts.list_names("b-") == ["b-000001", "b-000002"]
    assert (parts.read("a-000001"), parts.read("b-000002")) == (b"new", b"b-000002")


def test_parts_are_cleared_by_prefix(parts: PartStore) -> None:
    for name in ("a-000001", "b-000001"):
        parts.write(name, b"")

    parts.clear("a-")
    assert parts.list_names() == ["b-000001"]

    parts.clear()
    assert parts.list_names() == []


def test_a_folder_that_was_never_made_has_no_parts(parts: PartStore) -> None:
    parts.clear()

    assert parts.list_names() == []
    with pytest.raises(MissingPartitionError):
        parts.read("a")


def test_parts_are_not_written_where_the_disk_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    parts = PartStore(gone / "parts", FileSystem(), root=gone)

    with pytest.raises(StorageError, match="the folder is gone"):
        parts.write("a", b"")
