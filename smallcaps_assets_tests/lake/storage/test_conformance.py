"""What every storage has to do: a bucket passes this suite as the disk does.

Another storage is one more line of ``PLACES``; what a kill or a refusal leaves is tested on the
disk.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from smallcaps_assets.errors import MissingPartitionError, PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.protocol import Storage, check_key, read_clock
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, PowerLossDisk, ScriptedDisk
from smallcaps_assets_tests.lake.memory_storage import MemoryStorage

PLACES: Final[dict[str, Callable[[Path], Storage]]] = {
    "disk": lambda root: LocalStorage(root, ScriptedDisk()),
    "memory": lambda _: MemoryStorage(),
}
GROUP: Final = {"a/b/one": b"1" * 10, "a/two": b"2" * 10, "c/three": b""}
OPERATIONS: Final = range(20)
"""More than it takes to save ``GROUP``."""


@pytest.fixture(params=PLACES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return PLACES[request.param](tmp_path)


def load_all(storage: Storage) -> dict[str, bytes]:
    return {stored.key: storage.load(stored.key) for stored in storage.list_keys("")}


class TestStorage:
    def test_what_is_saved_is_there(self, storage: Storage) -> None:
        storage.save(GROUP)

        assert load_all(storage) == GROUP

    def test_no_objects_are_nothing(self, storage: Storage) -> None:
        storage.save({})

        assert storage.list_keys("") == []

    def test_a_key_is_written_once(self, storage: Storage) -> None:
        storage.save({"a/one": b"first"})

        with pytest.raises(PartitionConflictError, match="written once"):
            storage.save({"a/other": b"", "a/one": b"second"})

        assert load_all(storage) == {"a/one": b"first"}

    def test_the_same_again_is_no_error(self, storage: Storage) -> None:
        storage.save(GROUP)
        storage.save(GROUP)

        assert load_all(storage) == GROUP

    @pytest.mark.parametrize(
        ("prefix", "keys"),
        [
            ("", ["a/b/one", "a/two", "c/three"]),
            ("a/", ["a/b/one", "a/two"]),
            ("a/b/", ["a/b/one"]),
            ("nowhere/", []),
        ],
    )
    def test_a_listing_is_by_prefix_and_in_order(
        self, storage: Storage, prefix: str, keys: list[str]
    ) -> None:
        storage.save(GROUP)

        assert [stored.key for stored in storage.list_keys(prefix)] == keys

    def test_stat_and_listing_agree(self, storage: Storage) -> None:
        storage.save(GROUP)

        listed = storage.list_keys("")

        assert [storage.stat(stored.key) for stored in listed] == listed
        assert [stored.size for stored in listed] == [10, 10, 0]

    @pytest.mark.parametrize(
        ("start", "size", "part"), [(0, 3, b"abc"), (2, 2, b"cd"), (4, 9, b"ef"), (6, 1, b"")]
    )
    def test_a_range_is_a_part(self, storage: Storage, start: int, size: int, part: bytes) -> None:
        storage.save({"a/key": b"abcdef"})

        assert storage.load_range("a/key", start, size) == part

    def test_what_is_missing_is_not_empty(self, storage: Storage) -> None:
        assert storage.stat("a/none") is None
        with pytest.raises(MissingPartitionError):
            storage.load("a/none")
        with pytest.raises(MissingPartitionError):
            storage.load_range("a/none", 0, 1)

    def test_a_removed_object_is_gone(self, storage: Storage) -> None:
        storage.save(GROUP)

        storage.remove("a/two")
        storage.remove("a/two")

        assert storage.stat("a/two") is None
        assert [stored.key for stored in storage.list_keys("a/")] == ["a/b/one"]

    def test_the_clock_is_that_of_its_objects(self, storage: Storage) -> None:
        storage.save({"a/before": b""})
        now_ns = read_clock(storage, "clock/1")
        storage.save({"a/after": b""})

        after, before = storage.list_keys("")
        assert before.modified_ns <= now_ns <= after.modified_ns

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a\\b"])
    def test_a_key_that_no_storage_has_is_refused(self, storage: Storage, key: str) -> None:
        with pytest.raises(StorageError, match="cannot use the key"):
            storage.save({key: b""})


def test_a_key_has_a_longest_form() -> None:
    assert check_key("a" * 900)
    with pytest.raises(StorageError, match="cannot use the key"):
        check_key("a" * 901)


@pytest.mark.parametrize("uses_syncfs", [True, False])
def test_a_real_disk_syncs_what_it_saves(tmp_path: Path, *, uses_syncfs: bool) -> None:
    storage = LocalStorage(tmp_path, FileSystem(uses_syncfs=uses_syncfs))

    storage.save(GROUP)

    assert load_all(storage) == GROUP


def test_a_link_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    storage = LocalStorage(tmp_path)

    assert storage.stat("link") is None
    assert [stored.key for stored in storage.list_keys("")] == ["real"]
    with pytest.raises(PartitionConflictError):
        storage.save({"link": b"1"})


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        LocalStorage(tmp_path / "gone").save({"a/one": b"1"})

    assert not (tmp_path / "gone").exists()


def test_temporary_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".tmp-0123456789ab-1-1-0").write_bytes(b"half")
    storage = LocalStorage(tmp_path)

    assert storage.list_keys("") == []
    assert storage.sweep("a/") == []  # another machine may still be writing it


@pytest.mark.parametrize("crash_at", OPERATIONS)
@pytest.mark.parametrize("uses_syncfs", [True, False])
def test_a_kill_leaves_whole_objects(tmp_path: Path, crash_at: int, *, uses_syncfs: bool) -> None:
    disk = ScriptedDisk(crash_at=crash_at, uses_syncfs=uses_syncfs)
    try:
        LocalStorage(tmp_path, disk).save(GROUP)
    except Crash:
        left = load_all(LocalStorage(tmp_path))
        assert left.items() <= GROUP.items()

    LocalStorage(tmp_path, ScriptedDisk()).save(GROUP)
    assert load_all(LocalStorage(tmp_path)) == GROUP


@pytest.mark.parametrize("fail_at", OPERATIONS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_refusal_leaves_whole_objects(tmp_path: Path, number: int, fail_at: int) -> None:
    disk = FailingDisk(number=number, fail_at=fail_at)
    storage = LocalStorage(tmp_path, disk)
    try:
        storage.save(GROUP)
    except StorageError:
        assert load_all(storage).items() <= GROUP.items()
        assert not list(tmp_path.rglob(".tmp-*"))

    LocalStorage(tmp_path, ScriptedDisk()).save(GROUP)
    assert load_all(storage) == GROUP


@pytest.mark.parametrize("crash_at", OPERATIONS)
def test_a_power_failure_leaves_whole_objects(tmp_path: Path, crash_at: int) -> None:
    (tmp_path / "live").mkdir()
    disk = PowerLossDisk(tmp_path / "live", crash_at=crash_at)
    is_done = True
    try:
        LocalStorage(tmp_path / "live", disk).save(GROUP)
    except Crash:
        is_done = False

    for seed in range(4):
        survivor = tmp_path / f"survivor{seed}"
        survivor.mkdir()
        disk.lose_power(survivor, np.random.default_rng(seed))
        left = load_all(LocalStorage(survivor))
        assert left == GROUP if is_done else left.items() <= GROUP.items()


def test_a_repeat_after_a_refused_sync_lasts(tmp_path: Path) -> None:
    """An object whose name was not synced is there, and may yet be lost; saving again syncs it."""
    (tmp_path / "live").mkdir()
    disk = PowerLossDisk(tmp_path / "live", crash_at=6)
    with pytest.raises(Crash):
        LocalStorage(tmp_path / "live", disk).save({"a/one": b"1"})
    assert [name for name, _ in disk.operations[-2:]] == ["rename", "sync_group"]
    disk.crash_at = None
    assert LocalStorage(tmp_path / "live", disk).stat("a/one")

    LocalStorage(tmp_path / "live", disk).save({"a/one": b"1"})

    for seed in range(4):
        survivor = tmp_path / f"survivor{seed}"
        survivor.mkdir()
        disk.lose_power(survivor, np.random.default_rng(seed))
        assert load_all(LocalStorage(survivor)) == {"a/one": b"1"}
