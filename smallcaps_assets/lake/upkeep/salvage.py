"""What is left of a file on a disk that fails.

What belongs here: reading around places that cannot be read.  What does not: what the file meant
(``proving``), and what becomes of it (``healing``).
"""

from typing import Final

from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.storage.protocol import Storage

BLOCK: Final = 4096
"""Bytes that are given up together, as disks do."""


def salvage(storage: Storage, key: str) -> bytes:
    """Load an object, with zeros where it cannot be read any more.

    Raises:
        MissingPartitionError: There is none.
        StorageError: The storage refuses.
    """
    try:
        return storage.load(key)
    except StorageError as error:
        if not is_broken(error):
            raise
    stored = storage.stat(key)
    size = stored.size if stored else 0
    blocks = (
        _load_block(storage, key, start, min(BLOCK, size - start))
        for start in range(0, size, BLOCK)
    )
    return b"".join(blocks)


def _load_block(storage: Storage, key: str, start: int, size: int) -> bytes:
    try:
        return storage.load_range(key, start, size)
    except StorageError as error:
        if is_broken(error):
            return bytes(size)
        raise
