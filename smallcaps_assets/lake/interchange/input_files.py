"""Files that a person hands in: daily bars, splits, watchlists as Parquet or CSV.

What belongs here: from a path to a frame, with an error that names the path.  What does not: what
its columns mean (``core``), and the tables of the lake itself (``lake.tables.store``).

A CSV column is typed by all of its values, never by the first ones: a price column that starts
with whole numbers is still a column of prices.  Line ends may be those of any system, separators
commas, semicolons or tabs; blank lines, blanks around a value and columns without a name mean
nothing.
"""

import codecs
import csv
import datetime as dt
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

import polars as pl

from smallcaps_assets.core.events.watchlist import KNOWN_COLUMNS
from smallcaps_assets.errors import DataError, RefusedFileError
from smallcaps_assets.lake.paths.names import DATE_PREFIX, parse_date_folder

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
_CODECS: Final[dict[str, Literal["gzip", "zstd"]]] = {".gz": "gzip", ".zst": "zstd"}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

Content = TypeVar("Content")
Parsed = TypeVar("Parsed")


def read_input(path: Path) -> pl.DataFrame:
    """Read the rows of a file, or of a watchlist in folders by date.

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


def read_parsed(path: Path, parse: Callable[[pl.DataFrame], Parsed]) -> Parsed:
    """Read the rows of a file or folder through ``parse``.

    Raises:
        RefusedFileError: It cannot be read, or its rows break their contract.
    """
    file = path.expanduser().absolute()
    try:
        rows = read_input(file)
    except DataError as error:
        raise RefusedFileError(str(error)) from error
    return _parse(parse, rows, file)


def read_text_file(path: Path, parse: Callable[[str], Parsed]) -> Parsed:
    """Read a file of text, which may be packed as ``.gz`` or ``.zst``, through ``parse``.

    Raises:
        RefusedFileError: It is missing or unreadable, is no UTF-8, or breaks its contract.
    """
    file = path.expanduser().absolute()
    try:
        text = _read_text(file).decode()
    except UnicodeDecodeError as error:
        raise RefusedFileError(f"{file} is not UTF-8; save the file as UTF-8") from error
    except (DataError, OSError) as error:
        raise RefusedFileError(f"cannot read {file}: {error}") from error
    return _parse(parse, text, file)


def _parse(parse: Callable[[Content], Parsed], content: Content, file: Path) -> Parsed:
    try:
        return parse(content)
    except DataError as error:
        raise RefusedFileError(f"{file}: {error}") from error


def _read_file(path: Path) -> pl.DataFrame:
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return _clean(pl.read_parquet(path, hive_partitioning=False, glob=False))
        if name.endswith(_CSV_SUFFIXES):
            return _clean(_read_csv(path))
    except pl.exceptions.NoDataError as error:
        raise DataError(f"expected a header and rows, found an empty file: {path}") from error
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}") from error
    raise DataError(f"expected a name that ends in .parquet or {', '.join(_CSV_SUFFIXES)}: {path}")


def _read_csv(path: Path) -> pl.DataFrame:
    content = _read_text(path)
    separator = _find_separator(content)
    header = _read_header(path, content, separator)
    texts = {name: pl.String() for name in header if name.strip() in TEXT_COLUMNS}
    try:
        rows = pl.read_csv(
            content,
            separator=separator,
            infer_schema_length=None,
            schema_overrides=texts,
            glob=False,
        )
    except pl.exceptions.ComputeError as error:
        if reason := _find_ragged_line(content, separator):
            raise DataError(f"cannot read {path}: {reason}") from error
        raise
    named = [name for name in rows.columns if name.strip()]
    return rows.select(pl.col(name).alias(name.strip()) for name in named)


def _read_text(path: Path) -> bytes:
    """Read the content of a CSV file, inflated, with line ends of one kind."""
    content = path.read_bytes()
    if codec := _CODECS.get(path.suffix.lower()):
        import pyarrow as pa  # noqa: PLC0415  half a second

        content = pa.CompressedInputStream(pa.BufferReader(content), codec).read()
    if content.startswith(_UTF_16):
        raise DataError(f"cannot read {path}: it is UTF-16; save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content


def _find_separator(content: bytes) -> str:
    """Find what separates the names of the header: a comma, unless there is none."""
    header = content.lstrip().partition(b"\n")[0].decode(errors="replace")
    return next((separator for separator in (",", ";", "\t") if separator in header), ",")


def _read_header(path: Path, content: bytes, separator: str) -> list[str]:
    names = pl.read_csv(
        content, separator=separator, n_rows=0, infer_schema=False, glob=False
    ).columns
    given = [name.strip() for name in names if name.strip()]
    renamed = [name for name in given if given.count(name) > 1 or "_duplicated_" in name]
    if renamed:
        twice = renamed[0].partition("_duplicated_")[0]
        raise DataError(f"expected each column once, found {twice!r} more than once: {path}")
    return names


def _find_ragged_line(content: bytes, separator: str) -> str:
    """Tell which line has more fields than the header; empty where that is not the fault."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return f"line {number} is not UTF-8; save the file as UTF-8"
    width, number = 0, 0
    try:
        lines = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        for line in lines:
            number, width = lines.line_num, width or len(line)
            if len(line) > width:
                return f"line {number} has {len(line)} fields, the header has {width}"
    except csv.Error:
        return f"behind line {number} a quote is not closed, or text follows a closed one"
    return ""


