"""Stored sessions against bars that came or changed later: no request, and no file of trades read.

What belongs here: the judge with what the ledger knows of whole years, and its second look at what
is stored.  What does not: the rule (``core.ticks.disputes``), asking the vendor again
(``ingest.ticks.asking_again``).
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
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
from smallcaps_assets.errors import (
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.ingest.budget.expectations import read_bar_facts
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)


def open_judge(lakehouse: Lakehouse, facts: BarFacts) -> BarJudge:
    """Return the judge of sessions with these bars, by settings, clock and ledger of now."""
    return BarJudge(
        facts,
        lakehouse.thresholds,
        lakehouse.settings.bars_prove,
        lakehouse.clock().astimezone(dt.UTC).date(),
        find_set_aside(lakehouse),
    )


def find_set_aside(lakehouse: Lakehouse) -> Mapping[int, frozenset[str]]:
    """Return the fields of bars that are set aside, by year."""
    deficits = lakehouse.ledger.deficits()
    if deficits.is_empty():
        return {}
    return select_set_aside(count_years(deficits, lakehouse.ledger.compared_dates()))


def gather_evidence(ledger: LedgerReader) -> BarEvidence:
    """Return what daily bars say of the stored sessions, from the ledger alone."""
    deficits, compared = ledger.deficits(), ledger.compared_dates()
    years = count_years(deficits, compared)
    aside = select_set_aside(years)
    is_aside = [field in aside.get(year, ()) for year, field in years["year", "field"].iter_rows()]
    return BarEvidence(
        compared=int(compared["volume"].sum()),
        marks=ledger.marks(),
        deficits=deficits.drop("is_same"),
        bad_dates=select_bad_dates(count_tickers(deficits, compared)),
        set_aside=years.filter(pl.Series(is_aside, dtype=pl.Boolean)),
    )


def judge_stored(lakehouse: Lakehouse) -> list[str]:
    """Compare stored sessions with the bars of months that are new; hold the lock of the lake.

    A session that falls short of its bar becomes disputed, with the same rows; one whose bar was
    corrected becomes green.  Agreement is noted in the ledger alone, unless there was none before.

    Returns:
        Keys of the sessions that changed their colour, or lack more or less now, sorted.

    Raises:
        StorageError: The disk refuses; the next call goes on with the months that are left.
    """
    changed: set[str] = set()
    for month in lakehouse.ledger.unjudged_months():
        changed.update(receipt.key for receipt in _judge_month(lakehouse, month))
        lakehouse.ledger.record_judged(month)
    return sorted(changed)


def judge_new_bars(lakehouse: Lakehouse) -> list[str]:
    """Do what :func:`judge_stored` does where there is a lake and no other process holds it.

    Where one does, the next download judges: the months are noted.

    Raises:
        StorageError: The disk refuses.
    """
    if not lakehouse.home.ledger_file.is_file() or not lakehouse.ledger.unjudged_months():
        return []
    try:
        with lakehouse.writing("daily_bars", 0.0):
            return judge_stored(lakehouse)
    except PartitionConflictError as error:
        logger.info("new bars are judged later: %s", error)
        return []


def restate(lakehouse: Lakehouse, judge: BarJudge, receipts: Iterable[Receipt]) -> list[Receipt]:
    """Judge receipts again; write those of which something else is true now, and return them."""
    changed = []
    for receipt in receipts:
        judged = judge.judge(remember_answer(receipt, lakehouse.settings.page_limit))
        if _name_verdict(judged) != _name_verdict(receipt):
            changed.append(replace(judged, revision=receipt.revision + 1))
    return store_restated(lakehouse, changed)


def store_restated(lakehouse: Lakehouse, receipts: Sequence[Receipt]) -> list[Receipt]:
    """Write receipts in place of those of the same rows, on the disk and in the ledger."""
    if not receipts:
        return []
    # Told first: a kill in between must leave nothing green in the ledger that is red on the disk.
    lakehouse.ledger.record_receipts([r for r in receipts if r.state == DISPUTED])
    written = lakehouse.store.restate(receipts)
    lakehouse.ledger.record_receipts(written)
    for receipt in written:
        logger.info(
            "session restated key=%s state=%s marks=%s", receipt.key, receipt.state, receipt.marks
        )
    return written


def remember_answer(receipt: Receipt, page_limit: int) -> Receipt:
    """Return a receipt that knows its own answer among those about it.

    Args:
        receipt: One that its bar did not dispute when it came knows none.
        page_limit: How that answer was cut.
    """
    if receipt.askings or not receipt.rows:
        return receipt
    own = Asking(receipt.started_at.date(), page_limit, receipt.content_hash)
    return replace(receipt, askings=(own,))


def find_receipt(lakehouse: Lakehouse, key: str) -> Receipt | None:
    """Return the receipt of a key; ``None``: there is none that can be believed."""
    try:
        return lakehouse.store.find_receipt(key)
    except (MissingPartitionError, LedgerMismatchError):
        return None


def _judge_month(lakehouse: Lakehouse, month: str) -> list[Receipt]:
    """Judge the stored sessions of a month; return the receipts that were written."""
    figures = lakehouse.ledger.figures(*month_bounds(month))
    figures = figures.filter(pl.col("state").is_in([COMPLETE, DISPUTED]))
    judge = open_judge(lakehouse, read_bar_facts(lakehouse.tables, figures))
    suspects: dict[str, tuple[str, str]] = {}
    agreeing = []
    for row in figures.iter_rows(named=True):
        note = _compare(judge, row)
        lacks = [has[name] for has in (note, row) for name in ("volume_deficit", "count_deficit")]
        if any(lacks) or row["state"] == DISPUTED:
            suspects[encode_key(row["ticker"], row["session_date"])] = (row["state"], row["marks"])
        elif any(note[name] != row[name] for name in NOTED):
            agreeing.append(note | {"session_date": row["session_date"].isoformat()})
    lakehouse.ledger.note_comparisons(agreeing)
    found = [receipt for key in suspects if (receipt := find_receipt(lakehouse, key)) is not None]
    changed = restate(lakehouse, judge, found)
    written = {receipt.key for receipt in changed}
    # A process that died between a receipt and the ledger leaves what the receipt alone knows.
    late = [
        receipt
        for receipt in found
        if receipt.key not in written
        and (receipt.state, ",".join(receipt.marks)) != suspects[receipt.key]
    ]
    lakehouse.ledger.record_receipts(late)
    return [*changed, *late]


def _name_verdict(receipt: Receipt) -> tuple[object, ...]:
    """Return what a bar makes of a session."""
    lacks = (receipt.volume_deficit, receipt.count_deficit)
    return (receipt.state, receipt.marks, *(lack or 0.0 for lack in lacks))


MEASURED = ("volume", "trade_count", "original_volume", "original_trade_count")
"""What a session traded, in the order of ``Figures``."""
NOTED = ("bar_volume", "bar_trade_count", "volume_deficit", "count_deficit", "marks")
"""What the ledger notes of a comparison."""


def _compare(judge: BarJudge, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bar of now makes of a row of ``LedgerReader.figures``."""
    own = Figures(*(row[name] for name in MEASURED))
    found = judge.compare(row["ticker"], row["session_date"], own)
    marks = ",".join(judge.mark(row["session_date"], found))
    key = {"ticker": row["ticker"], "session_date": row["session_date"]}
    return {**key, **found.describe(), "marks": marks}
