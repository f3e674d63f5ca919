"""The lock of a lake: one process writes, and everyone can see which.

What belongs here: holding, waiting, refusing, and naming the holder.  What does not: the lock of
the ledger's own database.  The operating system lets go of the lock when its holder dies, however
it dies; the note beside it only names the holder and decides nothing.

A file can be removed by hand while it is locked, and another process would lock a new one of that
name.  So the folder is locked too, where the system can do that; elsewhere a holder finds by
comparing files that it has lost its lock, and stops.
"""

import contextlib
import datetime as dt
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock, Timeout

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import LakeError, PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lake.storage.folder_lock import FolderLock
from smallcaps_assets.lake.storage.processes import (
    Liveness,
    identify_process,
    judge_process,
    parse_identity,
)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock.

    Attributes:
        owner: What it is doing.
        process: Its identity: machine and boot, pid, start.
        pid: Its pid, for people; 0: it left no note.
        host: Its machine, for people.
        since: When it got the lock.
        kind: Whether it downloads, or does anything else.
        run_id: Run of the download; empty: it is none.
    """

    owner: str
    process: str
    pid: int
    host: str
    since: dt.datetime
    kind: Literal["download", "upkeep"] = "upkeep"
    run_id: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return self.owner
        since = self.since.isoformat(timespec="seconds")
        return f"{self.owner} (pid {self.pid} on {self.host}, since {since})"


class LakeLock:
    """The lock of one lake; what its disk refuses is a ``StorageError``."""

    def __init__(
        self, path: Path, fs: FileSystem | None = None, *, locks_folder: bool = True
    ) -> None:
        """Name the lock; nothing is locked or written yet.

        The folder of its file is locked too, which not every system can do.
        """
        self._locks_folder = locks_folder
        self._path = path
        self._note = path.with_name(f"{path.name}.json")
        self._fs = fs or FileSystem()
        self._held: _Grip | None = None

    @contextlib.contextmanager
    def hold(
        self, owner: str, wait_s: float | None = None, *, run_id: str = ""
    ) -> Iterator[Holder]:
        """Hold the lock while the body runs.

        Args:
            owner: What this process does, for those that it makes wait.
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.
            run_id: Run that downloads; empty: nothing is downloaded.

        Raises:
            PartitionConflictError: Another process holds it; the message names it.
        """
        folder = self._path.parent
        self._fs.make_folders(folder, root=find_existing(folder))
        grip = self._acquire(wait_s)
        with contextlib.ExitStack() as duties:
            duties.callback(grip.release)
            duties.callback(self._remove_note)
            self._held = grip
            duties.callback(self._forget)
            yield self._sign(owner, run_id)

    def check(self) -> None:
        """Make sure that the lock which this process holds still keeps others out.

        Without one there is nothing to check: who holds none has not asked to be alone.

        Raises:
            PartitionConflictError: Its file, or its folder, was removed or replaced.
        """
        grip = self._held
        if grip is None or grip.is_firm(self._path):
            return
        raise PartitionConflictError(
            f"expected {self._path} to stay as it is while it is in use, but it was removed or "
            "replaced, so another process may write here; nothing more is written. Find out who "
            "removed it, and run the same command again"
        )

    def holder(self) -> Holder | None:
        """Tell who holds the lock; ``None`` when nobody does."""
        if not self._path.parent.is_dir():
            return None
        holder = self._read_note()
        identity = parse_identity(holder.process) if holder else None
        liveness = judge_process(identity) if identity else Liveness.UNKNOWN
        if liveness is Liveness.UNKNOWN and not self._is_held():
            return None
        return None if liveness is Liveness.DEAD else holder or _unknown_holder()

    def _acquire(self, wait_s: float | None) -> "_Grip":
        begun = time.monotonic()
        lock = FileLock(self._path, timeout=-1 if wait_s is None else wait_s, thread_local=False)
        with storage_errors("lock", self._path):
            try:
                lock.acquire()
            except Timeout as error:
                raise self._refuse() from error
            with contextlib.ExitStack() as failing:
                failing.callback(lock.release)
                left = None if wait_s is None else max(0.0, wait_s + begun - time.monotonic())
                folder = self._lock_folder(left)
                if folder is None:
                    raise self._refuse()
                failing.callback(folder.release)
                grip = _Grip(lock, folder, self._path.stat())
                failing.pop_all()
        return grip

    def _lock_folder(self, wait_s: float | None) -> FolderLock | None:
        return FolderLock.take(self._path.parent, wait_s) if self._locks_folder else FolderLock()

    def _refuse(self) -> PartitionConflictError:
        return PartitionConflictError(
            f"expected to be alone in {self._path.parent}, but it is in use by "
            f"{self._read_note() or _unknown_holder()}; wait for it, or stop it, and run "
            "the same command again"
        )

    def _forget(self) -> None:
        self._held = None

    def _sign(self, owner: str, run_id: str) -> Holder:
        """Leave a note of who holds the lock; a full disk must not keep it from being held."""
        process = identify_process()
        holder = Holder(
            owner=owner,
            process=str(process),
            pid=process.pid,
            host=platform.node(),
            since=dt.datetime.now(dt.UTC),
            kind="download" if run_id else "upkeep",
            run_id=run_id,
        )
        with contextlib.suppress(StorageError):
            self._fs.publish({self._note: msgspec.json.encode(holder)}, root=self._path.parent)
        return holder

    def _remove_note(self) -> None:
        with contextlib.suppress(StorageError):
            self._fs.remove(self._note)

    def _read_note(self) -> Holder | None:
        try:
            return decode_json(self._fs.read(self._note), Holder)
        except (LakeError, *DECODER_FAULTS):
            return None

    def _is_held(self) -> bool:
        """Find out by trying, which makes another that tries at this very moment wait or fail."""
        try:
            if self._path.exists():
                self._acquire(0).release()
                return False
            with storage_errors("lock", self._path):
                folder = self._lock_folder(0)
        except PartitionConflictError:
            return True
        if folder is not None:
            folder.release()
        return folder is None


class _Grip:
    """What a holder has in its hands: the lock of the file, and that of its folder."""

    def __init__(self, lock: FileLock, folder: FolderLock, file: os.stat_result) -> None:
        self._lock = lock
        self._folder = folder
        self._file = file

    def is_firm(self, path: Path) -> bool:
        """Say whether nobody else can take the lock of ``path``."""
        try:
            return self._folder.is_of(path.parent) or os.path.samestat(self._file, path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Let go of both."""
        self._folder.release()
        self._lock.release()


def _unknown_holder() -> Holder:
    """Say what can be said of a holder that left no note."""
    epoch = dt.datetime.fromtimestamp(0, dt.UTC)
    return Holder(owner="another process", process="", pid=0, host="unknown", since=epoch)
