"""Stored sessions in whose place other answers come, and damaged ones moved out of the way.

What belongs here: what ledger and quarantine are told of it.  What does not: which of two answers
counts (``ingest.ticks.asking_again``).
"""

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.errors import StorageError
from smallcaps_assets.ingest.proof.recording import list_sessions, record_stored
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.sessions.damages import EVIDENCE_NAME
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import Receipt

REPLACING: Final = "replacing"
"""Kind of a session whose replacement was not finished."""
_MESSAGE: Final = (
    "another answer of the vendor was about to take its place when the process ended; the next "
    "download finds what is stored, or asks for it"
)

logger = logging.getLogger(__name__)


def replace_sessions(
    ledger: Ledger, store: SegmentStore, sessions: Sequence[PreparedSession]
) -> list[Receipt]:
    """Store answers in place of those that they replace; return their receipts.

    The ledger is told first: it must not call a session green by the old answer if the process
    ends between the record of the new one, which may be red, and the ledger.

    Raises:
        StorageError: The disk refuses; the ledger knows what is stored all the same.
    """
    if not sessions:
        return []
    keys = [session.receipt.key for session in sessions]
    run_id = sessions[0].receipt.run_id
    list_sessions(ledger, store, keys)
    ledger.record_failures(
        [Failure(key, QUARANTINED, REPLACING, _MESSAGE, run_id=run_id) for key in keys]
    )
    try:
        written = store.commit(sessions)
    except StorageError:
        ledger.record_receipts(store.find_receipts(keys))
        raise
    record_stored(ledger, store)
    return written


def move_damaged(
    ledger: Ledger, store: SegmentStore, receipt: Receipt, run_id: str, now: dt.datetime
) -> bool:
    """Move a stored session aside if its rows are gone or damaged; return whether they are.

    What was wrong with it and when, in UTC, it was found is its evidence.

    Raises:
        StorageError: The disk refuses.
    """
    damages = store.find_damages(receipt)
    if not damages:
        return False
    message = "; ".join(damage.message for damage in damages)
    list_sessions(ledger, store, [receipt.key])
    failure = Failure(receipt.key, QUARANTINED, damages[0].kind.value, message, run_id=run_id)
    ledger.record_failures([failure])
    evidence = {
        "found_at": now,
        "damages": [(damage.kind.value, damage.message) for damage in damages],
    }
    content = msgspec.json.format(msgspec.json.encode(evidence))
    logger.warning("quarantined key=%s kind=%s", receipt.key, damages[0].kind.value)
    store.quarantine(receipt.ticker, receipt.session_date, evidence={EVIDENCE_NAME: content})
    return True
