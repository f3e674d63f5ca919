"""Which files hold the trades that are proven, or imported without proof, as readers must know.

What belongs here: the list of files by the ledger, never by what lies in folders: a file without
a receipt is not there.  What does not: what readers make of it (``catalog``, ``reader``,
``lake.interchange.export``).
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import TRADES_NAME, date_folder, ticker_folder
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.storage.files import FileSystem


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One proven file of trades.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        bytes: Its size by the receipt.
        path: Where it lies, or would.
        is_found: A root has its folder; one behind a link is none.
    """

    ticker: str
    session_date: dt.date
    bytes: int
    path: Path
    is_found: bool = True

    def is_there(self, fs: FileSystem) -> bool:
        """Tell whether a file of that size lies there and can be seen; a link does not count."""
        try:
            return self.is_found and fs.size(self.path) == self.bytes
        except StorageError:
            return False


class SessionFinder:
    """Finds the folders of many ticker-sessions of one tree, ticker by ticker.

    One listing per ticker and root tells which root has a session; where two have its folder, the
    receipt decides.
    """

    def __init__(self, layout: LakeLayout, fs: FileSystem, tree: Tree = Tree.TRADES) -> None:
        """Bind the finder to a lake; nothing is read yet."""
        self._layout = layout
        self._fs = fs
        self._tree = tree
        self._ticker = ""
        self._listings: list[tuple[Path, frozenset[str]]] = []

    def find(self, ticker: str, session_date: dt.date) -> Path | None:
        """Find the folder of a ticker-session; ``None``: no root has one.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        if ticker != self._ticker:
            name = ticker_folder(ticker)
            folders = [root.tree_dir(self._tree) / name for root in self._layout.roots]
            self._listings = [(folder, self._list(folder)) for folder in folders]
            self._ticker = ticker
        name = date_folder(session_date)
        found = [folder for folder, names in self._listings if name in names]
        if len(found) > 1:
            return self._layout.session_dir(ticker, session_date, self._tree)
        return found[0] / name if found else None

    def _list(self, folder: Path) -> frozenset[str]:
        """List the names of the folders of a ticker in one root; links do not count."""
        try:
            if self._fs.is_link(folder) or self._fs.is_link(folder.parent):
                return frozenset()
            return frozenset(e.name for e in self._fs.list_folder(folder) if e.is_folder)
        except StorageError:
            return frozenset()


def list_stored_files(
    layout: LakeLayout,
    fs: FileSystem,
    ledger: LedgerReader,
    tickers: Iterable[str] | None = None,
    first: dt.date | None = None,
    last: dt.date | None = None,
) -> list[StoredFile]:
    """List the files of proven sessions that have trades, by ticker and session.

    Tickers and sessions are selected as by ``LedgerReader.missing_keys``.
    """
    return locate_files(layout, fs, ledger.stored_sessions(tickers, first, last), Tree.TRADES)


def list_imported_files(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader
) -> list[StoredFile]:
    """List the files of imported sessions that nothing proves, by ticker and session."""
    return locate_files(layout, fs, ledger.unproven_sessions(), Tree.IMPORTED)


def locate_files(
    layout: LakeLayout, fs: FileSystem, sessions: pl.DataFrame, tree: Tree
) -> list[StoredFile]:
    """Locate the files of those sessions that have rows; they come by ticker, with their bytes."""
    stored = sessions.filter(pl.col("rows") > 0)
    finder = SessionFinder(layout, fs, tree)
    files = []
    for ticker, session_date, size in stored.select("ticker", "session_date", "bytes").rows():
        folder = finder.find(ticker, session_date)
        expected = folder or layout.roots[0].session_dir(ticker, session_date, tree)
        path = expected / TRADES_NAME
        files.append(StoredFile(ticker, session_date, size, path, is_found=folder is not None))
    return files
