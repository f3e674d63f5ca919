"""For what a download asks for its ranges, by what was asked before.

What belongs here: the one place that gives ranges their purpose. What does not: the purposes
(``core.budget.purposes``), which ranges there are (``download``) and who counts them
(``lake.ledger.writer``).  Whoever asks for a range of another purpose sets
``RequestRange.purpose``.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.ingest.budget.expectations import (
    KEY,
    label_sessions,
    plan_ranges,
    read_stored,
)
from smallcaps_assets.ingest.ticks.fetching import RequestRange
from smallcaps_assets.lakehouse import Lakehouse

UNASKED = (states.PLANNED, states.NOT_YET_AVAILABLE, states.IMPORTED_UNPROVEN)
"""States of sessions that nobody asked the vendor for."""


@dataclass(frozen=True, slots=True)
class PurposeBook:
    """What is known of the sessions of one download before it asks.

    Attributes:
        calendar: The sessions.
        purposes: Of sessions that are not asked for the first time; the others are the plan's.
    """

    calendar: SessionCalendar
    purposes: Mapping[tuple[str, dt.date], Purpose]

    def find(self, ticker: str, first: dt.date, last: dt.date) -> Purpose:
        """Return for what a range of sessions is asked: one that is asked anew decides."""
        dates = self.calendar.dates(first, last)
        found = {self.purposes.get((ticker, date), Purpose.PLAN) for date in dates}
        order = (Purpose.REPAIR, Purpose.AGAIN, Purpose.RESUME, Purpose.PLAN)
        return next((purpose for purpose in order if purpose in found), Purpose.PLAN)


def plan_asked_ranges(lakehouse: Lakehouse, missing: pl.DataFrame) -> Iterator[RequestRange]:
    """Yield the request ranges of sessions that are missing, each with its purpose.

    Args:
        lakehouse: Its ledger knows what was asked.
        missing: ``ticker, session_date, state``, and what ``expectations.label_sessions`` adds.
    """
    book = open_purposes(lakehouse, missing)
    ranges = plan_ranges(lakehouse, missing)
    estimated = plan_ranges(lakehouse, missing.with_columns(expected_rows="estimated_rows"))
    columns = ("ticker", "first_session", "last_session", "expected_rows")
    both = zip(ranges.select(columns).iter_rows(), estimated["expected_rows"], strict=True)
    for (ticker, first, last, expected), rows in both:
        yield RequestRange(ticker, first, last, expected, rows, book.find(ticker, first, last))


def open_purposes(lakehouse: Lakehouse, missing: pl.DataFrame) -> PurposeBook:
    """Return the purposes of sessions that are missing.

    A session that nobody asked for is the plan's, unless a part of its range of the plan was
    asked before: then it costs a request that the plan's estimate does not count.

    Args:
        lakehouse: Its ledger knows what was asked.
        missing: ``ticker, session_date, state``.
    """
    anew = {
        (ticker, date): _name_purpose(state)
        for ticker, date, state in missing.select(*KEY, "state").iter_rows()
        if state not in UNASKED
    }
    return PurposeBook(lakehouse.calendar, {**_find_begun(lakehouse, missing), **anew})


def _name_purpose(state: str) -> Purpose:
    again = dict.fromkeys((states.EMPTY_DISPUTED, states.DISPUTED), Purpose.AGAIN)
    known = {states.QUARANTINED: Purpose.REPAIR, **again}
    return known.get(state, Purpose.RESUME)


def _find_begun(lakehouse: Lakehouse, missing: pl.DataFrame) -> dict[tuple[str, dt.date], Purpose]:
    """Return the unasked sessions whose range of the plan was begun before."""
    ledger = lakehouse.ledger
    stored = ledger.stored_sessions().filter("is_planned").select(*KEY, is_asked=pl.lit(value=True))
    is_asked = ~pl.col("state").is_in(UNASKED)
    unstored = ledger.missing_keys().select(*KEY, is_asked=is_asked)
    plan = pl.concat([stored, unstored]).join(missing, on="ticker", how="semi").sort(KEY)
    if not plan["is_asked"].any():
        return {}
    ranges = plan_ranges(lakehouse, label_sessions(lakehouse, plan, read_stored(lakehouse)))
    begun = (
        plan.join_asof(
            ranges.select("ticker", "first_session"),
            left_on="session_date",
            right_on="first_session",
            by="ticker",
            check_sortedness=False,
        )
        .filter(pl.col("is_asked").any().over("ticker", "first_session"))
        .join(missing, on=KEY, how="semi")
        .filter(~pl.col("is_asked"))
    )
    return dict.fromkeys(begun.select(KEY).iter_rows(), Purpose.RESUME)
