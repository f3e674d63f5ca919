"""The lock of a lake, shared or exclusive: who writes keeps others out, and all can see who.

What belongs here: holding, waiting, refusing.  What does not: what names a holder (``holders``),
the lock of one path (``path_lock``), the lock of the ledger's own database.  The operating system
lets go of the lock when its holder dies, however it dies.

A file can be removed by hand while it is locked, and another process would lock a new one of that
name.  So the folder is locked too, where the system can do that; elsewhere a holder finds by
comparing files that it has lost its lock, and stops.

Who waits to be alone while others share the lock holds a second one meanwhile, ``lake.lock.next``,
and nobody comes to share it from then on: else writers that come and go would let it wait forever.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lake.storage.holders import Holder, Notes, make_holder, make_unknown_holder
from smallcaps_assets.lake.storage.path_lock import PathLock
from smallcaps_assets.lake.storage.processes import Liveness

logger = logging.getLogger(__name__)

POLL_S: Final = 0.05
"""Pause between two tries.  Who does not wait at all tries twice, because whoever only looks
whether a lock is held takes it for a moment."""


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
        self._next = path.with_name(f"{path.name}.next")
        self._fs = fs or FileSystem()
        self._notes = Notes(path, self._fs)
        self._waiting = Notes(self._next, self._fs)
        self._held: list[_Grip] = []

    @contextlib.contextmanager
    def hold(
        self, owner: str, wait_s: float | None = None, *, run_id: str = "", shared: bool = False
    ) -> Iterator[Holder]:
        """Hold the lock while the body runs.

        Args:
            owner: What this process does, for those that it makes wait.
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.
            run_id: Run that downloads; empty: nothing is downloaded.
            shared: Others may share it; else this holder is alone.

        Raises:
            PartitionConflictError: Another process holds it; the message names it.
        """
        folder = self._path.parent
        self._fs.make_folders(folder, root=find_existing(folder))
        grip = self._acquire(owner, wait_s, shared=shared)
        with contextlib.ExitStack() as duties:
            duties.callback(grip.release)
            self._held.append(grip)
            duties.callback(self._held.remove, grip)
            self._notes.sweep(shared=shared)
            holder = make_holder(owner, run_id, shared=shared)
            yield duties.enter_context(_signed(self._notes, holder))

    @property
    def is_own(self) -> bool:
        """Say whether this process holds it."""
        return bool(self._held)

    def check(self) -> None:
        """Make sure that the lock which this process holds still keeps others out.

        Without one there is nothing to check: who holds none has not asked for it.

        Raises:
            PartitionConflictError: Its file, or its folder, was removed or replaced.
        """
        if all(grip.is_firm(self._path) for grip in list(self._held)):
            return
        raise PartitionConflictError(
            f"expected {self._path} to stay as it is while it is in use, but it was removed or "
            "replaced, so another process may write here; nothing more is written. Find out who "
            "removed it, and run the same command again"
        )

    def holder(self) -> Holder | None:
        """Tell who holds the lock, of several one that downloads; ``None`` when nobody does."""
        if not self._path.parent.is_dir():
            return None
        known = self._notes.read()
        is_sure = any(holder.liveness is Liveness.ALIVE for holder in known)
        if not is_sure and not self._is_held():
            return None
        return next(iter(known), make_unknown_holder())

    def can_be_exclusive(self) -> bool:
        """Say whether this process is alone with the lock, or could be now."""
        return any(not grip.is_shared for grip in list(self._held)) or not self._is_held()

    def _acquire(self, owner: str, wait_s: float | None, *, shared: bool) -> "_Grip":
        until = math.inf if wait_s is None else time.monotonic() + max(wait_s, POLL_S)
        with contextlib.ExitStack() as waiting:
            is_told = is_next = wait_s == 0
            while (grip := self._try(shared=shared)) is None:
                if time.monotonic() >= until:
                    raise PartitionConflictError(
                        f"{self._describe_use(shared=shared)}; wait for it, or stop it, and run "
                        "the same command again"
                    )
                if not is_told:
                    logger.warning("waiting: %s", self._describe_use(shared=shared))
                    is_told = True
                is_next = is_next or shared or self._keep_out(owner, waiting)
                time.sleep(POLL_S)
        return grip

    def _try(self, *, shared: bool) -> "_Grip | None":
        with storage_errors("lock", self._path), contextlib.ExitStack() as failing:
            if shared and self._is_awaited():
                return None
            if (file := PathLock.take(self._path, shared=shared)) is None:
                return None
            failing.callback(file.release)
            folder = self._take_folder(shared=shared)
            if folder is None:
                return None
            failing.pop_all()
            return _Grip(file, folder, is_shared=shared)

    def _take_folder(self, *, shared: bool) -> PathLock | None:
        if not self._locks_folder:
            return PathLock()
        return PathLock.take_folder(self._path.parent, shared=shared)

    def _keep_out(self, owner: str, waiting: contextlib.ExitStack) -> bool:
        """Let nobody come to share the lock while this process waits to be alone.

        Returns:
            Whether it is so; not where another waits already, or the holder is alone itself.
        """
        with storage_errors("lock", self._next):
            if not PathLock.is_free(self._path, shared=True):
                return False
            gate = PathLock.take(self._next)
        if gate is None:
            return False
        waiting.callback(gate.release)
        waiting.enter_context(_signed(self._waiting, make_holder(owner)))
        return True

    def _is_awaited(self) -> bool:
        return not PathLock.is_free(self._next, shared=True)

    def _is_held(self) -> bool:
        """Find out by trying."""
        paths = [self._path, self._path.parent] if self._locks_folder else [self._path]
        with storage_errors("lock", self._path):
            return not all(PathLock.is_free(path) for path in paths)

    def _describe_use(self, *, shared: bool) -> str:
        holders = " and ".join(map(str, self._notes.read() or [make_unknown_holder()]))
        folder = self._path.parent
        if not shared:
            return f"expected to be alone in {folder}, but it is in use by {holders}"
        if waiting := self._waiting.read():
            return (
                f"expected to share {folder}, but {waiting[0]} waits to be alone there, and is "
                f"next after {holders}"
            )
        return f"expected to share {folder}, but it is in use by {holders} alone"


class _Grip:
    """What a holder has in its hands: the lock of the file, and that of its folder."""

    def __init__(self, file: PathLock, folder: PathLock, *, is_shared: bool) -> None:
        self.is_shared = is_shared
        self._file = file
        self._folder = folder

    def is_firm(self, path: Path) -> bool:
        """Say whether nobody else can take the lock of ``path`` against this one."""
        return self._folder.is_of(path.parent) or self._file.is_of(path)

    def release(self) -> None:
        """Let go of both."""
        self._folder.release()
        self._file.release()


@contextlib.contextmanager
def _signed(notes: Notes, holder: Holder) -> Iterator[Holder]:
    """Leave a note for as long as the body runs."""
    note = notes.name(holder)
    try:
        notes.leave(note, holder)
        yield holder
    finally:
        notes.remove(note)
