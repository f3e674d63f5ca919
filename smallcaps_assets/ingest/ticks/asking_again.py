"""Sessions that their bars dispute, asked for again: cut differently, within a budget.

What belongs here: which stored sessions of a run are asked for again, in which ranges, and which of
two answers counts. What does not: the rule (``core.ticks.disputes``), sending and committing as
such (``download``), bars that came later (``ingest.proof.judging``).
"""

import dataclasses
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.states import DISPUTED
from smallcaps_assets.core.ticks.audits import BarEvidence
from smallcaps_assets.core.ticks.disputes import (
    ANSWERS_KEPT,
    DIFFERS,
    LARGEST_LIMIT,
    RESIDUAL,
    YEAR_ASKED,
    Asking,
    choose_limit,
    correct_dates,
    is_candidate,
    may_ask,
)
from smallcaps_assets.ingest.budget.expectations import KEY, read_bar_facts
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.ingest.proof.judging import (
    StoredJudge,
    gather_evidence,
    remember_answer,
)
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.ingest.proof.replacing import move_damaged, replace_sessions
from smallcaps_assets.ingest.proof.vendor_rows import (
    FetchBars,
    refresh_bar_dates,
    select_young_dates,
)
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.off_session import store_off_session
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.lake.ledger.rows import Revision
from smallcaps_assets.lake.segments.writer import MOST_BYTES
from smallcaps_assets.lake.sessions.damages import hash_no_trades
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import Receipt

logger = logging.getLogger(__name__)

SAMPLE: Final = 3
"""Sessions of a date whose bars are at fault that are asked for again all the same: answers that
heal would show that it is not the bars."""


