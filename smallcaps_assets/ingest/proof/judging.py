"""Stored sessions against bars that came or changed later: no request, and no file of trades read.

What belongs here: the judge with what the ledger knows of whole years, and its second look at what
is stored.  What does not: the rule (``core.ticks.disputes``), asking the vendor again
(``ingest.ticks.asking_again``).
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.reference.bar_facts import BarFacts
from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.states import COMPLETE, DISPUTED
from smallcaps_assets.core.ticks.audits import BarEvidence
from smallcaps_assets.core.ticks.disputes import (
    Asking,
    Figures,
    count_tickers,
    count_years,
    select_bad_dates,
    select_set_aside,
)
from smallcaps_assets.core.verdicts import Thresholds
from smallcaps_assets.ingest.budget.expectations import read_bar_facts
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.ingest.proof.recording import list_sessions, record_stored
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import FIGURE_COLUMNS
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lake.unlisted import read_unlisted
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import BarsProve

logger = logging.getLogger(__name__)


def gather_evidence(ledger: LedgerReader) -> BarEvidence:
    """Read what daily bars say of the stored sessions, from the ledger alone."""
    deficits, compared = ledger.deficits(), ledger.compared_dates()
    years = count_years(deficits, compared)
    return BarEvidence(
        compared=int(compared["volume"].sum()),
        marks=ledger.marks(),
        deficits=deficits.drop("is_same"),
        bad_dates=select_bad_dates(count_tickers(deficits, compared)),
        years=years,
        set_aside=select_set_aside(years),
    )


@dataclass(frozen=True, slots=True)
class StoredJudge:
    """Compares what is stored with the bars of now; the caller holds the lock of the lake.

    Attributes:
        page_limit: Trades of a page, as a rule.
    """

    tables: TableStore
    ledger: Ledger
    store: SegmentStore
    thresholds: Thresholds
    prove: BarsProve
    page_limit: int
    clock: Callable[[], dt.datetime]

    @property
    def today(self) -> dt.date:
        """Tell the date in UTC."""
        return self.clock().astimezone(dt.UTC).date()

    def open(self, facts: BarFacts, set_aside: Mapping[int, frozenset[str]]) -> BarJudge:
        """Bring bars, settings and the date of now together."""
        return BarJudge(facts, self.thresholds, self.prove, self.today, set_aside)

    def judge_new(self) -> list[str]:
        """Compare stored sessions with the bars of months that are new.

        A session that falls short of its bar becomes disputed, with the same rows; one whose bar
        was corrected becomes green.  Agreement is noted in the ledger alone, unless there was none
        before.  Returned are the keys of those that changed their colour, or lack more or less.

        Raises:
            StorageError: The disk refuses; the next call continues with the months that are left.
        """
        changed: set[str] = set()
        for month in self.ledger.unjudged_months():
            changed.update(receipt.key for receipt in self._judge_month(month))
            self.ledger.record_judged(month)
        return sorted(changed)

    def restate(self, judge: BarJudge, receipts: Iterable[Receipt]) -> list[Receipt]:
        """Judge receipts again, and write those of which something else is true now."""
        changed = []
        for receipt in receipts:
            judged = judge.judge(remember_answer(receipt, self.page_limit))
            if _name_verdict(judged) != _name_verdict(receipt):
                changed.append(replace(judged, revision=receipt.revision + 1))
        return self.store_restated(changed)

    def store_restated(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Write receipts in place of those of the same rows, on the disk and in the ledger."""
        if not receipts:
            return []
        list_sessions(self.ledger, self.store, [receipt.key for receipt in receipts])
        # Told first: a kill in between must leave nothing green there that is red on the disk.
        self.ledger.record_receipts([r for r in receipts if r.state == DISPUTED])
        written = self.store.restate(receipts)
        record_stored(self.ledger, self.store)
        for receipt in written:
            what = (receipt.key, receipt.state, receipt.marks)
            logger.info("session restated key=%s state=%s marks=%s", *what)
        return written

    def _judge_month(self, month: str) -> list[Receipt]:
        """Judge the stored sessions of a month; return the receipts that were written."""
        figures = pl.concat([self.ledger.figures(*month_bounds(month)), self._read_plain(month)])
        figures = figures.filter(pl.col("state").is_in([COMPLETE, DISPUTED]))
        judge = self.open(
            read_bar_facts(self.tables, figures), gather_evidence(self.ledger).set_aside
        )
        suspects: dict[str, tuple[str, str]] = {}
        agreeing = []
        for row in figures.iter_rows(named=True):
            note = _compare(judge, row)
            lacks = [has[name] for has in (note, row) for name in LACKS]
            if any(lacks) or row["state"] == DISPUTED:
                key = encode_key(row["ticker"], row["session_date"])
                suspects[key] = (row["state"], row["marks"])
            elif any(note[name] != row[name] for name in NOTED):
                agreeing.append(note)
        noted = [encode_key(note["ticker"], note["session_date"]) for note in agreeing]
        list_sessions(self.ledger, self.store, noted)
        self.ledger.note_comparisons(
            note | {"session_date": note["session_date"].isoformat()} for note in agreeing
        )
        found = self.store.find_receipts(suspects)
        changed = self.restate(judge, found)
        written = {receipt.key for receipt in changed}
        # A process that died between a receipt and the ledger leaves what the receipt alone knows.
        late = [
            receipt
            for receipt in found
            if receipt.key not in written
            and (receipt.state, ",".join(receipt.marks)) != suspects[receipt.key]
        ]
        self.ledger.record_receipts(late)
        return [*changed, *late]

    def _read_plain(self, month: str) -> pl.DataFrame:
        """Read the figures of the sessions that the ledger does not list, from their records."""
        plain = read_unlisted(self.ledger, self.store.lake, month)
        figures = plain.with_columns(pl.lit("").alias("marks")).select(*FIGURE_COLUMNS)
        return figures.cast({"session_date": pl.Date()})


