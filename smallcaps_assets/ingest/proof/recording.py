"""What was stored, told to the ledger.

What belongs here: the one step after a commit and before its outcome.  What does not: commits
(``lake.segment_store``), and a ledger that was lost or is behind (``ingest.derived``).
"""

from collections.abc import Iterable

from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.upkeep.indexing import list_stored, record_commit


def record_stored(ledger: Ledger, store: SegmentStore) -> None:
    """Record what was committed and the ledger lacks, in one transaction.

    Raises:
        LedgerMismatchError: A record with earlier answers is damaged; the ledger is unchanged.
        StorageError: The disk refuses; the ledger is unchanged, and brought up to date later.
    """
    records = store.untold
    record_commit(ledger, store.lake, records)
    store.note_told(records)  # an interrupt before leaves them to the next call


def list_sessions(ledger: Ledger, store: SegmentStore, keys: Iterable[str]) -> None:
    """Give those of ``keys`` that are stored a row in the ledger, which is about to change.

    Raises:
        LedgerMismatchError: A record is damaged.
        StorageError: The disk refuses.
    """
    list_stored(ledger, store.lake, keys)