@dataclass(slots=True)
class AskingAgain:
    """The second look of one download at stored sessions.

    Attributes:
        stored: The lake; the caller holds its lock.
        fetch_bars: Asks for the bars of dates again.
        is_deliberate: A person asks for stored sessions again: all of them, whatever it costs.
        receipts: The sessions, by key, as they are stored now.
        changed: Other sessions whose colour changed.
        revisions: Answers that differed from what was stored.
        answers: What the vendor answered and nobody weighed yet.
        answered: Keys of the sessions that the vendor answered about.
        judge: What the bars make of answers, once :meth:`open_judge` has read them.
        evidence: What the ledger knew of whole years then.
    """

    stored: StoredJudge
    calendar: SessionCalendar
    fetch_bars: FetchBars
    max_rows: int
    max_sessions: int
    is_deliberate: bool = False
    receipts: dict[str, Receipt] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    revisions: list[Revision] = field(default_factory=list)
    requests: int = 0
    answers: list[RangeResult] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    judge: BarJudge = field(init=False)
    evidence: BarEvidence = field(init=False)
    _since_s: float = 0.0
    _asked: set[str] = field(default_factory=set)
    _healed: set[dt.date] = field(default_factory=set)
    _contradicted: frozenset[str] = frozenset()

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Take stored sessions that are to be looked at again."""
        self.receipts |= {receipt.key: receipt for receipt in receipts}

    @property
    def unanswered(self) -> list[str]:
        """The keys that were asked for again without an answer, sorted."""
        return sorted(self._asked - self.answered)

    def open_judge(self, facts: BarFacts) -> BarJudge:
        """Judge by these bars from now on, and by what the ledger knows of whole years."""
        self.evidence = gather_evidence(self.stored.ledger)
        two = self.stored.ledger.two_answers().select(key_expression()).to_series()
        self._contradicted = frozenset(two)
        self.judge = self.stored.open(facts, self.evidence.set_aside)
        return self.judge

    # -- without asking for trades -----------------------------------------------------

    def correct_dates(self) -> None:
        """Write down that answers of the future, by a clock that was wrong, came today."""
        today = self.judge.today
        wrong = [
            replace(receipt, askings=correct_dates(receipt.askings, today))
            for receipt in self._list_disputed()
            if any(asking.asked_on > today for asking in receipt.askings)
        ]
        self.add(self.stored.store_restated(wrong))

    def refresh_bars(self, budget: int) -> None:
        """Ask for bars again that may have changed, and judge what is stored by them.

        Bars that came within days of their session are asked for once a run, those by which a
        session settled too; those of a date on which most tickers fall short, once a day.  Each
        date is a request of the budget.
        """
        evidence, tables = gather_evidence(self.stored.ledger), self.stored.tables
        dates = {receipt.session_date for receipt in self._list_disputed()}
        young = self._find_young_dates(dates, evidence)
        bad = {date for date in dates.intersection(evidence.bad_dates) if self._may_ask_bars(date)}
        wanted = sorted(young | bad)[:budget]
        if not wanted:
            return
        self.requests += len(wanted)
        for month in refresh_bar_dates(tables, self.fetch_bars, wanted, self.stored.today):
            self.stored.ledger.record_unjudged([month])
        self._follow(self.stored.judge_new())
        sessions = [(receipt.ticker, receipt.session_date) for receipt in self.receipts.values()]
        self.open_judge(read_bar_facts(tables, pl.DataFrame(sessions, KEY, orient="row")))

    def _may_ask_bars(self, date: dt.date) -> bool:
        """Say whether bars came from the lake's own source and were not asked for again today."""
        facts = self.judge.facts
        is_own = date in facts.covered or date in facts.fetched
        return is_own and facts.asked_again.get(date) != self.judge.today

    def _find_young_dates(self, disputed: set[dt.date], evidence: BarEvidence) -> set[dt.date]:
        """Find the dates of disputed and settled sessions whose bars may have changed since."""
        settled = evidence.deficits.filter(pl.col("marks").str.contains(RESIDUAL, literal=True))
        facts = read_bar_facts(self.stored.tables, settled)
        today = self.judge.today
        young = select_young_dates(facts, set(settled["session_date"]), today)
        return young | select_young_dates(self.judge.facts, disputed, today)

    def reconsider(self) -> None:
        """Judge sessions again, where a field was set aside since, or is no longer."""
        before = self.judge.set_aside
        judge = self.open_judge(self.judge.facts)
        if judge.set_aside == before:
            return
        years = [
            year
            for year in {*before, *judge.set_aside}
            if before.get(year) != judge.set_aside.get(year)
        ]
        is_open = (pl.col("state") == DISPUTED) | pl.col("marks").str.contains(DIFFERS)
        chosen = self.evidence.deficits.filter(
            is_open, pl.col("session_date").dt.year().is_in(years)
        )
        keys = chosen.select(key_expression()).to_series()
        found = [receipt for key in keys if (receipt := self._find(key)) is not None]
        if not found:
            return
        facts = read_bar_facts(self.stored.tables, chosen)
        renewed = self.stored.restate(dataclasses.replace(judge, facts=facts), found)
        self._follow([receipt.key for receipt in renewed])

    def accept(self) -> None:
        """Take what is still disputed for complete, because a person said so."""
        accepted = [
            self.judge.judge(
                replace(receipt, is_accepted_disputed=True, revision=receipt.revision + 1)
            )
            for receipt in self._list_disputed()
        ]
        self.add(self.stored.store_restated(accepted))

    # -- which to ask for --------------------------------------------------------------

    def plan(self, budget: int) -> list[RequestRange]:
        """Plan the next ranges to ask for again, within a budget of requests; none: all were."""
        ranges, left = [], budget - self.requests
        usual = self.stored.page_limit
        # What was asked for least comes first, so that what never settles lets all others pass.
        for chain in sorted(self._list_chains(), key=_count_askings):
            rows = sum(max(r.rows, r.bar_trade_count or 0) for r in chain)
            before = {remember_answer(r, usual).askings[-1].page_limit for r in chain if r.rows}
            limit = choose_limit(rows, before)
            cost = rows // limit + 1 + (rows >= limit)
            if not self.is_deliberate and cost > left:
                continue
            left -= cost
            self._asked.update(receipt.key for receipt in chain)
            first, last = chain[0], chain[-1]
            ranges.append(
                RequestRange(
                    first.ticker,
                    first.session_date,
                    last.session_date,
                    rows,
                    purpose=Purpose.AGAIN,
                    page_limit=limit,
                )
            )
        return ranges

    def _list_chains(self) -> Iterator[list[Receipt]]:
        """Yield runs of neighbouring sessions of one ticker that may be asked for now."""
        chosen = sorted(self._choose(), key=lambda r: (r.ticker, r.session_date))
        for _, receipts in groupby(chosen, key=lambda receipt: receipt.ticker):
            chain: list[Receipt] = []
            for receipt in receipts:
                place = self.calendar.index_of(receipt.session_date)
                is_next = (
                    bool(chain) and place == self.calendar.index_of(chain[-1].session_date) + 1
                )
                rows = sum(r.rows for r in chain) + receipt.rows
                is_long = len(chain) >= self.max_sessions
                if chain and (not is_next or is_long or rows > self.max_rows):
                    yield chain
                    chain = []
                chain.append(receipt)
            yield chain

    def _choose(self) -> Iterator[Receipt]:
        """Yield sessions to ask for: of years and dates that look odd as a whole, a few first."""
        waiting = [receipt for key, receipt in self.receipts.items() if key not in self._asked]
        waiting.sort(key=lambda receipt: len(receipt.askings))
        if self.is_deliberate:
            yield from waiting
            return
        bad = set(self.evidence.bad_dates) - self._healed
        asked_on = Counter(self.receipts[key].session_date for key in self._asked)
        asked_in = self._count_candidates()
        for receipt in waiting:
            date, today = receipt.session_date, self.judge.today
            if receipt.state != DISPUTED or not may_ask(receipt.askings, today):
                continue
            if date in bad and asked_on[date] >= SAMPLE:
                continue
            if asked_in.get(date.year, 0) < 0:
                asked_in[date.year] += 1
            elif date.year in asked_in:
                continue
            asked_on[date] += 1
            yield receipt

    def _count_candidates(self) -> dict[int, int]:
        """Count, for each year that may be set aside, the sessions it lacks to tell (< 0)."""
        lacking = self.evidence.years.filter(is_candidate())
        counts = {year: asked - YEAR_ASKED for year, asked in lacking["year", "asked"].iter_rows()}
        # Answers enough, and the field counts all the same: they heal, so all are asked for.
        return {year: count for year, count in counts.items() if count < 0}

    # -- what came ---------------------------------------------------------------------

    def hold(self, result: RangeResult) -> None:
        """Take an answer, to be weighed together with others."""
        self._since_s = self._since_s if self.answers else time.monotonic()
        self.answers.append(result)

    def is_due(self, interval_s: float) -> bool:
        """Say whether as many answers wait as memory allows, or one for so many seconds."""
        held = sum(result.held_bytes for result in self.answers)
        is_old = time.monotonic() - self._since_s > interval_s
        return held >= MOST_BYTES or (bool(self.answers) and is_old)

    def weigh(self) -> int:
        """Store of each answer and what was there before the one that counts, and keep the other.

        Returns:
            Prints stored on dates that are no session.

        Raises:
            StorageError: The disk refuses; what was stored stays.
        """
        results, self.answers = self.answers, []
        # A green session is never asked for again: what belongs to it is on the disk before it.
        whole = [result for result in results if result.is_whole]
        off_session_rows = store_off_session(self.stored.store, whole)
        record_stored(self.stored.ledger, self.stored.store)
        self.requests += sum(result.requests for result in results)
        replaced: list[PreparedSession] = []
        kept: list[Receipt] = []
        for result in results:
            for prepared in result.sessions:
                self._weigh(prepared, replaced, kept)
            for refusal in result.refusals:
                self._note_refusal(refusal.key, result, kept)
        written = replace_sessions(self.stored.ledger, self.stored.store, replaced)
        self.add([*written, *self.stored.store_restated(kept)])
        return off_session_rows

    def _weigh(
        self, prepared: PreparedSession, replaced: list[PreparedSession], kept: list[Receipt]
    ) -> None:
        """Compare an answer with what is stored; add it to what is committed or restated."""
        new = prepared.receipt
        self.answered.add(new.key)
        old = self._find(new.key)
        if old is None:
            replaced.append(prepared)
            return
        before = remember_answer(old, self.stored.page_limit)
        askings = (*before.askings, *new.askings)
        ledger, store, now = self.stored.ledger, self.stored.store, self.stored.clock()
        if move_damaged(ledger, store, old, new.run_id, now):
            replaced.append(self._renew(prepared, old, askings))
            return
        if new.content_hash == old.content_hash:
            if _lacks(old) or old.state == DISPUTED or old.key in self._contradicted:
                kept.append(self._judge(old, askings))
            else:
                self.add([old])
            return
        is_better = new.rows > 0 and _rank(new) <= _rank(old)
        self._keep_other(old, prepared, is_replaced=is_better)
        if is_better:
            if _worst(new) < _worst(old):
                self._healed.add(new.session_date)
            replaced.append(self._renew(prepared, old, askings))
        else:
            kept.append(self._judge(old, askings))

    def _renew(
        self, prepared: PreparedSession, old: Receipt, askings: tuple[Asking, ...]
    ) -> PreparedSession:
        """Let an answer take the place of another, with the memory of both."""
        receipt = self._judge(replace(prepared.receipt, revision=old.revision), askings)
        return dataclasses.replace(prepared, receipt=receipt)

    def _judge(self, receipt: Receipt, askings: tuple[Asking, ...]) -> Receipt:
        known = askings[-ANSWERS_KEPT:]
        renewed = replace(receipt, askings=known, revision=receipt.revision + 1)
        return self.judge.judge(renewed)

    def _note_refusal(self, key: str, result: RangeResult, kept: list[Receipt]) -> None:
        """Remember that the vendor had no trades this time; what is stored stays."""
        self.answered.add(key)
        old = self.receipts.get(key)
        if old is None or not old.rows:
            return
        nothing = replace(old, rows=0, content_hash=hash_no_trades())
        self._list(Revision(old, nothing, is_replaced=False, folder=Path()))
        before = remember_answer(old, self.stored.page_limit)
        asking = Asking(
            self.judge.today, result.span.page_limit or LARGEST_LIMIT, nothing.content_hash
        )
        kept.append(self._judge(old, (*before.askings, asking)))

    def _keep_other(self, old: Receipt, prepared: PreparedSession, *, is_replaced: bool) -> None:
        """Keep the answer that does not count beside the lake, and list both."""
        new, store = prepared.receipt, self.stored.store
        folder = store.keep_revision(old, None if is_replaced else prepared)
        self._list(Revision(old, new, is_replaced, folder))

    def _list(self, revision: Revision) -> None:
        """List two answers that differ."""
        self.revisions.append(revision)
        self.stored.ledger.record_revisions([revision])
        logger.info("answer differs key=%s is_new=%s", revision.old.key, revision.is_replaced)

    # -- helpers -----------------------------------------------------------------------

    def _list_disputed(self) -> list[Receipt]:
        return [receipt for receipt in self.receipts.values() if receipt.state == DISPUTED]

    def _find(self, key: str) -> Receipt | None:
        known = self.receipts.get(key)
        return known or next(iter(self.stored.store.find_receipts([key])), None)

    def _follow(self, keys: Iterable[str]) -> None:
        """Read again what was written by another way."""
        for key in keys:
            found = self.stored.store.find_receipts([key])
            if key in self.receipts and found:
                self.receipts[key] = found[0]
            else:
                self.changed.add(key)


def _lacks(receipt: Receipt) -> bool:
    return bool(receipt.volume_deficit or receipt.count_deficit)


def _count_askings(chain: Sequence[Receipt]) -> int:
    return min(len(receipt.askings) for receipt in chain)


def _rank(receipt: Receipt) -> tuple[bool, float, int]:
    """Rank an answer: smaller is nearer to its bar; fewer rows are no gain."""
    return (receipt.rows == 0, _worst(receipt), -receipt.rows)


def _worst(receipt: Receipt) -> float:
    return max(receipt.volume_deficit or 0.0, receipt.count_deficit or 0.0)
