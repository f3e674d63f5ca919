"""Prints on closed days: stored before or with the session that they belong to, and never mixed.

What belongs here: what becomes of such prints when a range is committed. What does not: which
session a closed day belongs to (``core.sessions``), and the order of a commit
(``lake.segments.commit``).
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.damages import EVIDENCE_NAME

logger = logging.getLogger(__name__)

REPLACED = "the vendor sent other prints of this day, or none, when its session was asked for again"


def store_off_session(store: SegmentStore, results: Sequence[RangeResult]) -> int:
    """Store the prints on closed days of some ranges by themselves; return how many.

    Raises:
        StorageError: The disk refuses; doing all of it again is safe.
    """
    for result in results:
        sent = {p.receipt.session_date: p.receipt.content_hash for p in result.off_session}
        set_days_aside(store, result.span.ticker, result.closed_days, sent)
    prepared = [prints for result in results for prints in result.off_session]
    receipts = store.commit(prepared) if prepared else []
    return sum(receipt.rows for receipt in receipts)


def set_days_aside(
    store: SegmentStore, ticker: str, days: Iterable[dt.date], sent: Mapping[dt.date, str]
) -> None:
    """Move stored prints of closed days aside where the vendor sends others now, or none.

    So the lake holds what it would hold had it never asked before.

    Args:
        store: The lake.
        ticker: Vendor's symbol.
        days: Closed days of which the vendor was asked for all prints.
        sent: Content hash of what it sent, by day.

    Raises:
        StorageError: The disk refuses; doing all of it again is safe.
    """
    for day in days:
        _set_aside(store, ticker, day, sent.get(day))


def _set_aside(store: SegmentStore, ticker: str, day: dt.date, content_hash: str | None) -> None:
    """Move the stored prints of a closed day aside unless they are the same as those sent."""
    tree = Tree.OFF_SESSION
    if store.find_content(ticker, day, tree) in (None, content_hash):
        return
    evidence = msgspec.json.format(msgspec.json.encode({"damages": [("replaced", REPLACED)]}))
    folder = store.quarantine(ticker, day, tree=tree, evidence={EVIDENCE_NAME: evidence})
    logger.warning("off-session prints replaced ticker=%s date=%s kept=%s", ticker, day, folder)
