"""The file-system seam: every look at the disk and every change of it goes through here.

What belongs here: primitives that either happen or raise :class:`StorageError`, and the order of
them that makes a file appear whole or not at all.  What does not: what is in the files.

A test passes a subclass that records, fails or stops at a primitive; hence nothing in ``lake``
looks, writes, renames or removes by other means.  Reads come down to what a bucket can answer too:
what a folder lists, whether a name is there, its size, its content.  Temporary names carry the
identity of the process that made them, so that what a dead run left can be told from what a living
one is writing.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import platform
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from smallcaps_assets.errors import MissingPartitionError, StorageError
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.processes import (
    Liveness,
    identify_process,
    judge_process,
    parse_identity,
)

TEMPORARY_PREFIX: Final = ".tmp-"
ABANDONED_AFTER_S: Final = 3600.0
"""Age from which a temporary file of an unknown process counts as abandoned."""

_TEMPORARY: Final = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}([0-9a-f]+-\d+-\d+)-\d+")
_SERIAL = itertools.count()

_NOT_REMOVABLE: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY})
"""Why a folder stays: it has content, or a disk is mounted there."""


class Entry(NamedTuple):
    """What has a name in a folder; a tuple, because a walk makes three a session.

    Attributes:
        name: Its name.
        is_folder: It is a folder; a link to one is not.
        is_link: It is a link, wherever it leads.
    """

    name: str
    is_folder: bool
    is_link: bool


class FileSystem:
    """The disk, as the lake reads and changes it: what it refuses is a ``StorageError``."""

    def __init__(self, *, uses_syncfs: bool = True, syncs_folders: bool = os.name != "nt") -> None:
        """Take note of what the machine can do.

        Args:
            uses_syncfs: Write a group of files to the disk by one call where there is one.
            syncs_folders: Folders can be synced; Windows has no such call.
        """
        self._syncfs = find_syncfs() if uses_syncfs else None
        self._syncs_folders = syncs_folders

    def write_new(self, path: Path, content: bytes) -> None:
        """Write a file that must not exist yet; it is not on the disk before a sync."""
        with storage_errors("write", path), path.open("xb") as file:
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """Add to the end of a file, which is made where it is not there; its folder has to be."""
        with storage_errors("write", path), path.open("ab") as file:
            file.write(content)

    def sync_file(self, path: Path) -> None:
        """Wait until the content of a file is on the disk."""
        with storage_errors("sync", path), path.open("rb+") as file:
            os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        if self._syncs_folders:
            with storage_errors("sync", path), _open_descriptor(path) as descriptor:
                os.fsync(descriptor)

    def sync_group(self, paths: Iterable[Path]) -> None:
        """Wait until files and folders are on the disk, by one call where there is one."""
        unique = list(dict.fromkeys(paths))
        if self._syncfs is None:
            for path in unique:
                (self.sync_folder if path.is_dir() else self.sync_file)(path)
            return
        for path in _pick_one_of_each_device(unique):
            with storage_errors("sync", path), _open_descriptor(path) as descriptor:
                self._syncfs(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of the one that had it; readers see one or the other."""
        with storage_errors("rename", target):
            source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; it is no error when there is none."""
        with storage_errors("remove", path):
            path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> bool:
        """Remove an empty folder; return whether it is gone, as one with content is not."""
        with storage_errors("remove folder", path):
            try:
                path.rmdir()
            except FileNotFoundError:
                return True
            except OSError as error:
                if error.errno in _NOT_REMOVABLE:
                    return False
                raise
        return True

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with everything in it; links are removed and not followed.

        Raises:
            StorageError: The disk refuses; what is left can be removed by another call.
        """
        if path.is_symlink() or not path.is_dir():
            self.remove(path)
            return
        with storage_errors("look at", path):
            inside = sorted(path.iterdir())
        for entry in inside:
            self.remove_tree(entry)
        self.remove_folder(path)

    def make_folder(self, path: Path) -> None:
        """Make one folder in an existing one; it is no error when there is one."""
        with storage_errors("make folder", path):
            path.mkdir(exist_ok=True)

    def make_folders(self, path: Path, *, root: Path) -> None:
        """Make a folder and those between it and ``root``, which must exist.

        A root that is gone is a disk that is not mounted: making it again would fill the wrong
        disk, and hide everything that was stored.

        Raises:
            StorageError: The root is gone, or the disk refuses.
        """
        if path == root:
            _require_folder(root)
        elif not path.is_dir():
            self.make_folders(path.parent, root=root)
            self.make_folder(path)

    def free_bytes(self, path: Path) -> int:
        """Count the bytes that can still be written where ``path`` lies.

        Raises:
            StorageError: It is gone.
        """
        with storage_errors("look at", path):
            return shutil.disk_usage(path).free

    def total_bytes(self, path: Path) -> int:
        """Count the bytes of the whole file system where ``path`` lies.

        Raises:
            StorageError: It is gone.
        """
        with storage_errors("look at", path):
            return shutil.disk_usage(path).total

    def read(self, path: Path) -> bytes:
        """Read the whole content of a file.

        Raises:
            MissingPartitionError: There is none.
        """
        try:
            with storage_errors("read", path):
                return path.read_bytes()
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise MissingPartitionError(f"expected a file, found none: {path}") from error
            raise

    def size(self, path: Path) -> int:
        """Measure a file in bytes; 0: there is none, or a link."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError:
            with storage_errors("look at", path):
                raise
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def measure_folder(self, folder: Path) -> int:
        """Sum the bytes of all files below a folder; links count for nothing."""
        with storage_errors("look at", folder):
            return _measure(str(folder))

    def exists(self, path: Path) -> bool:
        """Say whether anything has this name, be it a link that leads nowhere."""
        return os.path.lexists(path)

    def is_link(self, path: Path) -> bool:
        """Say whether a link has this name."""
        with storage_errors("look at", path):
            return path.is_symlink()

    def is_file(self, path: Path) -> bool:
        """Say whether this name leads to a file, by whatever links."""
        with storage_errors("look at", path):
            return path.is_file()

    def is_folder(self, path: Path) -> bool:
        """Say whether this name leads to a folder, by whatever links."""
        with storage_errors("look at", path):
            return path.is_dir()

    def list_folder(self, folder: Path, prefix: str = "") -> list[Entry]:
        """List the names with a prefix in a folder, sorted; none where there is no folder."""
        with storage_errors("look at", folder):
            try:
                with os.scandir(folder) as entries:
                    return sorted(
                        Entry(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink())
                        for entry in entries
                        if entry.name.startswith(prefix)
                    )
            except (FileNotFoundError, NotADirectoryError):
                return []

    def device(self, path: Path) -> int:
        """Tell the file systems apart on which paths lie.

        Raises:
            StorageError: It is gone.
        """
        with storage_errors("look at", path):
            return path.stat().st_dev

    def read_back(self, path: Path) -> bytes:
        """Read what the disk has of a synced file, not memory, where that can be asked for.

        Raises:
            MissingPartitionError: There is none.
        """
        if hasattr(os, "posix_fadvise") and path.is_file():
            with storage_errors("read", path), path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return self.read(path)

    def publish(self, contents: Mapping[Path, bytes], *, root: Path) -> None:
        """Write files, each whole or not at all, in the order given.

        Raises:
            StorageError: The disk refuses; temporary files are removed, as far as it lets us.
        """
        staged = {target: temporary_path(target.parent) for target in contents}
        folders = list(dict.fromkeys(target.parent for target in contents))
        for folder in folders:
            self.make_folders(folder, root=root)
        with self.discarding(staged.values()):
            for target, temporary in staged.items():
                self.write_new(temporary, contents[target])
            self.sync_group(staged.values())
            for target, temporary in staged.items():
                self.rename(temporary, target)
        self.sync_group(folders_below(folders, root))

    def adopt(self, temporary: Path, target: Path) -> None:
        """Publish a file that a library wrote under a name of :func:`temporary_path`."""
        self.sync_file(temporary)
        self.rename(temporary, target)
        self.sync_folder(target.parent)

    @contextlib.contextmanager
    def discarding(self, temporaries: Iterable[Path]) -> Iterator[None]:
        """Remove what is left of ``temporaries`` when the disk refuses to go on, or a person stops.

        Whoever stops may have stored everything by another attempt: no later run would sweep.
        """
        try:
            yield
        except BaseException:
            with contextlib.suppress(StorageError):
                for path in temporaries:
                    self.remove(path)
            raise

    def sweep_temporary(
        self, folders: Iterable[Path], *, older_than_s: float = ABANDONED_AFTER_S
    ) -> list[Path]:
        """Remove temporary files of dead processes; return those removed.

        A file of a living process of this machine is never removed.  Whether a process of
        another machine, container or boot lives cannot be known: its files go by their age.
        """
        abandoned = find_abandoned(folders, older_than_s=older_than_s)
        for path in abandoned:
            self.remove(path)
        return abandoned


def temporary_path(folder: Path) -> Path:
    """Make up a name in ``folder`` that no other process or thread uses, ever."""
    return folder / f"{TEMPORARY_PREFIX}{identify_process()}-{next(_SERIAL)}"


def find_existing(path: Path) -> Path:
    """Find ``path`` itself, or else the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def find_abandoned(
    folders: Iterable[Path], *, older_than_s: float = ABANDONED_AFTER_S
) -> list[Path]:
    """Find the temporary files right in ``folders`` that no process is writing any more."""
    return [
        path
        for folder in folders
        for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*"))
        if _is_abandoned(path, older_than_s)
    ]


