"""Looking at files that may be anything: their size, and their content as the disk has it.

What does not belong here: changing anything (``lake.storage.files``).
"""

import os
from pathlib import Path

from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem


def measure_file(path: Path) -> int:
    """Return the size of a file; 0: there is none, or a link."""
    try:
        return 0 if path.is_symlink() else path.stat().st_size
    except FileNotFoundError:
        return 0


def read_from_disk(fs: FileSystem, path: Path) -> bytes:
    """Return the content of a file that was synced, not from memory where that can be asked for.

    Raises:
        MissingPartitionError: There is none.
        StorageError: The disk refuses.
    """
    if hasattr(os, "posix_fadvise") and path.is_file():
        with storage_errors("read", path), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return fs.read(path)
