"""From what a lake of receipts says of a session to the entry that a record has of it.

What belongs here: pure conversions; each field of a receipt is carried, or follows from others.
What does not: which sessions there are (``old_lake``), and storing them (``months``).
"""

import datetime as dt
import hashlib
from typing import Final

import msgspec

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.segments.entries import OFF_SESSION, SESSION, Entry
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.core.states import EMPTY_DISPUTED, QUARANTINED
from smallcaps_assets.core.ticks.disputes import UNASKED, Asking
from smallcaps_assets.lake.ledger.rows import SessionRecord
from smallcaps_assets.lake.segments.receipts import enter_receipt
from smallcaps_assets.lake.sessions.receipts import Receipt

FROM_LEDGER: Final = frozenset({EMPTY_DISPUTED, QUARANTINED})
"""Red states of which a lake of receipts keeps nothing but the row of its ledger."""

_UNKNOWN: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def adopt_receipt(
    receipt: Receipt, calendar: SessionCalendar, *, owner: dt.date | None = None, revision: int = 1
) -> Entry:
    """Make the entry of a receipt.

    Args:
        receipt: The receipt.
        calendar: Sessions, by which it is told whether the closed days before were asked for.
        owner: Session that prints on a closed day belong to; ``None``: it is a session itself.
        revision: Least revision of the entry, which is that of the receipt otherwise.
    """
    return msgspec.structs.replace(
        enter_receipt(receipt, owner),
        revision=max(receipt.revision, revision),
        marks=_mark(receipt, calendar) if owner is None else receipt.marks,
        committed_at=receipt.committed_at,
        adopted=receipt.receipt_sha256,
    )


def enter_damage(
    ticker: str, session_date: dt.date, adopted: str, *, owner: dt.date, revision: int
) -> Entry:
    """Make the entry of a session that is damaged, or of which an old answer alone is left.

    Args:
        ticker: Vendor's symbol.
        session_date: New York date.
        adopted: Names what it was made of, so that it is made once.
        owner: Session that owns it.
        revision: A revision above that of everything that is known of it.
    """
    return Entry(
        ticker=ticker,
        session_date=session_date,
        kind=SESSION if owner == session_date else OFF_SESSION,
        owner=owner,
        revision=revision,
        state=QUARANTINED,
        gte_ns=0,
        lt_ns=0,
        pages=0,
        requests=0,
        vendor_status="",
        run_id="",
        started_at=_UNKNOWN,
        adopted=adopted,
    )


def adopt_record(record: SessionRecord) -> Entry:
    """Make the entry of a red session of which the ledger alone knows, see :data:`FROM_LEDGER`."""
    ticker, session_date = decode_key(record.key)
    text = f"{record.key} {record.state} {record.asked_count}"
    adopted = hashlib.sha256(text.encode()).hexdigest()
    entry = enter_damage(ticker, session_date, adopted, owner=session_date, revision=1)
    asked_on = record.last_asked_date
    askings = (Asking(asked_on, 0, ""),) if asked_on else ()
    return msgspec.structs.replace(entry, state=record.state, askings=askings)


def _mark(receipt: Receipt, calendar: SessionCalendar) -> tuple[str, ...]:
    """Add to its marks that closed days before it were not asked for."""
    days = calendar.closed_days_before(receipt.session_date)
    was_asked = not receipt.is_imported and receipt.requests > 0
    if not days or not was_asked or receipt.gte_ns <= day_bounds_ns(days[0], days[0])[0]:
        return receipt.marks
    return (*receipt.marks, UNASKED)
