"""Where a lake of receipts has what it holds: its roots, and folders of ticker-sessions in them.

What belongs here: names, the register of roots, and walking folders.  What does not: what the files
say (``old_lake``, ``old_months``).
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.core.keys import check_ticker
from smallcaps_assets.errors import (
    DataError,
    LedgerMismatchError,
    MissingPartitionError,
    StorageError,
)
from smallcaps_assets.lake.home.register import HOME
from smallcaps_assets.lake.paths.names import find_date, month_folder, parse_ticker_folder
from smallcaps_assets.lake.storage.files import FileSystem, refuse_links

MANIFEST_NAME: Final = "manifest.json"
REGISTER_NAME: Final = "lake_roots.json"

Document = TypeVar("Document", bound=msgspec.Struct)


class Kind(StrEnum):
    """What is held: three trees of a root, replaced answers, and what only the ledger knows."""

    TRADES = "trades"
    OFF_SESSION = "off_session_trades"
    IMPORTED = "imported_trades"
    REVISIONS = "revisions"
    LEDGER = "ledger"


TREES: Final = (Kind.TRADES, Kind.OFF_SESSION, Kind.IMPORTED)


@dataclass(frozen=True, slots=True)
class OldRoot:
    """The folder of the ticker-sessions on one disk.

    Attributes:
        folder: The folder.
        quarantine_dir: Where its damaged files went.
    """

    folder: Path
    quarantine_dir: Path

    @property
    def revisions_dir(self) -> Path:
        """The folder of answers that others took the place of."""
        return self.quarantine_dir.with_name(Kind.REVISIONS.value)

    def month_dir(self, month: str) -> Path:
        """Name the folder of the files of a compacted month, given as ``YYYY-MM``."""
        return self.folder / "compacted_trades" / month_folder(month)


class RootEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A root as the register has it: ``active`` with sessions, ``leaving`` or ``retired`` else."""

    id: str
    path: str
    state: str = "active"


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """The register of roots; the first that has a session counts."""

    roots: tuple[RootEntry, ...]


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What ``root.json`` of a root says that is not the folder of the lake."""

    id: str


class SessionFolder(NamedTuple):
    """A folder of one ticker-session, as found on the disk.

    Attributes:
        path: The folder.
        ticker: Vendor's symbol, by the name of the folder above.
        session_date: New York date, by its name.
        names: Names of what lies in it, links left out.
    """

    path: Path
    ticker: str
    session_date: dt.date
    names: frozenset[str]


def find_roots(home: OldRoot, fs: FileSystem) -> list[OldRoot]:
    """Find the roots that have sessions, each by its marker.

    Args:
        home: The folder of the lake, with its register if it has one.
        fs: The disks.

    Raises:
        LedgerMismatchError: The register or a marker is damaged.
        StorageError: A root is not mounted.
    """
    try:
        register = _read(home.folder / REGISTER_NAME, Register, fs)
    except MissingPartitionError:
        return [home]
    entries = [entry for entry in register.roots if entry.state == "active"]
    return [home if entry.path == HOME else _locate(entry, fs) for entry in entries]


def walk_sessions(
    fs: FileSystem, folder: Path, root: Path, strays: list[Path]
) -> Iterator[SessionFolder]:
    """Yield every folder of a ticker-session in order of names; links are not followed.

    Args:
        fs: The disk.
        folder: A tree of ticker-sessions.
        root: Folder above, below which ``folder`` must not be a link.
        strays: Takes what is no folder of a ticker-session.

    Raises:
        StorageError: The tree is a link, or the disk refuses.
    """
    refuse_links(folder, root)
    for above in fs.list_folder(folder):
        path = folder / above.name
        ticker = _parse_ticker(above.name)
        if ticker is None or above.is_link:
            strays.append(path)
            continue
        for entry in fs.list_folder(path):
            session_date = find_date(entry.name)
            if session_date is None or not entry.is_folder:
                strays.append(path / entry.name)
                continue
            files = fs.list_folder(path / entry.name)
            names = frozenset(file.name for file in files if not file.is_link)
            yield SessionFolder(path / entry.name, ticker, session_date, names)


def _locate(entry: RootEntry, fs: FileSystem) -> OldRoot:
    folder = Path(entry.path)
    try:
        found = _read(folder / "root.json", Marker, fs).id
    except MissingPartitionError:
        found = ""
    if found != entry.id:
        raise StorageError(
            f"expected the root {folder} of the lake, with id {entry.id}, found "
            f"{found or 'none'}: mount its disk and run the same command again; what was taken "
            "over so far stays"
        )
    return OldRoot(folder, folder / "quarantine")


def _read(path: Path, document: type[Document], fs: FileSystem) -> Document:
    try:
        return decode_json(fs.read(path), document)
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{path} is damaged ({name_fault(error)}): expected JSON with an id; restore it from a "
            "copy"
        ) from error


def _parse_ticker(name: str) -> str | None:
    try:
        return check_ticker(parse_ticker_folder(name))
    except DataError:
        return None
