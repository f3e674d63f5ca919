"""The catalog: a DuckDB file of views over everything, for readers that know nothing of us.

What belongs here: the views, and how the file is replaced while others have it open.  What does
not: business rules (``core``); a view selects and names, nothing more.

Every view reads an explicit list of absolute paths, so it works from any folder and shows no file
without a record.  Which sessions count of a file that has others too is in a table of
the schema ``parts``, one for each view that needs it.  DuckDB has no date functions for nanosecond
instants, so each instant is given twice: cut to microseconds under its name, and whole as
``NAME_ns``, nanoseconds since 1970.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.errors import LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.locating import locate_shown, open_segments
from smallcaps_assets.lake.reading.scans import (
    list_sessions,
    make_empty,
    project_columns,
    read_files,
    relate_trades,
)
from smallcaps_assets.lake.reading.sources import EVERYTHING, SHOWN_FILES, TradesSources
from smallcaps_assets.lake.storage.files import FileSystem, temporary_path
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lake.unlisted import read_receipts
from smallcaps_assets.schemas import (
    CATALOG_STATE,
    COVERAGE,
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    IMPORTED_TRADES,
    PILOT_WATCHLIST,
    RECEIPTS,
    SPLITS,
    TRADES,
    UNIVERSE,
    UNIVERSE_PLAN,
    WATCHLIST,
    Table,
)

logger = logging.getLogger(__name__)

PHASE_VIEWS: Final = {
    "pre_market_trades": "pre_market",
    "regular_trades": "regular",
    "after_hours_trades": "after_hours",
}
"""Views of one trading phase each, by name."""
BUILD_WAIT_S: Final = 60.0
"""Longest wait for another process that builds the catalog."""


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What a catalog shows.

    Attributes:
        trades_files: Files of trades in its views.
        missing_files: Files that a record names and that are gone or cut, and sessions whose record
            is gone; they are left out.
        receipts: Ticker-sessions that are proven.
        sessions: Ticker-sessions of the coverage.
        bytes: Size of the catalog.
    """

    trades_files: int
    missing_files: int
    receipts: int
    sessions: int
    bytes: int


def build_catalog(
    layout: LakeLayout, fs: FileSystem, *, wait_s: float = BUILD_WAIT_S
) -> CatalogFacts:
    """Rebuild the catalog and put it in place of the old one, which its readers keep.

    A file that a record names and that is gone is left out, counted and logged: one loss must
    not close the rest of the lake.  Of several processes one builds at a time, and a catalog that
    shows a newer state of the ledger stays.

    Args:
        layout: The lake, and where its catalog lies.
        fs: The seam to the disk.
        wait_s: Longest wait for another process that builds it.

    Raises:
        LakeError: The ledger, a record or a table is damaged; the old catalog stays.
        PartitionConflictError: Another process builds it.
        StorageError: The disk refuses; the old catalog stays.
    """
    fs.make_folders(layout.data_dir, root=layout.data_dir)
    lock = LakeLock(layout.catalog_lock_file, locks_folder=False)
    with lock.hold("building the catalog", wait_s):
        return _build(layout, fs)


