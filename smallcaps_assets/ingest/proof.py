"""What the daily bars say about sessions before and after they are fetched.

What belongs here: how many trades to expect, and whether the vendor's "no trades" can be
believed.  What does not: the comparison of whole sessions with their bars (``core.quality``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake import states
from smallcaps_assets.lake.tables import TableStore


@dataclass(frozen=True, slots=True)
class DailyBar:
    """The bar of one ticker-session.

    Attributes:
        volume: Shares by the vendor's rules.
        trade_count: Trades by the vendor's rules, ``None`` when the source does not say.
    """

    volume: float
    trade_count: int | None


@dataclass(frozen=True, slots=True)
class BarFacts:
    """The bars of the sessions of one download.

    Attributes:
        bars: By ticker and session.
        covered: Sessions of which the vendor listed every ticker that traded, so that a ticker
            without a bar is known not to have traded.
    """

    bars: Mapping[tuple[str, dt.date], DailyBar]
    covered: frozenset[dt.date]

    def find(self, ticker: str, session_date: dt.date) -> DailyBar | None:
        """Return the bar of a session, ``None`` when none is known."""
        return self.bars.get((ticker, session_date))

    def judge_empty(self, ticker: str, session_date: dt.date) -> str:
        """Return the state of a session of which the vendor says that it had no trades."""
        bar = self.find(ticker, session_date)
        if bar is not None:
            return states.EMPTY if bar.volume == 0 else states.EMPTY_DISPUTED
        if session_date in self.covered:
            return states.EMPTY
        return states.EMPTY_UNVERIFIED

    def expect_count(self, ticker: str, session_date: dt.date) -> int | None:
        """Return the trades that a session should hold, ``None`` when nothing is known."""
        bar = self.find(ticker, session_date)
        if bar is not None:
            return bar.trade_count
        return 0 if session_date in self.covered else None

    def expect_rows(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Add ``expected_rows`` (Int64, null: unknown) to ``ticker, session_date``."""
        keys = sessions.select("ticker", "session_date").iter_rows()
        counts = [self.expect_count(ticker, date) for ticker, date in keys]
        return sessions.with_columns(expected_rows=pl.Series(counts, dtype=pl.Int64))


def read_bar_facts(tables: TableStore, sessions: pl.DataFrame) -> BarFacts:
    """Read what is known of ``sessions`` (columns ``ticker``, ``session_date``)."""
    if sessions.is_empty():
        return BarFacts({}, frozenset())
    first, last = session_range(sessions)
    bars = (
        tables.read_daily_bars(first, last)
        .join(sessions.lazy().select("ticker", "session_date"), on=["ticker", "session_date"])
        .filter(pl.col("volume").is_finite())
        .select("ticker", "session_date", "volume", "trade_count")
        .collect()
    )
    return BarFacts(
        {
            (ticker, session_date): DailyBar(volume, trade_count)
            for ticker, session_date, volume, trade_count in bars.iter_rows()
        },
        tables.read_covered_sessions(first, last),
    )


def session_range(sessions: pl.DataFrame) -> tuple[dt.date, dt.date]:
    """Return the first and last ``session_date`` of at least one row."""
    first, last = sessions["session_date"].min(), sessions["session_date"].max()
    if not isinstance(first, dt.date) or not isinstance(last, dt.date):
        raise DataError("expected at least one session, got none")
    return first, last
