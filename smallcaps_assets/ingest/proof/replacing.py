"""Stored sessions in whose place other answers come, and damaged ones moved out of the way.

What belongs here: the order of the steps, so that a process may end between any two of them.  What
does not: which of two answers counts (``ingest.ticks.asking_again``).
"""

import datetime as dt
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.errors import StorageError
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.damages import Damage
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.protocol import SessionStore
from smallcaps_assets.lake.sessions.quarantine import EVIDENCE_NAME
from smallcaps_assets.lake.sessions.receipts import Receipt

REPLACING: Final = "replacing"
"""Kind of a session whose replacement was not finished."""
_MESSAGE: Final = (
    "another answer of the vendor was about to take its place when the process ended; the next "
    "download finds what is stored, or asks for it"
)

logger = logging.getLogger(__name__)


def replace_sessions(
    ledger: Ledger, store: SessionStore, sessions: Sequence[PreparedSession]
) -> list[Receipt]:
    """Store answers in place of those that they replace; return their receipts.

    The ledger is told first: while one goes and the other comes a session has no receipt, and the
    ledger must not call it green if the process ends there.

    Raises:
        StorageError: The disk refuses; what has a receipt is stored.
    """
    if not sessions:
        return []
    keys = [session.receipt.key for session in sessions]
    run_id = sessions[0].receipt.run_id
    ledger.record_failures(
        [Failure(key, QUARANTINED, REPLACING, _MESSAGE, run_id=run_id) for key in keys]
    )
    try:
        written = store.commit(sessions)
    except StorageError:
        ledger.record_receipts(store.find_receipts(keys))
        raise
    record_stored(ledger, store, written)
    return written


def move_damaged(
    ledger: Ledger, store: SessionStore, receipt: Receipt, run_id: str, now: dt.datetime
) -> bool:
    """Move a stored session aside if its rows are gone or damaged; return whether they are.

    Raises:
        StorageError: The disk refuses.
    """
    damages = store.find_damages(receipt)
    if not damages:
        return False
    message = "; ".join(damage.message for damage in damages)
    failure = Failure(receipt.key, QUARANTINED, damages[0].kind.value, message, run_id=run_id)
    ledger.record_failures([failure])
    move_aside(store, damages, Tree.TRADES, now)
    return True


def move_aside(
    store: SessionStore, damages: Sequence[Damage], tree: Tree, found_at: dt.datetime
) -> Path:
    """Move a session aside, with what was wrong with it and when, in UTC, it was found.

    The caller holds the lock, and names at least one damage.

    Raises:
        StorageError: The disk refuses.
    """
    first = damages[0]
    evidence = {
        "found_at": found_at,
        "damages": [(damage.kind.value, damage.message) for damage in damages],
    }
    content = msgspec.json.format(msgspec.json.encode(evidence))
    logger.warning("quarantined tree=%s key=%s kind=%s", tree.value, first.key, first.kind.value)
    return store.quarantine(
        first.ticker, first.session_date, tree=tree, evidence={EVIDENCE_NAME: content}
    )
