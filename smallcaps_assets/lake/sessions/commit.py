"""Ticker-sessions on the disk, each whole or not at all.

What belongs here: the order of operations that makes a session appear. What does not: what it must
be (``preparing``), paths (``lake.paths.layout``), single operations (``lake.storage.files``),
reading back (``lake.store``).

The rule: **a session exists when its receipt does.**  A data file without one is not data; the
next commit replaces it.  :func:`commit_sessions` keeps to this order, for the whole batch at once
and with everything before a step on the disk when the step begins:

1. new data files get written under temporary names; then the receipts to be replaced go;
2. data files get their names, or go where a session turned empty; new receipts get written
   under temporary names;
3. receipts get their names.

So whatever a kill or a power failure leaves, a receipt only ever lies beside the whole file that
it was written for.  A session that is being replaced is absent for a moment, never mixed: a
reader that had read the old receipt finds by its sha256 that the file is another one.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import Receipt, encode_receipt
from smallcaps_assets.lake.storage.files import (
    FileSystem,
    folders_below,
    refuse_links,
    temporary_path,
)


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """A ticker-session of another root, to be stored as it is.

    Attributes:
        receipt: Its receipt.
        receipt_text: The same, byte for byte.
        content: Its data file; empty when it has no trades.
        tree: Folders it belongs to.
    """

    receipt: Receipt
    receipt_text: bytes
    content: bytes
    tree: Tree


def commit_sessions(
    layout: LakeLayout,
    fs: FileSystem,
    batch: Sequence[PreparedSession],
    target: LakeRoot | None = None,
) -> list[Receipt]:
    """Store sessions, each whole or not at all; return their receipts.

    Args:
        layout: Paths of the lake.
        fs: The disk.
        batch: The sessions.
        target: Root of those that no root has yet; the first by default.

    Raises:
        DataError: A session occurs twice.
        StorageError: The disk refuses.  What has its receipt is stored, the rest is absent, and
            committing all of it again is safe.
    """
    committed_at = dt.datetime.now(dt.UTC)
    receipts = [msgspec.structs.replace(s.receipt, committed_at=committed_at) for s in batch]
    writes = []
    for session, receipt in zip(batch, receipts, strict=True):
        place = (receipt.ticker, receipt.session_date, session.tree)
        root = _choose_root(layout, target or layout.roots[0], place)
        writes.append(_Write.plan(root, place, session.content, encode_receipt(receipt)))
    if len({write.folder for write in writes}) < len(writes):
        keys = [receipt.key for receipt in receipts]
        raise DataError(f"expected each session once in a commit, got {keys}")
    _store(fs, writes)
    return receipts


def restate_sessions(layout: LakeLayout, fs: FileSystem, receipts: Sequence[Receipt]) -> None:
    """Put receipts in place of those of the same rows, each whole or not at all.

    The data files stay as they are, so a reader sees the old receipt or the new one.

    Raises:
        StorageError: The disk refuses; each session has its old receipt or its new one.
    """
    writes = []
    for receipt in receipts:
        place = (receipt.ticker, receipt.session_date, Tree.TRADES)
        writes.append(_Write.plan(layout.find_root(*place), place, b"", encode_receipt(receipt)))
    for root in dict.fromkeys(write.root for write in writes):
        fs.make_folders(root.staging_dir, root=root.folder)
    folders = list(dict.fromkeys(write.folder for write in writes))
    with fs.discarding([write.staged_receipt for write in writes]):
        for write in writes:
            refuse_links(write.folder, write.root.folder)
            fs.write_new(write.staged_receipt, write.receipt_text)
        fs.sync_group([write.staged_receipt for write in writes])
        _name_receipts(fs, writes, folders)


def commit_copies(root: LakeRoot, fs: FileSystem, copies: Sequence[SessionCopy]) -> None:
    """Store copies of sessions of other roots in one root, each whole or not at all.

    Raises:
        StorageError: The disk refuses; what has its receipt is stored, the rest is absent.
    """
    writes = []
    for copy in copies:
        place = (copy.receipt.ticker, copy.receipt.session_date, copy.tree)
        writes.append(_Write.plan(root, place, copy.content, copy.receipt_text))
    _store(fs, writes)


def _choose_root(
    layout: LakeLayout, target: LakeRoot, place: tuple[str, dt.date, Tree]
) -> LakeRoot:
    """Return where a session goes: a second copy elsewhere would be one too many."""
    return (layout.find_holder(*place) or target) if len(layout.roots) > 1 else target


@dataclass(frozen=True, slots=True)
class _Write:
    """The files of one session under way."""

    root: LakeRoot
    folder: Path
    content: bytes
    receipt_text: bytes
    staged_data: Path
    staged_receipt: Path

    @classmethod
    def plan(
        cls, root: LakeRoot, place: tuple[str, dt.date, Tree], content: bytes, receipt_text: bytes
    ) -> Self:
        return cls(
            root=root,
            folder=root.session_dir(*place),
            content=content,
            receipt_text=receipt_text,
            staged_data=temporary_path(root.staging_dir),
            staged_receipt=temporary_path(root.staging_dir),
        )

    @property
    def temporaries(self) -> tuple[Path, Path]:
        return self.staged_data, self.staged_receipt

    @property
    def data_file(self) -> Path:
        return self.folder / TRADES_NAME

    @property
    def receipt_file(self) -> Path:
        return self.folder / RECEIPT_NAME


def _store(fs: FileSystem, writes: Sequence[_Write]) -> None:
    """Make the files of all sessions appear, in the order that the module promises."""
    lasting: list[Path] = []
    for root in dict.fromkeys(write.root for write in writes):
        folders = dict.fromkeys(write.folder for write in writes if write.root == root)
        for folder in (root.staging_dir, *folders):
            refuse_links(folder, root.folder)
            fs.make_folders(folder, root=root.folder)
        lasting += folders_below(folders, root.folder)
    with fs.discarding([path for write in writes for path in write.temporaries]):
        _write_data(fs, writes, lasting)
        _name_data(fs, writes, lasting)
        _name_receipts(fs, writes, lasting)


def _write_data(fs: FileSystem, writes: Sequence[_Write], lasting: Sequence[Path]) -> None:
    """Write the data; only then, when the disk had room for it, let the old receipts go."""
    staged = [write.staged_data for write in writes if write.content]
    for write in writes:
        if write.content:
            fs.write_new(write.staged_data, write.content)
    for write in writes:
        if fs.is_file(write.receipt_file):
            fs.remove(write.receipt_file)
    fs.sync_group([*staged, *lasting])


def _name_data(fs: FileSystem, writes: Sequence[_Write], lasting: Sequence[Path]) -> None:
    for write in writes:
        if write.content:
            fs.rename(write.staged_data, write.data_file)
        elif fs.is_file(write.data_file):
            fs.remove(write.data_file)
    for write in writes:
        fs.write_new(write.staged_receipt, write.receipt_text)
    fs.sync_group([*(write.staged_receipt for write in writes), *lasting])


def _name_receipts(fs: FileSystem, writes: Sequence[_Write], lasting: Sequence[Path]) -> None:
    for write in writes:
        fs.rename(write.staged_receipt, write.receipt_file)
    fs.sync_group(lasting)
