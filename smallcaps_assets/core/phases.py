"""Trading phases: where in the New York day a trade lies, and whether it was reported late.

What belongs here: labels that follow from a trade's instants and the calendar.  What does not:
filtering by them; no phase is ever thrown away.
"""

from functools import cache
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.sessions import NEW_YORK, SessionCalendar
from smallcaps_assets.core.tape import Integers, read_instants
from smallcaps_assets.schemas import TRADES

PRE_MARKET: Final = "pre_market"
REGULAR: Final = "regular"
AFTER_HOURS: Final = "after_hours"
CLOSED: Final = "closed"
PHASES: Final = (PRE_MARKET, REGULAR, AFTER_HOURS, CLOSED)

LATE_REPORT_NS: Final = 10_000_000_000
"""A report that takes longer than this is late."""

_PHASE_STARTS: Final = ("pre_market_open", "regular_open", "regular_close", "after_hours_close")


def label_trades(trades: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Add ``session_date``, ``trading_phase`` and ``is_late_report``.

    ``session_date`` is the New York date of ``sip_timestamp``, whether or not it is a session.
    A participant time of null or 1970 is unknown, and no sign of a late report.

    Args:
        trades: ``ticker`` and the vendor columns of ``schemas.TRADES``, in any order.
        calendar: Sessions and their phases.

    Returns:
        ``schemas.TRADES``, rows in the order given.

    Raises:
        CoverageError: A trade lies outside the calendar, so that its phase is unknown.
    """
    sip = pl.col("sip_timestamp")
    participant_ns = pl.col("participant_timestamp").to_physical()
    delay_ns = sip.to_physical() - participant_ns
    is_late = (participant_ns > 0) & (delay_ns > LATE_REPORT_NS)
    labelled = trades.with_columns(
        session_date=sip.dt.convert_time_zone(NEW_YORK.key).dt.date(),
        trading_phase=label_phases(read_instants(trades, "sip_timestamp"), calendar),
        is_late_report=is_late.fill_null(value=False),
    )
    for date in labelled["session_date"].unique().to_list():
        calendar.is_session(date)
    return TRADES.conform(labelled)


def label_phases(instants_ns: Integers, calendar: SessionCalendar) -> pl.Series:
    """Return the trading phase of each instant, a monotone cut of the time line.

    Phases are half-open: 09:30:00 is ``regular``, 20:00:00 is ``closed``; on an early close
    ``after_hours`` runs from 13:00 to 17:00.  Dates without a session are ``closed``.

    Args:
        instants_ns: Nanoseconds since 1970 UTC, inside the calendar.
        calendar: Sessions and their phases.
    """
    started = np.searchsorted(_list_phase_starts(calendar), instants_ns, side="right")
    names = pl.Series("trading_phase", (CLOSED, PRE_MARKET, REGULAR, AFTER_HOURS))
    return names.gather(started % len(_PHASE_STARTS))


def count_phases(trades: pl.DataFrame) -> dict[str, int]:
    """Return the number of trades in each phase, 0 included, in the order of ``PHASES``."""
    counts = dict(trades["trading_phase"].value_counts().iter_rows())
    return {phase: int(counts.get(phase, 0)) for phase in PHASES}


@cache
def _list_phase_starts(calendar: SessionCalendar) -> Integers:
    """Return the four instants of every session in one ascending row."""
    columns = [calendar.frame[name].to_physical().to_numpy() for name in _PHASE_STARTS]
    return np.stack(columns, axis=1).reshape(-1)
