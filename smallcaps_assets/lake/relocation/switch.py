"""Moving ticker-sessions to another root: the target, and the instant of the switch.

What belongs here: which roots a move empties and fills, and the change of the register.  What does
not: copies and their proof (``session_copies``), removing what was moved (``removal``), the
order of all steps (``operations.repair.moving``).

Until :func:`switch_roots` nothing has changed for anybody: the target is a folder that is marked
as an unfinished copy.  The caller holds the lock of the lake.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.errors import ConfigError, PartitionConflictError, StorageError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.relocation.session_copies import CopySize, SessionCopies
from smallcaps_assets.lake.roots.markers import (
    find_entry,
    locate_roots,
    make_marker,
    read_marker,
    read_or_begin_register,
    refuse_filled,
    refuse_nested,
    require_marker,
    write_marker,
)
from smallcaps_assets.lake.roots.placement import Placement
from smallcaps_assets.lake.roots.register import (
    RootEntry,
    RootRegister,
    RootState,
    make_root,
    write_register,
)
from smallcaps_assets.lake.storage.files import FileSystem, find_existing


@dataclass(frozen=True, slots=True)
class Relocation:
    """One move of all sessions of some roots to another one.

    Attributes:
        home: Paths of the data folder.
        fs: The disks.
        register: The register before the move.
        copies: The sessions and their copies.
    """

    home: LakeLayout
    fs: FileSystem
    register: RootRegister
    copies: SessionCopies

    @property
    def target(self) -> LakeRoot:
        """Return the root that takes the sessions."""
        return self.copies.target

    def is_new(self) -> bool:
        """Say whether the target is no root of the lake yet, nor its home."""
        return self.target not in (*self.copies.layout.roots, self.home.home)


def plan_relocation(
    home: LakeLayout, fs: FileSystem, dest: Path, origin: Path | None = None
) -> Relocation:
    """Return the move of the sessions of a lake to a folder; nothing is changed yet.

    Args:
        home: Paths of the data folder.
        fs: The disks.
        dest: Folder that becomes a root; it need not be there, the one above it must.
        origin: Root that is emptied; all others by default.

    Raises:
        ConfigError: The folder lies in the lake or around it, or ``origin`` is no root.
        LakeError: There is no lake, or a root is not mounted.
    """
    register = read_or_begin_register(home, fs)
    layout = locate_roots(home, fs)
    known = find_entry(home, register, dest)
    if known is None:
        refuse_nested(home, register, dest)
    elif known.state is RootState.LEAVING:
        raise ConfigError(f"{dest} was left by an earlier move and is not mounted: mount it first")
    target = known.locate(home) if known else make_root(dest.absolute())
    sources = tuple(root for root in layout.roots if root != target)
    if origin is not None:
        entry = find_entry(home, register, origin)
        sources = tuple(root for root in sources if entry and root == entry.locate(home))
        if not sources:
            listed = ", ".join(str(root.folder) for root in layout.roots)
            raise ConfigError(f"--from {origin}: expected a root with sessions, of {listed}")
    return Relocation(home, fs, register, SessionCopies(layout, fs, sources, target))


def require_room(
    target: LakeRoot, fs: FileSystem, size: CopySize, reserve_gb: float | None
) -> None:
    """Refuse a target that is too small, before anything is copied.

    Raises:
        StorageError: It is, or its disk is gone.
    """
    folder = find_existing(target.folder)
    placement = Placement([target], fs, reserve_gb)
    if size.needed_bytes and size.needed_bytes > placement.measure_room(folder):
        raise StorageError(
            f"{target.folder} is too small: {format_bytes(size.needed_bytes)} are still to be "
            f"copied, {format_bytes(fs.free_bytes(folder))} are free there, of which "
            f"{format_bytes(placement.reserve_bytes(folder))} stay free; choose a larger disk, or "
            "lower SMALLCAPS_DISK_RESERVE_GB"
        )


def prepare_target(move: Relocation) -> None:
    """Make the folder of a new target, and mark it as an unfinished copy.

    Raises:
        ConfigError: It is not empty.
        PartitionConflictError: It belongs to another lake.
        StorageError: Its disk refuses, or is not mounted.
    """
    if not move.is_new():
        return
    folder, fs = move.target.folder, move.fs
    fs.make_folders(folder, root=folder.parent)
    fs.sync_folder(folder.parent)
    marker = read_marker(fs, move.target)
    if marker is None:
        refuse_filled(fs, folder)
        marker = make_marker(move.home, fs, is_copy=True)
    require_marker(move.home, fs, move.target, marker)
    write_marker(fs, move.target, msgspec.structs.replace(marker, is_copy=True))


def switch_roots(move: Relocation) -> None:
    """Make the target a root of the lake and let the sources leave it, by one rename.

    Raises:
        StorageError: The disk refuses; the lake is where it was, or where it shall be.
    """
    entry = _describe_target(move)
    leaving = [root.folder for root in move.copies.sources]
    entries: dict[str, RootEntry] = {}
    for old in move.register.roots:
        if old.locate(move.home).folder in leaving:
            entries.setdefault(entry.path, entry)
            entries[old.path] = msgspec.structs.replace(
                old, state=RootState.LEAVING, moved_to=str(move.target.folder)
            )
        elif old.path != entry.path:
            entries[old.path] = old
        elif old.state is RootState.ACTIVE:
            entries.setdefault(entry.path, entry)
    write_register(move.home, move.fs, RootRegister(roots=tuple(entries.values())))
    finish_target(move)


def finish_target(move: Relocation) -> None:
    """Take the mark of an unfinished copy from a target that is a root.

    Raises:
        StorageError: The disk refuses; the register counts, and the mark is taken later.
    """
    marker = None if move.target == move.home.home else read_marker(move.fs, move.target)
    if marker and marker.is_copy:
        write_marker(move.fs, move.target, msgspec.structs.replace(marker, is_copy=False))


def _describe_target(move: Relocation) -> RootEntry:
    """Return the entry of the target, as it shall be."""
    known = find_entry(move.home, move.register, move.target.folder)
    marker = read_marker(move.fs, move.target) if move.is_new() else None
    if marker is not None:
        return RootEntry(id=marker.id, path=str(move.target.folder))
    if known is None:
        raise PartitionConflictError(f"{move.target.folder} has no marker: run the command again")
    return RootEntry(id=known.id, path=known.path)