def folders_below(folders: Iterable[Path], root: Path) -> list[Path]:
    """List each folder and those between it and ``root``, the root included, each once.

    They are synced together: a folder is only as lasting as its own name in the one above,
    and a run that was killed may have left it unsynced.
    """
    chains = (
        itertools.takewhile(lambda path: path != root.parent, (folder, *folder.parents))
        for folder in folders
    )
    return list(dict.fromkeys(itertools.chain.from_iterable(chains)))


def refuse_links(path: Path, root: Path) -> None:
    """Refuse a path that a link below ``root`` takes elsewhere; the root itself may be one.

    Raises:
        StorageError: There is such a link.
    """
    for folder in folders_below([path], root):
        if folder != root and folder.is_symlink():
            raise StorageError(
                f"{folder} is a link, and a lake follows none below {root}: `smallcaps repair` "
                "moves it aside; to use another disk, move the lake there by `smallcaps relocate`"
            )


def find_syncfs(release: str | None = None) -> Callable[[int], None] | None:
    """Find the function that writes a whole file system to the disk; ``None``: there is none.

    Linux has ``syncfs``, which tells of failed writes from version 5.8 of the kernel on.
    """
    version = re.match(r"(\d+)\.(\d+)", release or platform.release())
    if not sys.platform.startswith("linux") or version is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if tuple(map(int, version.groups())) < (5, 8) or not hasattr(libc, "syncfs"):
        return None

    def sync_file_system(descriptor: int) -> None:
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return sync_file_system


def _pick_one_of_each_device(paths: Iterable[Path]) -> list[Path]:
    devices: dict[int, Path] = {}
    for path in paths:
        with storage_errors("sync", path):
            devices.setdefault(path.stat().st_dev, path)
    return list(devices.values())


@contextlib.contextmanager
def _open_descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _measure(folder: str) -> int:
    """Sum bytes by what the listing tells: thousands of paths would take a second."""
    size = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                size += _measure(entry.path)
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    with storage_errors("find", path):
        if path.exists():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file and no folder", str(path))
        raise FileNotFoundError(errno.ENOENT, "the folder is gone", str(path))


def _is_abandoned(path: Path, older_than_s: float) -> bool:
    match = _TEMPORARY.match(path.name)
    identity = parse_identity(match[1]) if match else None
    liveness = judge_process(identity) if identity else Liveness.UNKNOWN
    if liveness is not Liveness.UNKNOWN:
        return liveness is Liveness.DEAD
    try:
        return time.time() - path.stat().st_mtime > older_than_s
    except FileNotFoundError:
        return False
