"""Copies of compacted months in another root, made, proven, and removed where they came from.

What belongs here: what ``session_copies`` and ``removal`` do for sessions, for months.  A
copy is the files that a manifest names, and the manifest last, byte for byte.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smallcaps_assets.errors import DataError, LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.months.manifest import MonthFile
from smallcaps_assets.lake.months.store import CompactedMonth, MonthStore, is_own_file
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import MANIFEST_NAME, MONTH_PREFIX
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.storage.files import FileSystem, refuse_links

Watch = Callable[[int], None]
"""Told the size of each file."""


@dataclass(frozen=True, slots=True)
class MonthCopies:
    """The compacted months of some roots of a lake, and their copies in another root.

    Attributes:
        layout: Paths of the lake with all its roots.
        fs: The disks.
        sources: Those of its roots whose months are copied.
        target: Root of the copies, one of the lake or none yet.
    """

    layout: LakeLayout
    fs: FileSystem
    sources: tuple[LakeRoot, ...]
    target: LakeRoot

    def measure(self) -> tuple[int, int]:
        """Return the bytes of all months, and those that are still to be copied.

        A damaged month is not counted: :meth:`make` tells.
        """
        size = needed = 0
        for month in self._iter_months([]):
            for file in month.manifest.files:
                size += file.bytes
                is_there = self.fs.size(self._place(month) / file.name) == file.bytes
                needed += 0 if is_there else file.bytes
        return size, needed

    def make(self, watch: Watch) -> list[str]:
        """Copy every month that the target has not got yet; return which are damaged, and why.

        Raises:
            StorageError: A disk refuses; what was copied stays, and the next call continues.
        """
        damages: list[str] = []
        for month in self._iter_months(damages):
            try:
                self._copy(month, watch)
            except (DataError, LakeError) as error:
                if isinstance(error, StorageError) and not is_broken(error):
                    raise
                damages.append(f"month {month.name}: {error}")
        return damages

    def remove_wrong(self, watch: Watch) -> list[Path]:
        """Read every copy back from its disk; remove and return those that are wrong.

        Raises:
            StorageError: A disk refuses.
        """
        wrong = []
        for month in self._iter_months([]):
            place = self._place(month)
            refuse_links(place, self.target.folder)
            if is_month_whole(self.fs, month, place):
                watch(month.manifest.bytes)
                continue
            wrong.append(place)
            remove_month(self.fs, place)
        return wrong

    def remove_outdated(self) -> None:
        """Remove copies of months that the lake has no more, which an earlier call made.

        Raises:
            StorageError: The disk refuses.
        """
        for entry in self.fs.list_folder(self.target.compacted_dir, MONTH_PREFIX):
            if self.layout.find_month(entry.name.removeprefix(MONTH_PREFIX)) is None:
                remove_month(self.fs, self.target.compacted_dir / entry.name)

    def _iter_months(self, damages: list[str]) -> Iterator[CompactedMonth]:
        """Yield the months of the sources that count; note those that cannot be read."""
        store = MonthStore(self.layout, self.fs)
        for name in store.list_months():
            try:
                month = store.find(name)
            except LakeError as error:
                if isinstance(error, StorageError) and not is_broken(error):
                    raise
                damages.append(f"month {name}: {error}")
                continue
            if month is not None and month.root in self.sources:
                yield month

    def _place(self, month: CompactedMonth) -> Path:
        return self.target.month_dir(month.name)

    def _copy(self, month: CompactedMonth, watch: Watch) -> None:
        place = self._place(month)
        refuse_links(place, self.target.folder)
        self.fs.make_folders(place, root=self.target.folder)
        self.fs.sweep_temporary([place])
        for file in month.manifest.files:
            if self.fs.size(place / file.name) != file.bytes:
                content = self.fs.read(month.folder / file.name)
                require_content(content, file, month.folder)
                self.fs.publish({place / file.name: content}, root=self.target.folder)
            watch(file.bytes)
        text = self.fs.read(month.folder / MANIFEST_NAME)
        path = place / MANIFEST_NAME
        if self.fs.size(path) != len(text) or self.fs.read(path) != text:
            self.fs.publish({path: text}, root=self.target.folder)


@dataclass(frozen=True, slots=True)
class MonthRemoval:
    """The removal of one root's months that the lake has elsewhere.

    Attributes:
        layout: Paths of the lake, without that root.
        fs: The disks.
        root: The root that is emptied.
        is_proven: The copies were just read back.
    """

    layout: LakeLayout
    fs: FileSystem
    root: LakeRoot
    is_proven: bool

    def run(self) -> Iterator[Path]:
        """Remove what can go, and yield what stays.

        Raises:
            StorageError: A disk refuses; the next call continues.
        """
        for entry in self.fs.list_folder(self.root.compacted_dir, MONTH_PREFIX):
            folder = self.root.compacted_dir / entry.name
            if self._is_elsewhere(folder):
                remove_month(self.fs, folder)
            if self.fs.is_folder(folder):
                yield folder

    def _is_elsewhere(self, folder: Path) -> bool:
        """Return whether another root has this very month; one without a manifest is not one."""
        text = self._read(folder / MANIFEST_NAME)
        if text is None:
            return True
        try:
            month = MonthStore(self.layout, self.fs).find(folder.name.removeprefix(MONTH_PREFIX))
        except (DataError, LakeError):
            return False
        if month is None or self._read(month.folder / MANIFEST_NAME) != text:
            return False
        return is_month_whole(self.fs, month, month.folder, reads_files=not self.is_proven)

    def _read(self, path: Path) -> bytes | None:
        try:
            return self.fs.read(path)
        except MissingPartitionError:
            return None


def is_month_whole(
    fs: FileSystem, month: CompactedMonth, place: Path, *, reads_files: bool = True
) -> bool:
    """Return whether a folder has every file of a month, byte for byte.

    Args:
        fs: The disk.
        month: The month.
        place: The folder.
        reads_files: Compare hashes; otherwise sizes alone.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        if fs.read_back(place / MANIFEST_NAME) != fs.read(month.folder / MANIFEST_NAME):
            return False
        for file in month.manifest.files:
            if fs.size(place / file.name) != file.bytes:
                return False
            if reads_files:
                require_content(fs.read_back(place / file.name), file, place)
    except (DataError, MissingPartitionError):
        return False
    return True


def require_content(content: bytes, file: MonthFile, folder: Path) -> None:
    """Refuse bytes that are not those that a manifest names.

    Raises:
        DataError: They are others.
    """
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(f"{folder / file.name} is not the file of its manifest")


def remove_month(fs: FileSystem, folder: Path) -> None:
    """Remove the files of a month, its manifest first, and its folder if it is empty.

    Raises:
        StorageError: The disk refuses.
    """
    fs.remove(folder / MANIFEST_NAME)
    for entry in fs.list_folder(folder):
        if is_own_file(entry):
            fs.remove(folder / entry.name)
    fs.remove_folder(folder)
