"""What a place to store has to do: six operations on keys, and what each promises.

What belongs here: the protocol that a disk and a bucket share, the form of a key, and a few
functions over any storage.  What does not: how a disk keeps the promises (``local``), and what is
stored.

Keys are texts with ``/`` in them and not paths, because a bucket has no folders.  A key is written
once and never again, so a reader sees a whole object or none, a repeated save is harmless, and
nothing but a plain rename or a plain PUT is asked for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from smallcaps_assets.errors import StorageError

_KEY: Final = re.compile(
    r"[A-Za-z0-9_=%+-][A-Za-z0-9._=%+-]*(/[A-Za-z0-9_=%+-][A-Za-z0-9._=%+-]*)*"
)

LONGEST_KEY: Final = 900
"""Characters of a key at most: buckets have 1,024, and a prefix of their own."""


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """What a storage says of one object.

    Attributes:
        key: Its key.
        size: Bytes.
        modified_ns: When it was stored, by the storage's own clock; nanoseconds since 1970.
    """

    key: str
    size: int
    modified_ns: int


class Storage(Protocol):
    """A place that keeps objects under keys.

    Every operation raises :class:`StorageError` where the place refuses.  After one that raised,
    each key it was about has its whole object or none: an operation may have been done although
    its answer was lost.
    """

    def save(self, contents: Mapping[str, bytes]) -> None:
        """Store objects for good, each whole or not at all; together they share their syncs.

        Raises:
            PartitionConflictError: A key is taken by other content; nothing is stored.
            StorageError: The place refuses.
        """

    def load(self, key: str) -> bytes:
        """Load a whole object.

        Raises:
            MissingPartitionError: There is none.
            StorageError: The place refuses.
        """

    def load_range(self, key: str, start: int, size: int) -> bytes:
        """Load bytes ``[start, start + size)`` of an object; fewer where it ends before.

        Raises:
            MissingPartitionError: There is none.
            StorageError: The place refuses.
        """

    def stat(self, key: str) -> Stored | None:
        """Look one object up; ``None``: there is none.

        Raises:
            StorageError: The place refuses.
        """

    def list_keys(self, prefix: str) -> list[Stored]:
        """List the objects whose keys begin with ``prefix``, in order of keys.

        What was saved or removed before the call shows in it.

        Args:
            prefix: Beginning of keys that ends in ``/``, or empty: everything.

        Raises:
            StorageError: The place refuses.
        """

    def remove(self, key: str) -> None:
        """Remove an object; it is no error when there is none.

        Raises:
            StorageError: The place refuses.
        """


def check_key(key: str) -> str:
    """Pass a key on, or refuse what no storage could keep.

    Raises:
        StorageError: It has an empty or hidden component, or characters besides letters, digits
            and ``._=%+-/``.
    """
    if _KEY.fullmatch(key) is None or len(key) > LONGEST_KEY:
        raise StorageError(
            f"cannot use the key {key!r}: expected names of letters, digits and ._=%+- between "
            "slashes, none of which begins with a dot"
        )
    return key


def read_clock(storage: Storage, probe: str) -> int:
    """Ask a storage for its own time, by an object that is stored and removed.

    No decision compares the time of an object with the clock of this machine, which may be wrong.

    Args:
        storage: The storage.
        probe: A key that nothing else uses, ever.

    Returns:
        Nanoseconds since 1970.

    Raises:
        StorageError: The place refuses.
    """
    storage.save({probe: b"clock"})
    try:
        stored = storage.stat(probe)
    finally:
        storage.remove(probe)
    if stored is None:
        raise StorageError(f"expected {probe} to be there after it was stored, found nothing")
    return stored.modified_ns
