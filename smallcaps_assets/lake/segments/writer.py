"""What is in hand between an answer of the vendor and its segment, and when a segment closes.

What belongs here: the rules of closing.  What does not: encoding (``closing``), which a thread
does, and the commit (``commit``), which one caller does for all.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.core.segments.upkeep import PART_BYTES
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.schemas import TRADES

MOST_BYTES: Final = 256 * 1024**2
"""Most bytes of rows that wait for a segment, as they lie in memory."""

Origin = TypeVar("Origin")


@dataclass(frozen=True, slots=True)
class ClosingRules:
    """When a segment closes.

    Attributes:
        part_bytes: Size near which a part ends.
        row_bytes: Bytes that a stored row is expected to take.
        interval_s: Longest time that rows wait.
        most_bytes: Bytes of all rows in hand, as they lie in memory.
    """

    part_bytes: int = PART_BYTES
    row_bytes: int = 20
    interval_s: float = 30.0
    most_bytes: int = MOST_BYTES


@dataclass(slots=True)
class Bundle(Generic[Origin]):
    """Sessions of one month in hand.

    Attributes:
        month: The month.
        since_s: When the oldest of them came, by the writer's clock.
        entries: Their entries.
        trades: Their rows, as they came.
        origins: What whoever commits them has to know of where they came from.
        rows: Rows of them all.
        bytes: What these take in memory.
    """

    month: str
    since_s: float
    entries: list[Entry] = field(default_factory=list)
    trades: list[pl.DataFrame] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def close(self) -> Draft:
        """Order, measure, hash and encode them, and let go of the rows; for a worker thread.

        Raises:
            DataError: What came is not what a segment may hold.
        """
        pieces, self.trades = self.trades, []
        # Chains of several tickers put in order are rows in order, which nobody has to move.
        pieces = sorted((rows for rows in pieces if rows.height), key=_find_start)
        trades = pl.concat([TRADES.empty(), *pieces])
        del pieces
        return close_segment(self.month, frame_entries(self.entries), trades)


class SegmentWriter(Generic[Origin]):
    """Gathers sessions by month, and says which bundles have to be closed; for one thread."""

    def __init__(
        self, rules: ClosingRules | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing in hand."""
        self._rules = rules or ClosingRules()
        self._clock = clock
        self._bundles: dict[str, Bundle[Origin]] = {}

    def __iter__(self) -> Iterator[Bundle[Origin]]:
        return iter(self._bundles.values())

    @property
    def bytes_in_hand(self) -> int:
        """Sum up what the rows in hand take in memory."""
        return sum(bundle.bytes for bundle in self._bundles.values())

    def add(
        self, entries: Sequence[Entry], trades: pl.DataFrame, origin: Origin | None = None
    ) -> None:
        """Take what one page chain brought, which may cross months.

        Args:
            entries: Its sessions, and dates without one, in order.
            trades: ``schemas.TRADES`` of them, in the same order.
            origin: What is to be known of it at its commit; each of its months gets it.

        Raises:
            SchemaError: The trades break their contract.
        """
        whole = TRADES.conform(trades)
        months = list(dict.fromkeys(month_of(entry.owner) for entry in entries))
        for month in months:
            own = [entry for entry in entries if month_of(entry.owner) == month]
            rows = whole if len(months) == 1 else _select(whole, own)
            bundle = self._bundles.setdefault(month, Bundle(month, self._clock()))
            bundle.entries += own
            bundle.trades.append(rows)
            bundle.origins += [] if origin is None else [origin]
            bundle.rows += rows.height
            bundle.bytes += int(rows.estimated_size())

    def take_due(self, is_open: Callable[[str], bool] = lambda _: True) -> list[Bundle[Origin]]:
        """Take what is full, done, or has waited long enough, and the oldest of too much.

        Args:
            is_open: Tells of a month whether more may come of it.
        """
        due = [bundle for bundle in self._bundles.values() if self._is_due(bundle, is_open)]
        taken = [self._bundles.pop(bundle.month) for bundle in due]
        while self.bytes_in_hand > self._rules.most_bytes:
            oldest = min(self._bundles.values(), key=lambda bundle: bundle.since_s)
            taken.append(self._bundles.pop(oldest.month))
        return taken

    def take_all(self) -> list[Bundle[Origin]]:
        """Take everything in hand, the oldest first: the run is at its end."""
        taken = sorted(self._bundles.values(), key=lambda bundle: bundle.since_s)
        self._bundles.clear()
        return taken

    def _is_due(self, bundle: Bundle[Origin], is_open: Callable[[str], bool]) -> bool:
        rules = self._rules
        is_full = bundle.rows * rules.row_bytes >= rules.part_bytes
        is_old = self._clock() - bundle.since_s >= rules.interval_s
        return is_full or is_old or not is_open(bundle.month)


def _find_start(rows: pl.DataFrame) -> tuple[str, dt.date]:
    return rows["ticker"][0], rows["session_date"][0]


def _select(trades: pl.DataFrame, entries: Sequence[Entry]) -> pl.DataFrame:
    """Copy the rows of some entries: a slice would keep the rows of all others in memory."""
    dates = [entry.session_date for entry in entries]
    return trades.filter(pl.col("session_date").is_in(dates))
