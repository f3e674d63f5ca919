"""Paths of the data folder: with the modules it is made of, all that knows where anything lies.

What belongs here: names of files and folders, and which root of several has a ticker-session.  What
does not: which roots there are (``lake.roots.markers``), and reading or writing; nothing here
changes the disk.
"""

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.paths.names import (
    RECEIPT_NAME,
    TRADES_NAME,
    month_folder,
)
from smallcaps_assets.lake.paths.root import LakeRoot, Tree


@dataclass(frozen=True, slots=True)
class LakeLayout:
    """Every path of a data folder and of the roots of its lake.

    Attributes:
        data_dir: The data folder, ``SMALLCAPS_DATA_DIR``.
        roots: Where ticker-sessions lie, the first that has one counts; ``home`` by default.
    """

    data_dir: Path
    roots: tuple[LakeRoot, ...] = ()

    def __post_init__(self) -> None:
        if not self.roots:
            object.__setattr__(self, "roots", (self.home,))

    @property
    def home(self) -> LakeRoot:
        """Return the root in the data folder, which every lake begins with."""
        return LakeRoot(self.lake_dir, self.quarantine_dir)

    @property
    def roots_file(self) -> Path:
        """Return the register of the roots.

        It lies outside the lake, so that a lake that is not mounted is missed.
        """
        return self.data_dir / "lake_roots.json"

    @property
    def lake_dir(self) -> Path:
        """Return the folder of ticks, receipts and the ledger."""
        return self.data_dir / "lake"

    @property
    def identity_file(self) -> Path:
        """Return the file that binds the lake to its source."""
        return self.lake_dir / "lake.json"

    @property
    def ledger_file(self) -> Path:
        """Return the index of the lake."""
        return self.lake_dir / "ledger.sqlite"

    @property
    def lock_file(self) -> Path:
        """Return the lock of the process that writes."""
        return self.lake_dir / "lake.lock"

    @property
    def staging_dir(self) -> Path:
        """Return the folder of session files under way at home."""
        return self.home.staging_dir

    @property
    def quarantine_dir(self) -> Path:
        """Return the folder of damaged files of home; other roots have their own."""
        return self.data_dir / "quarantine"

    def quarantine_folder(self, tree: Tree, ticker: str, session_date: dt.date) -> Path:
        """Return the folder of what was damaged of one ticker-session, a folder a time.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.find_root(ticker, session_date, tree).quarantine_folder(
            tree, ticker, session_date
        )

    @property
    def quarantine_dirs(self) -> list[Path]:
        """Return the folders of damaged files of all roots, and of home."""
        return list(dict.fromkeys(root.quarantine_dir for root in (self.home, *self.roots)))

    @property
    def daily_bars_dir(self) -> Path:
        """Return the folder of daily bars, a folder a month."""
        return self.data_dir / "reference" / "daily_bars"

    @property
    def splits_file(self) -> Path:
        """Return the file of splits."""
        return self.data_dir / "reference" / "splits.parquet"

    @property
    def universe_file(self) -> Path:
        """Return the file of listings."""
        return self.data_dir / "reference" / "universe.parquet"

    @property
    def universe_parts_dir(self) -> Path:
        """Return the folder of what an unfinished load of the universe has."""
        return self.data_dir / "reference" / "universe_parts"

    @property
    def watchlist_file(self) -> Path:
        """Return the published watchlist."""
        return self.data_dir / "events" / "watchlist.parquet"

    @property
    def pilot_watchlist_file(self) -> Path:
        """Return the published part of the watchlist that is downloaded."""
        return self.data_dir / "events" / "pilot_watchlist.parquet"

    @property
    def plan_file(self) -> Path:
        """Return the published plan."""
        return self.data_dir / "plan" / "plan.parquet"

    @property
    def plan_record_file(self) -> Path:
        """Return the facts of the published plan, its hash among them."""
        return self.data_dir / "plan" / "plan.json"

    @property
    def plan_candidate_file(self) -> Path:
        """Return the plan that was not judged yet."""
        return self.data_dir / "plan" / "candidate.parquet"

    @property
    def catalog_file(self) -> Path:
        """Return the DuckDB file of views."""
        return self.data_dir / "catalog.duckdb"

    @property
    def last_audit_file(self) -> Path:
        """Return the result of the last deep audit."""
        return self.data_dir / "audits" / "last.json"

    @property
    def reports_dir(self) -> Path:
        """Return the folder of reports."""
        return self.data_dir / "reports"

    def picture_file(self, name: str) -> Path:
        """Return the file of a picture of the plan."""
        return self.reports_dir / f"{name}.png"

    @property
    def report_file(self) -> Path:
        """Return the figures of the last report, JSON."""
        return self.reports_dir / "report.json"

    @property
    def report_page(self) -> Path:
        """Return the page of the last report, one HTML file that needs no other."""
        return self.reports_dir / "report.html"

    @property
    def profile_file(self) -> Path:
        """Return what reports remember of the times of trades; it can be made again."""
        return self.reports_dir / "intraday_trades.parquet"

    @property
    def estimates_file(self) -> Path:
        """Return the history of estimates."""
        return self.reports_dir / "estimates.jsonl"

    @property
    def dagster_dir(self) -> Path:
        """Return ``DAGSTER_HOME``."""
        return self.data_dir / "dagster"

    def tree_dir(self, tree: Tree) -> Path:
        """Return the folder of all ticker-sessions of ``tree`` at home."""
        return self.home.tree_dir(tree)

    def find_holder(
        self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES
    ) -> LakeRoot | None:
        """Return the root that has the receipt of a ticker-session; ``None``: none has.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        for root in self.roots:
            if os.path.lexists(root.receipt_file(ticker, session_date, tree)):
                return root
        return None

    def find_root(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> LakeRoot:
        """Return the root where a ticker-session lies, or would be looked for.

        With one root the disk is not touched.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        if len(self.roots) == 1:
            return self.roots[0]
        if holder := self.find_holder(ticker, session_date, tree):
            return holder
        folders = (root.session_dir(ticker, session_date, tree) for root in self.roots)
        found = (root for root, folder in zip(self.roots, folders, strict=True) if folder.is_dir())
        return next(found, self.roots[0])

    def root_of(self, path: Path) -> LakeRoot:
        """Return the root that a path lies below.

        Raises:
            DataError: It lies below none, or leads out of it.
        """
        if ".." not in path.parts:
            for root in self.roots:
                if path.is_relative_to(root.folder):
                    return root
        folders = ", ".join(str(root.folder) for root in self.roots)
        raise DataError(f"expected a path below {folders}, got {path}")

    def session_dir(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the folder of one ticker-session.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.find_root(ticker, session_date, tree).session_dir(ticker, session_date, tree)

    def trades_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the Parquet file of one ticker-session.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.session_dir(ticker, session_date, tree) / TRADES_NAME

    def receipt_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the receipt of one ticker-session, which lies beside its Parquet file.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.session_dir(ticker, session_date, tree) / RECEIPT_NAME

    def daily_bars_file(self, month: str) -> Path:
        """Return the daily bars of a month, given as ``YYYY-MM``.

        Raises:
            DataError: It is no month.
        """
        return self.daily_bars_dir / month_folder(month) / "daily_bars.parquet"

    def find_month(self, month: str) -> LakeRoot | None:
        """Return the root that has the manifest of a compacted month; ``None``: none has.

        Raises:
            DataError: It is no month.
        """
        holders = (root for root in self.roots if os.path.lexists(root.manifest_file(month)))
        return next(holders, None)

    def candidate_file(self, published: Path) -> Path:
        """Return where the version of ``published`` lies that was not judged yet."""
        return published.with_name(f"{published.stem}.candidate{published.suffix}")

    def temporary_dirs(self) -> Iterator[Path]:
        """Yield the folders in which a killed run may leave temporary files.

        Those of the months of daily bars, below ``daily_bars_dir``, come on top.
        """
        folders = [folder for root in self.roots for folder in (root.folder, root.staging_dir)]
        yield from dict.fromkeys((self.data_dir, self.lake_dir, *folders))
        files = (self.splits_file, self.watchlist_file, self.plan_file, self.last_audit_file)
        yield from (*(file.parent for file in files), self.universe_parts_dir, self.reports_dir)
