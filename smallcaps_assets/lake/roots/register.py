"""The register of a lake: which folders on which disks have its ticker-sessions.

What belongs here: the entries, their text, and the file that is replaced by one rename.  What does
not: whether the folders are there and ours (``markers``), and what lies in them.
"""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.storage.files import FileSystem

HOME: Final = "lake"
"""Path of home in the register: relative, so that the data folder can be moved."""


class RootState(StrEnum):
    """What a root is to the lake."""

    ACTIVE = "active"
    LEAVING = "leaving"
    RETIRED = "retired"


class RootEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One root of the lake.

    Attributes:
        id: What its marker says.
        path: Where it is mounted; :data:`HOME` for home.
        state: Active: it has sessions; leaving: they were moved and are still being removed;
            retired: nothing of the lake is there any more.
        moved_to: Where its sessions went, for people.
    """

    id: str
    path: str
    state: RootState = RootState.ACTIVE
    moved_to: str = ""

    def locate(self, layout: LakeLayout) -> LakeRoot:
        """Return the paths of the root."""
        return layout.home if self.path == HOME else make_root(Path(self.path))


class RootRegister(msgspec.Struct, frozen=True, kw_only=True):
    """The roots of a lake, and its place.

    Attributes:
        roots: The roots; the first that has a session counts.
        lake: Folder of the lake; empty: ``lake`` in the data folder.
        leaving: Folder that the lake was moved from and that is still being emptied; empty: none.
    """

    roots: tuple[RootEntry, ...]
    lake: str = ""
    leaving: str = ""

    def select(self, state: RootState) -> list[RootEntry]:
        """Return the roots in a state."""
        return [entry for entry in self.roots if entry.state is state]

    def replace(self, changed: Iterable[RootEntry]) -> "RootRegister":
        """Return the register with entries in place of those of the same path, new ones last."""
        entries = {entry.path: entry for entry in self.roots}
        entries |= {entry.path: entry for entry in changed}
        return msgspec.structs.replace(self, roots=tuple(entries.values()))


def make_root(folder: Path) -> LakeRoot:
    """Return the paths of a root that is not home."""
    return LakeRoot(folder, folder / "quarantine")


def home_entry(lake_id: str) -> RootEntry:
    """Return the entry of home."""
    return RootEntry(id=lake_id, path=HOME)


def read_register(layout: LakeLayout, fs: FileSystem) -> RootRegister | None:
    """Return the register; ``None`` where there is none.

    Raises:
        LedgerMismatchError: It is damaged.
        StorageError: The disk refuses.
    """
    path = layout.roots_file
    try:
        return decode_json(fs.read(path), RootRegister)
    except MissingPartitionError:
        return None
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{path} is damaged ({name_fault(error)}): expected the roots of the lake with id and "
            "path; remove it, list every root in SMALLCAPS_LAKE_ROOTS and run `smallcaps reindex`"
        ) from error


def write_register(layout: LakeLayout, fs: FileSystem, register: RootRegister) -> None:
    """Replace the register; every process sees the old one or this one.

    The place of the lake is that of ``layout``, whatever the register said before.

    Raises:
        StorageError: The disk refuses; the old one stays.
    """
    placed = msgspec.structs.replace(register, lake=str(layout.place or ""))
    text = msgspec.json.format(msgspec.json.encode(placed), indent=1)
    fs.publish({layout.roots_file: text}, root=layout.data_dir)
