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
from smallcaps_assets.core.ticks.phases import AFTER_HOURS, PRE_MARKET, REGULAR
from smallcaps_assets.core.ticks.tape import read_instants, read_integers, read_lists
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
_LARGEST_ID: Final = max(CONDITION_RULES)
_SESSION_BITS: Final = 47
"""Bits that the nanoseconds of a day need."""
_HALF_DAY_NS: Final = 43_200_000_000_000


def label_prints(trades: pl.DataFrame) -> pl.DataFrame:
    """Add what each print may be used for: the columns :data:`CLASSES`, never null.

    An unknown condition forbids nothing; :func:`count_unknown_conditions` reports it.

    Args:
        trades: ``conditions``, ``correction``, ``trading_phase`` and ``is_late_report`` of
            ``schemas.TRADES``.

    Returns:
        The same rows in the same order.
    """
    marks = _mark_conditions(trades["conditions"])
    is_extended = trades["trading_phase"].is_in([PRE_MARKET, AFTER_HOURS]).to_numpy()
    is_late = trades["is_late_report"].to_numpy()
    is_valid = np.isin(read_integers(trades["correction"]), VALID_CORRECTIONS)
    volume = is_valid & ~_has(marks, _NO_VOLUME)
    ranges = volume & ~_has(marks, _NO_RANGE) & (is_extended | ~_has(marks, _EXTENDED))
    prices = ranges & ~_has(marks, _NO_PRICE)
    live = prices & ~is_late
    labels = (volume, ranges, prices, live, _has(marks, _AUCTION), _has(marks, _REOPENING))
    return trades.with_columns(
        pl.Series(name, values) for name, values in zip(CLASSES, labels, strict=True)
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
    sessions = _list_sessions(prints, calendar)
    clock = _Clock(prints, sessions)
    is_regular = (prints["trading_phase"] == REGULAR).to_numpy()
    opens, closes = clock.place(sessions["regular_open"]), clock.place(sessions["regular_close"])
    points = np.concatenate([opens, clock.instants[is_regular], closes])
    reopens = np.zeros(points.size, dtype=bool)
    reopens[opens.size : -closes.size or None] = prints["is_reopening_print"].filter(is_regular)
    order = np.argsort(points, kind="stable")
    points, reopens = points[order], reopens[order]
    starts, ends = points[:-1], points[1:]
    is_stretch = (ends - starts >= HALT_NS) & (starts >> _SESSION_BITS == ends >> _SESSION_BITS)
    starts, ends, reopens = starts[is_stretch], ends[is_stretch], reopens[1:][is_stretch]
    is_active = clock.count(starts - ACTIVITY_NS, starts) >= ACTIVE_PRINTS
    is_halt = reopens | is_active
    evidence = np.where(reopens, "reopening_print", "activity")
    evidence[np.isin(ends, closes)] = "to_close"
    return clock.frame_halts(starts[is_halt], ends[is_halt], evidence[is_halt])


def sign_prints(prints: pl.DataFrame, halts: pl.DataFrame) -> pl.DataFrame:
    """Add ``sign`` by the tick rule: 1 bought, -1 sold, 0 unknown; null: no volume print.

    Reference price and sign are forgotten at the start of a session and of a phase, after a halt
    and, the sign alone, after an auction.

    Args:
        prints: :func:`label_prints` of whole sessions, sorted by ticker, session and tape order.
        halts: :func:`find_halts` of them.

    Returns:
        The same rows in the same order, with ``sign`` (Int8).
    """
    volume, _, _, live, auction, _ = (prints[name].to_numpy() for name in CLASSES)
    restarts = _mark_starts(prints) | _mark_reopened(prints, halts)
    signs = sign_ticks(
        prints["price"].to_numpy(), prints["size"].to_numpy(), volume, live, (restarts, auction)
    )
    known = pl.when("is_volume_print").then(pl.lit(pl.Series("sign", signs)))
    return prints.with_columns(known.alias("sign"))


def _mark_conditions(conditions: pl.Series) -> npt.NDArray[np.uint8]:
    """Return the marks of all conditions of each print."""
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
    """Return the marks of each condition id, by the vendor's rules."""
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


def _mark_starts(prints: pl.DataFrame) -> Flags:
    """Return which prints begin a session or a phase."""
    keys = prints.select("ticker", "session_date", "trading_phase")
    starts: Flags = (
        keys.select(pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1))))
        .to_series()
        .to_numpy(writable=True)
    )
    starts[:1] = True
    return starts


def _mark_reopened(prints: pl.DataFrame, halts: pl.DataFrame) -> Flags:
    """Return which prints are the first after a halt."""
    ends = halts.select("ticker", "session_date", pl.col("end").alias("halted_until"))
    keys = ["ticker", "session_date"]
    last = prints.select(*keys, "sip_timestamp").join_asof(
        ends.sort("halted_until"),
        left_on="sip_timestamp",
        right_on="halted_until",
        by=keys,
        check_sortedness=False,
    )["halted_until"]
    changed = last.is_not_null() & last.ne_missing(last.shift(1))
    flags: Flags = changed.to_numpy()
    return flags


def _list_sessions(prints: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Return the sessions of prints, in their order, with their place and phases."""
    sessions = prints.select("ticker", "session_date").unique(maintain_order=True)
    phases = calendar.frame.select("session_date", "regular_open", "regular_close")
    return sessions.join(
        phases, on="session_date", how="inner", maintain_order="left"
    ).with_row_index("place")


class _Clock:
    """One ascending time line for the prints of many sessions: the session, then its day."""

    def __init__(self, prints: pl.DataFrame, sessions: pl.DataFrame) -> None:
        self._sessions = sessions
        self._opens = read_instants(sessions, "regular_open")
        keys = ["ticker", "session_date"]
        placed = prints.select(keys).join(
            sessions.select(*keys, "place"), on=keys, how="left", maintain_order="left"
        )
        places = read_integers(placed["place"])
        self.instants = self._place(places, read_instants(prints, "sip_timestamp"))

    def place(self, instants: pl.Series) -> Integers:
        """Return one instant of each session on the time line."""
        return self._place(np.arange(instants.len()), read_integers(instants))

    def count(self, first: Integers, last: Integers) -> Integers:
        """Return the prints from ``first`` to ``last``, both included."""
        before = np.searchsorted(self.instants, first, side="left")
        return np.searchsorted(self.instants, last, side="right") - before

    def frame_halts(
        self, starts: Integers, ends: Integers, evidence: npt.NDArray[np.str_]
    ) -> pl.DataFrame:
        """Return halts by their places on the time line."""
        sessions = self._sessions[(starts >> _SESSION_BITS).tolist()]
        halts = sessions.select("ticker", "session_date").with_columns(
            start=pl.Series(self._read(starts)),
            end=pl.Series(self._read(ends)),
            evidence=pl.Series(evidence, dtype=pl.String),
        )
        return HALTS.conform(
            halts.cast({"start": HALTS.schema["start"], "end": HALTS.schema["end"]})
        )

    def _place(self, places: Integers, instants: Integers) -> Integers:
        if not instants.size:
            return instants
        points: Integers = (places << _SESSION_BITS) + instants - self._opens[places] + _HALF_DAY_NS
        return points

    def _read(self, points: Integers) -> Integers:
        places = points >> _SESSION_BITS
        instants: Integers = points - (places << _SESSION_BITS) - _HALF_DAY_NS + self._opens[places]
        return instants
