"""Removing what month files replaced: older month files and, by a setting, landing files.

What belongs here: what may go, and when.  What does not: writing months (``months``).

Whatever goes was replaced in a catalog that has been published since: a run of the compaction
removes what *earlier* runs replaced, before it writes anything.  A reader that opened the catalog
of before has had until then.  Receipts are never removed.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from smallcaps_assets.errors import DataError, LakeError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.store import CompactedMonth
from smallcaps_assets.lake.paths.names import TRADES_NAME
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.catalog import read_catalog_months
from smallcaps_assets.lake.reading.landing_files import SessionFinder
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.store import LakeStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemovalFacts:
    """What was removed.

    Attributes:
        month_files: Files of months that no manifest and no catalog names any more.
        landing_files: Landing files whose sessions are in month files.
        landing_bytes: Their size.
    """

    month_files: int = 0
    landing_files: int = 0
    landing_bytes: int = 0


def remove_replaced(
    ledger: LedgerReader, store: LakeStore, *, removes_landing: bool
) -> RemovalFacts:
    """Remove what earlier runs replaced; the caller holds the lock of the lake.

    Raises:
        StorageError: The disk refuses; the next call continues.
    """
    catalog = read_catalog_months(store.layout, store.fs)
    if catalog is None:
        return RemovalFacts()
    months = store.months
    removed, landing = 0, []
    for name in sorted({folder.name.removeprefix("month=") for folder in months.list_folders()}):
        try:
            month = months.find(name)
        except (DataError, LakeError) as error:
            logger.warning("month not read month=%s error=%s", name, error)
            continue
        present = month.manifest.sha256 if month else None
        if catalog.get(name, present) != present:
            continue  # The catalog still reads the files of the older manifest.
        removed += len(months.remove_unnamed(name))
        if month and name in catalog and removes_landing:
            landing += _remove_landing(ledger, store, month)
    return RemovalFacts(removed, len(landing), sum(landing))


def _remove_landing(ledger: LedgerReader, store: LakeStore, month: CompactedMonth) -> list[int]:
    """Remove the landing files of a month, after reading the month files back; return sizes."""
    index = store.months.read_index(month)
    if index.is_empty():
        return []
    dates = index["session_date"].sort()
    stored = ledger.stored_contents(None, dates[0], dates[-1])
    on = ["ticker", "session_date", "content_hash"]
    kept = index.join(stored, on=on, how="semi", maintain_order="left")
    files = _find_landing(store, kept)
    if not files or not _is_proven(store.fs, month):
        return []
    sizes = [path.stat().st_size for path in files]
    for path in files:
        store.fs.remove(path)
    logger.info("landing files removed month=%s files=%d", month.name, len(files))
    return sizes


def _find_landing(store: LakeStore, sessions: pl.DataFrame) -> list[Path]:
    finder = SessionFinder(store.layout, store.fs, Tree.TRADES)
    folders = (finder.find(*key) for key in sessions.select("ticker", "session_date").rows())
    files = (folder / TRADES_NAME for folder in folders if folder is not None)
    return [path for path in files if path.is_file() and not path.is_symlink()]


def _is_proven(fs: FileSystem, month: CompactedMonth) -> bool:
    """Return whether every file of a month has its hash now: it is to be the only copy."""
    for file in month.manifest.files:
        content = fs.read(month.folder / file.name)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            logger.warning("month damaged, landing kept month=%s file=%s", month.name, file.name)
            return False
    return True
