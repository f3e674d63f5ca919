"""Between what the download knows of a session and its entry in a record.

What belongs here: pure conversions; each field of a receipt is carried, or follows from others.
What does not: storing (``lake.segment_store``).
"""

import datetime as dt
from typing import Final

import msgspec

from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.core.segments.entries import (
    OFF_SESSION,
    PHASE_COLUMNS,
    SESSION,
    Entry,
)
from smallcaps_assets.core.states import IMPORTED_UNPROVEN
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.sessions.receipts import ImportFacts, Receipt
from smallcaps_assets.schemas import SCHEMA_VERSION

NO_ARCHIVE: Final = "{}"
"""What an entry has of an import of which nothing else is known."""


def enter_receipt(receipt: Receipt, owner: dt.date | None = None) -> Entry:
    """Make the entry of a receipt; what its rows tell is measured once more when it is stored.

    Args:
        receipt: The receipt.
        owner: Session that prints on a closed day belong to; ``None``: it is a session itself.
    """
    counts = receipt.rows_by_phase
    return Entry(
        ticker=receipt.ticker,
        session_date=receipt.session_date,
        kind=SESSION if owner is None else OFF_SESSION,
        owner=owner or receipt.session_date,
        revision=receipt.revision,
        state=receipt.state,
        rows=receipt.rows,
        content_hash=receipt.content_hash,
        first_sip=receipt.first_sip_timestamp,
        last_sip=receipt.last_sip_timestamp,
        pre_market_rows=counts.get("pre_market", 0),
        regular_rows=counts.get("regular", 0),
        after_hours_rows=counts.get("after_hours", 0),
        closed_rows=counts.get("closed", 0),
        volume=receipt.volume,
        trade_count=receipt.trade_count,
        original_volume=receipt.original_volume,
        original_trade_count=receipt.original_trade_count,
        bar_volume=receipt.bar_volume,
        bar_trade_count=receipt.bar_trade_count,
        volume_deficit=receipt.volume_deficit,
        count_deficit=receipt.count_deficit,
        gte_ns=receipt.gte_ns,
        lt_ns=receipt.lt_ns,
        pages=receipt.pages,
        requests=receipt.requests,
        repeats_dropped=receipt.repeats_dropped,
        is_seam_ambiguous=receipt.is_seam_ambiguous,
        vendor_status=receipt.vendor_status,
        is_accepted=receipt.is_accepted_disputed or receipt.is_accepted_empty,
        askings=receipt.askings,
        marks=receipt.marks,
        run_id=receipt.run_id,
        started_at=receipt.started_at,
        archive=_tell_archive(receipt),
    )


def make_receipt(entry: Entry, source: str, size: int, sha256: str | None = None) -> Receipt:
    """Make the receipt of an entry.

    Args:
        entry: The entry, stored.
        source: Source that the lake is bound to.
        size: Bytes of its part that its rows take, or of a file of its own.
        sha256: Hash of a file of its own; ``None``: it has none.
    """
    counts = {phase: getattr(entry, column) for phase, column in PHASE_COLUMNS.items()}
    archive = entry.archive
    return Receipt(
        ticker=entry.ticker,
        session_date=entry.session_date,
        source=source,
        schema_version=SCHEMA_VERSION,
        revision=entry.revision,
        state=entry.state,
        rows=entry.rows,
        bytes=size,
        sha256=sha256,
        content_hash=entry.content_hash,
        first_sip_timestamp=entry.first_sip,
        last_sip_timestamp=entry.last_sip,
        rows_by_phase={phase: count for phase, count in sorted(counts.items()) if count},
        volume=entry.volume,
        trade_count=entry.trade_count,
        original_volume=entry.original_volume,
        original_trade_count=entry.original_trade_count,
        bar_volume=entry.bar_volume,
        bar_trade_count=entry.bar_trade_count,
        volume_deficit=entry.volume_deficit,
        count_deficit=entry.count_deficit,
        gte_ns=entry.gte_ns,
        lt_ns=entry.lt_ns,
        pages=entry.pages,
        requests=entry.requests,
        repeats_dropped=entry.repeats_dropped,
        is_seam_ambiguous=entry.is_seam_ambiguous,
        vendor_status=entry.vendor_status,
        is_accepted_disputed=entry.is_accepted and entry.rows > 0,
        is_accepted_empty=entry.is_accepted and not entry.rows,
        askings=entry.askings,
        marks=entry.marks,
        is_imported=archive is not None,
        archive=None if archive in (None, NO_ARCHIVE) else _read_archive(archive),
        run_id=entry.run_id,
        started_at=entry.started_at,
        committed_at=entry.committed_at,
    )


def find_tree(entry: Entry) -> Tree:
    """Tell among what an entry belongs: sessions, prints on closed days, imports without proof."""
    if entry.kind == OFF_SESSION:
        return Tree.OFF_SESSION
    return Tree.IMPORTED if entry.state == IMPORTED_UNPROVEN else Tree.TRADES


def _tell_archive(receipt: Receipt) -> str | None:
    if receipt.archive is None:
        return NO_ARCHIVE if receipt.is_imported else None
    return msgspec.json.encode(receipt.archive).decode()


def _read_archive(text: str | None) -> ImportFacts:
    return decode_json(text or NO_ARCHIVE, ImportFacts)
