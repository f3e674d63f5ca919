"""Parts of a load under way: small files that let it go on where it stopped.

What belongs here: keeping, finding and removing them.  What does not: what is in a part, and
whether parts fit together (``ingest``).
"""

from pathlib import Path
from typing import Final

from smallcaps_assets.lake.storage.files import FileSystem

PART_SUFFIX: Final = ".part"


class PartStore:
    """The parts of one load, in a folder of their own; what the disk refuses, ``StorageError``.

    Attributes:
        folder: The folder; it is made with the first part.
        fs: The disk.
        root: Folder that must exist; nothing is made above it.
    """

    def __init__(self, folder: Path, fs: FileSystem, *, root: Path) -> None:
        self.folder = folder
        self.fs = fs
        self.root = root

    def write(self, name: str, content: bytes) -> None:
        """Keep a part, in place of one of the same name; afterwards it is on the disk.

        Raises:
            StorageError: The disk refuses; the parts kept before stay.
        """
        self.fs.publish({self._path(name): content}, root=self.root)

    def list_names(self, prefix: str = "") -> list[str]:
        """List the names of the parts that start with ``prefix``, sorted."""
        names = (entry.name for entry in self.fs.list_folder(self.folder, prefix))
        return [name.removesuffix(PART_SUFFIX) for name in names if name.endswith(PART_SUFFIX)]

    def read(self, name: str) -> bytes:
        """Read the content of a part.

        Raises:
            MissingPartitionError: There is none.
        """
        return self.fs.read(self._path(name))

    def clear(self, prefix: str = "") -> None:
        """Remove the parts whose names start with ``prefix``."""
        for name in self.list_names(prefix):
            self.fs.remove(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{PART_SUFFIX}"
