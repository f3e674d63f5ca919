"""The four classes of prints, halts, and signs by the tick rule.

What belongs here: what a single print may be used for, and what follows from the row of prints of
one session.  What does not: bars of them (``minute_bars``, ``information_bars``), the vendor's
rules themselves (``core.ticks.conditions``).

Each class is part of the one before: volume prints count, range prints set high and low, price
prints open and close, live prints signs, entries and touches.  Nothing crosses a session.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.research.kernels import Flags, Integers, sign_ticks
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.ticks.conditions import CONDITION_RULES, VALID_CORRECTIONS
from smallcaps_assets.core.ticks.phases import AFTER_HOURS, PHASES, PRE_MARKET, REGULAR
from smallcaps_assets.core.ticks.tape import read_instants, read_integers, read_lists
from smallcaps_assets.schemas import INSTANT
from smallcaps_assets.schemas_research import HALTS

AUCTIONS: Final = (8, 9, 17, 18, 19, 25, 28, 55)
"""Conditions of auctions and crosses: two-sided, so that they have no aggressor and no sign."""
REOPENINGS: Final = (18, 28, 55)
"""Conditions of prints that end a halt."""
FORM_T: Final = 12
"""Extended hours: no obstacle within them."""

HALT_NS: Final = 290_000_000_000
"""Shortest halt: late executions trail into the first seconds of a pause of 300 s."""
ACTIVITY_NS: Final = 300_000_000_000
ACTIVE_PRINTS: Final = 20
"""Prints in the 300 s before a stretch without any that make it a halt."""

CLASSES: Final = (
    "is_volume_print",
    "is_range_print",
    "is_price_print",
    "is_live_print",
    "is_auction_print",
    "is_reopening_print",
)
"""Columns of :func:`label_prints`."""

PRINT_COLUMNS: Final = (
    "ticker",
    "session_date",
    "sip_timestamp",
    "price",
    "size",
    "trf_id",
    "conditions",
    "correction",
    "trading_phase",
    "is_late_report",
)
"""Columns of trades that research reads."""

_NO_VOLUME, _NO_RANGE, _NO_PRICE, _EXTENDED, _AUCTION, _REOPENING = (1 << bit for bit in range(6))
_PHASE: Final = pl.Enum(PHASES)
_LARGEST_ID: Final = max(CONDITION_RULES)
_SESSION_BITS: Final = 47
"""Bits that the nanoseconds of a day need."""
_HALF_DAY_NS: Final = 43_200_000_000_000


def label_prints(trades: pl.DataFrame) -> pl.DataFrame:
    """Add what each print may be used for, and number the sessions.

    The columns :data:`CLASSES` are never null.  ``session`` (UInt32) counts ticker-sessions from 0;
    ``trading_phase`` becomes an enumeration, which compares faster.

    An unknown condition forbids nothing; :func:`count_unknown_conditions` reports it.

    Args:
        trades: :data:`PRINT_COLUMNS` of whole sessions, by ticker, session and tape order.

    Returns:
        The same rows in the same order.
    """
    marks = _mark_conditions(trades["conditions"])
    phases = trades["trading_phase"].cast(_PHASE)
    is_extended = phases.is_in([PRE_MARKET, AFTER_HOURS]).to_numpy()
    volume = trades["correction"].is_in(VALID_CORRECTIONS).to_numpy() & ~_has(marks, _NO_VOLUME)
    ranges = volume & ~_has(marks, _NO_RANGE) & (is_extended | ~_has(marks, _EXTENDED))
    prices = ranges & ~_has(marks, _NO_PRICE)
    live = prices & ~trades["is_late_report"].to_numpy()
    labels = (volume, ranges, prices, live, _has(marks, _AUCTION), _has(marks, _REOPENING))
    starts = mark_changes(trades["ticker"]) | mark_changes(trades["session_date"])
    return trades.with_columns(
        phases,
        pl.Series("session", np.cumsum(starts) - 1, dtype=pl.UInt32),
        *(pl.Series(name, values) for name, values in zip(CLASSES, labels, strict=True)),
    )


def count_unknown_conditions(trades: pl.DataFrame) -> dict[int, int]:
    """Count prints by conditions that the vendor's table does not have, by id."""
    _, ids = read_lists(trades["conditions"])
    unknown, counts = np.unique(ids[~np.isin(ids, list(CONDITION_RULES))], return_counts=True)
    return dict(zip(unknown.tolist(), counts.tolist(), strict=True))


