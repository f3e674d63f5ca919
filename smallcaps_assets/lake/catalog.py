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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from smallcaps_assets.errors import LakeError, MissingPartitionError, StorageError
from smallcaps_assets.lake.files import FileSystem, temporary_path
from smallcaps_assets.lake.layout import LakeLayout
from smallcaps_assets.lake.ledger_reader import LedgerReader
from smallcaps_assets.lake.stored_files import (
    SHOWN_FILES,
    StoredFile,
    list_imported_files,
    list_stored_files,
)
from smallcaps_assets.lake.tables import TableStore
from smallcaps_assets.schemas import (
    COVERAGE,
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    IMPORTED_TRADES,
    INSTANT,
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

_WILDCARDS: Final = "*?["


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What a catalog shows.

    Attributes:
        trades_files: Files of trades in its views.
        missing_files: Files that have a receipt and are gone or cut; they are left out.
        receipts: Ticker-sessions that are proven.
        sessions: Ticker-sessions of the coverage.
        bytes: Size of the catalog.
    """

    trades_files: int
    missing_files: int
    receipts: int
    sessions: int
    bytes: int


def build_catalog(layout: LakeLayout, fs: FileSystem) -> CatalogFacts:
    """Build the catalog anew and put it in place of the old one, which its readers keep.

    A file that has a receipt and is gone is left out, counted and logged: one loss must not close
    the rest of the lake.

    Raises:
        LakeError: The ledger or a table is damaged; the old catalog stays.
        StorageError: The disk refuses; the old catalog stays.
    """
    listed = _read_ledger(layout)
    present, imported = _keep_present(listed.files), _keep_present(listed.imported)
    temporary = temporary_path(layout.data_dir)
    log = temporary.with_name(f"{temporary.name}.wal")
    with _removing([temporary, log], fs):
        with _duckdb_errors(temporary), duckdb.connect(str(temporary)) as connection:
            _create_trades(connection, present)
            _create_view(connection, IMPORTED_TRADES, imported)
            _create_tables(connection, layout, fs)
            _create_snapshot(connection, RECEIPTS, listed.receipts)
            _create_snapshot(connection, COVERAGE, listed.coverage)
        size = temporary.stat().st_size
        fs.adopt(temporary, layout.catalog_file)
    return CatalogFacts(
        trades_files=len(present),
        missing_files=len(listed.files) - len(present),
        receipts=listed.receipts.height,
        sessions=listed.coverage.height,
        bytes=size,
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the ledger lists."""

    files: Sequence[StoredFile]
    imported: Sequence[StoredFile]
    receipts: pl.DataFrame
    coverage: pl.DataFrame


def _read_ledger(layout: LakeLayout) -> _Listed:
    try:
        with LedgerReader(layout.ledger_file) as ledger:
            return _Listed(
                list_stored_files(layout, ledger),
                list_imported_files(layout, ledger),
                ledger.receipts(),
                ledger.coverage(),
            )
    except MissingPartitionError:
        return _Listed([], [], RECEIPTS.empty(), COVERAGE.empty())


def _keep_present(files: Sequence[StoredFile]) -> list[Path]:
    """Return the files that are there, and log how many are not."""
    present = [file.path for file in files if file.is_there()]
    if count := len(files) - len(present):
        lost = [str(file.path) for file in files if not file.is_there()][:SHOWN_FILES]
        logger.warning("catalog lacks files count=%d first=%s", count, lost)
    return present


def _create_trades(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    _create_view(connection, TRADES, files)
    for view, phase in PHASE_VIEWS.items():
        trades = connection.table(TRADES.name)
        trades.filter(f"trading_phase = '{phase}'").create_view(view)


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
        _create_view(connection, table, [path for path in paths if path.is_file()])


def _create_view(
    connection: duckdb.DuckDBPyConnection, table: Table, files: Sequence[Path]
) -> None:
    if files:
        paths = [_escape(path.absolute()) for path in files]
        rows = connection.read_parquet(paths, hive_partitioning=False)
    else:
        rows = _make_empty(connection, table)
    rows.project(_project(table)).create_view(table.name)


def _create_snapshot(
    connection: duckdb.DuckDBPyConnection, table: Table, rows: pl.DataFrame
) -> None:
    connection.from_arrow(rows.to_arrow()).project(_project(table)).create(table.name)


def _make_empty(connection: duckdb.DuckDBPyConnection, table: Table) -> duckdb.DuckDBPyRelation:
    """Return no rows with the columns of ``table``, from nothing that would have to be kept."""
    typed = connection.from_arrow(table.empty().to_arrow())
    nulls = [
        f'CAST(NULL AS {dtype}) AS "{name}"'
        for name, dtype in zip(typed.columns, typed.types, strict=True)
    ]
    return connection.sql("SELECT 1").project(", ".join(nulls)).filter("false")


def _project(table: Table) -> str:
    expressions = []
    for name, column in table.columns.items():
        if column.dtype == INSTANT:
            instant = f'epoch_ns("{name}")'
            expressions.append(f'make_timestamptz({instant} // 1000) AS "{name}"')
            expressions.append(f'{instant} AS "{name}_ns"')
        else:
            expressions.append(f'"{name}"')
    return ", ".join(expressions)


def _escape(path: Path) -> str:
    """Return a path that DuckDB takes as it is, whatever the folder of the lake is called."""
    return "".join(f"[{letter}]" if letter in _WILDCARDS else letter for letter in str(path))


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
