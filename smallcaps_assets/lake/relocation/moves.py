"""Moving a lake to another folder: where it may go, the switch, and what stays behind.

What belongs here: the target, the instant at which it becomes the lake, and emptying the old place.
What does not: the copies and their proof (``copies``), and the order of all steps
(``operations.repair.moving``).

Until :func:`switch_lake` the target is a folder that is marked as an unfinished copy; with it the
register names the new place, and the old one as the folder that is being emptied.  Ledger, lock
and plan stay in the data folder.  The caller holds the lock of the lake.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.errors import (
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.home.identity import LakeIdentity, check_format, read_identity
from smallcaps_assets.lake.home.place import (
    list_foreign,
    put_lake,
    read_id,
    refuse_filled,
    refuse_nested_place,
)
from smallcaps_assets.lake.home.register import (
    RootRegister,
    home_entry,
    read_register,
    write_register,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.relocation.copies import (
    COPIED,
    CopySize,
    LakeCopy,
    Watcher,
    ignore_progress,
)
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import CLOCK
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lake.storage.free_space import FreeSpace
from smallcaps_assets.lake.storage.local import LocalStorage

MARKER_NAME: Final = "relocating.json"
"""Name of the file that marks a folder as an unfinished copy."""


class CopyMarker(msgspec.Struct, frozen=True, kw_only=True):
    """What marks a folder as an unfinished copy.

    Attributes:
        lake: Id of the lake.
        source: Where the lake lies, for people.
    """

    lake: str
    source: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What emptying the old place did not come to.

    Attributes:
        left: What stays where it was, because it belongs to nothing.
        absent: The old place, which is not mounted; a later call empties it.
    """

    left: list[Path] = field(default_factory=list)
    absent: Path | None = None


@dataclass(frozen=True, slots=True)
class LakeMove:
    """One move of a lake to another folder.

    Attributes:
        home: Paths of the data folder, and of the lake before the move.
        target: The same after it.
        fs: The disks.
        identity: What the lake is bound to.
        copies: The files and their copies.
    """

    home: LakeLayout
    target: LakeLayout
    fs: FileSystem
    identity: LakeIdentity
    copies: LakeCopy = field(compare=False)

    @property
    def marker_file(self) -> Path:
        """The file that marks the target as an unfinished copy."""
        return self.target.lake_dir / MARKER_NAME

    @property
    def is_done(self) -> bool:
        """Say whether the lake lies in the target."""
        return self.target == self.home


def plan_move(home: LakeLayout, fs: FileSystem, dest: Path) -> LakeMove:
    """Plan the move of a lake to a folder; nothing is changed yet.

    Args:
        home: Paths of the data folder and its lake.
        fs: The disks.
        dest: Folder of the lake after it; it need not be there, the one above it must.

    Raises:
        ConfigError: The folder lies in the lake or the data folder or around one, is not empty,
            or the one above it is not there.
        MissingPartitionError: There is no lake.
        PartitionConflictError: The folder belongs to another lake, or the lake cannot be moved.
        StorageError: The lake is not mounted, or a disk refuses.
    """
    identity = read_identity(home, fs)
    check_format(home, identity)
    target = put_lake(home.data_dir, dest)
    lake = SegmentLake(LocalStorage(home.lake_dir, fs), str(identity.source))
    move = LakeMove(home, target, fs, identity, LakeCopy(lake, target.lake_dir, fs))
    if not move.is_done:
        refuse_nested_place(target, fs, home.lake_dir)
        _refuse_taken(move)
    return move


def require_room(move: LakeMove, space: FreeSpace, size: CopySize) -> None:
    """Refuse a target that is too small, before anything is copied.

    Raises:
        StorageError: It is, or its disk is gone.
    """
    folder = find_existing(move.target.lake_dir)
    if size.needed_bytes and size.needed_bytes > space.measure_room(folder):
        raise StorageError(
            f"{move.target.lake_dir} is too small: {format_bytes(size.needed_bytes)} are still to "
            f"be copied, {space.describe(folder)}; choose a larger disk, or lower "
            "SMALLCAPS_DISK_RESERVE_GB"
        )