def find_halts(prints: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Find stretches of the regular phase without any print that only a halt explains.

    A stretch of at least 290 s is a halt if a reopening print ends it, or if at least 20 prints
    came in the 300 s before it.  In a thin stock a gap alone proves nothing.

    Args:
        prints: :func:`label_prints` of whole sessions, sorted by ticker, session and tape order.
        calendar: Sessions and their phases.

    Returns:
        ``schemas_research.HALTS``, sorted by its key.
    """
    if prints.is_empty():
        return HALTS.empty()
    clock = _Clock(prints, calendar)
    is_regular = (prints["trading_phase"] == REGULAR).to_numpy()
    starts, ends, reopens = clock.find_stretches(is_regular, prints["is_reopening_print"])
    is_active = clock.count(starts - ACTIVITY_NS, starts) >= ACTIVE_PRINTS
    evidence = np.where(reopens, "reopening_print", "activity")
    evidence[np.isin(ends, clock.closes)] = "to_close"
    is_halt = reopens | is_active
    return clock.frame_halts(starts[is_halt], ends[is_halt], evidence[is_halt])


def sign_prints(
    prints: pl.DataFrame, halts: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Add ``sign`` by the tick rule: 1 bought, -1 sold, 0 unknown; null: no volume print.

    Reference price and sign are forgotten at the start of a session and of a phase, after a halt
    and, the sign alone, after an auction.

    Args:
        prints: :func:`label_prints` of whole sessions, sorted by ticker, session and tape order.
        halts: :func:`find_halts` of them.
        calendar: Sessions and their phases.

    Returns:
        The same rows in the same order, with ``sign`` (Int8).
    """
    volume, _, _, live, auction, _ = (prints[name].to_numpy() for name in CLASSES)
    restarts = mark_changes(prints["trading_phase"]) | mark_changes(prints["session"])
    if halts.height:
        restarts[_Clock(prints, calendar).locate_ends(halts)] = True
    signs = sign_ticks(
        prints["price"].to_numpy(), prints["size"].to_numpy(), volume, live, (restarts, auction)
    )
    signed = prints.with_columns(pl.Series("sign", signs))
    return signed.with_columns(pl.when("is_volume_print").then("sign"))


def _mark_conditions(conditions: pl.Series) -> npt.NDArray[np.uint8]:
    """Mark each print by all of its conditions."""
    lengths, ids = read_lists(conditions)
    marks = np.zeros(lengths.size, dtype=np.uint8)
    if ids.size:
        known = (ids >= 0) & (ids <= _LARGEST_ID)
        of_members = np.where(known, _MARKS[np.where(known, ids, 0)], np.uint8(0))
        has_any = lengths > 0
        firsts = (np.cumsum(lengths) - lengths)[has_any]
        marks[has_any] = np.bitwise_or.reduceat(of_members, firsts)
    return marks


def _make_marks() -> npt.NDArray[np.uint8]:
    """Make the marks of each condition id, by the vendor's rules."""
    marks = np.zeros(_LARGEST_ID + 1, dtype=np.uint8)
    for rule in CONDITION_RULES.values():
        marks[rule.id] |= 0 if rule.updates_volume else _NO_VOLUME
        marks[rule.id] |= 0 if rule.updates_high_low else _NO_RANGE
        marks[rule.id] |= 0 if rule.updates_open_close else _NO_PRICE
    marks[FORM_T] = _EXTENDED
    marks[list(AUCTIONS)] |= _AUCTION
    marks[list(REOPENINGS)] |= _REOPENING
    return marks


_MARKS: Final = _make_marks()


def _has(marks: npt.NDArray[np.uint8], mark: int) -> Flags:
    return (marks & mark) > 0


def mark_changes(values: pl.Series) -> Flags:
    """Mark the values that differ from the one before; the first one does."""
    runs = (values.rle_id() if values.dtype == pl.String else values.to_physical()).to_numpy()
    changes = np.ones(runs.size, dtype=bool)
    np.not_equal(runs[1:], runs[:-1], out=changes[1:])
    return changes


class _Clock:
    """One ascending time line for the prints of many sessions: the session, then its day.

    Attributes:
        instants: The prints on the time line.
        closes: The regular close of each session on it.
    """

    def __init__(self, prints: pl.DataFrame, calendar: SessionCalendar) -> None:
        self._places = prints["session"].to_numpy()
        starts = np.flatnonzero(mark_changes(prints["session"]))
        sessions = prints.select("ticker", "session_date")[starts]
        phases = calendar.frame.select("session_date", "regular_open", "regular_close")
        joined = sessions.join(phases, on="session_date", how="left", maintain_order="left")
        self._sessions = sessions
        self._opens = read_instants(joined, "regular_open")
        order = np.arange(sessions.height)
        self._first = self._place(order, self._opens)
        self.closes = self._place(order, read_instants(joined, "regular_close"))
        self.instants = self._place(self._places, read_instants(prints, "sip_timestamp"))

    def find_stretches(
        self, is_regular: Flags, reopens: pl.Series
    ) -> tuple[Integers, Integers, Flags]:
        """Find starts and ends of stretches without a print, and which a reopening ends."""
        points, places = self.instants[is_regular], self._places[is_regular]
        ending = reopens.to_numpy()[is_regular]
        rows = np.arange(self._sessions.height)
        first = np.searchsorted(places, rows, side="left")
        last = np.searchsorted(places, rows, side="right")
        has_any = last > first
        nothing = np.zeros(rows.size, dtype=bool)
        before_first, after_last = first[has_any], last[has_any] - 1
        gaps = np.flatnonzero((np.diff(points) >= HALT_NS) & (np.diff(places) == 0))
        starts = (self._first[has_any], points[gaps], points[after_last], self._first[~has_any])
        ends = (points[before_first], points[gaps + 1], self.closes[has_any], self.closes[~has_any])
        reopened = (ending[before_first], ending[gaps + 1], nothing[has_any], nothing[~has_any])
        start, end, reopen = map(np.concatenate, (starts, ends, reopened))
        order = np.argsort(start, kind="stable")
        order = order[(end - start)[order] >= HALT_NS]
        return start[order], end[order], reopen[order]

    def count(self, first: Integers, last: Integers) -> Integers:
        """Count the prints from ``first`` to ``last``, both included."""
        before = np.searchsorted(self.instants, first, side="left")
        return np.searchsorted(self.instants, last, side="right") - before

    def locate_ends(self, halts: pl.DataFrame) -> Integers:
        """Find the first print after each halt that prints follow in its session."""
        places = self._sessions.with_row_index("place")
        known = halts.join(
            places, on=["ticker", "session_date"], how="inner", maintain_order="left"
        )
        ends = self._place(read_integers(known["place"]), read_instants(known, "end"))
        rows = np.searchsorted(self.instants, ends)
        return rows[rows < self.instants.size]

    def frame_halts(
        self, starts: Integers, ends: Integers, evidence: npt.NDArray[np.str_]
    ) -> pl.DataFrame:
        """Frame halts by their places on the time line."""
        places = starts >> _SESSION_BITS
        halts = self._sessions[places].with_columns(
            start=self._read(places, starts),
            end=self._read(places, ends),
            evidence=pl.Series(evidence, dtype=pl.String),
        )
        return HALTS.conform(halts)

    def _place(self, places: Integers, instants: Integers) -> Integers:
        shifts = (np.arange(self._opens.size) << _SESSION_BITS) - self._opens + _HALF_DAY_NS
        points: Integers = instants + shifts[places]
        return points

    def _read(self, places: Integers, points: Integers) -> pl.Series:
        instants = points - (places << _SESSION_BITS) - _HALF_DAY_NS + self._opens[places]
        return pl.Series(instants).cast(INSTANT)
