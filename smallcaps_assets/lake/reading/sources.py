"""What readers ask for, and the files that they are answered from.

What belongs here: a selection of sessions, the parts that have them, and what is lost of these.
What does not: which parts these are (``locating``), what readers make of them (``scans``).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.errors import MissingPartitionError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem

KEY: Final = ("ticker", "session_date")

SHOWN_FILES: Final = 3
"""Missing files that a message names."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file with the trades of many sessions, and which of them are read from it.

    Attributes:
        path: The file.
        bytes: Its size by what describes it.
        wanted: ``ticker`` and ``session_date`` of the sessions to read, sorted.
        is_whole: All rows in it count; otherwise some were replaced, moved or not proven since.
    """

    path: Path
    bytes: int
    wanted: pl.DataFrame
    is_whole: bool

    @property
    def year(self) -> int:
        """The year of its sessions, which are those of one month."""
        return int(self.wanted["session_date"][0].year)

    def is_there(self, fs: FileSystem) -> bool:
        """Tell whether a file of that size lies there and can be seen; a link does not count."""
        try:
            return fs.size(self.path) == self.bytes
        except StorageError:
            return False


@dataclass(frozen=True, slots=True)
class TradesSources:
    """Where trades are read from, each exactly once.

    Attributes:
        parts: The files, by month and then in the order of their sessions.
        missing: Sessions that the ledger calls proven and that no record has.
    """

    parts: list[PartFile] = field(default_factory=list)
    missing: list[tuple[str, dt.date]] = field(default_factory=list)

    @property
    def partial(self) -> list[PartFile]:
        """The parts of which some rows do not count."""
        return [part for part in self.parts if not part.is_whole]

    def find_lost(self, fs: FileSystem) -> list[Path]:
        """List the files that are gone or cut."""
        return [part.path for part in self.parts if not part.is_there(fs)]

    def leave_out(self, lost: Sequence[Path]) -> Self:
        """Leave some files out."""
        gone = frozenset(lost)
        return replace(self, parts=[part for part in self.parts if part.path not in gone])

    def cut_years(self) -> dict[int, "TradesSources"]:
        """Cut the files by the year of their sessions, in order of years."""
        cut: dict[int, TradesSources] = {}
        for part in self.parts:
            cut.setdefault(part.year, TradesSources()).parts.append(part)
        return dict(sorted(cut.items()))


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


def require_files(fs: FileSystem, sources: TradesSources) -> None:
    """Refuse sources that are not on the disk as a whole: what is missing must not read as empty.

    Raises:
        MissingPartitionError: A file is gone, or not of the size that its record states;
            or a record is gone whose sessions the ledger remembers.
    """
    lost, missing = sources.find_lost(fs), sources.missing
    if not (lost or missing):
        return
    counts = {
        f"{len(lost)} of {len(sources.parts)} files with proven trades are gone or cut": lost,
        f"{len(missing)} proven sessions are in no record": missing,
    }
    named = [*map(str, lost), *(encode_key(*key) for key in missing)]
    raise MissingPartitionError(
        f"{' and '.join(text for text, those in counts.items() if those)}, first "
        f"{', '.join(named[:SHOWN_FILES])}: reopen the lake; if that does not help, run "
        "`smallcaps audit --deep`, then `smallcaps repair` and `smallcaps download`"
    )
