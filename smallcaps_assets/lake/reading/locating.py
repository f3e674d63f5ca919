"""From which parts each trade of a lake is read, by its records.

What belongs here: opening the segments of a lake for readers, their months, and which of their rows
a view shows.  What does not: the rule by which an entry counts (``core.segments``), what readers
make of parts (``scans``).
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import OFF_SESSION, SESSION
from smallcaps_assets.core.segments.indexing import bit_of, list_sessions
from smallcaps_assets.core.segments.merging import is_green, measure_parts
from smallcaps_assets.core.states import IMPORTED_UNPROVEN
from smallcaps_assets.lake.home.identity import check_format, read_identity
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.sources import (
    EVERYTHING,
    KEY,
    PartFile,
    Selection,
    TradesSources,
)
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import SEGMENTS, part_key
from smallcaps_assets.lake.segments.reading import Month, read_month
from smallcaps_assets.lake.segments.records import frame_parts
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage

_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_CLOSED: Final = dt.timedelta(days=31)
"""More than the longest way from a date without a session to the session that owns its prints."""


class Rows(StrEnum):
    """What readers ask for: rows that lie in the same parts, and never in one view."""

    PROVEN = "proven"
    IMPORTED = "imported"
    OFF_SESSION = "off_session"


_IS_SESSION: Final = pl.col("kind") == SESSION
_SHOWN: Final = {
    Rows.PROVEN: is_green() & _IS_SESSION,
    Rows.IMPORTED: (pl.col("state") == IMPORTED_UNPROVEN) & _IS_SESSION,
    Rows.OFF_SESSION: is_green() & (pl.col("kind") == OFF_SESSION),
}


@dataclass(frozen=True, slots=True)
class SegmentReader:
    """A lake of segments, for readers.

    Attributes:
        lake: Where its segments lie.
        layout: Paths of its files.
        fs: The disk.
    """

    lake: SegmentLake
    layout: LakeLayout
    fs: FileSystem

    def iter_months(self, selection: Selection) -> Iterator[Month]:
        """Read the months that have rows of the sessions asked for, one after the other.

        Raises:
            LedgerMismatchError: A record is damaged: what is there must not read as empty.
            MissingPartitionError: A record was removed meanwhile, twice.
            StorageError: The disk refuses.
        """
        first, last = (date.isoformat()[:7] for date in selection.bounds)
        for entry in self.fs.list_folder(self.layout.object_file(SEGMENTS.rstrip("/"))):
            if _MONTH.fullmatch(entry.name) and first <= entry.name <= last:
                yield read_month(self.lake, entry.name)

    def locate(
        self, selection: Selection, kinds: Sequence[Rows], ledger: LedgerReader | None = None
    ) -> dict[Rows, TradesSources]:
        """Locate the parts that rows of some kinds are read from.

        Where one is gone, because it was packed and removed meanwhile, the records are read again
        once.

        Args:
            selection: Sessions, or dates without one.
            kinds: Which of their rows.
            ledger: A witness: a session that it calls proven and no record has is missing, not
                empty.

        Raises:
            LedgerMismatchError: A record is damaged.
            MissingPartitionError: A record was removed meanwhile, twice.
            StorageError: The disk refuses.
        """
        found = self._locate(selection, kinds, ledger)
        is_lost = any(sources.find_lost(self.fs) for sources in found.values())
        return self._locate(selection, kinds, ledger) if is_lost else found

    def _locate(
        self, selection: Selection, kinds: Sequence[Rows], ledger: LedgerReader | None
    ) -> dict[Rows, TradesSources]:
        # The ledger hears of what is stored last, so it is asked first.
        stored = None if ledger is None else list_stored(ledger, selection)
        told: list[pl.DataFrame] = []
        found = {kind: TradesSources() for kind in kinds}
        for month in self.iter_months(widen(selection) if Rows.OFF_SESSION in kinds else selection):
            told.append(list_told(month))
            for kind, sources in found.items():
                sources.parts.extend(self._list_parts(month, selection, select_rows(month, kind)))
        if stored is not None:
            found[Rows.PROVEN].missing.extend(find_missing(stored, told, selection))
        return found

    def _list_parts(
        self, month: Month, selection: Selection, entries: pl.DataFrame
    ) -> Iterator[PartFile]:
        """Yield the parts that have rows asked for, in the order of their first session."""
        parts = frame_parts(month.told_parts.values())
        whole = measure_parts(entries, parts).filter("is_whole")["part"].to_list()
        sessions = selection.select(entries).partition_by("part", maintain_order=True, as_dict=True)
        for (part,), rows in sessions.items():
            path = self.layout.object_file(part_key(month.name, part))
            told = month.told_parts.get(part)
            # A part that no record describes is not believed: no file is that small.
            size = told.bytes if told else -1
            yield PartFile(path, size, rows.select(KEY), is_whole=part in whole)


def open_segments(layout: LakeLayout, fs: FileSystem) -> SegmentReader:
    """Open the segments of a lake.

    Raises:
        LedgerMismatchError: ``lake.json`` is damaged.
        MissingPartitionError: There is none.
        PartitionConflictError: It is of format 1, or being taken over, or a newer version wrote it.
        StorageError: The disk refuses.
    """
    identity = read_identity(layout, fs)
    check_format(layout, identity)
    lake = SegmentLake(LocalStorage(layout.lake_dir, fs), str(identity.source))
    return SegmentReader(lake, layout, fs)


def locate_trades(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader, selection: Selection
) -> TradesSources:
    """Locate the parts that the proven trades asked for are read from.

    Raises:
        LakeError: The ledger or a record is damaged.
        PartitionConflictError: The lake cannot be read, as :func:`open_segments` says.
    """
    segments = open_segments(layout, fs)
    return segments.locate(selection, [Rows.PROVEN], ledger)[Rows.PROVEN]


def locate_shown(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader
) -> tuple[TradesSources, TradesSources]:
    """Locate all proven trades, and all of imported sessions that nothing proves; errors as above.

    Records are read once for both.
    """
    found = open_segments(layout, fs).locate(EVERYTHING, [Rows.PROVEN, Rows.IMPORTED], ledger)
    return found[Rows.PROVEN], found[Rows.IMPORTED]


def locate_off_session(layout: LakeLayout, fs: FileSystem, selection: Selection) -> TradesSources:
    """Locate the parts with prints on dates that are no session; errors as above."""
    segments = open_segments(layout, fs)
    return segments.locate(selection, [Rows.OFF_SESSION])[Rows.OFF_SESSION]


def list_stored(ledger: LedgerReader, selection: Selection) -> pl.DataFrame:
    """List the bits of the sessions that the ledger calls proven, a row a month and ticker."""
    first, last = (date.isoformat()[:7] for date in selection.bounds)
    return ledger.ticker_months(first, last, selection.tickers).select("month", "ticker", "proven")


def list_told(month: Month) -> pl.DataFrame:
    """List the bits of the sessions that a month tells of, whatever their states, by ticker."""
    bits = bit_of(pl.col("session_date").dt.day())
    sessions = month.winners.filter(_IS_SESSION)
    return sessions.group_by("ticker").agg(pl.lit(month.name).alias("month"), told=bits.sum())


def find_missing(
    stored: pl.DataFrame, told: Sequence[pl.DataFrame], selection: Selection
) -> list[tuple[str, dt.date]]:
    """Find the sessions that the ledger calls proven and that no month has, in order.

    Args:
        stored: Bits of :func:`list_stored`.
        told: Bits of :func:`list_told` of each month.
        selection: Which sessions are asked for.
    """
    nothing = pl.DataFrame(schema={"ticker": pl.String(), "month": pl.String(), "told": pl.Int64()})
    known = pl.concat([nothing, *told])
    joined = stored.join(known, on=["month", "ticker"], how="left")
    missing = pl.col("proven") & ~pl.col("told").fill_null(0)
    bits = joined.select("month", "ticker", missing=missing, record=pl.lit(""))
    return selection.select(list_sessions(bits, "missing")).select(KEY).sort(KEY).rows()


def select_rows(month: Month, rows: Rows) -> pl.DataFrame:
    """Select the entries that count and have rows of a kind, by key."""
    return month.winners.filter(_SHOWN[rows], pl.col("rows") > 0)


def widen(selection: Selection) -> Selection:
    """Widen a selection of dates without a session to the sessions that own their prints."""
    last = min(selection.bounds[1], dt.date.max - _CLOSED) + _CLOSED
    return replace(selection, last=last)
