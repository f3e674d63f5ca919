"""Room on the disk: asked for before each range, so that a download stops before it is full.

What does not belong here: what a full disk does to a write all the same (``lake.files``).
"""

from dataclasses import dataclass

from smallcaps_assets.core.calibration import Calibration
from smallcaps_assets.core.figures import GB, format_bytes
from smallcaps_assets.ingest.fetching import RequestRange
from smallcaps_assets.lake.files import FileSystem
from smallcaps_assets.lake.layout import LakeLayout

LARGEST_RESERVE_BYTES = 5 * GB
RESERVE_SHARE = 0.05
"""Default of what stays free: the smaller of 5 GB and 5 % of the file system."""


@dataclass(frozen=True, slots=True)
class Room:
    """The disk of one lake, and what must stay free on it.

    Attributes:
        layout: Where the lake is.
        fs: The disk.
        calibration: What a trade and a file cost.
        reserve_gb: GB that stay free; ``None`` takes the default.
    """

    layout: LakeLayout
    fs: FileSystem
    calibration: Calibration
    reserve_gb: float | None

    def find_lack(self, span: RequestRange, sessions: int) -> str:
        """Return why a range of some sessions must not be fetched; empty: there is room.

        Raises:
            StorageError: The disk is gone.
        """
        free, reserve = self.fs.free_bytes(self.layout.data_dir), self._reserve_bytes()
        needed = self._need_bytes(span, sessions)
        if free - needed >= reserve:
            return ""
        return (
            f"the disk of {self.layout.lake_dir} has {format_bytes(free)} free; the next range "
            f"({span.describe()}) needs {format_bytes(needed)} and {format_bytes(reserve)} stay "
            "free: what is finished is stored; make room, lower SMALLCAPS_DISK_RESERVE_GB or move "
            "SMALLCAPS_DATA_DIR to a larger disk, then run the same command again"
        )

    def _need_bytes(self, span: RequestRange, sessions: int) -> int:
        rows = span.expected_rows
        if rows is None:
            rows = sessions * self.calibration.trades_per_session
        files = sessions * (self.calibration.file_bytes + self.calibration.block_bytes)
        # Twice: a commit holds the new file and, for a moment, the one it replaces.
        return round(2 * (rows * self.calibration.bytes_per_trade + files))

    def _reserve_bytes(self) -> float:
        if self.reserve_gb is not None:
            return self.reserve_gb * GB
        return min(LARGEST_RESERVE_BYTES, RESERVE_SHARE * self.fs.total_bytes(self.layout.data_dir))
