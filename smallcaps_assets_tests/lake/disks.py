"""Disks that stop, fail, fill up or lose power at any operation."""

import errno
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem

FOLDER: Final = -1
"""Stands for a folder where files have a number."""


class Crash(BaseException):
    """The process ends here, as by SIGKILL: nothing catches it."""


class ScriptedDisk(FileSystem):
    """A disk that notes its operations and ends the process before the ``crash_at``-th.

    A file that is being written at that moment is left half written.  It syncs nothing: whoever
    reads what a killed process left reads it from memory, and the tests are ten times faster.
    """

    def __init__(self, *, crash_at: int | None = None, uses_syncfs: bool = True) -> None:
        super().__init__(uses_syncfs=False)
        self.uses_syncfs = uses_syncfs
        self.crash_at = crash_at
        self.operations: list[tuple[str, Path]] = []

    def write_new(self, path: Path, content: bytes) -> None:
        if len(self.operations) == self.crash_at:
            super().write_new(path, content[: len(content) // 2])
        self.step("write_new", path)
        super().write_new(path, content)

    def sync_file(self, path: Path) -> None:
        assert path.is_file()
        self.step("sync_file", path)

    def sync_folder(self, path: Path) -> None:
        assert path.is_dir()
        self.step("sync_folder", path)

    def sync_group(self, paths: Iterable[Path]) -> None:
        unique = list(paths)
        self.step("sync_group", unique[0])
        if not self.uses_syncfs:
            super().sync_group(unique)

    def rename(self, source: Path, target: Path) -> None:
        self.step("rename", target)
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self.step("remove", path)
        super().remove(path)

    def remove_folder(self, path: Path) -> bool:
        self.step("remove_folder", path)
        return super().remove_folder(path)

    def make_folder(self, path: Path) -> None:
        self.step("make_folder", path)
        super().make_folder(path)

    def step(self, operation: str, path: Path) -> None:
        """Note an operation, or end the process before it."""
        if self.crash_at is not None and len(self.operations) >= self.crash_at:
            raise Crash
        self.operations.append((operation, path))


class FailingDisk(ScriptedDisk):
    """A disk that refuses its ``fail_at``-th operation, and works before and after."""

    def __init__(self, *, number: int, fail_at: int) -> None:
        super().__init__()
        self.number = number
        self.fail_at = fail_at

    def step(self, operation: str, path: Path) -> None:
        super().step(operation, path)
        if len(self.operations) == self.fail_at + 1:
            with storage_errors(operation, path):
                raise OSError(self.number, os.strerror(self.number), str(path))


class PausingDisk(FileSystem):
    """A disk whose ``number``-th operation of a kind, on files of a name, lasts for a while.

    Attributes:
        reached: Set when that operation begins.
        others_done: Set it to end the pause; else it lasts ``pause_s``.
    """

    def __init__(self, operation: str, name: str, number: int, *, pause_s: float = 0.6) -> None:
        super().__init__(uses_syncfs=False)
        self.reached, self.others_done = threading.Event(), threading.Event()
        self._paused = (operation, name)
        self._left = number
        self._pause_s = pause_s

    def rename(self, source: Path, target: Path) -> None:
        self._pause("rename", target)
        super().rename(source, target)

    def read(self, path: Path) -> bytes:
        content = super().read(path)
        self._pause("read", path)
        return content

    def _pause(self, operation: str, path: Path) -> None:
        if (operation, path.name) != self._paused:
            return
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            self.others_done.wait(self._pause_s)


class QuotaDisk(FileSystem):
    """Disks of a few kilobytes, measured by the files below their folders, whoever wrote them.

    Attributes:
        capacities: Bytes that fit on each disk, by its folder; of two the first counts.
        refusals: Writes that found a disk full.
        lowest: Fewest bytes that were free on a disk after a write.
    """

    def __init__(self, capacities: Mapping[Path, int]) -> None:
        super().__init__(uses_syncfs=False)
        self.capacities = dict(capacities)
        self.refusals = 0
        self.lowest = max(capacities.values())

    def write_new(self, path: Path, content: bytes) -> None:
        room = max(0, self.free_bytes(path))
        super().write_new(path, content[:room])
        self.lowest = min(self.lowest, self.free_bytes(path))
        if len(content) > room:
            self.refusals += 1
            with storage_errors("write", path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def sync_group(self, paths: Iterable[Path]) -> None:
        """Sync nothing: no test of a full disk loses power."""

    def free_bytes(self, path: Path) -> int:
        files = (file for file in self._find_disk(path).rglob("*") if file.is_file())
        return self.total_bytes(path) - sum(file.stat().st_size for file in files)

    def total_bytes(self, path: Path) -> int:
        return self.capacities[self._find_disk(path)]

    def _find_disk(self, path: Path) -> Path:
        return next(folder for folder in self.capacities if path.is_relative_to(folder))


class PowerLossDisk(ScriptedDisk):
    """A disk that knows what a power failure may leave of what was not synced.

    It promises as little as POSIX does.  Until a file is synced its content may be missing,
    zeros or half there; until a folder is synced each of its names may be the old or the new
    one, whatever the order, and independently of every other name.

    Attributes:
        live: What lies under each path, as a running process sees it.
        durable: What lies there for sure.
    """

    def __init__(self, root: Path, *, crash_at: int | None = None) -> None:
        super().__init__(crash_at=crash_at, uses_syncfs=False)
        self.root = root
        self.contents: list[bytes] = []
        self.synced: set[int] = set()
        self.live = {
            path: FOLDER if path.is_dir() else self._add(path.read_bytes())
            for path in root.rglob("*")
        }
        self.synced.update(range(len(self.contents)))
        self.durable = dict(self.live)

    def write_new(self, path: Path, content: bytes) -> None:
        super().write_new(path, content)
        self.live[path] = self._add(content)

    def sync_file(self, path: Path) -> None:
        super().sync_file(path)
        self.synced.add(self.live[path])

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        for name in [name for name in self.durable if name.parent == path]:
            del self.durable[name]
        self.durable |= {name: node for name, node in self.live.items() if name.parent == path}

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.live[target] = self.live.pop(source)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.live.pop(path, None)

    def remove_folder(self, path: Path) -> bool:
        is_gone = super().remove_folder(path)
        if is_gone:
            self.live.pop(path, None)
        return is_gone

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.live[path] = FOLDER

    def lose_power(self, target: Path, rng: np.random.Generator) -> None:
        """Write to ``target`` one of the states in which the disk may come back."""
        for path in sorted(self.live.keys() | self.durable.keys()):
            node = (self.live.get(path), self.durable.get(path))[rng.integers(2)]
            place = target / path.relative_to(self.root)
            if node is None or not place.parent.is_dir():
                continue
            if node == FOLDER:
                place.mkdir()
            else:
                place.write_bytes(self._survive(node, rng))

    def _survive(self, node: int, rng: np.random.Generator) -> bytes:
        content = self.contents[node]
        if node in self.synced:
            return content
        return (content, b"", content[: len(content) // 2], bytes(len(content)))[rng.integers(4)]

    def _add(self, content: bytes) -> int:
        self.contents.append(content)
        return len(self.contents) - 1
