"""What the operating system refuses, told with the path and the remedy.

What belongs here: the way from an ``OSError`` to a :class:`StorageError`.  What does not: the
operations themselves (``files``).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smallcaps_assets.errors import StorageError

_FULL: Final = "free space or move the lake to a larger disk, then run the same command again"
_NO_INODES: Final = (
    "there is room for bytes, but for no more files (`df -i`): remove files, or move the lake to a "
    "disk that was made with more inodes, then run the same command again"
)
_READ_ONLY: Final = "remount the disk for writing (a disk that turned read-only may be failing)"
_REFUSED: Final = "give this user the right to write there, or set SMALLCAPS_DATA_DIR elsewhere"
_GONE: Final = "mount the disk again, or correct SMALLCAPS_DATA_DIR; nothing is made in its place"
_BROKEN: Final = "check the disk and its cable, move the lake to another one, then audit it"
_REMEDIES: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.ENOENT: _GONE,
    errno.ENOTDIR: "a part of this path is a file: correct it, SMALLCAPS_DATA_DIR above all",
    errno.EIO: _BROKEN,
    errno.EXDEV: "keep the whole lake in one file system, without links to another",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextlib.contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the body into one that names the path and the remedy.

    Raises:
        StorageError: The body met an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _find_remedy(error, path)
        raise StorageError(f"cannot {action} {path}: {reason}; {remedy}") from error


def explain_refusal(error: OSError) -> str:
    """Explain what the operating system refused to a command, where nobody was ready for it."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"cannot write what is to be told: {reason}; is the standard output full or closed?"
    remedy = _find_remedy(error, Path(str(error.filename)))
    return f"cannot use {error.filename}: {reason}; {remedy}"


def _find_remedy(error: OSError, path: Path) -> str:
    """Find what to do about a refusal; a disk may be full of files instead of bytes."""
    if error.errno == errno.ENOSPC and _lacks_inodes(path):
        return _NO_INODES
    return _REMEDIES.get(error.errno or 0, "see what the operating system says of it")


def _lacks_inodes(path: Path) -> bool:
    """Say whether a file system counts inodes and has none left; what cannot be told is no."""
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except (OSError, AttributeError):
            return False
        return found.f_files > 0 and found.f_favail == 0 and found.f_bavail > 0
    return False


def is_broken(error: Exception) -> bool:
    """Tell whether an error says that a place on the disk cannot be read any more."""
    cause = error.__cause__
    return (
        isinstance(error, StorageError) and isinstance(cause, OSError) and cause.errno == errno.EIO
    )
