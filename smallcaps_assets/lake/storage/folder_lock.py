"""A lock on a folder itself, which nobody removes by hand while there is something in it.

What belongs here: taking it and letting go, where the system has such locks.  What does not: the
file that names a lock for people and for other systems (``lock``).  The operating system lets go
of it when its holder dies.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final, Self

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows keeps a file from being removed while it is open
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

POLL_S: Final = 0.05
"""Pause between two tries."""


class FolderLock:
    """The lock of a folder, held from :meth:`take` to :meth:`release`.

    Some network file systems lock no folders; there it is held by nobody and refused to nobody.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, wait_s: float | None) -> Self | None:
        """Take the lock of a folder; ``None``: another holds it all the while.

        Args:
            folder: A folder.
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.

        Raises:
            OSError: The folder cannot be opened.
        """
        if not HAS_FLOCK:
            return cls()
        until = None if wait_s is None else time.monotonic() + wait_s
        with contextlib.ExitStack() as failing:
            lock = cls(os.open(folder, os.O_RDONLY))
            failing.callback(lock.release)
            while (is_taken := lock._try()) is False:
                if until is not None and time.monotonic() >= until:
                    return None
                time.sleep(POLL_S)
            if is_taken:
                failing.pop_all()
        return lock

    def is_of(self, folder: Path) -> bool:
        """Say whether the lock is held, and on the folder that has this path now.

        Raises:
            OSError: The folder is gone.
        """
        if self._descriptor is None:
            return False
        return os.path.samestat(os.fstat(self._descriptor), folder.stat())

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self) -> bool | None:
        """Take the lock unless another holds it; ``None``: the file system locks no folders."""
        if self._descriptor is None:
            return None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
