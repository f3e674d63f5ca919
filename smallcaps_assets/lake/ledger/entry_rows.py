"""What an entry of a record leaves in the ledger: rows of its session, as a receipt leaves them.

What belongs here: pure conversions from entries that count to rows of SQLite.  What does not:
receipts and failures (``rows``), and when which rows are written (``months``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import polars as pl

from smallcaps_assets.core.archive.findings import ArchiveVerdict
from smallcaps_assets.core.documents import convert_fields, decode_json
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import SESSION, Entry, list_entries
from smallcaps_assets.core.segments.indexing import INSTANT_TEXT
from smallcaps_assets.core.segments.witnesses import LOST_PROOF
from smallcaps_assets.core.states import (
    DISPUTED,
    EMPTY_DISPUTED,
    GREEN,
    IMPORTED_UNPROVEN,
    QUARANTINED,
)
from smallcaps_assets.core.ticks.disputes import Asking, Deficit, Figures
from smallcaps_assets.lake.ledger.import_records import ImportRecord, import_row
from smallcaps_assets.lake.ledger.rows import DATE_LENGTH, Row, describe_dispute
from smallcaps_assets.lake.sessions.receipts import ImportFacts

_WITHOUT_ANSWER: Final = frozenset({EMPTY_DISPUTED, QUARANTINED})
"""States of entries that store nothing."""

_FIGURES: Final = tuple(one.name for one in fields(Figures))
_STORED: Final = (
    "rows",
    "bytes",
    "content_hash",
    "pages",
    "requests",
    "repeats_dropped",
    "is_seam_ambiguous",
    "committed_at",
    *_FIGURES,
    "volume_deficit",
    "count_deficit",
)
"""What a session has of an answer that is stored."""
_NOTHING: Final = {**dict.fromkeys(_STORED), "marks": ""}


@dataclass(frozen=True, slots=True)
class Listing:
    """How sessions are listed.

    Attributes:
        now: When, as text.
        lists_all: List every session that a record tells of; otherwise those that have a row
            already, because a plan asked for them, and those that are not plain
            (``core.segments.indexing.is_plain``).
    """

    now: str
    lists_all: bool = False


def session_rows(counted: pl.DataFrame, listing: Listing, *, attempts: int) -> Iterator[Row]:
    """Yield the rows of ``sessions`` and ``comparisons`` of the sessions among entries.

    Args:
        counted: Entries that count, of ``core.segments.indexing.count_entries``.
        listing: How they are listed.
        attempts: Attempts that they add; none where the ledger is rebuilt.
    """
    sessions = counted.filter(pl.col("kind") == SESSION)
    told = sessions.select(
        *("ticker", "state", *_STORED, "run_id", "revision", "askings"),
        *("is_proven", "segment"),
        pl.col("session_date").dt.to_string("%Y-%m-%d"),
        pl.col("marks").list.join(","),
    ).with_columns(pl.col("committed_at").dt.to_string(INSTANT_TEXT))
    for row in told.iter_rows(named=True):
        if row["state"] in GREEN and not row["is_proven"]:
            lost = lost_row(row["ticker"], row["session_date"], row["segment"], listing)
            yield lost | {"revision": row["revision"]}
        else:
            yield _complete(row, listing) | {"attempts": attempts}


def lost_row(ticker: str, session_date: str, record: str, listing: Listing) -> Row:
    """Make the row of a session that was proven and is gone."""
    return {
        **_NOTHING,
        "ticker": ticker,
        "session_date": session_date,
        "sha256": None,
        "run_id": None,
        "state": QUARANTINED,
        "kind": LOST_PROOF,
        "message": f"it was proven, and the record {record or 'of it'} or its part is gone; run "
        "`smallcaps repair`, then `smallcaps download` asks for it again",
        "attempts": 0,
        "asked": 0,
        "asked_date": None,
        "updated_at": listing.now,
        "asked_again": 0,
        "is_same": False,
        "revision": 1,
    }


def import_rows(counted: pl.DataFrame, now: str) -> list[Row]:
    """Make the rows of ``imports`` of the sessions among entries that an import did not prove.

    Args:
        counted: Entries that count, of ``core.segments.indexing.count_entries``.
        now: When, as text.
    """
    unproven = counted.filter(pl.col("state") == IMPORTED_UNPROVEN)
    sizes = unproven["bytes"].to_list()
    return [
        import_row(_read_import(entry, size), now)
        for entry, size in zip(list_entries(unproven), sizes, strict=True)
    ]


def _complete(row: Row, listing: Listing) -> Row:
    """Add to what an entry says of its session what follows from it."""
    figures = Figures(*(row[name] for name in _FIGURES))
    deficit = Deficit(row["volume_deficit"], row["count_deficit"])
    askings = convert_fields(row["askings"], tuple[Asking, ...]) if row["askings"] else ()
    dates = _list_dates(row, askings)
    is_red = row["state"] in _WITHOUT_ANSWER or row["state"] == DISPUTED
    told = {
        **row,
        "sha256": None,
        "kind": row["state"] if is_red else None,
        "message": _describe(row["state"], figures, deficit, askings),
        "asked": len(dates),
        "asked_date": dates[-1] if dates else None,
        "updated_at": listing.now,
        "asked_again": len(askings),
        "is_same": len({asking.content_hash for asking in askings}) == 1,
    }
    return told | _NOTHING if row["state"] in _WITHOUT_ANSWER else told


def _list_dates(row: Row, askings: Sequence[Asking]) -> list[str]:
    """List the dates on which a disputed session was asked for."""
    if row["state"] not in {DISPUTED, EMPTY_DISPUTED}:
        return []
    dates = sorted({asking.asked_on.isoformat() for asking in askings})
    is_untold = row["state"] == EMPTY_DISPUTED and not dates
    return [row["committed_at"][:DATE_LENGTH]] if is_untold else dates


def _describe(
    state: str, figures: Figures, deficit: Deficit, askings: Sequence[Asking]
) -> str | None:
    """Say why a session is red; ``None``: it is not, or an import says it elsewhere."""
    if state == DISPUTED:
        return describe_dispute(figures, deficit, askings)
    if state == EMPTY_DISPUTED:
        return (
            "the vendor sent no trades, the daily bar has a volume of "
            f"{figures.bar_volume or 0:g}; asked again at most once a day, three times, then "
            "accepted only by --accept-empty"
        )
    if state == QUARANTINED:
        return "its rows were damaged and moved aside; `smallcaps download` asks for them again"
    return None


def _read_import(entry: Entry, size: int) -> ImportRecord:
    """Read what an import knows of a session that it did not prove."""
    facts = decode_json(entry.archive, ImportFacts) if entry.archive else None
    return ImportRecord(
        encode_key(entry.ticker, entry.session_date),
        facts.verdict if facts else ArchiveVerdict.UNPROVEN.value,
        facts.fingerprint if facts else "",
        rows=entry.rows,
        bytes=size,
        bar_volume=entry.bar_volume,
        bar_trade_count=entry.bar_trade_count,
        findings=facts.findings if facts else (),
    )
