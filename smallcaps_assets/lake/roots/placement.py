"""Which root takes new ticker-sessions, by the room on its disk.

What belongs here: free bytes, what must stay free, and the choice between roots. What does not:
how many bytes are needed (``ingest.ticks.disk_room``), and what a full disk does to a write
(``lake.storage.files``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smallcaps_assets.core.figures import GB
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.storage.files import FileSystem, find_existing

LARGEST_RESERVE_BYTES: Final = 5 * GB
RESERVE_SHARE: Final = 0.05
"""Default of what stays free: the smaller of 5 GB and 5 % of the file system."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The roots that take new sessions, in order of preference.

    Attributes:
        roots: At least one.
        fs: Their disks.
        reserve_gb: GB that stay free on each; ``None`` takes the default.
    """

    roots: Sequence[LakeRoot]
    fs: FileSystem
    reserve_gb: float | None = None

    def choose(self, size: int) -> LakeRoot:
        """Return the first root with room for ``size`` bytes, else the one with the most room.

        Raises:
            StorageError: A disk is gone.
        """
        if len(self.roots) == 1:
            return self.roots[0]
        room = {root: self.measure_room(root.folder) for root in self.roots}
        fitting = (root for root in self.roots if room[root] >= size)
        return next(fitting, max(self.roots, key=room.__getitem__))

    def measure_room(self, folder: Path) -> float:
        """Return how many bytes fit where ``folder`` lies, the reserve kept; negative: less.

        Raises:
            StorageError: The disk is gone.
        """
        return self.fs.free_bytes(folder) - self.reserve_bytes(folder)

    def reserve_bytes(self, folder: Path) -> float:
        """Return how many bytes stay free on the disk where ``folder`` lies.

        Raises:
            StorageError: The disk is gone.
        """
        if self.reserve_gb is not None:
            return self.reserve_gb * GB
        return min(LARGEST_RESERVE_BYTES, RESERVE_SHARE * self.fs.total_bytes(folder))


def measure_free(fs: FileSystem, folders: Iterable[Path]) -> int:
    """Return the free bytes of folders, each file system once; they need not be there yet.

    Raises:
        StorageError: A disk is gone.
    """
    free: dict[int, int] = {}
    for folder in map(find_existing, folders):
        size = fs.free_bytes(folder)
        free[fs.device(folder)] = size
    return sum(free.values())
