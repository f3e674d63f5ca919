"""Single files of archives: opened without trust, and read within bounds.

What belongs here: the way from a path below an archive to the columns that matter.  What does not:
which files there are (``archives``), and what their rows are worth (``core.archive.sessions``).

A link is not followed even when it took the place of a file after the walk; a Parquet file that
names other files is refused; what a file claims to hold is counted while it is read.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from smallcaps_assets.core.archive.columns import list_sources
from smallcaps_assets.core.archive.sessions import ArchiveFile
from smallcaps_assets.errors import DataError

_SHOWN_COLUMNS: Final = 8
_BATCH_ROWS: Final = 65_536
_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_UNREADABLE: Final = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    MemoryError,
    ValueError,
)
"""What pyarrow and polars raise on bytes that are no Parquet file, or no whole one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one file may hold.

    Attributes:
        file_bytes: Size of the file.
        rows: Its rows by its footer.
        row_bytes: What its rows unpack to, counted while they are read.
    """

    file_bytes: int = 512 * 1024**2
    rows: int = 5_000_000
    row_bytes: int = 1024**3


DAY_BOUNDS: Final = Bounds()
"""More than the busiest day of any ticker takes."""


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of an archive, as its folder lists it.

    Attributes:
        path: Where it lies.
        facts: What its path says.
        bytes: Its size.
        changed_ns: When it was last written.
    """

    path: Path
    facts: ArchiveFile
    bytes: int
    changed_ns: int


def read_archive(file: ArchivedFile, root: Path, bounds: Bounds = DAY_BOUNDS) -> pl.DataFrame:
    """Read the columns of a file that matter, as they were written.

    Raises:
        DataError: It is no whole Parquet file, too large, or lies outside the archive.
    """
    return decode_archive(_read_bytes(file.path, root, bounds), bounds)


def decode_archive(content: bytes, bounds: Bounds = DAY_BOUNDS) -> pl.DataFrame:
    """Decode the rows of a Parquet file of unknown origin, within bounds.

    Raises:
        DataError: It is damaged or too large, has no column of trades, or names other files.
    """
    try:
        parquet = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        names = _check_parquet(parquet, bounds)
        schema = pa.schema([parquet.schema_arrow.field(name) for name in names])
        batches = _read_batches(parquet, names, bounds)
        frame = pl.DataFrame(pa.Table.from_batches(batches, schema))
    except _UNREADABLE as error:
        raise DataError(f"no readable Parquet file: {error}") from error
    if frame.height != (rows := parquet.metadata.num_rows):
        raise DataError(f"expected {rows} rows by the footer, got {frame.height}")
    return frame


def _check_parquet(parquet: pq.ParquetFile, bounds: Bounds) -> list[str]:
    """Check what the footer says, and list the columns to read.

    Raises:
        DataError: It is not to be read.
    """
    facts, columns = parquet.metadata, parquet.schema_arrow.names
    if facts.num_rows > bounds.rows:
        raise DataError(f"expected at most {bounds.rows} rows, got {facts.num_rows}")
    chunks = (facts.row_group(group).column(0) for group in range(facts.num_row_groups))
    if columns and (others := [chunk.file_path for chunk in chunks if chunk.file_path]):
        raise DataError(f"its rows lie in another file, {others[0]}: not followed")
    names = list_sources(columns)
    if len(set(names)) < len(names):
        raise DataError(f"expected each column once, got {', '.join(sorted(names))}")
    if not names:
        shown = ", ".join(columns[:_SHOWN_COLUMNS])
        raise DataError(f"no column of trades; its columns are {shown or 'none'}")
    return names


def _read_batches(
    parquet: pq.ParquetFile, names: list[str], bounds: Bounds
) -> Iterator[pa.RecordBatch]:
    """Yield the rows; what a file unpacks to is counted, for its footer may say anything."""
    size = 0
    for batch in parquet.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
        size += batch.nbytes
        if size > bounds.row_bytes:
            raise DataError(f"expected at most {bounds.row_bytes} bytes of rows, got more")
        yield batch


def _read_bytes(path: Path, root: Path, bounds: Bounds) -> bytes:
    """Read the content of a file that lies below ``root`` and is one."""
    try:
        if not path.parent.resolve(strict=True).is_relative_to(root):
            raise DataError(f"{path} leads out of the archive")
        with open(os.open(path, _OPEN_FLAGS), "rb") as file:  # noqa: PTH123  the flags refuse links
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise DataError(f"{path} is no regular file")
            if facts.st_size > bounds.file_bytes:
                raise DataError(f"expected at most {bounds.file_bytes} bytes, got {facts.st_size}")
            return file.read(bounds.file_bytes)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