def open_stored(lakehouse: Lakehouse) -> StoredJudge:
    """Open what is stored to judge it by bars; the caller holds the lock."""
    return StoredJudge(
        lakehouse.tables,
        lakehouse.ledger,
        lakehouse.sessions,
        lakehouse.thresholds,
        lakehouse.settings.bars_prove,
        lakehouse.settings.page_limit,
        lakehouse.clock,
    )


def remember_answer(receipt: Receipt, page_limit: int) -> Receipt:
    """Give a receipt its own answer among those about it, cut at ``page_limit``.

    One that its bar did not dispute when it came knows none.
    """
    if receipt.askings or not receipt.rows:
        return receipt
    own = Asking(receipt.started_at.date(), page_limit, receipt.content_hash)
    return replace(receipt, askings=(own,))


def _name_verdict(receipt: Receipt) -> tuple[object, ...]:
    """Name what a bar makes of a session: its state, its marks and what it lacks."""
    lacks = (receipt.volume_deficit, receipt.count_deficit)
    return (receipt.state, receipt.marks, *(lack or 0.0 for lack in lacks))


MEASURED = ("volume", "trade_count", "original_volume", "original_trade_count")
"""What a session traded, in the order of ``Figures``."""
LACKS = ("volume_deficit", "count_deficit")
NOTED = ("bar_volume", "bar_trade_count", *LACKS, "marks")
"""What the ledger notes of a comparison."""


def _compare(judge: BarJudge, row: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a row of ``LedgerReader.figures`` with the bar of now."""
    own = Figures(*(row[name] for name in MEASURED))
    found = judge.compare(row["ticker"], row["session_date"], own)
    marks = ",".join(judge.mark(row["session_date"], found))
    key = {"ticker": row["ticker"], "session_date": row["session_date"]}
    return {**key, **found.describe(), "marks": marks}
