import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PosixPath

import msgspec
import pytest

from smallcaps_assets.errors import PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.holders import Holder
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.storage.path_lock import PathLock
from smallcaps_assets_tests.lake.disks import FailingDisk

HOLDER_CODE = """
import sys, time
from pathlib import Path
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.lock import LakeLock
with LakeLock(Path(sys.argv[1])).hold("a download", shared="shared" in sys.argv):
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


@contextmanager
def start_holder(path: Path, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that holds the lock, and kill it after the block."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER_CODE, str(path), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return another process that holds the lock alone."""
    with start_holder(path, "exclusive") as process:
        yield process


@pytest.fixture
def sharer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return another process that shares the lock."""
    with start_holder(path, "shared") as process:
        yield process


def list_notes(path: Path) -> list[Path]:
    """Return the notes beside a lock, of whichever kind."""
    return sorted(path.parent.glob("lake.lock*.json"))


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


# -- shared ----------------------------------------------------------------------------


def test_those_that_share_keep_out_who_would_be_alone(
    path: Path, sharer: subprocess.Popen[bytes]
) -> None:
    names = (
        rf"a download \(shared, pid {sharer.pid} on .*\) and mine \(shared, pid {os.getpid()} on "
    )

    with LakeLock(path).hold("mine", 0, shared=True):
        with pytest.raises(PartitionConflictError, match=names), LakeLock(path).hold("alone", 0):
            pytest.fail("alone beside two others")
        assert len(list_notes(path)) == 2

    assert [note.name.split("-")[1] for note in list_notes(path)] == [str(sharer.pid)]


def test_who_is_alone_keeps_out_those_that_would_share(
    path: Path, other: subprocess.Popen[bytes]
) -> None:
    told = rf"expected to share .* in use by a download \(pid {other.pid} on .*\) alone"

    with (
        pytest.raises(PartitionConflictError, match=told),
        LakeLock(path).hold("me", 0, shared=True),
    ):
        pytest.fail("shared what another has alone")


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_killed_process_shares_nothing_and_its_note_goes_with_the_next_holder(
    path: Path, sharer: subprocess.Popen[bytes], *, is_shared: bool
) -> None:
    sharer.kill()
    sharer.wait()
    assert len(list_notes(path)) == 1
    assert LakeLock(path).holder() is None

    with LakeLock(path).hold("me", 0, shared=is_shared) as holder:
        assert LakeLock(path).holder() == holder
        assert len(list_notes(path)) == 1


def test_a_note_of_one_that_cannot_be_judged_stays_until_somebody_is_alone(path: Path) -> None:
    with LakeLock(path).hold("another container", shared=True) as holder:
        (note,) = list_notes(path)
    stranger = msgspec.structs.replace(holder, process=f"{'0' * 12}-1-1")
    note.write_bytes(msgspec.json.encode(stranger))
    assert LakeLock(path).holder() is None

    with LakeLock(path).hold("one", shared=True):
        assert len(list_notes(path)) == 2
    with LakeLock(path).hold("alone"):
        assert len(list_notes(path)) == 1


def test_who_waits_to_be_alone_is_next(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else writers that come and go would let it wait forever."""

    def wait_to_be_alone() -> None:
        with LakeLock(path).hold("a repair", 10):
            assert len(list_notes(path)) == 1

    repair = threading.Thread(target=wait_to_be_alone)
    told = r"a repair \(pid .*\) waits to be alone there, and is next after first \(shared, pid "
    with LakeLock(path).hold("first", shared=True):
        repair.start()
        wait_for(path.with_name("lake.lock.next.json"))
        for wait_s in (0, 0.1):
            with (
                pytest.raises(PartitionConflictError, match=told),
                LakeLock(path).hold("second", wait_s, shared=True),
            ):
                pytest.fail("a new one was let in")
    repair.join()

    with LakeLock(path).hold("second", 0, shared=True):
        assert len(list_notes(path)) == 1
    assert "alone in" in caplog.messages[0]
    assert "in use by first" in caplog.messages[0]


def wait_for(file: Path) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_shared_lock_removed_by_hand_is_shared_still(
    path: Path, sharer: subprocess.Popen[bytes]
) -> None:
    """L40: the folder is locked in the same way as its file."""
    path.unlink()

    with LakeLock(path).hold("me", 0, shared=True):
        pass
    with pytest.raises(PartitionConflictError), LakeLock(path).hold("alone", 0):
        pytest.fail(f"alone beside {sharer.pid}")


def test_a_lock_that_was_replaced_while_it_was_taken_is_none(path: Path) -> None:
    """L40: whoever comes next would lock the new file."""
    path.parent.mkdir()

    class FleetingPath(PosixPath):
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            path.unlink()
            path.touch()
            return super().stat(follow_symlinks=follow_symlinks)

    assert PathLock.take(FleetingPath(path)) is None
    assert PathLock.take(path) is not None


def test_nobody_is_alone_beside_another_whoever_comes_and_goes(path: Path) -> None:
    inside: list[bool] = []
    seen: list[tuple[int, int]] = []

    def come_and_go(seed: int) -> None:
        lock = LakeLock(path)
        for turn in range(6):
            is_shared = (seed + turn) % 3 > 0
            with lock.hold(f"{seed}", 30, shared=is_shared):
                inside.append(is_shared)
                time.sleep(0.005)
                seen.append((inside.count(True), inside.count(False)))
                inside.remove(is_shared)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(come_and_go, range(5)))

    assert len(seen) == 30
    assert all(shared == 0 if alone else shared for shared, alone in seen)
    assert max(alone for _, alone in seen) == 1
    assert max(shared for shared, _ in seen) > 1


# -- trouble ---------------------------------------------------------------------------


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
