"""Removing from a root what was moved away, and nothing else.

What belongs here: the files of sessions of which the lake has the same ones elsewhere, empty
folders, the marker.  What does not: what was moved, and when (``switch``).

Whatever belongs to no receipt, and whatever is not the same elsewhere, stays where it is and is
named.  Nothing that is removed is looked at by anybody, so the order of the removals is free.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.lake.relocation.month_copies import MonthRemoval
from smallcaps_assets.lake.relocation.session_copies import Watcher, ignore_progress, is_copy_whole
from smallcaps_assets.lake.roots.markers import locate_roots, read_root_id
from smallcaps_assets.lake.roots.register import (
    RootRegister,
    RootState,
    read_register,
    write_register,
)
from smallcaps_assets.lake.sessions.damages import SessionFolder, walk_sessions
from smallcaps_assets.lake.storage.files import FileSystem


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing did not come to.

    Attributes:
        left: What stays where it was, because it belongs to nothing, or differs.
        absent: Roots that are not mounted; a later call empties them.
    """

    left: list[Path] = field(default_factory=list)
    absent: list[Path] = field(default_factory=list)


def remove_leaving(
    home: LakeLayout,
    fs: FileSystem,
    progress: Watcher = ignore_progress,
    *,
    is_proven: bool = False,
) -> Removal:
    """Remove what was moved away from roots, and call them retired; hold the lock of the lake.

    Args:
        home: Paths of the data folder.
        fs: The disks.
        progress: Told of each session.
        is_proven: The copies were just read back; otherwise each is, before its original goes.

    Raises:
        LakeError: A root of the lake is not mounted.
        StorageError: A disk refuses; the next call continues.
    """
    register = read_register(home, fs) or RootRegister(roots=())
    removal = Removal()
    for entry in register.select(RootState.LEAVING):
        root = entry.locate(home)
        if read_root_id(home, fs, root) != entry.id:
            removal.absent.append(root.folder)
            continue
        emptying = _Emptying(locate_roots(home, fs), fs, root, is_proven)
        removal.left.extend(emptying.run(progress))
        retired = msgspec.structs.replace(entry, state=RootState.RETIRED)
        register = register.replace([retired])
        write_register(home, fs, register)
        if root != home.home:
            fs.remove(root.marker_file)
            fs.remove_folder(root.folder)
    return removal


@dataclass(frozen=True, slots=True)
class _Emptying:
    """The removal of one root's sessions that the lake has elsewhere."""

    layout: LakeLayout
    fs: FileSystem
    root: LakeRoot
    is_proven: bool

    def run(self, progress: Watcher) -> Iterator[Path]:
        """Remove what can go, and yield what stays."""
        for tree in Tree:
            for found in walk_sessions(self.fs, self.root.tree_dir(tree)):
                if isinstance(found, SessionFolder) and self._is_elsewhere(found, tree):
                    self._remove(found.path)
                    progress("removed", 0)
                if self.fs.exists(found.path) and not self._remove_empty(found.path):
                    yield found.path
                self._remove_empty(found.path.parent)
        removal = MonthRemoval(self.layout, self.fs, self.root, self.is_proven)
        yield from removal.run()
        self.fs.sweep_temporary([self.root.folder, self.root.staging_dir])
        own = (self.root.staging_dir, self.root.compacted_dir, *map(self.root.tree_dir, Tree))
        for folder in own:
            self._remove_empty(folder)
        if self.root != self.layout.home:
            kept = (self.root.quarantine_dir, self.root.revisions_dir)
            yield from (folder for folder in kept if self.fs.is_folder(folder))
        self.fs.sync_folder(self.root.folder)

    def _remove_empty(self, path: Path) -> bool:
        """Remove an empty folder; return whether nothing lies there any more."""
        is_folder = self.fs.is_folder(path) and not self.fs.is_link(path)
        return self.fs.remove_folder(path) if is_folder else not self.fs.exists(path)

    def _remove(self, folder: Path) -> None:
        """Remove a session, its receipt last: until then it proves that the rest may go."""
        for name in (TRADES_NAME, RECEIPT_NAME):
            self.fs.remove(folder / name)

    def _is_elsewhere(self, found: SessionFolder, tree: Tree) -> bool:
        """Return whether another root has this very session, whole."""
        holder = self.layout.find_holder(found.ticker, found.session_date, tree)
        if holder is None or found.links:
            return False
        copy = holder.session_dir(found.ticker, found.session_date, tree)
        text = self.fs.read(copy / RECEIPT_NAME)
        if not self._is_same(text, found):
            return False
        try:
            # An earlier call may have removed the data file, and not come to the receipt.
            has_file = TRADES_NAME in found.names or self.fs.is_file(copy / TRADES_NAME)
            reads_file = not self.is_proven
            return is_copy_whole(self.fs, text, copy, reads_file=reads_file, has_file=has_file)
        except LedgerMismatchError:
            return False

    def _is_same(self, text: bytes, found: SessionFolder) -> bool:
        """Return whether a folder has a session by its receipt, or what a power failure left."""
        if found.has_receipt:
            return self.fs.read(found.path / RECEIPT_NAME) == text
        return is_copy_whole(self.fs, text, found.path, needs_receipt=False)