def _build(layout: LakeLayout, fs: FileSystem) -> CatalogFacts:
    listed = _read_ledger(layout, fs)
    lost = _find_lost(fs, listed.trades)
    trades = listed.trades.leave_out(lost)
    imported = listed.imported.leave_out(_find_lost(fs, listed.imported))
    temporary = temporary_path(layout.data_dir)
    log = temporary.with_name(f"{temporary.name}.wal")
    with _removing([temporary, log], fs):
        with _duckdb_errors(temporary), duckdb.connect(str(temporary)) as connection:
            _create_trades(connection, trades)
            _create_trades_view(connection, IMPORTED_TRADES.name, imported)
            _create_tables(connection, layout, fs)
            _create_snapshot(connection, RECEIPTS, listed.receipts)
            _create_snapshot(connection, COVERAGE, listed.coverage)
            _create_snapshot(connection, CATALOG_STATE, _frame_state(listed.commits))
        size = fs.size(temporary)
        if _is_outdated(layout, fs, listed.commits):
            logger.info("catalog kept: it shows a newer state of the ledger")
        else:
            fs.adopt(temporary, layout.catalog_file)
    return CatalogFacts(
        trades_files=len(trades.parts),
        missing_files=len(lost) + len(trades.missing),
        receipts=listed.receipts.height,
        sessions=listed.coverage.height,
        bytes=size,
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the ledger lists, which is not older than after so many commits."""

    commits: int
    trades: TradesSources
    imported: TradesSources
    receipts: pl.DataFrame
    coverage: pl.DataFrame


def _read_ledger(layout: LakeLayout, fs: FileSystem) -> _Listed:
    if not fs.is_file(layout.ledger_file):
        return _Listed(0, TradesSources(), TradesSources(), RECEIPTS.empty(), COVERAGE.empty())
    with LedgerReader(layout.ledger_file) as ledger:
        commits = ledger.count_commits()
        shown = locate_shown(layout, fs, ledger)
        receipts = read_receipts(ledger, lambda: open_segments(layout, fs).lake)
        return _Listed(commits, *shown, receipts, ledger.coverage())


def _is_outdated(layout: LakeLayout, fs: FileSystem, commits: int) -> bool:
    """Say whether the catalog in place shows a newer state of this ledger than ``commits``.

    One of a state that the ledger never reached shows another: it was restored, or made again.
    """
    now = _count_commits(layout)
    return now > commits and commits < _read_state(layout, fs) <= now


def _count_commits(layout: LakeLayout) -> int:
    try:
        with LedgerReader(layout.ledger_file) as ledger:
            return ledger.count_commits()
    except MissingPartitionError:
        return 0


def _read_state(layout: LakeLayout, fs: FileSystem) -> int:
    """Read how many commits the catalog in place shows; 0: nobody can tell."""
    if not fs.is_file(layout.catalog_file):
        return 0
    try:
        with duckdb.connect(str(layout.catalog_file), read_only=True) as connection:
            rows = connection.table(CATALOG_STATE.name).fetchall()
    except duckdb.Error:
        return 0
    return int(rows[0][0]) if rows else 0


def _frame_state(commits: int) -> pl.DataFrame:
    return pl.DataFrame({"ledger_commits": [commits]}, CATALOG_STATE.schema)


def _find_lost(fs: FileSystem, sources: TradesSources) -> list[Path]:
    """Find the files that are not there, and log how many, and how many sessions are in none."""
    if lost := sources.find_lost(fs):
        shown = [str(path) for path in lost[:SHOWN_FILES]]
        logger.warning("catalog lacks files count=%d first=%s", len(lost), shown)
    if missing := sources.missing:
        keys = [encode_key(*key) for key in missing[:SHOWN_FILES]]
        logger.warning("catalog lacks sessions count=%d first=%s", len(missing), keys)
    return lost


def _create_trades(connection: duckdb.DuckDBPyConnection, trades: TradesSources) -> None:
    wanted = _create_trades_view(connection, TRADES.name, trades)
    for year, sources in trades.cut_years().items():
        of_year = relate_trades(connection, sources, EVERYTHING, wanted)
        of_year.create_view(f"{TRADES.name}_{year}")
    for view, phase in PHASE_VIEWS.items():
        rows = connection.table(TRADES.name)
        rows.filter(f"trading_phase = '{phase}'").create_view(view)


def _create_trades_view(
    connection: duckdb.DuckDBPyConnection, view: str, sources: TradesSources
) -> duckdb.DuckDBPyRelation:
    """Create a view of trades, and the table that says which sessions count of shared files."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS parts")
    connection.from_arrow(list_sessions(sources).to_arrow()).create(f"parts.{view}")
    wanted = connection.table(f"parts.{view}")
    relate_trades(connection, sources, EVERYTHING, wanted).create_view(view)
    return wanted


def _create_tables(
    connection: duckdb.DuckDBPyConnection, layout: LakeLayout, fs: FileSystem
) -> None:
    months = TableStore(layout, fs).list_bar_months()
    files = [
        (DAILY_BARS, [layout.daily_bars_file(month) for month in months]),
        (SPLITS, [layout.splits_file]),
        (UNIVERSE, [layout.universe_file]),
        (WATCHLIST, [layout.watchlist_file]),
        (PILOT_WATCHLIST, [layout.pilot_watchlist_file]),
        (EVENT_WINDOW_PLAN, [layout.plan_file]),
        (UNIVERSE_PLAN, [layout.universe_plan_file]),
    ]
    for table, paths in files:
        _create_view(connection, table, [path for path in paths if fs.is_file(path)])


def _create_view(
    connection: duckdb.DuckDBPyConnection, table: Table, files: Sequence[Path]
) -> None:
    rows = read_files(connection, files, table) if files else make_empty(connection, table)
    rows.project(project_columns(table)).create_view(table.name)


def _create_snapshot(
    connection: duckdb.DuckDBPyConnection, table: Table, rows: pl.DataFrame
) -> None:
    connection.from_arrow(rows.to_arrow()).project(project_columns(table)).create(table.name)


@contextlib.contextmanager
def _removing(paths: Sequence[Path], fs: FileSystem) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(StorageError):
            for path in paths:
                fs.remove(path)


@contextlib.contextmanager
def _duckdb_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.IOException as error:
        raise StorageError(
            f"cannot build the catalog at {path.parent}: {error}; make room on the disk, or give "
            "this user the right to write there"
        ) from error
    except duckdb.Error as error:
        raise LakeError(
            f"cannot build the catalog: {error}; if it names a file, `smallcaps audit --deep` "
            "tells whether that is damaged"
        ) from error
