"""What daily bars make of sessions that were fetched.

What belongs here: whether the vendor's "no trades" can be believed, and what the bar of a session
with trades says of it.  What does not: what a bar is (``core.reference.bar_facts``), the rule
itself (``core.ticks.disputes``), asking again (``ingest.ticks.asking_again``), the comparison of
whole lakes with their bars (``core.ticks.quality``).
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.reference.bar_facts import NO_BARS, BarFacts
from smallcaps_assets.core.ticks.disputes import (
    Deficit,
    Evidence,
    Figures,
    judge_tape,
    measure_deficit,
)
from smallcaps_assets.core.verdicts import DEFAULT_THRESHOLDS, Thresholds
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.settings import BarsProve


@dataclass(frozen=True, slots=True)
class BarJudge:
    """What bars make of sessions with trades.

    Attributes:
        prove: Which bars prove.
        set_aside: Fields that are set aside, by year.
    """

    facts: BarFacts = NO_BARS
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    prove: BarsProve = BarsProve.OWN
    today: dt.date = dt.date.max
    set_aside: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def judge(self, receipt: Receipt) -> Receipt:
        """Judge a receipt: add its bar, what lacks of it, and the state and marks that follow.

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
        """Name the marks of a session that its bar does not dispute, whatever its rows."""
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
    """A session against its bar."""

    figures: Figures
    deficit: Deficit
    is_proving: bool

    def describe(self) -> dict[str, float | int | None]:
        """Describe the bar, and what lacks of one that proves, under the names of receipts."""
        return {
            "bar_volume": self.figures.bar_volume,
            "bar_trade_count": self.figures.bar_trade_count,
            "volume_deficit": self.deficit.volume if self.is_proving else None,
            "count_deficit": self.deficit.trade_count if self.is_proving else None,
        }
