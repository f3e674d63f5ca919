"""The roots of a lake, found and checked: a disk that is not mounted is an error, never empty.

What belongs here: the way from the register to folders that show the right marker, and new roots.
What does not: the register's file (``register``), which root takes a session (``placement``),
moving a lake (``lake.relocation.switch``).
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.roots.identity import RECEIPTS_FORMAT, read_identity
from smallcaps_assets.lake.roots.register import (
    RootEntry,
    RootRegister,
    RootState,
    home_entry,
    make_root,
    read_register,
    write_register,
)
from smallcaps_assets.lake.storage.files import FileSystem

IGNORED_NAMES: Final = ("lost+found",)
"""What a new root may hold, hidden files apart: a fresh file system has it."""

_ELSEWHERE: Final = (
    "mount it there again; if it is mounted elsewhere now, list its new path in "
    "SMALLCAPS_LAKE_ROOTS and run `smallcaps reindex`"
)

_MOVED_LAKE: Final = (
    "mount it there again; if it is mounted elsewhere now, set SMALLCAPS_LAKE to its new path"
)


class RootMarker(msgspec.Struct, frozen=True, kw_only=True):
    """What ``root.json`` says, so that an empty mount point is not taken for a root.

    Attributes:
        id: Id of the root, as in the register.
        lake: Id of the lake, as in ``lake.json``.
        source: Source that the lake is bound to, for people.
        is_copy: It is being filled by a move, and counts for nothing yet.
        created_at: When it was made.
    """

    id: str
    lake: str
    source: str
    is_copy: bool
    created_at: dt.datetime


def locate_roots(home: LakeLayout, fs: FileSystem) -> LakeLayout:
    """Return the paths of a lake with all its roots, each of which has shown its marker.

    Raises:
        LedgerMismatchError: The register is lost or damaged.
        PartitionConflictError: A root belongs to another lake.
        StorageError: A root is not mounted, or the disk refuses.
    """
    register = read_register(home, fs)
    if register is None:
        _refuse_lost_register(home, fs)
        return home
    entries = register.select(RootState.ACTIVE)
    return replace(home, roots=tuple(check_root(home, fs, entry) for entry in entries))


def check_root(home: LakeLayout, fs: FileSystem, entry: RootEntry) -> LakeRoot:
    """Return the paths of a registered root that is mounted.

    Raises:
        PartitionConflictError: Another root is mounted there.
        StorageError: It is not mounted.
    """
    root = entry.locate(home)
    elsewhere = _MOVED_LAKE if root == home.home else _ELSEWHERE
    found = read_root_id(home, fs, root)
    if found is None:
        marker = home.identity_file if root == home.home else root.marker_file
        raise StorageError(
            f"{root.folder} is gone or empty: expected {marker} with id {entry.id}, found none. "
            "Nothing was read or written; put the folder back where it was moved or removed, and "
            f"where it lies on a disk of its own, {elsewhere}"
        )
    if found != entry.id:
        raise PartitionConflictError(
            f"{root.folder} is another root: expected id {entry.id}, got {found}; {elsewhere}"
        )
    return root


def read_root_id(home: LakeLayout, fs: FileSystem, root: LakeRoot) -> str | None:
    """Return the id that a folder shows; ``None``: it is no root, or its disk is not mounted.

    Raises:
        LedgerMismatchError: The marker is damaged.
        StorageError: The disk refuses.
    """
    if root == home.home:
        try:
            return read_identity(home, fs).id
        except MissingPartitionError:
            return None
    marker = read_marker(fs, root)
    return marker.id if marker else None


def read_marker(fs: FileSystem, root: LakeRoot) -> RootMarker | None:
    """Return the marker of a root that is not home; ``None``: it has none.

    Raises:
        LedgerMismatchError: It is damaged.
        StorageError: The disk refuses.
    """
    try:
        return decode_json(fs.read(root.marker_file), RootMarker)
    except MissingPartitionError:
        return None
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{root.marker_file} is damaged ({name_fault(error)}): expected id, lake, source, "
            "is_copy and created_at; the register of the data folder, lake_roots.json, has the id"
        ) from error


def require_marker(home: LakeLayout, fs: FileSystem, root: LakeRoot, marker: RootMarker) -> None:
    """Refuse a root of another lake.

    Raises:
        PartitionConflictError: It is.
    """
    if marker.lake != read_identity(home, fs).id:
        raise PartitionConflictError(
            f"{root.folder} belongs to another lake ({marker.source}): choose another folder"
        )


def write_marker(fs: FileSystem, root: LakeRoot, marker: RootMarker) -> None:
    """Write the marker of a root, whose folder must be there.

    Raises:
        StorageError: The disk refuses.
    """
    text = msgspec.json.format(msgspec.json.encode(marker), indent=1)
    fs.publish({root.marker_file: text}, root=root.folder)


def make_marker(home: LakeLayout, fs: FileSystem, *, is_copy: bool) -> RootMarker:
    """Return the marker of a new root of a lake.

    Raises:
        MissingPartitionError: There is no lake.
    """
    identity = read_identity(home, fs)
    return RootMarker(
        id=uuid.uuid4().hex,
        lake=identity.id,
        source=str(identity.source),
        is_copy=is_copy,
        created_at=dt.datetime.now(dt.UTC),
    )


def read_or_begin_register(home: LakeLayout, fs: FileSystem) -> RootRegister:
    """Return the register, or the one that a lake begins with.

    Raises:
        MissingPartitionError: There is no lake.
    """
    found = read_register(home, fs)
    return found or RootRegister(roots=(home_entry(read_identity(home, fs).id),))


def register_roots(
    home: LakeLayout, fs: FileSystem, folders: Sequence[Path], *, recovers: bool = False
) -> None:
    """Make folders roots of a lake, which are to take new sessions; hold its lock.

    Those registered already stay what they are; one that is mounted elsewhere is found again by
    its marker.

    Args:
        home: Paths of the data folder.
        fs: The disks.
        folders: All that shall be roots.
        recovers: Make a register that was lost again, of home and these folders.

    Raises:
        LedgerMismatchError: The register is lost.
        ConfigError: A folder is not there, not empty, in another one, or its sessions were moved.
        PartitionConflictError: A folder belongs to another lake.
        StorageError: The disk refuses.
    """
    if not recovers and read_register(home, fs) is None:
        _refuse_lost_register(home, fs)
    before = register = read_or_begin_register(home, fs)
    for folder in folders:
        known = find_entry(home, register, folder)
        if known is None:
            register = _add_root(home, fs, register, make_root(folder.absolute()))
        elif known.state is not RootState.ACTIVE:
            raise ConfigError(
                f"SMALLCAPS_LAKE_ROOTS lists {folder}, whose sessions were moved to "
                f"{known.moved_to}: list that, or another folder of the same disk"
            )
    if register != before or read_register(home, fs) is None:
        write_register(home, fs, register)


def forget_root(home: LakeLayout, fs: FileSystem, folder: Path) -> None:
    """Take a root that is lost for good out of the register; hold the lock of the lake.

    Raises:
        ConfigError: It is no root, the last one, or still there.
        StorageError: The disk refuses.
    """
    register = read_or_begin_register(home, fs)
    entry = find_entry(home, register, folder)
    if entry is None or register.select(RootState.ACTIVE) in ([], [entry]):
        listed = ", ".join(entry.path for entry in register.roots)
        raise ConfigError(f"{folder} is no root that could be forgotten; registered: {listed}")
    if read_root_id(home, fs, entry.locate(home)) == entry.id:
        raise ConfigError(
            f"{folder} is mounted and has sessions: move them away by "
            f"`smallcaps relocate DEST --from {folder}`, or unmount it first"
        )
    write_register(home, fs, RootRegister(roots=tuple(e for e in register.roots if e != entry)))


def find_entry(home: LakeLayout, register: RootRegister, folder: Path) -> RootEntry | None:
    """Return the entry of a folder, by whatever links its path was given."""
    real = folder.resolve()
    matches = (e for e in register.roots if e.locate(home).folder.resolve() == real)
    return next(matches, None)


def refuse_nested(home: LakeLayout, register: RootRegister, folder: Path) -> None:
    """Refuse a new root inside of another one or of the data folder, or around one.

    Raises:
        ConfigError: It is.
    """
    real = folder.resolve()
    taken = [home.data_dir, *(entry.locate(home).folder for entry in register.roots)]
    for other in (path.resolve() for path in taken):
        if real.is_relative_to(other) or other.is_relative_to(real):
            raise ConfigError(
                f"{folder} and {other} lie in one another: a root is a folder of its own"
            )


def refuse_filled(fs: FileSystem, folder: Path) -> None:
    """Refuse a folder that holds anything that is not ours.

    Raises:
        ConfigError: It does.
    """
    names = (entry.name for entry in fs.list_folder(folder))
    foreign = [n for n in names if n not in IGNORED_NAMES and not n.startswith(".")]
    if foreign:
        raise ConfigError(
            f"{folder} is not empty ({', '.join(foreign[:3])}): expected a new folder for the lake "
            "alone"
        )


def _add_root(
    home: LakeLayout, fs: FileSystem, register: RootRegister, root: LakeRoot
) -> RootRegister:
    if not fs.is_folder(root.folder):
        raise ConfigError(
            f"SMALLCAPS_LAKE_ROOTS lists {root.folder}, which is no folder: mount the disk and "
            "make the folder; it is not made for you, because the disk might not be mounted"
        )
    refuse_nested(home, register, root.folder)
    marker = read_marker(fs, root)
    if marker is None:
        refuse_filled(fs, root.folder)
        marker = make_marker(home, fs, is_copy=False)
        write_marker(fs, root, marker)
    require_marker(home, fs, root, marker)
    if marker.is_copy:
        raise ConfigError(
            f"{root.folder} is an unfinished copy: finish it by `smallcaps relocate "
            f"{root.folder}`, or remove the folder"
        )
    entry = RootEntry(id=marker.id, path=str(root.folder))
    moved = [e for e in register.roots if e.id == marker.id]
    for old in moved:
        if read_root_id(home, fs, old.locate(home)) == marker.id:
            raise ConfigError(f"{root.folder} is a copy of {old.path}: unmount one of them")
    kept = tuple(entry if e in moved else e for e in register.roots)
    return RootRegister(roots=kept) if moved else register.replace([entry])


def _refuse_lost_register(home: LakeLayout, fs: FileSystem) -> None:
    """Refuse a lake whose register is gone: it may have roots that nobody knows of any more."""
    if not fs.exists(home.identity_file) or not fs.is_file(home.ledger_file):
        return
    identity = read_identity(home, fs)
    if identity.id and identity.format == RECEIPTS_FORMAT:
        raise LedgerMismatchError(
            f"{home.roots_file} is gone, which lists the disks of the lake: restore it from a "
            "copy, or list all of them in SMALLCAPS_LAKE_ROOTS and run `smallcaps reindex`"
        )
    if identity.id:
        raise LedgerMismatchError(
            f"{home.roots_file} is gone, which says where the lake lies: restore it from a copy; "
            f"or, if {home.lake_dir} is all of the lake, run `smallcaps reindex`, else with "
            "SMALLCAPS_LAKE set to its folder"
        )
