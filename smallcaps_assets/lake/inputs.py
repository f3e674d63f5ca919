"""Files that a person hands in: daily bars, splits, watchlists as Parquet or CSV.

What belongs here: from a path to a frame, with an error that names the path.  What does not: what
its columns mean (``core``), and the tables of the lake itself (``tables``).

A CSV column is typed by all of its values, never by the first ones: a price column that starts
with whole numbers is still a column of prices.
"""

import datetime as dt
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.layout import DATE_PREFIX, parse_date_folder

WATCHLIST_NAME: Final = "watchlist.parquet"
"""Name of the file in each folder of a watchlist by date."""

DAILY_FOLDER: Final = "daily"
"""Folder of a watchlist by date, ``daily/date=YYYY-MM-DD/watchlist.parquet``."""

TEXT_COLUMNS: Final = (
    *("ticker", "date", "trading_day", "session_date", "execution_date", "events"),
    *("name", "type", "primary_exchange", "composite_figi", "share_class_figi", "cik"),
    *("list_date", "listed_date", "delisted_date", "market_cap_as_of_date"),
)
"""Columns of a CSV that are text whatever they look like: ``TRUE`` is a ticker, a CIK has zeros."""

_CSV_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zst")
_UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def read_input(path: Path) -> pl.DataFrame:
    """Return the rows of a file, or of a watchlist in folders by date.

    Args:
        path: A ``.parquet`` or ``.csv`` file (also ``.csv.gz`` and ``.csv.zst``), or a folder of
            ``daily/date=YYYY-MM-DD/watchlist.parquet``; from the latter the column ``date`` is
            added.

    Raises:
        DataError: It is missing, unreadable, empty, or of another kind.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise DataError(f"expected a file or a folder, found none: {path}")
    rows = _read_file(path)
    if rows.is_empty():
        raise DataError(f"expected at least one row, found none: {path}")
    return rows


def _read_file(path: Path) -> pl.DataFrame:
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return pl.read_parquet(path, hive_partitioning=False)
        if name.endswith(_CSV_SUFFIXES):
            return _read_csv(path)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"expected a header and rows, found an empty file: {path}") from error
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}") from error
    raise DataError(f"expected a name that ends in .parquet or {', '.join(_CSV_SUFFIXES)}: {path}")


def _read_csv(path: Path) -> pl.DataFrame:
    header = pl.read_csv(path, n_rows=0, infer_schema=False).columns
    texts = {name: pl.String() for name in header if name in TEXT_COLUMNS}
    return pl.read_csv(path, infer_schema_length=None, schema_overrides=texts)


def _read_folder(path: Path) -> pl.DataFrame:
    root = path / DAILY_FOLDER if (path / DAILY_FOLDER).is_dir() else path
    folders = sorted(entry for entry in root.glob(f"{DATE_PREFIX}*") if entry.is_dir())
    if not folders:
        raise DataError(
            f"expected folders {DAILY_FOLDER}/{DATE_PREFIX}YYYY-MM-DD/, found none in {path}"
        )
    days = [
        _read_day(folder / WATCHLIST_NAME, parse_date_folder(folder.name)) for folder in folders
    ]
    try:
        rows = pl.concat(days)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"files of one watchlist differ in their columns: {root}") from error
    if rows.is_empty():
        raise DataError(f"expected at least one row, found none: {path}")
    return rows


def _read_day(path: Path, date: dt.date) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"expected a file in every folder of a date, found none: {path}")
    return _read_file(path).with_columns(date=pl.lit(date))
