"""What was stored, told to the ledger, however it lies.

What belongs here: the one step after a commit and before its outcome.  What does not: commits
(``lake.sessions.protocol``), and a ledger that was lost or is behind (``ingest.derived``).
"""

from collections.abc import Sequence

from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.protocol import SessionStore
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.upkeep.indexing import record_commit


def record_stored(ledger: Ledger, store: SessionStore, receipts: Sequence[Receipt]) -> None:
    """Record what was committed, in one transaction.

    Args:
        ledger: The ledger.
        store: Where it was committed; one of segments knows which records the ledger lacks.
        receipts: What was committed among the sessions, of a lake of receipts.

    Raises:
        LedgerMismatchError: A record with earlier answers is damaged; the ledger is unchanged.
        StorageError: The disk refuses; the ledger is unchanged, and brought up to date later.
    """
    if isinstance(store, SegmentStore):
        record_commit(ledger, store.lake, store.take_records())
    else:
        ledger.record_receipts(receipts)
