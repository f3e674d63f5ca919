"""Room on the disks: asked for before each range, so that a download stops before one is full.

What belongs here: the bytes that sessions will take, and the words when they do not fit. What does
not: free bytes and reserves (``lake.storage.free_space``), and what a full disk does to a write all
the same (``lake.storage.files``).

What sessions take is known when they are stored: until then their trades are weighed, and while
they wait for it they count as large as they lie in memory.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from smallcaps_assets.core.budget.calibration import (
    COMMIT_BYTES,
    ENTRY_BYTES,
    INDEX_BYTES,
    Calibration,
)
from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.free_space import FreeSpace
from smallcaps_assets.lakehouse import Lakehouse

MARGIN: Final = 1.5
"""Files differ from the average: a range is let in when so many times its estimate fits."""


class Held(NamedTuple):
    """What came and is not stored yet.

    Attributes:
        months: Months that it belongs to, each of which takes a commit.
        bytes: What its rows take in memory.
    """

    sessions: int = 0
    months: int = 0
    bytes: int = 0


_NOTHING: Final = Held()


@dataclass(slots=True)
class Room:
    """The disks of one download.

    Attributes:
        lake_dir: Where the sessions go.
        data_dir: Where the ledger and Dagster's events grow.
        estimated_bytes: What was estimated for the sessions that arrived so far.
        arrived_bytes: What they take.
    """

    space: FreeSpace
    lake_dir: Path
    data_dir: Path
    calendar: SessionCalendar
    bars: BarFacts
    calibration: Calibration
    estimated_bytes: float = 0.0
    arrived_bytes: float = 0.0

    def learn(self, result: RangeResult) -> None:
        """Take note of how large the sessions of a range are, which no bar may have told."""
        sessions = (*result.sessions, *result.off_session)
        self.estimated_bytes += self._estimate(self._expect(result.span))
        self.arrived_bytes += self._estimate([session.receipt.rows for session in sessions])

    def correct(self, stored: Sequence[Receipt]) -> None:
        """Take note of what sessions take that were weighed by their trades, once it is known."""
        sizes = sum(receipt.bytes + ENTRY_BYTES for receipt in stored)
        self.arrived_bytes += sizes - self._estimate([receipt.rows for receipt in stored])

    def fits(self, spans: Sequence[RequestRange], held: Held = _NOTHING) -> bool:
        """Say whether ranges, and what is not stored yet, fit beside all reserves.

        Raises:
            StorageError: A disk is gone.
        """
        sessions = [(span.ticker, date) for span in spans for date in self._list_dates(span)]
        expected = [self.bars.expect_count(*session) for session in sessions]
        commits = len({month_of(date) for _, date in sessions}) + held.months
        index = (len(expected) + held.sessions) * INDEX_BYTES + commits * COMMIT_BYTES
        if self.space.measure_room(self.data_dir) < index:
            return False
        # The data folder may lie on the same disk, so the index counts on each.
        wanted = MARGIN * self._need_bytes(expected) + held.bytes + index
        return self.space.measure_room(self.lake_dir) >= wanted

    def describe_lack(self, waiting: Sequence[RequestRange], planned: Sequence[int | None]) -> str:
        """Say why a download stops, how much room everything missing needs, and what to do.

        ``planned`` are the expected trades of each planned session that is missing; of a lake
        without a plan the ranges that wait are all that is known.

        Raises:
            StorageError: A disk is gone.
        """
        missing = planned or [n for span in waiting for n in self._expect(span)]
        needed = self._need_bytes(missing) + len(missing) * INDEX_BYTES
        return (
            f"no room for the next range ({waiting[0].describe()}): {self._describe_disks()}. What "
            f"is finished is stored; {len(missing):,} sessions are missing and need about "
            f"{format_bytes(needed)} more.  Make room, move the lake by `smallcaps relocate DEST`, "
            "or lower SMALLCAPS_DISK_RESERVE_GB; then run the same command again"
        )

    def _expect(self, span: RequestRange) -> list[int | None]:
        return [self.bars.expect_count(span.ticker, date) for date in self._list_dates(span)]

    def _list_dates(self, span: RequestRange) -> list[dt.date]:
        return self.calendar.dates(span.first_session, span.last_session)

    def _need_bytes(self, expected: Sequence[int | None]) -> float:
        """Estimate the bytes that sessions of so many trades take on their disk."""
        is_low = self.arrived_bytes > self.estimated_bytes
        correction = self.arrived_bytes / self.estimated_bytes if is_low else 1.0
        return self._estimate(expected) * correction

    def _estimate(self, expected: Sequence[int | None]) -> float:
        sizes = self.calibration
        counts = [sizes.trades_per_session if count is None else count for count in expected]
        files = sum(count > 0 for count in counts)
        return sizes.predict_bytes(sum(counts), files) + len(expected) * ENTRY_BYTES

    def _describe_disks(self) -> str:
        """Describe what is free on each disk, once each."""
        disks = {self.space.fs.device(path): path for path in (self.data_dir, self.lake_dir)}
        return ", ".join(map(self.space.describe, disks.values()))


def open_room(lakehouse: Lakehouse, bars: BarFacts, costs: Calibration) -> Room:
    """Look at the disks of a lake, for sessions with these bars at these costs."""
    return Room(
        lakehouse.free_space,
        lakehouse.layout.lake_dir,
        lakehouse.home.data_dir,
        lakehouse.calendar,
        bars,
        costs,
    )
