"""Reference rows of the vendor, asked for again: they contradict one another, or may have changed.

What belongs here: setting aside what cannot be believed, and putting bars of single dates, which
are recalculated after the close, in place of those that their month has.  What does not: which
rows can be believed (``core``), whole months (``ingest.reference.daily_bars``), and what follows
for stored sessions (``judging``).
"""

import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.reference.daily_bars import OFFENDERS_SHOWN, SiftedBars, sift_bars
from smallcaps_assets.core.reference.splits import VendorSplits, sift_splits
from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.ticks.disputes import YOUNG_BAR
from smallcaps_assets.errors import SmallcapsError, VendorError
from smallcaps_assets.lake.tables.bar_months import (
    CONTRADICTING,
    NO_TICKER,
    NOTHING_LEFT_OUT,
    BarOrigin,
    LeftOut,
    LeftOutBar,
)
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.reference import fetch_grouped_daily, fetch_splits
from smallcaps_assets.schemas import DAILY_BARS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SoundBars:
    """Bars to store, and what was left out of them.

    Attributes:
        bars: ``schemas.DAILY_BARS``.
        left_out: What of the vendor's rows is not among them.
        doubtful: Dates of which a key was set aside, so that not every ticker that traded is
            there.
    """

    bars: pl.DataFrame
    left_out: LeftOut = NOTHING_LEFT_OUT
    doubtful: frozenset[dt.date] = frozenset()


FetchBars = Callable[[Sequence[dt.date]], SoundBars]
"""Asks the vendor for the bars of sessions."""


def fetch_sound_bars(
    client: PolygonClient, sessions: Sequence[dt.date], workers: int, stop: Event
) -> SoundBars:
    """Ask the vendor for the bars of each session, several at once; Ctrl-C sets ``stop``.

    Raises:
        VendorError: The vendor refuses one of them.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="bars") as pool, _impatient(stop):
        sifted = list(pool.map(lambda session: _fetch_session(client, session), sessions))
    contradicting = _list_rows((part.contradicting for part in sifted), CONTRADICTING)
    garbage = _list_rows((part.garbage for part in sifted), NO_TICKER)
    left_out = LeftOut(
        repeated=sum(part.repeated for part in sifted),
        garbage=len(garbage),
        contradicting=len(contradicting),
        shown=(*contradicting, *garbage[:OFFENDERS_SHOWN]),
    )
    return SoundBars(
        pl.concat([DAILY_BARS.empty(), *(part.bars for part in sifted)]).sort(DAILY_BARS.key),
        left_out,
        frozenset(row.session_date for row in contradicting),
    )


@contextmanager
def _impatient(stop: Event) -> Iterator[None]:
    """Let threads give up their patience with the vendor where Ctrl-C ends the block."""
    is_over = False
    try:
        yield
        is_over = True
    except SmallcapsError:
        is_over = True
        raise
    finally:
        if not is_over:
            stop.set()


def fetch_sound_splits(client: PolygonClient, first: dt.date, last: dt.date) -> VendorSplits:
    """Ask the vendor for the splits executed from ``first`` to ``last``, both included.

    Raises:
        VendorError: The vendor refuses.
    """
    sifted = sift_splits(fetch_splits(client, first, last))
    if sifted.set_aside.is_empty():
        return sifted
    logger.warning("splits asked for again contradicting=%d", sifted.set_aside.height)
    return sift_splits(fetch_splits(client, first, last))


def _fetch_session(client: PolygonClient, session: dt.date) -> SiftedBars:
    """Ask for the bars of a session, and once more where rows of it contradict one another."""
    sifted = sift_bars(fetch_grouped_daily(client, session))
    if sifted.contradicting.is_empty():
        return sifted
    logger.warning("bars asked for again session=%s keys=%d", session, len(sifted.contradicting))
    return sift_bars(fetch_grouped_daily(client, session))


def _list_rows(frames: Iterable[pl.DataFrame], problem: str) -> list[LeftOutBar]:
    keys = [key for frame in frames for key in frame.select(DAILY_BARS.key).iter_rows()]
    return [LeftOutBar(ticker, session_date, problem) for ticker, session_date in keys]


def select_young_dates(facts: BarFacts, dates: Collection[dt.date], today: dt.date) -> set[dt.date]:
    """Select from some dates those whose bars came within days of their session.

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
        by_month.setdefault(month_of(date), {})[date] = bars
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
