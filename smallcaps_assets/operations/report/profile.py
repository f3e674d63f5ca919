"""The intraday profile of what is stored, kept from report to report.

What belongs here: which sessions are read, in parts of bounded memory, and what is remembered of
them.  What does not: how trades are counted (``core.ticks.profile``).

About 1 ms a session is spent once; later reports read what is new.  A session that cannot be read
is left out and counted: saying what is damaged is the audit's business.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.ticks.profile import COUNTS, count_quarters, sum_profile
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.locating import locate_trades
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lake.storage.files import FileSystem

READ_SESSIONS: Final = 20_000
"""Sessions that one report reads; the rest is read by later ones."""

CACHE: Final = pl.Schema([*COUNTS.items(), ("content_hash", pl.String)])
"""Counts of the sessions read so far, with the hash of the rows they were counted in."""

_UNREADABLE: Final = (pl.exceptions.ComputeError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The intraday profile of a lake.

    Attributes:
        trades: ``core.profile.PROFILE``.
        sessions: Sessions it is made of.
        stored: Stored sessions with trades.
    """

    trades: pl.DataFrame
    sessions: int
    stored: int


def profile_lake(
    layout: LakeLayout,
    fs: FileSystem,
    ledger: LedgerReader,
    calendar: SessionCalendar,
    limit: int = READ_SESSIONS,
) -> Profile:
    """Profile what is stored, after reading what no report has read before.

    Args:
        layout: Where files lie.
        fs: The disk.
        ledger: What is stored.
        calendar: When sessions begin and end.
        limit: New sessions to read at most, in an order that has nothing to do with time.

    Raises:
        StorageError: The disk refuses.
    """
    stored = ledger.receipts().filter(pl.col("rows") > 0)
    stored = stored.select(*KEY, "content_hash", "rows")
    known = _read_cache(layout, fs).join(stored, on=[*KEY, "content_hash"], how="semi")
    new = stored.join(known, on=KEY, how="anti").sort("content_hash").head(limit)
    counts = pl.concat([known, *_count_new(layout, fs, ledger, new)])
    if new.height:
        _write_cache(layout, fs, counts)
    return Profile(
        trades=sum_profile(counts.select(COUNTS.names()), calendar.frame),
        sessions=counts.select(KEY).n_unique(),
        stored=stored.height,
    )


def _count_new(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader, new: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield counts of sessions that were not read before, those that could be read."""
    if new.is_empty():
        return
    question = Selection(tickers=tuple(new["ticker"].unique()))
    sources = locate_trades(layout, fs, ledger, question)
    for part in sources.parts:
        asked = new.join(part.wanted, on=KEY, how="semi")
        if asked.is_empty():
            continue
        counts = _count_file(part.path).join(asked, on=KEY, how="inner", validate="m:1")
        is_whole = pl.col("trades").sum().over(KEY) == pl.col("rows")
        yield counts.filter(is_whole).select(CACHE.names())


def _count_file(path: Path) -> pl.DataFrame:
    """Count the trades of a file; none where it cannot be read."""
    try:
        scan = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        return count_quarters(scan).collect(engine="streaming").match_to_schema(COUNTS)
    except _UNREADABLE:
        return COUNTS.to_frame()


def _read_cache(layout: LakeLayout, fs: FileSystem) -> pl.DataFrame:
    """Read what earlier reports counted; a file that cannot be read counts for nothing."""
    try:
        content = fs.read(layout.profile_file)
        return pl.read_parquet(io.BytesIO(content), glob=False).match_to_schema(CACHE)
    except (MissingPartitionError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return CACHE.to_frame()


def _write_cache(layout: LakeLayout, fs: FileSystem, counts: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    counts.sort(*KEY, "quarter").write_parquet(buffer, compression_level=3)
    fs.make_folders(layout.reports_dir, root=layout.data_dir)
    fs.publish({layout.profile_file: buffer.getvalue()}, root=layout.data_dir)
