import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smallcaps_assets.errors import MissingPartitionError, StorageError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import (
    Entry,
    FileSystem,
    find_abandoned,
    find_existing,
    find_syncfs,
    folders_below,
    temporary_path,
)
from smallcaps_assets.lake.storage.processes import identify_process
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, ScriptedDisk

HOUR_S = 3600.0


@pytest.fixture(params=[True, False], ids=["syncfs", "fsync"])
def fs(request: pytest.FixtureRequest) -> FileSystem:
    """Return the real disk, with and without one call for a group."""
    return FileSystem(uses_syncfs=request.param)


def make_old(path: Path, *, age_s: float = 2 * HOUR_S) -> Path:
    """Write a file that was written some time ago."""
    path.write_bytes(b"old")
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def run_dead_process() -> str:
    """Return the identity of a process that has ended."""
    code = "from smallcaps_assets.lake.storage.processes import identify_process as p; print(p())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True).strip()


def test_a_folder_is_listed_by_name_and_tells_links_apart(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "bb").symlink_to("b")
    (tmp_path / "gone").symlink_to("nowhere")
    fs = FileSystem()

    assert fs.list_folder(tmp_path) == [
        Entry("a", is_folder=False, is_link=False),
        Entry("b", is_folder=True, is_link=False),
        Entry("bb", is_folder=False, is_link=True),
        Entry("gone", is_folder=False, is_link=True),
    ]
    assert [entry.name for entry in fs.list_folder(tmp_path, "b")] == ["b", "bb"]
    assert fs.list_folder(tmp_path / "a") == fs.list_folder(tmp_path / "no" / "folder") == []
    looks = [fs.exists, fs.is_link, fs.is_file, fs.is_folder]
    assert [look(tmp_path / "gone") for look in looks] == [True, True, False, False]
    assert [look(tmp_path / "bb") for look in looks] == [True, True, False, True]
    assert [fs.size(tmp_path / name) for name in ("a", "b", "gone", "a/b")] == [2, 0, 0, 0]


def test_a_folder_is_measured_with_all_that_lies_in_it(tmp_path: Path, fs: FileSystem) -> None:
    (tmp_path / "2024-03").mkdir()
    (tmp_path / "2024-03" / "part").write_bytes(bytes(30))
    (tmp_path / "part").write_bytes(bytes(4))
    (tmp_path / "link").symlink_to(tmp_path / "part")
    (tmp_path / "loop").symlink_to(tmp_path)

    assert fs.measure_folder(tmp_path) == 34
    assert fs.measure_folder(tmp_path / "gone") == 0


def test_a_look_that_is_refused_names_the_path(tmp_path: Path) -> None:
    fs, path = FileSystem(), tmp_path / ("n" * 300)

    for look in (fs.is_file, fs.is_folder, fs.is_link, fs.size, fs.list_folder, fs.device):
        with pytest.raises(StorageError, match=r"cannot look at .*nnn"):
            look(path)


def test_publish_writes_whole_files_in_new_folders(tmp_path: Path, fs: FileSystem) -> None:
    contents = {tmp_path / "a/b/one": b"1", tmp_path / "a/two": b"2" * 100_000}

    fs.publish(contents, root=tmp_path)

    assert {path: path.read_bytes() for path in contents} == contents
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(contents)
    fs.publish({files[0]: b"new"}, root=tmp_path)
    assert fs.read(files[0]) == b"new"


@pytest.mark.parametrize("uses_syncfs", [True, False])
def test_publish_is_whole_or_nothing_at_any_operation(tmp_path: Path, *, uses_syncfs: bool) -> None:
    """L13: a table is never seen half written."""
    target = tmp_path / "table"
    for crash_at in range(20):
        target.write_bytes(b"old")
        disk = ScriptedDisk(crash_at=crash_at, uses_syncfs=uses_syncfs)
        try:
            disk.publish({target: b"newer"}, root=tmp_path)
        except Crash:
            assert target.read_bytes() in {b"old", b"newer"}
        else:
            break
    assert target.read_bytes() == b"newer"
    assert crash_at > 3


