"""The register of a data folder: which lake it has, and in which folder that lies.

What belongs here: its text, and the file that is replaced by one rename.  What does not: whether
the lake is there (``place``).
"""

from typing import Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem

HOME: Final = "lake"
"""Path of the entry that has the id of the lake."""


class RootEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The id of the lake, or another folder that a lake of receipts lies in.

    Attributes:
        id: Id of the lake; of another folder that of the folder.
        path: :data:`HOME`; of another folder where it is mounted.
    """

    id: str
    path: str


class RootRegister(msgspec.Struct, frozen=True, kw_only=True):
    """A lake and its place.

    Attributes:
        roots: The entry of the lake; of one of receipts those of its other folders too.
        lake: Folder of the lake; empty: ``lake`` in the data folder.
        leaving: Folder that the lake was moved from and that is still being emptied; empty: none.
    """

    roots: tuple[RootEntry, ...]
    lake: str = ""
    leaving: str = ""

    @property
    def lake_id(self) -> str:
        """The id of the lake; empty: it has none."""
        return next((entry.id for entry in self.roots if entry.path == HOME), "")


def home_entry(lake_id: str) -> RootEntry:
    """Make the entry of a lake."""
    return RootEntry(id=lake_id, path=HOME)


def read_register(layout: LakeLayout, fs: FileSystem) -> RootRegister | None:
    """Read the register; ``None`` where there is none.

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
            f"{path} is damaged ({name_fault(error)}): expected the id of the lake, and its "
            "folder; remove it and run `smallcaps reindex`, with SMALLCAPS_LAKE set to the folder "
            f"of the lake unless that is {layout.index_dir}"
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