def prepare_copy(move: LakeMove) -> None:
    """Make the folder of the target, and mark it as an unfinished copy.

    Raises:
        StorageError: Its disk refuses, or is not mounted.
    """
    folder, fs = move.target.lake_dir, move.fs
    fs.make_folders(folder, root=folder.parent)
    fs.sync_folder(folder.parent)
    if _read_marker(move) is None:
        marker = CopyMarker(lake=move.identity.id, source=str(move.home.lake_dir))
        fs.publish({move.marker_file: msgspec.json.encode(marker)}, root=folder)


def switch_lake(move: LakeMove) -> None:
    """Make the copy the lake, by one rename.

    Raises:
        StorageError: A disk refuses; the lake is where it was, or where it shall be.
    """
    entry = home_entry(move.identity.id)
    register = read_register(move.home, move.fs) or RootRegister(roots=(entry,))
    content = move.fs.read(move.home.identity_file)
    move.fs.publish({move.target.identity_file: content}, root=move.target.lake_dir)
    leaving = msgspec.structs.replace(register, leaving=str(move.home.lake_dir))
    write_register(move.target, move.fs, leaving)


def finish_move(home: LakeLayout, fs: FileSystem) -> None:
    """Take the mark of an unfinished copy from the lake.

    Raises:
        StorageError: The disk refuses; the register counts, and the mark is taken later.
    """
    marker = home.lake_dir / MARKER_NAME
    if fs.exists(marker):
        fs.remove(marker)


def empty_left(home: LakeLayout, fs: FileSystem, progress: Watcher = ignore_progress) -> Removal:
    """Remove the files of a lake from the folder that it was moved from.

    Args:
        home: Paths of the data folder and of the lake where it lies now.
        fs: The disks.
        progress: Told of each file.

    Raises:
        MissingPartitionError: The lake is not there.
        StorageError: A disk refuses; the next call continues.
    """
    register = read_register(home, fs)
    if register is None or not register.leaving:
        return Removal()
    old = put_lake(home.data_dir, Path(register.leaving))
    found = read_id(old, fs)
    if found is None and old.place is not None:
        return Removal(absent=old.lake_dir)
    is_ours = found in {None, read_identity(home, fs).id}
    left = _empty(old, fs, progress) if is_ours else [old.lake_dir]
    if old.place is None and is_ours:
        # The data folder is never taken for a disk that is not mounted, so this may come first.
        fs.remove(old.identity_file)
    write_register(home, fs, msgspec.structs.replace(register, leaving=""))
    if old.place is not None and is_ours:
        _remove_folder(old.place, old.identity_file, fs)
    return Removal(left=left)


def _empty(old: LakeLayout, fs: FileSystem, progress: Watcher) -> list[Path]:
    """Remove the files of a lake and their folders; return what belongs to nothing."""
    storage = LocalStorage(old.lake_dir, fs)
    storage.sweep("")
    for prefix in (*COPIED, CLOCK):
        folder = old.object_file(prefix.rstrip("/"))
        if fs.is_folder(folder):
            for stored in storage.list_keys(prefix):
                storage.remove(stored.key)
                progress("removed", 0)
            _remove_empty(folder, fs)
    names = list_foreign(old, fs)
    return [old.lake_dir / name for name in names if name != old.identity_file.name]


def _remove_empty(folder: Path, fs: FileSystem) -> None:
    for entry in fs.list_folder(folder):
        if entry.is_folder:
            _remove_empty(folder / entry.name, fs)
    fs.remove_folder(folder)


def _remove_folder(folder: Path, identity_file: Path, fs: FileSystem) -> None:
    """Remove what made a folder a lake, and the folder if nothing else is in it."""
    for path in (identity_file, folder / ".creation.lock"):
        fs.remove(path)
    fs.remove_folder(folder)


def _refuse_taken(move: LakeMove) -> None:
    """Refuse a target that holds anything but an unfinished copy of this lake."""
    folder = move.target.lake_dir
    marker = _read_marker(move)
    ours = move.identity.id
    if marker is not None and marker.lake == ours:
        return
    holder = marker.lake if marker else read_id(move.target, move.fs)
    if holder is not None and holder != ours:
        raise PartitionConflictError(f"{folder} belongs to another lake: choose another folder")
    refuse_filled(move.target, move.fs, move.target.identity_file.name)


def _read_marker(move: LakeMove) -> CopyMarker | None:
    try:
        return decode_json(move.fs.read(move.marker_file), CopyMarker)
    except MissingPartitionError:
        return None
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{move.marker_file} is damaged: remove {move.target.lake_dir}, which is an unfinished "
            "copy, and run the same command again"
        ) from error
