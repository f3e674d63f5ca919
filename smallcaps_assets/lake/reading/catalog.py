"""The catalog: a DuckDB file of views over everything, for readers that know nothing of us.

What belongs here: the views, and how the file is replaced while others have it open.  What does
not: business rules (``core``); a view selects and names, nothing more.

Every view reads an explicit list of absolute paths, so it works from any folder and shows no file
without a receipt.  DuckDB has no date functions for nanosecond instants, so each instant is given
twice: cut to microseconds under its name, and whole as ``NAME_ns``, nanoseconds since 1970.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from smallcaps_assets.errors import LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.store import CompactedMonth, frame_months
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.landing_files import SHOWN_FILES, StoredFile, list_imported_files
from smallcaps_assets.lake.reading.scans import (
    make_empty,
    project_columns,
    read_files,
    relate_trades,
)
from smallcaps_assets.lake.reading.sources import EVERYTHING, TradesSources, locate_trades
from smallcaps_assets.lake.storage.files import FileSystem, temporary_path
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.schemas import (
    COMPACTED_MONTHS,
    COMPACTED_SESSIONS,
    COMPACTED_TRADES,
    COVERAGE,
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    IMPORTED_TRADES,
    PILOT_WATCHLIST,
    RECEIPTS,
    SPLITS,
    TRADES,
    UNIVERSE,
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


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What a catalog shows.

    Attributes:
        trades_files: Files of trades in its views.
        compacted_months: Months of which month files are read.
        missing_files: Files that have a receipt and are gone or cut; they are left out.
        receipts: Ticker-sessions that are proven.
        sessions: Ticker-sessions of the coverage.
        bytes: Size of the catalog.
    """

    trades_files: int
    compacted_months: int
    missing_files: int
    receipts: int
    sessions: int
    bytes: int


def build_catalog(layout: LakeLayout, fs: FileSystem) -> CatalogFacts:
    """Rebuild the catalog and put it in place of the old one, which its readers keep.

    A file that has a receipt and is gone is left out, counted and logged: one loss must not close
    the rest of the lake.

    Raises:
        LakeError: The ledger or a table is damaged; the old catalog stays.
        StorageError: The disk refuses; the old catalog stays.
    """
    listed = _read_ledger(layout, fs)
    present = _keep_present(fs, listed.trades.files)
    imported = _keep_present(fs, listed.imported)
    trades = replace(listed.trades, files=present)
    temporary = temporary_path(layout.data_dir)
    log = temporary.with_name(f"{temporary.name}.wal")
    with _removing([temporary, log], fs):
        with _duckdb_errors(temporary), duckdb.connect(str(temporary)) as connection:
            _create_trades(connection, trades)
            _create_view(connection, IMPORTED_TRADES, [file.path for file in imported])
            _create_months(connection, trades.months)
            _create_tables(connection, layout, fs)
            _create_snapshot(connection, RECEIPTS, listed.receipts)
            _create_snapshot(connection, COVERAGE, listed.coverage)
        size = fs.size(temporary)
        fs.adopt(temporary, layout.catalog_file)
    return CatalogFacts(
        trades_files=len(present) + len(trades.parts),
        compacted_months=len(trades.months),
        missing_files=len(listed.trades.files) - len(present),
        receipts=listed.receipts.height,
        sessions=listed.coverage.height,
        bytes=size,
    )


def read_catalog_months(layout: LakeLayout, fs: FileSystem) -> dict[str, str] | None:
    """Look up the manifest hash of each month that the present catalog reads.

    ``None``: nobody can tell, because the catalog is damaged, or someone writes to it.
    """
    if not fs.is_file(layout.catalog_file):
        return {}
    columns = "month, manifest_sha256"
    try:
        with duckdb.connect(str(layout.catalog_file), read_only=True) as connection:
            return dict(connection.table(COMPACTED_MONTHS.name).project(columns).fetchall())
    except duckdb.CatalogException:
        return {}  # of a version before months were compacted
    except duckdb.Error as error:
        logger.warning("catalog not read error=%s", error)
        return None


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the ledger lists."""

    trades: TradesSources
    imported: Sequence[StoredFile]
    receipts: pl.DataFrame
    coverage: pl.DataFrame


def _read_ledger(layout: LakeLayout, fs: FileSystem) -> _Listed:
    try:
        with LedgerReader(layout.ledger_file) as ledger:
            return _Listed(
                locate_trades(layout, fs, ledger, EVERYTHING),
                list_imported_files(layout, fs, ledger),
                ledger.receipts(),
                ledger.coverage(),
            )
    except MissingPartitionError:
        return _Listed(TradesSources(), [], RECEIPTS.empty(), COVERAGE.empty())


def _keep_present(fs: FileSystem, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Keep the files that are there, and log how many are not."""
    present = [file for file in files if file.is_there(fs)]
    if count := len(files) - len(present):
        lost = [str(file.path) for file in files if not file.is_there(fs)][:SHOWN_FILES]
        logger.warning("catalog lacks files count=%d first=%s", count, lost)
    return present


def _create_trades(connection: duckdb.DuckDBPyConnection, trades: TradesSources) -> None:
    relate_trades(connection, trades, EVERYTHING).create_view(TRADES.name)
    compacted = relate_trades(connection, replace(trades, files=[]), EVERYTHING)
    compacted.create_view(COMPACTED_TRADES.name)
    for view, phase in PHASE_VIEWS.items():
        rows = connection.table(TRADES.name)
        rows.filter(f"trading_phase = '{phase}'").create_view(view)


def _create_months(connection: duckdb.DuckDBPyConnection, months: Sequence[CompactedMonth]) -> None:
    """List the compacted months, and their sessions; the first says which manifests were read."""
    _create_snapshot(connection, COMPACTED_MONTHS, frame_months(months))
    indexes = [month.folder / month.manifest.index.name for month in months]
    _create_view(connection, COMPACTED_SESSIONS, indexes)


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
