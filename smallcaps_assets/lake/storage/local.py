"""A folder as a storage: keys are paths below it.

What belongs here: the order of primitives by which a folder keeps what the protocol promises.
What does not: the primitives themselves (``files``), and the promises (``protocol``).

An object is written under a temporary name beside its own, synced, renamed, and its folder is
synced.  Temporary names begin with a dot, so no listing shows them.
"""

import stat
from collections.abc import Mapping
from pathlib import Path

from smallcaps_assets.errors import MissingPartitionError, PartitionConflictError, StorageError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, refuse_links
from smallcaps_assets.lake.storage.protocol import Stored, check_key


class LocalStorage:
    """Objects below one folder, which has to be there."""

    def __init__(self, root: Path, fs: FileSystem | None = None) -> None:
        """Name the folder; nothing is read or written yet."""
        self._root = root
        self._fs = fs or FileSystem()

    def save(self, contents: Mapping[str, bytes]) -> None:
        """Store objects: temporary names, one sync, renames, one sync of the folders."""
        paths = {self._locate(key): content for key, content in contents.items()}
        for path, content in paths.items():
            self._refuse_other(path, content)
        for folder in dict.fromkeys(path.parent for path in paths):
            refuse_links(folder, self._root)
        if paths:
            # What is there already is written again: nobody knows whether its name was synced.
            self._fs.publish(paths, root=self._root)

    def load(self, key: str) -> bytes:
        """Load a whole object."""
        return self._fs.read(self._locate(key))

    def load_range(self, key: str, start: int, size: int) -> bytes:
        """Load a part of an object."""
        path = self._locate(key)
        try:
            with storage_errors("read", path), path.open("rb") as file:
                file.seek(start)
                return file.read(size)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise MissingPartitionError(f"expected a file, found none: {path}") from error
            raise

    def stat(self, key: str) -> Stored | None:
        """Look one object up; a link is none."""
        return self._look(self._locate(key))

    def list_keys(self, prefix: str) -> list[Stored]:
        """List what lies below a folder; links are not followed, and lead to no folder.

        Raises:
            StorageError: The disk refuses, or the folder lies behind a link.
        """
        top = self._locate(prefix.rstrip("/")) if prefix else self._root
        refuse_links(top, self._root)
        found = (self._look(path) for path in self._walk(top))
        return sorted(stored for stored in found if stored is not None)

    def remove(self, key: str) -> None:
        """Remove a file; its folder stays."""
        self._fs.remove(self._locate(key))

    def sweep(self, prefix: str) -> list[Path]:
        """Remove temporary files of dead processes below a folder; return those removed.

        Raises:
            StorageError: The disk refuses.
        """
        top = self._locate(prefix.rstrip("/")) if prefix else self._root
        return self._fs.sweep_temporary(self._walk_folders(top))

    def _locate(self, key: str) -> Path:
        return self._root.joinpath(*check_key(key).split("/"))

    def _refuse_other(self, path: Path, content: bytes) -> None:
        """Refuse a path that holds anything but this very content."""
        if not self._fs.exists(path):
            return
        if self._fs.is_link(path) or self._fs.read(path) != content:
            raise PartitionConflictError(
                f"expected nothing at {path}, where every name is written once, but found a file "
                "with other content; run `smallcaps audit` before anything is written again"
            )

    def _look(self, path: Path) -> Stored | None:
        with storage_errors("look at", path):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISREG(found.st_mode):
            return None
        key = path.relative_to(self._root).as_posix()
        return Stored(key, found.st_size, found.st_mtime_ns)

    def _walk(self, top: Path) -> list[Path]:
        return [
            folder / entry.name
            for folder in self._walk_folders(top)
            for entry in self._fs.list_folder(folder)
            if not (entry.is_folder or entry.is_link or entry.name.startswith("."))
        ]

    def _walk_folders(self, top: Path) -> list[Path]:
        folders = [top]
        for folder in folders:
            inside = self._fs.list_folder(folder)
            folders += [folder / entry.name for entry in inside if entry.is_folder]
        return folders
