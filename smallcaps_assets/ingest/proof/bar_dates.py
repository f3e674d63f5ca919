"""Daily bars of single dates, asked for again: bars are recalculated after the close.

What belongs here: putting the bars of a date in place of those that its month has.  What does not:
whole months (``ingest.reference.daily_bars``), and what follows for stored sessions (``judging``).
"""

import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import polars as pl

from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.ticks.disputes import YOUNG_BAR
from smallcaps_assets.errors import VendorError
from smallcaps_assets.ingest.proof.vendor_rows import SoundBars
from smallcaps_assets.lake.tables.bar_months import BarOrigin
from smallcaps_assets.lake.tables.store import TableStore

logger = logging.getLogger(__name__)

FetchBars = Callable[[Sequence[dt.date]], SoundBars]
"""Asks the vendor for the bars of sessions."""


def select_young_dates(facts: BarFacts, dates: Collection[dt.date], today: dt.date) -> set[dt.date]:
    """Return those of some dates whose bars came within days of their session.

    When those of a date in the future came, by a clock that was wrong, nobody knows: they are
    among them.
    """
    came = {date: facts.fetched[date] for date in dates if date in facts.fetched}
    return {date for date, on in came.items() if on > today or on - date < YOUNG_BAR}


def refresh_bar_dates(
    tables: TableStore, fetch_bars: FetchBars, dates: Iterable[dt.date], today: dt.date
) -> Iterator[str]:
    """Ask for the bars of dates again, and store them.

    A date of which the vendor sends nothing, fails to send, or sends rows that contradict one
    another, keeps the bars that it has.

    Yields:
        Months whose bars may be others now, each once it is stored.
    """
    by_month: dict[str, dict[dt.date, pl.DataFrame]] = {}
    for date in dates:
        try:
            sound = fetch_bars([date])
        except VendorError as error:
            logger.warning("bars not refreshed date=%s error=%s", date, error)
            continue
        bars = sound.bars.clear() if date in sound.doubtful else sound.bars
        by_month.setdefault(f"{date:%Y-%m}", {})[date] = bars
    for month, frames in by_month.items():
        _replace_dates(tables, month, frames, today)
        yield month


def _replace_dates(
    tables: TableStore, month: str, frames: Mapping[dt.date, pl.DataFrame], today: dt.date
) -> None:
    """Write a month with the bars of some dates replaced."""
    first, last = month_bounds(month)
    months = tables.read_bar_months(first, first)
    facts = next((facts for facts in months if facts.month == month), None)
    if facts is None:
        return
    came = {date: bars for date, bars in frames.items() if bars.height}
    stored = tables.read_daily_bars(first, last).collect()
    rest = stored.filter(~pl.col("session_date").is_in(list(came)))
    tables.write_daily_bars(
        month,
        pl.concat([rest, *came.values()]),
        covered={*facts.covered, *came},
        is_closed=facts.is_closed,
        origin=BarOrigin(
            {**dict(facts.fetched), **dict.fromkeys(came, today)},
            {**dict(facts.asked_again), **dict.fromkeys(frames, today)},
            facts.left_out,
        ),
    )
