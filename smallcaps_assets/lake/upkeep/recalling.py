"""The entries of a month as its ledger remembers them, for records that cannot say it any more.

What belongs here: from rows of the ledger to entries.  What does not: finding their rows, which
prove them or not (``healing``).
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.core.segments.indexing import DAYS, list_sessions
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.lake.ledger.months import LedgerMonths
from smallcaps_assets.lake.segments.receipts import NO_ARCHIVE

_UNKNOWN: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIGURES: Final = (
    "volume",
    "trade_count",
    "original_volume",
    "original_trade_count",
    "bar_volume",
    "bar_trade_count",
    "volume_deficit",
    "count_deficit",
)
_COUNTS: Final = ("revision", "pages", "repeats_dropped", "run_id")


def recall_entries(ledger: LedgerMonths, calendar: SessionCalendar, month: str) -> pl.DataFrame:
    """Recall what was proven of a month.

    The answers about a session that its bar disputed are not remembered, nor are the prints beside
    a session.  Where there were any the entry has no content hash: nothing proves it, and it is
    asked for again.

    Args:
        ledger: The ledger.
        calendar: The sessions, by which a closed day has an owner.
        month: The month.

    Returns:
        ``schemas.ENTRIES``; a part is not among what is remembered.
    """
    owners = _list_owners(ledger, calendar, month)
    rows = ledger.recall_sessions(month).iter_rows(named=True)
    return frame_entries(
        _recall(row, is_alone=(row["ticker"], row["session_date"]) not in owners) for row in rows
    )


def _recall(row: Mapping[str, Any], *, is_alone: bool) -> Entry:
    """Make the entry of a row; its span is its own day, which is all that is known of it."""
    date, marks, told_at = row["session_date"], row["marks"], row["committed_at"]
    is_plain = is_alone and not row["asked"]
    begun = dt.datetime.fromisoformat(told_at) if told_at else _UNKNOWN
    first_ns, end_ns = day_bounds_ns(date, date)
    return Entry(
        ticker=row["ticker"],
        session_date=date,
        owner=date,
        state=row["state"],
        content_hash=row["content_hash"] if is_plain else "",
        gte_ns=first_ns,
        lt_ns=end_ns,
        vendor_status="",
        started_at=begun,
        committed_at=begun,
        marks=tuple(marks.split(",")) if marks else (),
        is_seam_ambiguous=bool(row["is_seam_ambiguous"]),
        requests=row["requests"] or 0,
        archive=NO_ARCHIVE if row["requests"] == 0 else None,
        **{name: row[name] for name in (*_FIGURES, *_COUNTS)},
    )


def _list_owners(
    ledger: LedgerMonths, calendar: SessionCalendar, month: str
) -> set[tuple[str, dt.date]]:
    """List the sessions that own prints on a date without a session."""
    bits = ledger.read_bits(month)
    first = dt.date.fromisoformat(f"{month}-01")
    before = month_of(first - dt.timedelta(days=1))
    shifted = bits.with_columns(month=pl.lit(before), beside=pl.col("beside") // 2**DAYS)
    beside = pl.concat([list_sessions(one, "beside") for one in (bits, shifted)])
    days = beside.select("ticker", "session_date").rows()
    return {(ticker, calendar.owner_of(date)) for ticker, date in days}
