"""From which files each proven trade is read, exactly once: compacted months, and landing files.

What belongs here: the choice between the two for every session, by the ledger and the manifests.
What does not: what readers make of it (``reader``, ``catalog``), single sessions
(``lake.months.sessions``).

A session is read from its month if the index lists it with the very content that the ledger
calls proven, and from its landing file otherwise.  So a session that was replaced, moved to
quarantine or planned later than its month was compacted is never there twice and never missing,
whatever the month still holds of it.
"""

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.errors import DataError, LakeError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.store import CompactedMonth, MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.landing_files import StoredFile, list_stored_files, locate_files
from smallcaps_assets.lake.storage.files import FileSystem

logger = logging.getLogger(__name__)

KEY = ("ticker", "session_date")


@dataclass(frozen=True, slots=True)
class MonthPart:
    """A file of a compacted month, and which of its sessions are read from it.

    Attributes:
        path: The file.
        wanted: ``ticker`` and ``session_date`` of the sessions to read, sorted.
        hidden: Those in it that no longer count: replaced, moved aside, or not proven any more.
    """

    path: Path
    wanted: pl.DataFrame
    hidden: pl.DataFrame


@dataclass(frozen=True, slots=True)
class TradesSources:
    """Where proven trades are read from.

    Attributes:
        parts: Files of months, by month and then in the order of their sessions.
        files: Landing files of all other sessions, by ticker and session.
        months: The months that the parts belong to.
    """

    parts: list[MonthPart] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)
    months: list[CompactedMonth] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sessions are asked for; all by default.

    Attributes:
        tickers: Only these.
        first: First session, included.
        last: Last session, included.
    """

    tickers: tuple[str, ...] | None = None
    first: dt.date | None = None
    last: dt.date | None = None

    @property
    def bounds(self) -> tuple[dt.date, dt.date]:
        """The first and last session, included."""
        return self.first or dt.date.min, self.last or dt.date.max

    def select(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Keep those of some sessions that are asked for."""
        chosen = sessions.filter(pl.col("session_date").is_between(*self.bounds))
        if self.tickers is None:
            return chosen
        return chosen.filter(pl.col("ticker").is_in(self.tickers))


EVERYTHING: Final = Selection()


def locate_trades(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader, selection: Selection
) -> TradesSources:
    """Locate the sources that the proven trades asked for are read from.

    A month that is damaged, or a file of it that is gone, counts as not compacted: its sessions
    are looked for among the landing files.

    Raises:
        LakeError: The ledger is damaged.
    """
    store = MonthStore(layout, fs)
    names = store.list_months(selection.first, selection.last)
    if not names:
        asked = (selection.tickers, selection.first, selection.last)
        return TradesSources(files=list_stored_files(layout, fs, ledger, *asked))
    stored = ledger.stored_contents(selection.tickers, selection.first, selection.last)
    parts, months, held = [], [], [stored.select(KEY).clear()]
    for name in names:
        opened = _open_month(store, name)
        if opened is None:
            continue
        month, index = opened
        months.append(month)
        for part in _cut_parts(fs, month, selection.select(index), stored):
            parts.append(part)
            held.append(part.wanted)
    rest = stored.join(pl.concat(held), on=KEY, how="anti", maintain_order="left")
    return TradesSources(parts, locate_files(layout, fs, rest, Tree.TRADES), months)


def _open_month(store: MonthStore, name: str) -> tuple[CompactedMonth, pl.DataFrame] | None:
    """Open a month and read its sessions; ``None``: it cannot be read."""
    try:
        month = store.find(name)
        return None if month is None else (month, store.read_index(month))
    except (DataError, LakeError) as error:
        logger.warning("month not read month=%s error=%s", name, error)
        return None


def _cut_parts(
    fs: FileSystem, month: CompactedMonth, index: pl.DataFrame, stored: pl.DataFrame
) -> Iterable[MonthPart]:
    """Yield the files of a month that have sessions to read."""
    proven = stored.select(*KEY, "content_hash")
    for part in month.manifest.parts:
        path = month.folder / part.name
        if fs.size(path) != part.bytes:
            logger.warning("month lacks a file path=%s", path)
            continue
        listed = index.filter(pl.col("part") == part.name).select(*KEY, "content_hash")
        on = [*KEY, "content_hash"]
        wanted = listed.join(proven, on=on, how="semi", maintain_order="left").select(KEY)
        hidden = listed.join(proven, on=on, how="anti", maintain_order="left").select(KEY)
        if wanted.height:
            yield MonthPart(path, wanted, hidden)
