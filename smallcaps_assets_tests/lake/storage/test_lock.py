import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from smallcaps_assets.errors import PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.folder_lock import FolderLock
from smallcaps_assets.lake.storage.lock import Holder, LakeLock
from smallcaps_assets_tests.lake.disks import FailingDisk

HOLDER_CODE = """
import sys, time
from pathlib import Path
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.lock import LakeLock
with LakeLock(Path(sys.argv[1])).hold("a download"):
    print("held", flush=True)
    time.sleep(60)
"""


REMOVALS = {
    "lock": ["lake.lock"],
    "note": ["lake.lock.json"],
    "both": ["lake.lock", "lake.lock.json"],
}
"""Files that somebody removes by hand."""


class Interruption(BaseException):
    """Ends a process from without, as Ctrl-C does."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a lock in a folder that is not there yet."""
    return tmp_path / "lake" / "lake.lock"


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return another process that holds the lock."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER_CODE, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def change_note(path: Path, **changes: object) -> None:
    """Change what the note beside a lock says."""
    note = path.with_name("lake.lock.json")
    holder = msgspec.json.decode(note.read_bytes(), type=Holder)
    note.write_bytes(msgspec.json.encode(msgspec.structs.replace(holder, **changes)))


def test_hold_names_the_holder_while_it_lasts(path: Path) -> None:
    lock = LakeLock(path)

    with lock.hold("an audit") as holder:
        seen = LakeLock(path).holder()

    assert seen == holder
    assert (holder.owner, holder.pid) == ("an audit", os.getpid())
    assert LakeLock(path).holder() is None


def test_hold_can_be_held_again(path: Path) -> None:
    lock = LakeLock(path)

    with lock.hold("once", 0):
        pass
    with lock.hold("twice", 0):
        assert lock.holder() is not None


def test_hold_refuses_and_names_another_process(path: Path, other: subprocess.Popen[bytes]) -> None:
    expected = rf"a download \(pid {other.pid} on .*, since .*\)"

    with pytest.raises(PartitionConflictError, match=expected), LakeLock(path).hold("me", 0):
        pytest.fail("two processes held the lock")

    holder = LakeLock(path).holder()
    assert holder is not None
    assert holder.pid == other.pid


