"""What the trades of an archived session say against themselves: identity, order and clocks.

What belongs here: contradictions that need no daily bar, because a bar has none of these columns.
What does not: the bar (``sessions``, ``core.ticks.bar_prices``), units and zones of instants
(``times``).

Withdrawn trades and their records share number and id, so only uncorrected trades are looked at.
What real tapes do is tolerated: two off-exchange trades of one id (seen in 2016), extended-hours
trades in the first half second of a session (2013), over-the-counter numbers that repeat.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.archive.findings import Finding, FindingKind
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.ticks.conditions import has_condition
from smallcaps_assets.core.ticks.phases import AFTER_HOURS, PRE_MARKET, REGULAR, count_phases
from smallcaps_assets.core.ticks.tape import Integers, read_instants, read_integers

OFF_EXCHANGE: Final = 4
"""Exchange of everything reported to a trade reporting facility."""
OVER_THE_COUNTER: Final = 62

EXTENDED_HOURS: Final = (12, 13)
"""Conditions of trades outside regular hours, and of no others."""
CLOSING_PRINT: Final = 8
_CLOSING: Final = (CLOSING_PRINT, 15)
"""Closing prints and official closes: never before the close."""
_OPENING: Final = (16, 17, 25)
_AUCTIONS: Final = (*_CLOSING, *_OPENING, 18, 19, 28, 38)
_LATE: Final = (2, 5, 7, 10, 13, 20, 21, 22, 29, 30, 31, 32, 33, 52, 53)
"""Conditions of trades that are agreed on, or reported, at another time than most."""

IMPLAUSIBLE_SHARE: Final = 0.1
"""Trades in a phase that their conditions deny, from which the clock of the archive is wrong."""
FEW_ROWS: Final = 3

_US: Final = 1_000
_MS: Final = 1_000 * _US
_REPORTED_WITHIN_NS: Final = 100 * _MS
"""Half of the trades reach the tape sooner; real ones take 15 microseconds to a few ms."""
_LATE_NS: Final = 1_000 * _MS
_LATE_SHARE: Final = 0.1
_AHEAD_NS: Final = 10 * _MS
_AHEAD_SHARE: Final = 0.01
"""Trades on the tape before they happened: clocks of venues differ by less."""
_BELL_NS: Final = 50 * _MS
_CLOSED_WITHIN_NS: Final = 45 * 60 * 1_000 * _MS
"""Closing prints come within seconds, and within minutes on a bad day."""
_AFTER_OPEN_NS: Final = 500 * _MS
"""Extended-hours trades that real tapes have after the opening bell come within it."""

_REPEATED_OFF_SHARE: Final = 0.02
_VENUE_SHARE: Final = 0.01

Bools = npt.NDArray[np.bool_]


def look_at_identity(trades: pl.DataFrame) -> Iterator[Finding]:
    """Yield ids, numbers and venues of a session's trades that cannot be those of different ones.

    ``trades`` are ``schemas.TRADES`` in tape order.
    """
    plain = trades.filter(pl.col("correction").fill_null(0) == 0)
    is_off = pl.col("exchange").fill_null(0) == OFF_EXCHANGE
    ids = plain.drop_nulls("id").select("exchange", "trf_id", "id", is_off=is_off)
    on, off = ids.filter(~pl.col("is_off")), ids.filter("is_off")
    repeated_on, repeated_off = _count_repeated(on), _count_repeated(off)
    if repeated_on or repeated_off > max(1.0, _REPEATED_OFF_SHARE * off.height):
        message = (
            f"{repeated_on + repeated_off} of {ids.height} trades have the id of an earlier one "
            "of their venue"
        )
        yield Finding(FindingKind.REPEATED_IDS, message)
    listed = plain.filter(pl.col("exchange").ne_missing(OVER_THE_COUNTER))
    numbers = listed["sequence_number"].drop_nulls()
    if repeated := numbers.len() - numbers.n_unique():
        message = f"{repeated} of {numbers.len()} trades have the number of an earlier one"
        yield Finding(FindingKind.REPEATED_NUMBERS, message)
    if disordered := int((numbers.diff() < 0).sum()):
        message = f"{disordered} of {numbers.len()} sequence numbers fall where time continues"
        yield Finding(FindingKind.DISORDERED_NUMBERS, message)
    yield from _look_at_venues(plain)


def look_at_clocks(trades: pl.DataFrame, calendar: SessionCalendar) -> Iterator[Finding]:
    """Yield instants of a session's tape that contradict each other, or the bells of the session.

    A clock that is wrong by the same second in every column shows only at the bells, if a trade
    lies near enough to one of them.
    """
    yield from _look_at_phases(trades)
    timely = trades.filter((pl.col("correction").fill_null(0) == 0) & ~has_condition(_LATE))
    if timely.is_empty():
        return
    yield from _look_at_lags(timely)
    on = timely.filter(pl.col("exchange").ne_missing(OFF_EXCHANGE))
    if on.height:
        yield from _look_at_bells(on, calendar)


def _count_repeated(ids: pl.DataFrame) -> int:
    return ids.height - ids.unique().height


def _look_at_venues(plain: pl.DataFrame) -> Iterator[Finding]:
    """Yield venues that the ids of reporting facilities contradict."""
    is_off = pl.col("exchange") == OFF_EXCHANGE
    has_facility = pl.col("trf_id").fill_null(0) > 0
    foreign, lacking, reported = plain.select(
        (has_facility & ~is_off).sum().alias("foreign"),
        (~has_facility & is_off).sum().alias("lacking"),
        (has_facility & is_off).sum().alias("reported"),
    ).row(0)
    odd = foreign + (lacking if reported else 0)
    if odd > _VENUE_SHARE * plain.height:
        message = (
            f"{odd} of {plain.height} trades name a reporting facility and an exchange, or neither"
        )
        yield Finding(FindingKind.VENUES_CONTRADICT, message)


def _look_at_phases(trades: pl.DataFrame) -> Iterator[Finding]:
    """Yield many trades in a phase that their conditions deny; auctions end after the close."""
    is_regular = pl.col("trading_phase") == REGULAR
    is_extended = has_condition(EXTENDED_HOURS)
    is_odd = (is_regular & is_extended) | ~(is_regular | is_extended | has_condition(_AUCTIONS))
    odd = int(trades.select(is_odd.sum()).item())
    is_many = odd >= FEW_ROWS or odd == trades.height
    if is_many and odd > IMPLAUSIBLE_SHARE * trades.height:
        counts = ", ".join(f"{count} {phase}" for phase, count in count_phases(trades).items())
        message = f"{odd} of {trades.height} rows lie in a phase their conditions deny ({counts})"
        yield Finding(FindingKind.PHASES_IMPLAUSIBLE, f"{message}: the clock is shifted")


def _look_at_lags(timely: pl.DataFrame) -> Iterator[Finding]:
    """Yield how far the tape's clock is from those of the venues."""
    sip = read_instants(timely, "sip_timestamp")
    is_off = read_integers(timely["exchange"]) == OFF_EXCHANGE
    has_facility = is_off & (read_integers(timely["trf_id"]) > 0)
    clocks = {
        "participant_timestamp": ~is_off,
        "trf_timestamp": has_facility,
    }
    for name, is_prompt in clocks.items():
        clock = read_instants(timely, name)
        is_known = is_prompt & (clock > 0)
        if is_known.any() and (message := _judge_lags(sip[is_known], clock[is_known])):
            yield Finding(FindingKind.CLOCKS_DIFFER, f"sip_timestamp and {name}: {message}")


