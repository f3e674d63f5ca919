"""Paths of the data folder: with the modules it is made of, all that knows where anything lies.

What belongs here: names of files and folders.  What does not: where the lake lies
(``lake.home.place``), and reading or writing; nothing here looks at the disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smallcaps_assets.lake.paths.names import check_month, month_folder
from smallcaps_assets.schemas_research import RESEARCH_TABLES


class _Below:
    """A path below the data folder."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, layout: "LakeLayout", kind: object = None) -> Path:
        return layout.data_dir.joinpath(*self._parts)


@dataclass(frozen=True, slots=True)
class LakeLayout:
    """Every path of a data folder and of its lake.

    A month that is none is a ``DataError``.

    Attributes:
        data_dir: The data folder, ``SMALLCAPS_DATA_DIR``.
        place: Folder of the lake where it is not ``lake`` in the data folder.
    """

    data_dir: Path
    place: Path | None = None

    roots_file = _Below("lake_roots.json")
    """The register: the id of the lake, and its place.

    It lies outside the lake, so that a lake that is not mounted is missed.
    """
    index_dir = _Below("lake")
    """The folder of the ledger and the lock, and of the lake unless that lies elsewhere."""
    ledger_file = _Below("lake", "ledger.sqlite")
    """The index of the lake."""
    lock_file = _Below("lake", "lake.lock")
    """The lock of those that write."""
    quarantine_dir = _Below("quarantine")
    """The folder of damaged files of an earlier version; those of segments lie in the lake."""
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
    universe_plan_file = _Below("plan", "universe.parquet")
    """The published plan of a universe, and its record in the footer."""
    plan_lock_file = _Below("plan", "plan.lock")
    """The lock of who publishes or registers a plan."""
    universe_lock_file = _Below("plan", "universe.lock")
    """The lock of who gives the units of a universe to others."""
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

    @property
    def lake_dir(self) -> Path:
        """The folder of the lake: ``lake.json`` and what it was asked for."""
        return self.place or self.index_dir

    @property
    def identity_file(self) -> Path:
        """The file that binds the lake to its source."""
        return self.lake_dir / "lake.json"

    def research_file(self, name: str, month: str | None = None) -> Path:
        """Name the file of a table of research, or of a month of it, given as ``YYYY-MM``.

        Raises:
            DataError: It is no month.
        """
        if month is None:
            return self.research_dir / f"{name}.parquet"
        return self.research_dir / name / f"{check_month(month)}.parquet"

    def object_file(self, key: str) -> Path:
        """Name the file of an object of the lake, or the folder of some, by its key."""
        return self.lake_dir.joinpath(*key.split("/"))

    def picture_file(self, name: str) -> Path:
        """Name the file of a picture of the plan."""
        return self.reports_dir / f"{name}.png"

    def daily_bars_file(self, month: str) -> Path:
        """Name the file of the daily bars of a month, given as ``YYYY-MM``."""
        return self.daily_bars_dir / month_folder(month) / "daily_bars.parquet"

    def candidate_file(self, published: Path) -> Path:
        """Tell where the version of ``published`` lies that was not judged yet."""
        return published.with_name(f"{published.stem}.candidate{published.suffix}")

    def temporary_dirs(self) -> Iterator[Path]:
        """Yield the folders in which a killed run may leave temporary files.

        Those of the months of daily bars, below ``daily_bars_dir``, come on top.
        """
        yield from dict.fromkeys((self.data_dir, self.index_dir, self.lake_dir))
        files = (self.splits_file, self.watchlist_file, self.plan_file, self.last_audit_file)
        yield from (*(file.parent for file in files), self.universe_parts_dir, self.reports_dir)
        yield from (self.research_dir, *(self.research_dir / name for name in RESEARCH_TABLES))
