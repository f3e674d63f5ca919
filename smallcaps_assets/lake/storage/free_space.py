"""How many bytes fit on a disk, and what must stay free there.

What belongs here: free bytes and the reserve. What does not: how many bytes are needed
(``ingest.ticks.disk_room``), and what a full disk does to a write (``files``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smallcaps_assets.core.figures import GB, format_bytes
from smallcaps_assets.lake.storage.files import FileSystem, find_existing

LARGEST_RESERVE_BYTES: Final = 5 * GB
RESERVE_SHARE: Final = 0.05
"""Default of what stays free: the smaller of 5 GB and 5 % of the file system."""


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """What is free on disks; a ``StorageError`` says that one is gone.

    Attributes:
        fs: The disks.
        reserve_gb: GB that stay free on each; ``None`` takes the default.
    """

    fs: FileSystem
    reserve_gb: float | None = None

    def measure(self, folder: Path) -> int:
        """Measure the free bytes where ``folder`` lies, or would; it need not be there yet."""
        return self.fs.free_bytes(find_existing(folder))

    def measure_room(self, folder: Path) -> float:
        """Measure how many bytes fit where ``folder`` lies, the reserve kept; negative: less."""
        return self.fs.free_bytes(folder) - self.measure_reserve(folder)

    def measure_reserve(self, folder: Path) -> float:
        """Measure how many bytes stay free on the disk where ``folder`` lies."""
        if self.reserve_gb is not None:
            return self.reserve_gb * GB
        return min(LARGEST_RESERVE_BYTES, RESERVE_SHARE * self.fs.total_bytes(folder))

    def describe(self, folder: Path) -> str:
        """Describe in words what is free where ``folder`` lies."""
        return (
            f"{folder} has {format_bytes(self.fs.free_bytes(folder))} free, of which "
            f"{format_bytes(self.measure_reserve(folder))} stay free"
        )