@pytest.mark.parametrize("fail_at", range(3))
def test_publish_leaves_no_temporary_file_on_a_full_disk(tmp_path: Path, fail_at: int) -> None:
    disk = FailingDisk(number=errno.ENOSPC, fail_at=fail_at)

    with pytest.raises(StorageError, match="No space left"):
        disk.publish({tmp_path / "table": b"new"}, root=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_publish_leaves_no_temporary_file_to_an_interrupt(
    tmp_path: Path, fs: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: Path, target: Path) -> None:
        raise KeyboardInterrupt(source, target)

    monkeypatch.setattr(fs, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fs.publish({tmp_path / "table": b"new"}, root=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_adopt_publishes_a_file_that_a_library_wrote(tmp_path: Path, fs: FileSystem) -> None:
    temporary = temporary_path(tmp_path)
    temporary.write_bytes(b"catalog")

    fs.adopt(temporary, tmp_path / "catalog")

    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


def test_write_new_never_overwrites(tmp_path: Path, fs: FileSystem) -> None:
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(StorageError, match="cannot write"):
        fs.write_new(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"old"


def test_sync_group_takes_files_folders_and_repeats(tmp_path: Path, fs: FileSystem) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")

    fs.sync_group([file, tmp_path, file])
    fs.sync_group([])


def test_sync_group_tells_of_what_is_gone(tmp_path: Path, fs: FileSystem) -> None:
    with pytest.raises(StorageError, match="cannot sync"):
        fs.sync_group([tmp_path / "gone"])


def test_folders_are_not_synced_where_there_is_no_such_call(tmp_path: Path) -> None:
    FileSystem(syncs_folders=False).sync_folder(tmp_path / "gone")


def test_remove_is_content_when_there_is_nothing(tmp_path: Path, fs: FileSystem) -> None:
    (tmp_path / "file").write_bytes(b"")

    for _ in range(2):
        fs.remove(tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


def test_make_folders_needs_its_root(tmp_path: Path, fs: FileSystem) -> None:
    root = tmp_path / "disk"

    with pytest.raises(StorageError, match="mount the disk again"):
        fs.make_folders(root / "lake/trades", root=root)

    assert not root.exists()


def test_make_folders_finds_a_file_in_its_way(tmp_path: Path, fs: FileSystem) -> None:
    (tmp_path / "lake").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot make folder"):
        fs.make_folders(tmp_path / "lake/trades", root=tmp_path)


def test_free_bytes_asks_the_disk(tmp_path: Path, fs: FileSystem) -> None:
    assert 0 < fs.free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total
    with pytest.raises(StorageError, match="cannot look at"):
        fs.free_bytes(tmp_path / "gone")


def test_read_tells_a_missing_file_from_a_broken_disk(tmp_path: Path, fs: FileSystem) -> None:
    with pytest.raises(MissingPartitionError, match="gone"):
        fs.read(tmp_path / "gone")
    with pytest.raises(StorageError, match="cannot read"):
        fs.read(tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space or move the lake"),
        (errno.EDQUOT, "free space or move the lake"),
        (errno.EROFS, "remount the disk"),
        (errno.EACCES, "give this user the right"),
        (errno.EPERM, "give this user the right"),
        (errno.ENOENT, "mount the disk again"),
        (errno.EIO, "check the disk"),
        (errno.EXDEV, "one file system"),
        (errno.EMFILE, "open files"),
        (errno.EBUSY, "operating system"),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
def test_storage_errors_name_path_reason_and_remedy(number: int, remedy: str) -> None:
    with pytest.raises(StorageError, match=remedy) as raised, storage_errors("write", Path("x/y")):
        raise OSError(number, os.strerror(number))

    assert f"cannot write x/y: {os.strerror(number)}; " in str(raised.value)
    assert raised.value.kind == "storage"


def test_storage_errors_name_a_reason_without_number() -> None:
    with pytest.raises(StorageError, match="out of luck"), storage_errors("write", Path("x")):
        raise OSError("out of luck")


def test_folders_below_gives_every_folder_to_the_root_once() -> None:
    root = Path("data/lake")

    folders = folders_below([root / "t/a/1", root / "t/a/2", root], root)

    assert folders == [root / "t/a/1", root / "t/a", root / "t", root, root / "t/a/2"]


def test_find_existing_goes_up_to_what_is_there(tmp_path: Path) -> None:
    assert find_existing(tmp_path / "a/b/c") == tmp_path
    assert find_existing(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("release", "is_found"),
    [("6.1.0-x", True), ("5.8", True), ("5.4.0-generic", False), ("no version", False), ("", True)],
)
def test_find_syncfs_wants_a_kernel_that_tells_of_failed_writes(
    release: str, *, is_found: bool
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("there is no syncfs but on Linux")

    assert (find_syncfs(release) is not None) is is_found


def test_syncfs_raises_what_the_system_says() -> None:
    sync_file_system = find_syncfs("6.1")
    if sync_file_system is None:
        pytest.skip("there is no syncfs but on Linux")

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        sync_file_system(-1)


def test_temporary_names_are_never_given_twice(tmp_path: Path) -> None:
    assert len({temporary_path(tmp_path) for _ in range(100)}) == 100


def test_sweep_removes_what_dead_processes_left(tmp_path: Path, fs: FileSystem) -> None:
    dead = tmp_path / f".tmp-{run_dead_process()}-7"
    dead.write_bytes(b"half")

    assert fs.sweep_temporary([tmp_path, tmp_path / "gone"]) == [dead]
    assert list(tmp_path.iterdir()) == []


def test_sweep_never_removes_what_a_living_process_writes(tmp_path: Path, fs: FileSystem) -> None:
    make_old(temporary_path(tmp_path))
    make_old(tmp_path / f".tmp-{identify_process(os.getppid())}-7")
    make_old(tmp_path / "trades.parquet")

    assert fs.sweep_temporary([tmp_path], older_than_s=0) == []
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", [".tmp-0123456789ab-1-2-3", ".tmp-other", ".tmp-"])
def test_sweep_goes_by_age_where_the_process_is_unknown(
    tmp_path: Path, fs: FileSystem, name: str
) -> None:
    make_old(tmp_path / name)

    assert fs.sweep_temporary([tmp_path], older_than_s=3 * HOUR_S) == []
    assert fs.sweep_temporary([tmp_path], older_than_s=HOUR_S) == [tmp_path / name]


def test_a_temporary_file_that_goes_meanwhile_is_not_abandoned(tmp_path: Path) -> None:
    (tmp_path / ".tmp-gone").symlink_to(tmp_path / "nowhere")

    assert find_abandoned([tmp_path]) == []
