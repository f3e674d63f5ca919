"""Reference rows of the vendor that contradict one another: asked for again, then set aside.

What does not belong here: which rows can be believed (``core``), and where they are stored
(``ingest.reference.daily_bars``).
"""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import polars as pl

from smallcaps_assets.core.reference.daily_bars import OFFENDERS_SHOWN, SiftedBars, sift_bars
from smallcaps_assets.core.reference.splits import VendorSplits, sift_splits
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lake.tables.bar_months import (
    CONTRADICTING,
    NO_TICKER,
    NOTHING_LEFT_OUT,
    LeftOut,
    LeftOutBar,
)
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


def fetch_sound_bars(
    client: PolygonClient, sessions: Sequence[dt.date], workers: int, stop: Event
) -> SoundBars:
    """Ask the vendor for the bars of each session, several at once.

    Args:
        client: The vendor's.
        sessions: Which ones.
        workers: How many at once.
        stop: Set where Ctrl-C ends it, so that no thread waits for the vendor any longer.

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