def _judge_lags(sip: Integers, clock: Integers) -> str:
    """Say what is wrong with the times trades took to the tape; empty: nothing."""
    lags = sip - clock
    if not lags.any() and (sip % _US).any():
        return f"equal in all of {lags.size} trades: one of them is a copy"
    median, count = float(np.median(lags)), lags.size
    late, ahead = int((lags > _LATE_NS).sum()), int((lags < -_AHEAD_NS).sum())
    if median > _REPORTED_WITHIN_NS:
        return f"half of {count} trades took more than {median / _MS:.6g} ms to the tape"
    if late > _LATE_SHARE * count:
        return f"{late} of {count} trades took more than a second to the tape"
    if ahead > _AHEAD_SHARE * count:
        return f"{ahead} of {count} trades are on the tape before they happened"
    return ""


def _look_at_bells(on: pl.DataFrame, calendar: SessionCalendar) -> Iterator[Finding]:
    """Yield trades on exchanges on the wrong side of a bell."""
    session_date = on["session_date"].item(0)
    hours = calendar.frame.filter(pl.col("session_date") == session_date)
    opening, closing = (read_instants(hours, f"regular_{bell}")[0] for bell in ("open", "close"))
    sip = read_instants(on, "sip_timestamp")
    venue = read_instants(on, "participant_timestamp")
    happened = np.where(venue > 0, venue, sip)
    is_extended = _read_bools(on, has_condition(EXTENDED_HOURS))
    is_auction = _read_bools(on, has_condition(_AUCTIONS))
    phase = {name: (on["trading_phase"] == name).to_numpy() for name in _PHASES}
    found = {
        "before the opening bell without the condition of extended hours": (
            phase[PRE_MARKET] & ~is_extended & (sip < opening - _BELL_NS)
        ),
        "after the opening bell, ahead of all others, with the condition of extended hours": (
            _lead(phase[REGULAR], is_extended) & (happened >= opening + _AFTER_OPEN_NS)
        ),
        "before the closing bell as closing prints": (
            phase[REGULAR] & _read_bools(on, has_condition(_CLOSING)) & (sip < closing - _BELL_NS)
        ),
        "long after the closing bell as closing prints": (
            _read_bools(on, has_condition((CLOSING_PRINT,)))
            & (happened >= closing + _CLOSED_WITHIN_NS)
        ),
        "after the closing bell without the condition of extended hours": (
            phase[AFTER_HOURS] & ~is_extended & ~is_auction & (happened >= closing + _BELL_NS)
        ),
    }
    for where, is_odd in found.items():
        if count := int(is_odd.sum()):
            message = f"{count} of {on.height} trades on exchanges lie {where}"
            yield Finding(FindingKind.PHASES_IMPLAUSIBLE, f"{message}: the clock is shifted")


_PHASES: Final = (PRE_MARKET, REGULAR, AFTER_HOURS)


def _lead(is_inside: Bools, is_extended: Bools) -> Bools:
    """Mark the extended-hours trades of a phase that come before all others of it."""
    others = np.flatnonzero(is_inside & ~is_extended)
    led: Bools = is_inside & is_extended
    led[others[0] if others.size else led.size :] = False
    return led


def _read_bools(trades: pl.DataFrame, flag: pl.Expr) -> Bools:
    return trades.select(flag.alias("flag"))["flag"].to_numpy()
