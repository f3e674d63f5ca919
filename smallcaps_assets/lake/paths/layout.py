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
    check_month,
    month_folder,
)
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.schemas_research import RESEARCH_TABLES


class _Below:
    """A path below the data folder."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, layout: "LakeLayout", kind: object = None) -> Path:
        return layout.data_dir.joinpath(*self._parts)


@dataclass(frozen=True, slots=True)
class LakeLayout:
    """Every path of a data folder and of the roots of its lake.

    A ticker that cannot become a folder name, or a month that is none, is a ``DataError``.

    Attributes:
        data_dir: The data folder, ``SMALLCAPS_DATA_DIR``.
        roots: Where ticker-sessions lie, the first that has one counts; ``home`` by default.
        place: Folder of the lake where it is not ``lake`` in the data folder.
    """

    data_dir: Path
    roots: tuple[LakeRoot, ...] = ()
    place: Path | None = None

    roots_file = _Below("lake_roots.json")
    """The register of the roots, and of the place of the lake.

    It lies outside the lake, so that a lake that is not mounted is missed.
    """
    index_dir = _Below("lake")
    """The folder of the ledger and the lock, and of the lake unless that lies elsewhere."""
    ledger_file = _Below("lake", "ledger.sqlite")
    """The index of the lake."""
    lock_file = _Below("lake", "lake.lock")
    """The lock of those that write."""
    quarantine_dir = _Below("quarantine")
    """The folder of damaged files of home; other roots have their own."""
    daily_bars_dir = _Below("reference", "daily_bars")
    """The folder of daily bars, a folder a month."""
    splits_file = _Below("reference", "splits.parquet")
    """The file of splits."""
    universe_file = _Below("reference", "universe.parquet")
    """The file of listings."""
    universe_parts_dir = _Below("reference", "universe_parts")
    """The folder of what an unfinished load of the universe has."""
    watchlist_file = _Below("events", "watchlist.parquet")
    """The published watchlist."""
    pilot_watchlist_file = _Below("events", "pilot_watchlist.parquet")
    """The published part of the watchlist that is downloaded."""
    plan_file = _Below("plan", "plan.parquet")
    """The published plan."""
    plan_record_file = _Below("plan", "plan.json")
    """The facts of the published plan, its hash among them."""
    plan_candidate_file = _Below("plan", "candidate.parquet")
    """The plan that was not judged yet."""
    plan_lock_file = _Below("plan", "plan.lock")
    """The lock of who publishes or registers a plan."""
    research_dir = _Below("research")
    """The folder of what is made of the lake, and can be made again."""
    catalog_file = _Below("catalog.duckdb")
    """The DuckDB file of views."""
    catalog_lock_file = _Below("catalog.lock")
    """The lock of who builds the catalog."""
    last_audit_file = _Below("audits", "last.json")
    """The result of the last deep audit."""
    reports_dir = _Below("reports")
    """The folder of reports."""
    report_file = _Below("reports", "report.json")
    """The figures of the last report, JSON."""
    report_page = _Below("reports", "report.html")
    """The page of the last report, one HTML file that needs no other."""
    profile_file = _Below("reports", "intraday_trades.parquet")
    """What reports remember of the times of trades; it can be made again."""
    estimates_file = _Below("reports", "estimates.jsonl")
    """The history of estimates."""
    dagster_dir = _Below("dagster")
    """``DAGSTER_HOME``."""

    def __post_init__(self) -> None:
        if not self.roots:
            object.__setattr__(self, "roots", (self.home,))

    @property
    def lake_dir(self) -> Path:
        """The folder of the lake: ``lake.json`` and what it was asked for."""
        return self.place or self.index_dir

    @property
    def identity_file(self) -> Path:
        """The file that binds the lake to its source."""
        return self.lake_dir / "lake.json"

    @property
    def home(self) -> LakeRoot:
        """The root that every lake begins with."""
        return LakeRoot(self.lake_dir, self.quarantine_dir)

    @property
    def staging_dir(self) -> Path:
        """The folder of session files under way at home."""
        return self.home.staging_dir

    def quarantine_folder(self, tree: Tree, ticker: str, session_date: dt.date) -> Path:
        """Locate the folder of what was damaged of one ticker-session, a folder a time."""
        return self.find_root(ticker, session_date, tree).quarantine_folder(
            tree, ticker, session_date
        )

    @property
    def quarantine_dirs(self) -> list[Path]:
        """The folders of damaged files of all roots, and of home."""
        return list(dict.fromkeys(root.quarantine_dir for root in (self.home, *self.roots)))

    def research_file(self, name: str, month: str | None = None) -> Path:
        """Name the file of a table of research, or of a month of it, given as ``YYYY-MM``.

        Raises:
            DataError: It is no month.
        """
        if month is None:
            return self.research_dir / f"{name}.parquet"
        return self.research_dir / name / f"{check_month(month)}.parquet"

    def object_file(self, key: str) -> Path:
        """Name the file of an object of a lake of segments, or the folder of some, by its key."""
        return self.lake_dir.joinpath(*key.split("/"))

    def picture_file(self, name: str) -> Path:
        """Name the file of a picture of the plan."""
        return self.reports_dir / f"{name}.png"

    def tree_dir(self, tree: Tree) -> Path:
        """Name the folder of all ticker-sessions of ``tree`` at home."""
        return self.home.tree_dir(tree)

    def find_holder(
        self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES
    ) -> LakeRoot | None:
        """Find the root that has the receipt of a ticker-session; ``None``: none has."""
        for root in self.roots:
            if os.path.lexists(root.receipt_file(ticker, session_date, tree)):
                return root
        return None

    def find_root(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> LakeRoot:
        """Find the root where a ticker-session lies, or would be looked for.

        With one root the disk is not touched.
        """
        if len(self.roots) == 1:
            return self.roots[0]
        if holder := self.find_holder(ticker, session_date, tree):
            return holder
        folders = (root.session_dir(ticker, session_date, tree) for root in self.roots)
        found = (root for root, folder in zip(self.roots, folders, strict=True) if folder.is_dir())
        return next(found, self.roots[0])

    def root_of(self, path: Path) -> LakeRoot:
        """Find the root that a path lies below.

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
        """Locate the folder of one ticker-session."""
        return self.find_root(ticker, session_date, tree).session_dir(ticker, session_date, tree)

    def trades_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Locate the Parquet file of one ticker-session."""
        return self.session_dir(ticker, session_date, tree) / TRADES_NAME

    def receipt_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Locate the receipt of one ticker-session, which lies beside its Parquet file."""
        return self.session_dir(ticker, session_date, tree) / RECEIPT_NAME

    def daily_bars_file(self, month: str) -> Path:
        """Name the file of the daily bars of a month, given as ``YYYY-MM``."""
        return self.daily_bars_dir / month_folder(month) / "daily_bars.parquet"

    def find_month(self, month: str) -> LakeRoot | None:
        """Find the root that has the manifest of a compacted month; ``None``: none has."""
        holders = (root for root in self.roots if os.path.lexists(root.manifest_file(month)))
        return next(holders, None)

    def candidate_file(self, published: Path) -> Path:
        """Tell where the version of ``published`` lies that was not judged yet."""
        return published.with_name(f"{published.stem}.candidate{published.suffix}")

    def temporary_dirs(self) -> Iterator[Path]:
        """Yield the folders in which a killed run may leave temporary files.

        Those of the months of daily bars, below ``daily_bars_dir``, come on top.
        """
        folders = [folder for root in self.roots for folder in (root.folder, root.staging_dir)]
        yield from dict.fromkeys((self.data_dir, self.index_dir, self.lake_dir, *folders))
        files = (self.splits_file, self.watchlist_file, self.plan_file, self.last_audit_file)
        yield from (*(file.parent for file in files), self.universe_parts_dir, self.reports_dir)
        yield from (self.research_dir, *(self.research_dir / name for name in RESEARCH_TABLES))
