"""What the daily bars say about sessions before and after they are fetched.

What belongs here: how many trades to expect, whether the vendor's "no trades" can be believed, and
what the bar of a stored session makes of it. What does not: the rule itself
(``core.ticks.disputes``), asking again (``ingest.ticks.asking_again``), the comparison of whole
lakes with their bars (``core.ticks.quality``).
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.sessions import session_range
from smallcaps_assets.core.thresholds import DEFAULT_THRESHOLDS, Thresholds
from smallcaps_assets.core.ticks.disputes import (
    Deficit,
    Evidence,
    Figures,
    judge_tape,
    measure_deficit,
)
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.settings import BarsProve


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


NO_BARS = BarFacts({}, frozenset())


@dataclass(frozen=True, slots=True)
class BarJudge:
    """What bars make of sessions with trades.

    Attributes:
        facts: The bars.
        thresholds: What a session may lack.
        prove: Which bars prove.
        today: UTC date.
        set_aside: Fields that are set aside, by year.
    """

    facts: BarFacts = NO_BARS
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    prove: BarsProve = BarsProve.OWN
    today: dt.date = dt.date.max
    set_aside: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def judge(self, receipt: Receipt) -> Receipt:
        """Return a receipt with its bar, what lacks of it, and the state and marks that follow.

        One of a session without trades, or one that no rules measured, is returned as it is.
        """
        if not receipt.rows or receipt.volume is None:
            return receipt
        found = self.compare(receipt.ticker, receipt.session_date, receipt.figures)
        judgement = judge_tape(found.deficit, self._gather(receipt), self.thresholds)
        return replace(
            receipt,
            state=states.DISPUTED if judgement.is_disputed else states.COMPLETE,
            marks=judgement.marks,
            **found.describe(),
        )

    def compare(self, ticker: str, session_date: dt.date, own: Figures) -> "Comparison":
        """Compare what a session traded with its bar, whatever bar it had before."""
        bar = self.facts.find(ticker, session_date)
        figures = dataclasses.replace(
            own,
            bar_volume=bar.volume if bar else None,
            bar_trade_count=bar.trade_count if bar else None,
        )
        deficit = measure_deficit(figures, self.thresholds)
        return Comparison(figures, deficit, self.proves(session_date))

    def mark(self, session_date: dt.date, found: "Comparison") -> tuple[str, ...]:
        """Return the marks of a session that its bar does not dispute, whatever its rows."""
        evidence = Evidence(session_date, "", found.is_proving, self.today)
        return judge_tape(found.deficit, evidence, self.thresholds).marks

    def proves(self, session_date: dt.date) -> bool:
        """Say whether the bars of a date prove."""
        if self.prove is BarsProve.OWN:
            facts = self.facts
            return session_date in facts.covered or session_date in facts.fetched
        return self.prove is BarsProve.YES

    def _gather(self, receipt: Receipt) -> Evidence:
        archive = receipt.archive
        return Evidence(
            session_date=receipt.session_date,
            content_hash=receipt.content_hash,
            proves=self.proves(receipt.session_date),
            today=self.today,
            askings=receipt.askings,
            set_aside=self.set_aside.get(receipt.session_date.year, frozenset()),
            is_accepted=receipt.is_accepted_disputed
            or (archive is not None and archive.is_accepted_unproven),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """A session against its bar.

    Attributes:
        figures: What it traded, and what its bar says.
        deficit: What it lacks of the bar.
        is_proving: The bar proves.
    """

    figures: Figures
    deficit: Deficit
    is_proving: bool

    def describe(self) -> dict[str, float | int | None]:
        """Return the bar, and what lacks of one that proves, under the names of receipts."""
        return {
            "bar_volume": self.figures.bar_volume,
            "bar_trade_count": self.figures.bar_trade_count,
            "volume_deficit": self.deficit.volume if self.is_proving else None,
            "count_deficit": self.deficit.trade_count if self.is_proving else None,
        }


def read_bar_facts(tables: TableStore, sessions: pl.DataFrame) -> BarFacts:
    """Read what is known of ``sessions`` (columns ``ticker``, ``session_date``)."""
    if sessions.is_empty():
        return NO_BARS
    first, last = session_range(sessions)
    bars = (
        tables.read_daily_bars(first, last)
        .join(sessions.lazy().select("ticker", "session_date"), on=["ticker", "session_date"])
        .filter(pl.col("volume").is_finite())
        .select("ticker", "session_date", "volume", "trade_count")
        .collect()
    )
    months = tables.read_bar_months(first, last)
    return BarFacts(
        {
            (ticker, session_date): DailyBar(volume, trade_count)
            for ticker, session_date, volume, trade_count in bars.iter_rows()
        },
        frozenset(date for month in months for date in month.covered if first <= date <= last),
        {date: on for month in months for date, on in month.fetched},
        {date: on for month in months for date, on in month.asked_again},
    )
