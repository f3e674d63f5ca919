"""Paths of one root: the ticker-sessions of a lake that lie on one disk.

What belongs here: what lies below a root. What does not: which roots a lake has
(``lake.roots.markers``), and paths of the data folder (``layout``).
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from smallcaps_assets.lake.paths.names import (
    MANIFEST_NAME,
    RECEIPT_NAME,
    TRADES_NAME,
    date_folder,
    month_folder,
    ticker_folder,
)


class Tree(StrEnum):
    """The folders of ticker-sessions below a root."""

    TRADES = "trades"
    OFF_SESSION = "off_session_trades"
    IMPORTED = "imported_trades"


@dataclass(frozen=True, slots=True)
class LakeRoot:
    """The folder of the ticker-sessions on one disk.

    A ticker that cannot become a folder name, or a month that is none, is a ``DataError``.

    Attributes:
        folder: The folder.
        quarantine_dir: Where its damaged files go, in the same file system.
    """

    folder: Path
    quarantine_dir: Path

    @property
    def revisions_dir(self) -> Path:
        """The folder of answers that others took the place of, in the same file system."""
        return self.quarantine_dir.with_name("revisions")

    def revision_folder(self, ticker: str, session_date: dt.date, name: str) -> Path:
        """Name the folder of one replaced answer of a ticker-session."""
        return self.revisions_dir / ticker_folder(ticker) / date_folder(session_date) / name

    @property
    def marker_file(self) -> Path:
        """The file that says which root of which lake this is; home has ``lake.json``."""
        return self.folder / "root.json"

    @property
    def staging_dir(self) -> Path:
        """The folder of session files under way.

        It lies in the root, hence in its file system, and is one folder so that what a dead
        run left is found without walking a million others.
        """
        return self.folder / ".staging"

    def tree_dir(self, tree: Tree) -> Path:
        """Name the folder of all ticker-sessions of ``tree``."""
        return self.folder / tree.value

    def session_dir(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Name the folder of one ticker-session."""
        return self.tree_dir(tree) / ticker_folder(ticker) / date_folder(session_date)

    def trades_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Name the Parquet file of one ticker-session."""
        return self.session_dir(ticker, session_date, tree) / TRADES_NAME

    def receipt_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Name the receipt of one ticker-session, which lies beside its Parquet file."""
        return self.session_dir(ticker, session_date, tree) / RECEIPT_NAME

    @property
    def compacted_dir(self) -> Path:
        """The folder of the month files of this root, a folder a month."""
        return self.folder / "compacted_trades"

    def month_dir(self, month: str) -> Path:
        """Name the folder of a compacted month, given as ``YYYY-MM``."""
        return self.compacted_dir / month_folder(month)

    def manifest_file(self, month: str) -> Path:
        """Name the file that lists what belongs to a compacted month."""
        return self.month_dir(month) / MANIFEST_NAME

    def month_quarantine_folder(self, month: str) -> Path:
        """Name the folder of what was damaged of a compacted month, a folder a time."""
        return self.quarantine_dir / self.compacted_dir.name / month_folder(month)

    def quarantine_folder(self, tree: Tree, ticker: str, session_date: dt.date) -> Path:
        """Name the folder of what was damaged of one ticker-session, a folder a time."""
        folder = self.quarantine_dir / tree.value / ticker_folder(ticker)
        return folder / date_folder(session_date)
