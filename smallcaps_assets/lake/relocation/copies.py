"""The copy of a lake of segments in another folder: what it still lacks, making and proving it.

What belongs here: which files are copied, and what proves each of them.  What does not: where the
copy may lie, and what makes it the lake (``moves``).

Names are written once, ever, so a file that is there with the right bytes need not be copied again,
however an earlier call ended.  Parts that no record names are copied too: they are witnesses of a
record that was lost.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.merging import is_green
from smallcaps_assets.errors import LakeError, LedgerMismatchError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import (
    QUARANTINE,
    SEGMENTS,
    SNAPSHOTS,
    month_prefix,
    part_key,
)
from smallcaps_assets.lake.segments.reading import Month, list_months, survey_month
from smallcaps_assets.lake.segments.sealing import parse_sealed
from smallcaps_assets.lake.storage.files import FileSystem, folders_below
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.protocol import Stored

COPIED: Final = (SEGMENTS, SNAPSHOTS, QUARANTINE)
"""Beginnings of the keys of a lake, ``lake.json`` apart."""

SHOWN: Final = 3
"""Files that a message names."""

Watcher = Callable[[str, int], None]
"""Told after each file: what was done to it, and its bytes."""


def ignore_progress(_what: str, _size: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class CopySize:
    """How much there is to copy.

    Attributes:
        sessions: Ticker-sessions, those without trades too.
        bytes: All files.
        needed_bytes: What the copies still to be made will take on the target's disk.
    """

    sessions: int
    bytes: int
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class LakeCopy:
    """A lake of segments and its copy.

    Attributes:
        lake: The lake.
        target: Folder of the copy.
        fs: The disks.
        hashes: The sha256 of each file that was copied, by its key.
    """

    lake: SegmentLake
    target: Path
    fs: FileSystem
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def storage(self) -> LocalStorage:
        """The copy as a storage."""
        return LocalStorage(self.target, self.fs)

    def measure(self) -> CopySize:
        """Measure how much there is to copy: of files by their sizes, of sessions by the records.

        Raises:
            StorageError: The disk refuses.
        """
        files = list(self._list_files())
        held = {
            stored.key: stored.size for stored in _list_there(self.storage, self.fs, self.target)
        }
        lacking = sum(one.size for one in files if held.get(one.key) != one.size)
        sessions = sum(_count_sessions(month) for month in self._iter_months())
        return CopySize(sessions, sum(one.size for one in files), lacking)

    def make(self, progress: Watcher = ignore_progress) -> None:
        """Copy every file that the copy lacks, each proven by its seal or by its record.

        Raises:
            LakeError: Files are damaged or lost, which the message names; all others were copied.
            StorageError: A disk refuses; what was copied stays, and the next call continues.
        """
        damages: list[str] = []
        for month in self._iter_months():
            damages += month.damaged.values()
            damages += (f"{part_key(month.name, part)} is gone" for part in _find_gone(month))
            told = {part: facts.sha256 for part, facts in month.told_parts.items()}
            for stored in self.lake.storage.list_keys(month_prefix(month.name)):
                damages += self._carry(stored, progress, told.get(Path(stored.key).name))
        for prefix in (SNAPSHOTS, QUARANTINE):
            for stored in self.lake.storage.list_keys(prefix):
                damages += self._carry(stored, progress)
        _refuse_damages(damages)

    def prove(self, progress: Watcher = ignore_progress) -> None:
        """Read every copy back from its disk, and make sure that its name lasts.

        Raises:
            LakeError: Copies are wrong; they were removed, and the next call makes them again.
            StorageError: A disk refuses.
        """
        paths = {key: self.target.joinpath(*key.split("/")) for key in self.hashes}
        wrong = []
        for key, path in paths.items():
            content = self.fs.read_back(path)
            progress("verified", len(content))
            if hashlib.sha256(content).hexdigest() != self.hashes[key]:
                wrong.append(path)
                self.fs.remove(path)
        _refuse_wrong(wrong)
        folders = folders_below([path.parent for path in paths.values()], self.target)
        # An earlier call may have been killed between a name and its sync.
        self.fs.sync_group([*paths.values(), *folders, self.target])

    def remove_outdated(self) -> None:
        """Remove what the lake has no more, and an earlier call copied.

        Raises:
            StorageError: The disk refuses.
        """
        for stored in _list_there(self.storage, self.fs, self.target):
            if stored.key not in self.hashes:
                self.storage.remove(stored.key)

    def _iter_months(self) -> Iterator[Month]:
        return (survey_month(self.lake, month) for month in list_months(self.lake))

    def _list_files(self) -> Iterator[Stored]:
        for prefix in COPIED:
            yield from self.lake.storage.list_keys(prefix)

    def _carry(
        self, stored: Stored, progress: Watcher, expected: str | None = None
    ) -> Iterator[str]:
        """Copy a file unless it is there; yield why it cannot be."""
        content = self.lake.storage.load(stored.key)
        found = hashlib.sha256(content).hexdigest()
        if expected not in {None, found}:
            yield f"{stored.key} is not the part of its record"
            return
        if stored.key.startswith(SNAPSHOTS):
            try:
                parse_sealed(content, stored.key)
            except LedgerMismatchError:
                return  # It is no witness of anything, and another one follows.
        held = self.storage.stat(stored.key)
        if held is None or held.size != stored.size or self.storage.load(stored.key) != content:
            self.storage.remove(stored.key)
            self.storage.save({stored.key: content})
        self.hashes[stored.key] = found
        progress("copied", len(content))


def _list_there(copy: LocalStorage, fs: FileSystem, target: Path) -> Iterator[Stored]:
    """Yield what a copy has; of a folder that is not there, nothing."""
    for prefix in COPIED:
        if fs.is_folder(target / prefix.rstrip("/")):
            yield from copy.list_keys(prefix)


def _count_sessions(month: Month) -> int:
    stored = month.winners.filter(pl.col("kind") == SESSION, (pl.col("rows") > 0) | is_green())
    return stored.height


def _find_gone(month: Month) -> list[str]:
    """List the parts that have rows which count, and are not there."""
    named = month.winners.filter(pl.col("rows") > 0)["part"].drop_nulls().unique()
    return sorted({*named} - {*month.parts})


def _refuse_damages(damages: Sequence[str]) -> None:
    """Refuse to move what is damaged; everything else was copied."""
    if damages:
        raise LakeError(
            f"{format_count(len(damages), 'file')} damaged, and not to be moved, first "
            f"{'; '.join(damages[:SHOWN])}.  The lake is where it was: run `smallcaps repair`, "
            "then the same command again"
        )


def _refuse_wrong(wrong: Sequence[Path]) -> None:
    """Refuse copies that are not what was written, and that were removed."""
    if wrong:
        raise LakeError(
            f"{len(wrong)} copies are not what was written, first {wrong[0]}: check the disk, or "
            "choose another.  The lake is where it was"
        )
