"""Copies of the ticker-sessions of some roots in another root, made and proven.

What belongs here: which copies are still to be made, making them, reading them back.  What does
not: what the copies are for (``switch``), and removing what was copied (``removal``).

A copy is two files, byte for byte; one, where a month file is the only home of the rows (see
``month_copies``).  What an earlier call copied is known by its receipt and the
size of its file, however that call ended; the proof reads every byte.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smallcaps_assets.core.budget.calibration import SESSION_BYTES
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.errors import (
    DataError,
    LakeError,
    LedgerMismatchError,
    MissingPartitionError,
    StorageError,
)
from smallcaps_assets.lake.months.sessions import MonthSessions
from smallcaps_assets.lake.months.store import MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.lake.relocation.month_copies import MonthCopies
from smallcaps_assets.lake.sessions.commit import SessionCopy, commit_copies
from smallcaps_assets.lake.sessions.damages import SessionFolder, walk_lake, walk_sessions
from smallcaps_assets.lake.sessions.receipts import parse_receipt
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.storage.files import FileSystem, refuse_links

GROUP_FILES: Final = 200
GROUP_BYTES: Final = 64 * 1024**2
"""Sessions and bytes from which on what was gathered is written by one sync."""

SHOWN: Final = 3
"""Sessions that a message names."""

_DAMAGES: Final = (DataError, LedgerMismatchError, MissingPartitionError)

Watcher = Callable[[str, int], None]
"""Told after each session: what was done to it, and its bytes."""


def ignore_progress(_what: str, _size: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class CopySize:
    """How much there is to copy.

    Attributes:
        sessions: Ticker-sessions of the sources, those without trades and off-session prints too.
        bytes: Their data files, and files of compacted months.
        needed_bytes: What the copies still to be made will take on the target's disk.
    """

    sessions: int
    bytes: int
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class SessionCopies:
    """The sessions of some roots of a lake, and their copies in another root.

    Attributes:
        layout: Paths of the lake with all its roots.
        fs: The disks.
        sources: Those of its roots whose sessions are copied.
        target: Root of the copies, one of the lake or none yet.
    """

    layout: LakeLayout
    fs: FileSystem
    sources: tuple[LakeRoot, ...]
    target: LakeRoot

    @property
    def months(self) -> MonthCopies:
        """Return the compacted months of the sources, and their copies."""
        return MonthCopies(self.layout, self.fs, self.sources, self.target)

    def measure(self) -> CopySize:
        """Return how much there is to copy; only sizes are looked at.

        Raises:
            LakeError: A compacted month is damaged.
        """
        size, needed = self.months.measure()
        sessions = 0
        for tree, folder in self._walk():
            data = self.fs.size(folder.path / TRADES_NAME)
            copy = self._place(tree, folder)
            sessions, size = sessions + 1, size + data
            is_copied = self.fs.size(copy / TRADES_NAME) == data
            if not is_copied or not self.fs.size(copy / RECEIPT_NAME):
                needed += data + SESSION_BYTES
        return CopySize(sessions, size, needed)

    def make(self, progress: Watcher = ignore_progress) -> None:
        """Copy every session that the target has not got yet.

        Raises:
            LakeError: Sessions are damaged, which the message names; all others were copied.
            StorageError: A disk refuses; what was copied stays, and the next call continues.
        """
        group: list[SessionCopy] = []
        damages = self.months.make(lambda size: progress("copied", size))
        held = MonthSessions(MonthStore(self.layout, self.fs))
        for tree, folder in self._walk():
            try:
                copy = self._read(tree, folder, held)
            except (*_DAMAGES, StorageError) as error:
                if isinstance(error, StorageError) and not is_broken(error):
                    raise
                damages.append(f"{folder.key}: {error}")
                continue
            if not self._is_made(copy, self._place(tree, folder)):
                group.append(copy)
            if len(group) >= GROUP_FILES or sum(len(c.content) for c in group) >= GROUP_BYTES:
                commit_copies(self.target, self.fs, group)
                group = []
            progress("copied", len(copy.content))
        if group:
            commit_copies(self.target, self.fs, group)
        refuse_damages(damages, "session")

    def prove(self, progress: Watcher = ignore_progress) -> None:
        """Read every copy back from its disk, and compare it with its receipt and its source.

        Raises:
            LakeError: Copies are wrong; they were removed, and the next call makes them again.
            StorageError: A disk refuses.
        """
        wrong = self.months.remove_wrong(lambda size: progress("verified", size))
        for tree, folder in self._walk():
            place = self._place(tree, folder)
            refuse_links(place, self.target.folder)
            text = self.fs.read(folder.path / RECEIPT_NAME)
            if is_copy_whole(self.fs, text, place, has_file=TRADES_NAME in folder.names):
                progress("verified", self.fs.size(place / TRADES_NAME))
                continue
            wrong.append(place)
            remove_session(self.fs, place)
        refuse_wrong(wrong)

    def remove_outdated(self) -> None:
        """Remove copies of sessions that the lake has no more, which an earlier call made.

        Raises:
            StorageError: The disk refuses.
        """
        self.months.remove_outdated()
        for tree in Tree:
            for found in walk_sessions(self.fs, self.target.tree_dir(tree)):
                if isinstance(found, SessionFolder):
                    holder = self.layout.find_holder(found.ticker, found.session_date, tree)
                    if holder is None:
                        remove_session(self.fs, found.path)

    def _walk(self) -> Iterator[tuple[Tree, SessionFolder]]:
        """Yield the sessions of the sources that count."""
        for tree in Tree:
            for found in walk_lake(self.layout, self.fs, tree):
                if not isinstance(found, SessionFolder) or not found.has_receipt:
                    continue
                if self.layout.root_of(found.path) in self.sources:
                    yield tree, found

    def _place(self, tree: Tree, folder: SessionFolder) -> Path:
        return self.target.session_dir(folder.ticker, folder.session_date, tree)

    def _read(self, tree: Tree, folder: SessionFolder, months: MonthSessions) -> SessionCopy:
        """Read a session of a source, and prove that it is whole, or that its month has it.

        Raises:
            DataError: The file is not that of its receipt.
            LakeError: The receipt is damaged or another session's, or a file is gone.
        """
        path = folder.path / RECEIPT_NAME
        text = self.fs.read(path)
        receipt = parse_receipt(text, where=str(path))
        if (receipt.ticker, receipt.session_date) != (folder.ticker, folder.session_date):
            raise LedgerMismatchError(f"receipt {path} is that of {receipt.key}")
        if TRADES_NAME in folder.links:
            raise DataError(f"{folder.path / TRADES_NAME} is a link")
        if receipt.rows and TRADES_NAME not in folder.names and tree is Tree.TRADES:
            found = months.find_damages(receipt, deep=False)
            if found == []:
                return SessionCopy(receipt, text, b"", tree)
        content = self.fs.read(folder.path / TRADES_NAME) if receipt.rows else b""
        if receipt.rows and hashlib.sha256(content).hexdigest() != receipt.sha256:
            raise DataError(f"{folder.path / TRADES_NAME} is not the file of its receipt")
        return SessionCopy(receipt, text, content, tree)

    def _is_made(self, copy: SessionCopy, place: Path) -> bool:
        """Return whether an earlier call made a copy, as far as it can be told without reading."""
        if self.fs.size(place / TRADES_NAME) != len(copy.content):
            return False
        path = place / RECEIPT_NAME
        return self.fs.size(path) > 0 and self.fs.read(path) == copy.receipt_text


def refuse_damages(damages: Sequence[str], noun: str) -> None:
    """Refuse to move what is damaged; everything else was copied.

    Args:
        damages: What is wrong, in words.
        noun: What each of them is.

    Raises:
        LakeError: There is any.
    """
    if damages:
        raise LakeError(
            f"{format_count(len(damages), noun)} damaged, and not to be moved, first "
            f"{'; '.join(damages[:SHOWN])}.  The lake is where it was: run `smallcaps repair`, "
            "then the same command again"
        )


def refuse_wrong(wrong: Sequence[Path]) -> None:
    """Refuse copies that are not what was written, and that were removed.

    Raises:
        LakeError: There is any.
    """
    if wrong:
        raise LakeError(
            f"{len(wrong)} copies are not what was written, first {wrong[0]}: check the disk, or "
            "choose another.  The lake is where it was"
        )


def is_copy_whole(
    fs: FileSystem,
    expected_receipt: bytes,
    place: Path,
    *,
    reads_file: bool = True,
    needs_receipt: bool = True,
    has_file: bool = True,
) -> bool:
    """Return whether a folder has a session with this very receipt and its whole data file.

    Args:
        fs: The disk.
        expected_receipt: The receipt, byte for byte, and not a damaged one.
        place: The folder.
        reads_file: Compare the file's hash; otherwise its size alone.
        needs_receipt: The receipt has to lie beside it.
        has_file: The original has a data file; else a month file has its rows, or it has none.

    Raises:
        LedgerMismatchError: The receipt is damaged.
        StorageError: The disk refuses.
    """
    receipt = parse_receipt(expected_receipt, where=str(place))
    path = place / TRADES_NAME
    if fs.size(path) != (receipt.bytes if has_file else 0):
        return False
    try:
        if needs_receipt and fs.read_back(place / RECEIPT_NAME) != expected_receipt:
            return False
        if not has_file or not receipt.rows or not reads_file:
            return True
        return hashlib.sha256(fs.read_back(path)).hexdigest() == receipt.sha256
    except MissingPartitionError:
        return False


def remove_session(fs: FileSystem, folder: Path) -> None:
    """Remove the files of a ticker-session, its receipt first, and its folder if it is empty.

    Raises:
        StorageError: The disk refuses.
    """
    for name in (RECEIPT_NAME, TRADES_NAME):
        fs.remove(folder / name)
    fs.remove_folder(folder)
