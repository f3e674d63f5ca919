"""From which files each trade of a lake of format 1 is read: compacted months, and landing files.

What belongs here: the choice between the two for every session, by the ledger and the manifests.
What does not: what readers make of it (``reader``, ``catalog``), single sessions
(``lake.months.sessions``), lakes of segments (``segment_sources``).

A session is read from its month if the index lists it with the very content that the ledger
calls proven, and from its landing file otherwise.  So a session that was replaced, moved to
quarantine or planned later than its month was compacted is never there twice and never missing,
whatever the month still holds of it.
"""

import logging
from collections.abc import Iterator

import polars as pl

from smallcaps_assets.errors import DataError, LakeError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.store import CompactedMonth, MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.landing_files import (
    StoredFile,
    list_stored_files,
    locate_files,
)
from smallcaps_assets.lake.reading.sources import KEY, PartFile, Selection, TradesSources
from smallcaps_assets.lake.sessions.damages import SessionFolder, walk_lake
from smallcaps_assets.lake.sessions.receipts import parse_receipt
from smallcaps_assets.lake.storage.files import FileSystem

logger = logging.getLogger(__name__)

_CONTENT = (*KEY, "content_hash")


def locate_proven(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader, selection: Selection
) -> TradesSources:
    """Locate the files that the proven trades asked for are read from.

    A month that is damaged, or a file of it that is gone, counts as not compacted: its sessions
    are looked for among the landing files.

    Raises:
        LakeError: The ledger is damaged.
    """
    store = MonthStore(layout, fs)
    names = store.list_months(selection.first, selection.last)
    if not names:
        asked = (selection.tickers, selection.first, selection.last)
        return TradesSources(files=list_stored_files(layout, fs, ledger, *asked))
    stored = ledger.stored_contents(selection.tickers, selection.first, selection.last)
    parts, months, held = [], [], [stored.select(KEY).clear()]
    for name in names:
        opened = _open_month(store, name)
        if opened is None:
            continue
        month, index = opened
        months.append(month)
        for part in _cut_parts(fs, month, selection.select(index), stored):
            parts.append(part)
            held.append(part.wanted)
    rest = stored.join(pl.concat(held), on=KEY, how="anti", maintain_order="left")
    return TradesSources(parts, locate_files(layout, fs, rest, Tree.TRADES), months)


def locate_off_session(layout: LakeLayout, fs: FileSystem, selection: Selection) -> TradesSources:
    """Locate the prints on dates that are no session, by receipts: the ledger knows none of them.

    Raises:
        LedgerMismatchError: A receipt is damaged.
        StorageError: The disk refuses.
    """
    folders = (
        folder
        for folder in walk_lake(layout, fs, Tree.OFF_SESSION)
        if isinstance(folder, SessionFolder)
        and folder.has_receipt
        and selection.has(folder.ticker, folder.session_date)
    )
    return TradesSources(files=[_describe_file(fs, folder) for folder in folders])


def _describe_file(fs: FileSystem, folder: SessionFolder) -> StoredFile:
    where = folder.path / RECEIPT_NAME
    receipt = parse_receipt(fs.read(where), where=str(where))
    key = (folder.ticker, folder.session_date)
    return StoredFile(*key, receipt.bytes, folder.path / TRADES_NAME)


def _open_month(store: MonthStore, name: str) -> tuple[CompactedMonth, pl.DataFrame] | None:
    """Open a month and read its sessions; ``None``: it cannot be read."""
    try:
        month = store.find(name)
        return None if month is None else (month, store.read_index(month))
    except (DataError, LakeError) as error:
        logger.warning("month not read month=%s error=%s", name, error)
        return None


def _cut_parts(
    fs: FileSystem, month: CompactedMonth, index: pl.DataFrame, stored: pl.DataFrame
) -> Iterator[PartFile]:
    """Yield the files of a month that have sessions to read."""
    proven = stored.select(_CONTENT)
    for part in month.manifest.parts:
        path = month.folder / part.name
        if fs.size(path) != part.bytes:
            logger.warning("month lacks a file path=%s", path)
            continue
        listed = index.filter(pl.col("part") == part.name).select(_CONTENT)
        wanted = listed.join(proven, on=_CONTENT, how="semi", maintain_order="left").select(KEY)
        if wanted.height:
            yield PartFile(path, part.bytes, wanted, is_whole=wanted.height == listed.height)
