"""Trading phases: where in the New York day a trade lies, and whether it was reported late.

What belongs here: labels that follow from a trade's instants and the calendar.  What does not:
filtering by them; no phase is ever thrown away.
"""

import datetime as dt
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar, date_of_ns
from smallcaps_assets.core.ticks.tape import Integers, list_midnights, read_instants
from smallcaps_assets.schemas import TRADES

PRE_MARKET: Final = "pre_market"
REGULAR: Final = "regular"
AFTER_HOURS: Final = "after_hours"
CLOSED: Final = "closed"
PHASES: Final = (PRE_MARKET, REGULAR, AFTER_HOURS, CLOSED)

_FIRST_DAY: Final = dt.date(1970, 1, 1)

LATE_REPORT_NS: Final = 10_000_000_000
"""A report that takes longer than this is late."""

_PHASE_STARTS: Final = ("pre_market_open", "regular_open", "regular_close", "after_hours_close")
_PHASES_BY_START: Final = pl.Series("trading_phase", (CLOSED, PRE_MARKET, REGULAR, AFTER_HOURS))


def label_trades(trades: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Add ``session_date``, ``trading_phase`` and ``is_late_report``: ``schemas.TRADES``, in order.

    ``session_date`` is the New York date of ``sip_timestamp``, whether or not it is a session.
    A participant time of null or 1970 is unknown, and no sign of a late report.

    Raises:
        CoverageError: A trade lies outside the calendar, so that its phase is unknown.
    """
    instants = read_instants(trades, "sip_timestamp")
    labels = (
        _label_dates(instants, calendar),
        label_phases(instants, calendar),
        _label_late(instants, read_instants(trades, "participant_timestamp")),
    )
    columns = {series.name: series for series in (*trades, *labels)}
    ordered = [columns.pop(name) for name in TRADES.columns if name in columns]
    return TRADES.conform(pl.DataFrame([*ordered, *columns.values()]))


def label_phases(instants_ns: Integers, calendar: SessionCalendar) -> pl.Series:
    """Label instants, nanoseconds since 1970, with their phase: a monotone cut of the time line.

    Phases are half-open: 09:30:00 is ``regular``, 20:00:00 is ``closed``; on an early close
    ``after_hours`` runs from 13:00 to 17:00.  Dates without a session are ``closed``.
    """
    started = np.searchsorted(_list_phase_starts(calendar), instants_ns, side="right")
    phases: pl.Series = _PHASES_BY_START[(started % len(_PHASE_STARTS)).astype(np.uint32)]
    return phases


def count_phases(trades: pl.DataFrame) -> dict[str, int]:
    """Count the trades in each phase, 0 included, in the order of ``PHASES``."""
    counts = dict(trades["trading_phase"].value_counts().iter_rows())
    return {phase: int(counts.get(phase, 0)) for phase in PHASES}


def _label_dates(instants_ns: Integers, calendar: SessionCalendar) -> pl.Series:
    """Label trades with ``session_date``; nearly always all are of one date."""
    if not instants_ns.size:
        return pl.Series("session_date", dtype=pl.Date)
    first, last = (date_of_ns(int(ns)) for ns in (instants_ns.min(), instants_ns.max()))
    calendar.check_covered(first)
    calendar.check_covered(last)
    if first == last:
        return pl.Series("session_date", [first]).new_from_index(0, instants_ns.size)
    days = np.searchsorted(list_midnights(first, last), instants_ns, side="right") - 1
    days += (first - _FIRST_DAY).days
    return pl.Series("session_date", days.astype(np.int32)).cast(pl.Date)


def _label_late(instants_ns: Integers, participant_ns: Integers) -> pl.Series:
    """Label trades with ``is_late_report``; a participant time of 0 is unknown."""
    is_late = (participant_ns > 0) & (instants_ns - participant_ns > LATE_REPORT_NS)
    return pl.Series("is_late_report", is_late)


@cache
def _list_phase_starts(calendar: SessionCalendar) -> Integers:
    """List the four instants of every session in one ascending row."""
    columns = [calendar.frame[name].to_physical().to_numpy() for name in _PHASE_STARTS]
    return np.stack(columns, axis=1).reshape(-1)
