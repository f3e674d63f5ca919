"""What the daily bars say of some sessions: a bar of each, and where they were fetched.

Does not belong here: holding a session against its bar (``core.ticks.disputes``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from smallcaps_assets.core import states


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
        covered: Sessions of which the lake's own source listed every ticker that traded, so that
            a ticker without a bar is known not to have traded.
        fetched: Sessions whose bars came from the lake's own source, and the UTC date on which
            they did, as far as known.
        asked_again: Sessions whose bars were asked for again, and when last.
    """

    bars: Mapping[tuple[str, dt.date], DailyBar]
    covered: frozenset[dt.date]
    fetched: Mapping[dt.date, dt.date] = field(default_factory=dict)
    asked_again: Mapping[dt.date, dt.date] = field(default_factory=dict)

    def find(self, ticker: str, session_date: dt.date) -> DailyBar | None:
        """Look up the bar of a session, ``None`` when none is known."""
        return self.bars.get((ticker, session_date))

    def judge_empty(self, ticker: str, session_date: dt.date) -> str:
        """Judge the state of a session of which the vendor says that it had no trades."""
        bar = self.find(ticker, session_date)
        if bar is not None:
            return states.EMPTY if bar.volume == 0 else states.EMPTY_DISPUTED
        if session_date in self.covered:
            return states.EMPTY
        return states.EMPTY_UNVERIFIED

    def expect_count(self, ticker: str, session_date: dt.date) -> int | None:
        """Look up how many trades a session should hold, ``None`` when nothing is known."""
        bar = self.find(ticker, session_date)
        if bar is not None:
            return bar.trade_count
        return 0 if session_date in self.covered else None

    def expect_rows(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Add ``expected_rows`` (Int64, null: unknown) to ``ticker, session_date``."""
        keys = sessions.select("ticker", "session_date").iter_rows()
        counts = [self.expect_count(ticker, date) for ticker, date in keys]
        return sessions.with_columns(expected_rows=pl.Series(counts, dtype=pl.Int64))


NO_BARS: Final = BarFacts({}, frozenset())
"""Nothing is known of any session."""
