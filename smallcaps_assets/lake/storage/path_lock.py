"""A lock of the operating system on one file or folder, shared or exclusive.

What belongs here: one try to take it, and letting go.  What does not: waiting, naming the holder,
and which paths make up the lock of a lake (``lock``).  The operating system lets go of it when its
holder dies, however it dies.

Linux and macOS lock folders too, which nobody removes by hand while there is something in them.
Windows locks files alone, exclusively, and keeps them from being removed while they are open.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final, Self

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    LOCKS_FOLDERS: Final = False

    def _lock(descriptor: int, *, shared: bool) -> None:
        """Lock a file exclusively even where it could be shared: fewer writers, and no harm."""
        del shared
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    LOCKS_FOLDERS: Final = True

    def _lock(descriptor: int, *, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_HELD_ELSEWHERE: Final = (BlockingIOError, PermissionError)
"""How systems say that another holds a lock."""


class PathLock:
    """The lock of a file or folder, held from :meth:`take` to :meth:`release`.

    Some network file systems lock no folders; there it is held by nobody and refused to nobody.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> Self | None:
        """Take the lock of a file, which is made where there is none.

        Args:
            path: A file in an existing folder.
            shared: Others may share it.

        Returns:
            The lock; ``None``: another holds it, or the file was replaced meanwhile.

        Raises:
            OSError: The file cannot be opened or made, or its disk knows no locks.
        """
        lock = cls(os.open(path, _FLAGS, 0o666))
        return lock._secure(path, shared=shared)

    @classmethod
    def take_folder(cls, folder: Path, *, shared: bool = False) -> Self | None:
        """Take the lock of a folder, as :meth:`take` does that of a file.

        Raises:
            OSError: The folder cannot be opened.
        """
        if not LOCKS_FOLDERS:
            return cls()
        lock = cls(os.open(folder, os.O_RDONLY))
        try:
            return lock._secure(folder, shared=shared)
        except OSError:
            return cls()

    @classmethod
    def is_free(cls, path: Path, *, shared: bool = False) -> bool:
        """Say whether the lock of a file or folder can be had; trying takes it for a moment.

        Raises:
            OSError: It cannot be opened.
        """
        if not path.exists():
            return True
        lock = (cls.take_folder if path.is_dir() else cls.take)(path, shared=shared)
        if lock is not None:
            lock.release()
        return lock is not None

    def is_of(self, path: Path) -> bool:
        """Say whether the lock is held, and on what has this path now."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _secure(self, path: Path, *, shared: bool) -> Self | None:
        """Lock what was opened, and keep it only if it still has its name."""
        if self._descriptor is None:
            return None
        with contextlib.ExitStack() as failing:
            failing.callback(self.release)
            with contextlib.suppress(*_HELD_ELSEWHERE):
                _lock(self._descriptor, shared=shared)
                if self.is_of(path):
                    failing.pop_all()
                    return self
        return None