def test_a_killed_process_holds_nothing(path: Path, other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()

    assert path.with_name("lake.lock.json").exists()
    assert LakeLock(path).holder() is None
    with LakeLock(path).hold("me", 0) as holder:
        assert LakeLock(path).holder() == holder


@pytest.mark.parametrize("wait_s", [30, None])
def test_hold_waits_for_the_other(
    path: Path, other: subprocess.Popen[bytes], wait_s: float | None
) -> None:
    threading.Timer(0.1, other.kill).start()

    with LakeLock(path).hold("me", wait_s) as holder:
        assert holder.pid == os.getpid()


def test_an_interruption_lets_go_of_the_lock(path: Path) -> None:
    class InterruptedDisk(FileSystem):
        def remove(self, path: Path) -> None:
            raise Interruption(path)

    with pytest.raises(Interruption), LakeLock(path, InterruptedDisk()).hold("one"):
        pass

    with LakeLock(path).hold("two", 0) as holder:
        assert holder.owner == "two"


def test_two_threads_do_not_share_a_lock(path: Path) -> None:
    lock = LakeLock(path)

    with lock.hold("one", 0), pytest.raises(PartitionConflictError), lock.hold("two", 0):
        pytest.fail("two holders at once")


def test_holder_is_found_by_trying_where_its_process_is_unknown(path: Path) -> None:
    with LakeLock(path).hold("one") as holder:
        change_note(path, process=f"{'0' * 12}-1-1")
        assert LakeLock(path).holder() == msgspec.structs.replace(holder, process=f"{'0' * 12}-1-1")
        left = path.with_name("lake.lock.json").read_bytes()

    path.with_name("lake.lock.json").write_bytes(left)
    assert LakeLock(path).holder() is None


@pytest.mark.parametrize("note", [None, b"", b"{}", b'{"owner": 1}'], ids=repr)
def test_a_holder_without_note_is_still_a_holder(path: Path, note: bytes | None) -> None:
    with LakeLock(path).hold("one"):
        file = path.with_name("lake.lock.json")
        file.unlink() if note is None else file.write_bytes(note)

        holder = LakeLock(path).holder()
        with pytest.raises(PartitionConflictError, match="in use by another process;"):
            LakeLock(path).hold("two", 0).__enter__()

    assert holder is not None
    assert holder.owner == "another process"


@pytest.mark.parametrize("removed", REMOVALS.values(), ids=REMOVALS)
@pytest.mark.parametrize("is_replaced", [False, True], ids=["gone", "another"])
def test_a_lock_removed_by_hand_still_keeps_others_out(
    path: Path, other: subprocess.Popen[bytes], removed: list[str], *, is_replaced: bool
) -> None:
    """L40: whoever comes would lock a new file of that name, and write beside the holder."""
    for name in removed:
        path.with_name(name).unlink()
    if is_replaced:
        path.with_suffix(".new").touch()
        path.with_suffix(".new").replace(path)

    for wait_s in (0, 0.2):
        with (
            pytest.raises(PartitionConflictError, match="in use by"),
            LakeLock(path).hold("me", wait_s),
        ):
            pytest.fail("two processes held the lock")
    assert LakeLock(path).holder() is not None

    other.kill()
    other.wait()
    with LakeLock(path).hold("me", 5) as holder:
        assert holder.pid == os.getpid()


def test_a_holder_knows_whether_its_lock_still_keeps_others_out(path: Path) -> None:
    """L40: with its file removed the folder is locked still; a new folder is nobody's."""
    lock = LakeLock(path)
    lock.check()
    with lock.hold("a download"):
        lock.check()
        path.unlink()
        lock.check()
        path.parent.rename(path.parent.with_name("old"))
        with pytest.raises(PartitionConflictError, match="removed or replaced"):
            lock.check()
        path.parent.mkdir()
        path.touch()
        with pytest.raises(PartitionConflictError, match="nothing more is written"):
            lock.check()
    lock.check()


def test_a_holder_on_a_disk_that_locks_no_folders_finds_that_its_file_is_another(
    path: Path,
) -> None:
    """L40: it stops before it writes again, because nothing keeps another process out."""
    lock = LakeLock(path, locks_folder=False)
    with lock.hold("a download"):
        lock.check()
        path.rename(path.with_name("aside"))
        with pytest.raises(PartitionConflictError, match="removed or replaced"):
            lock.check()
        path.touch()
        with pytest.raises(PartitionConflictError, match="removed or replaced"):
            lock.check()
        path.with_name("aside").replace(path)
        lock.check()


def test_a_lock_of_a_folder_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    held = FolderLock.take(tmp_path, 0)
    assert held is not None
    assert held.is_of(tmp_path)
    assert FolderLock.take(tmp_path, 0.12) is None

    threading.Timer(0.1, held.release).start()
    later = FolderLock.take(tmp_path, None)

    assert later is not None
    later.release()
    assert not later.is_of(tmp_path)


def test_nobody_holds_a_lock_that_was_never_there(path: Path) -> None:
    assert LakeLock(path).holder() is None
    assert not path.parent.exists()


def test_a_full_disk_does_not_keep_the_lock_from_being_held(path: Path) -> None:
    path.parent.mkdir()
    disk = FailingDisk(number=errno.ENOSPC, fail_at=0)

    with LakeLock(path, disk).hold("a repair") as holder:
        assert holder.owner == "a repair"
        assert not path.with_name("lake.lock.json").exists()


def test_a_lock_that_cannot_be_made_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "lake.lock").mkdir()

    with (
        pytest.raises(StorageError, match="cannot lock"),
        LakeLock(tmp_path / "lake.lock").hold("x"),
    ):
        pytest.fail("a folder was locked")