def _clean(rows: pl.DataFrame) -> pl.DataFrame:
    """Strip text of the blanks around it, and drop rows that hold nothing."""
    schema = rows.schema
    texts = [
        name for name, dtype in schema.items() if dtype in (pl.String, pl.Categorical, pl.Enum)
    ]
    bare = pl.col(texts).cast(pl.String).str.strip_chars()
    plain = rows.with_columns(pl.when(bare != "").then(bare).name.keep()) if texts else rows
    return plain.filter(~pl.all_horizontal(pl.all().is_null())) if schema else plain


def _read_folder(path: Path) -> pl.DataFrame:
    root = path / DAILY_FOLDER if (path / DAILY_FOLDER).is_dir() else path
    folders = sorted(entry for entry in root.glob(f"{DATE_PREFIX}*") if entry.is_dir())
    if not folders:
        raise DataError(
            f"expected folders {DAILY_FOLDER}/{DATE_PREFIX}YYYY-MM-DD/, found none in {path}"
        )
    paths = [folder / WATCHLIST_NAME for folder in folders]
    days = [
        _read_day(path, parse_date_folder(folder.name))
        for path, folder in zip(paths, folders, strict=True)
    ]
    rows = _unite(days, paths)
    if rows.is_empty():
        raise DataError(f"expected at least one row, found none: {path}")
    return rows


def _unite(days: Sequence[pl.DataFrame], paths: Sequence[Path]) -> pl.DataFrame:
    """Unite the rows of all files; only columns that mean something have to agree.

    Columns that nobody reads stay as names without values, so that they can be reported.
    """
    known = [[name for name in day.columns if name in KNOWN_COLUMNS] for day in days]
    for names, path in zip(known, paths, strict=True):
        if lacking := sorted(set(known[0]) ^ set(names)):
            raise DataError(
                f"files of one watchlist differ in their columns: {path} and {paths[0]} do not "
                f"both have {', '.join(lacking)}"
            )
    try:
        rows = pl.concat([day.select(known[0]) for day in days], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"files of one watchlist differ in the types of their columns: {paths[0].parents[1]}"
        ) from error
    strangers = dict.fromkeys(name for day in days for name in day.columns)
    nothing = [pl.lit(None).alias(name) for name in strangers if name not in known[0]]
    return rows.with_columns(nothing)


def _read_day(path: Path, date: dt.date) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"expected a file in every folder of a date, found none: {path}")
    return _read_file(path).with_columns(date=pl.lit(date))
