"""The ledger of a lake of receipts, as the last version that had the format left it."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.lake.sessions.receipts import Receipt

SCHEMA = Path(__file__).with_name("ledger.sql")
NOW = "2024-03-16T12:00:00.000000+00:00"

_STORE = """
INSERT INTO sessions (ticker, session_date, state, is_planned, rows, bytes, sha256, content_hash,
    pages, requests, repeats_dropped, is_seam_ambiguous, committed_at, attempts, run_id, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
"""
_FAIL = """
INSERT INTO sessions (ticker, session_date, state, is_planned, error_kind, error_message, attempts,
    asked_count, last_asked_date, run_id, updated_at)
VALUES (?, ?, ?, 1, ?, ?, 1, ?, ?, 'run-1', ?)
"""
_PLAN = "INSERT INTO sessions (ticker, session_date, is_planned, updated_at) VALUES (?, ?, 1, ?)"


class Red(NamedTuple):
    """A planned session that is not green and of which no receipt tells."""

    key: str
    state: str
    asked_count: int = 0
    last_asked_date: str | None = None


def write_ledger(
    path: Path, planned: Iterable[str], receipts: Sequence[Receipt], red: Sequence[Red] = ()
) -> None:
    """Write a ledger that knows the receipts of the tree of trades, and what failed.

    Args:
        path: The file, which is not there yet.
        planned: Keys of the published plan.
        receipts: What is stored.
        red: What is not.
    """
    keys = {*planned}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA.read_text(encoding="utf-8"))
        connection.executemany(
            _STORE, [_store(one, is_planned=one.key in keys) for one in receipts]
        )
        connection.executemany(_FAIL, [_fail(one) for one in red])
        known = {one.key for one in receipts} | {one.key for one in red}
        rows = [(*_place(key), NOW) for key in sorted(keys - known)]
        connection.executemany(_PLAN, rows)
        connection.execute("INSERT INTO facts VALUES ('indexed_at', ?)", (NOW,))


def _place(key: str) -> tuple[str, str]:
    ticker, session_date = decode_key(key)
    return ticker, session_date.isoformat()


def _store(receipt: Receipt, *, is_planned: bool) -> tuple[object, ...]:
    return (
        *_place(receipt.key),
        receipt.state,
        is_planned,
        receipt.rows,
        receipt.bytes,
        receipt.sha256,
        receipt.content_hash,
        receipt.pages,
        receipt.requests,
        receipt.repeats_dropped,
        receipt.is_seam_ambiguous,
        receipt.committed_at.isoformat(),
        receipt.run_id,
        NOW,
    )


def _fail(red: Red) -> tuple[object, ...]:
    asked = (red.asked_count, red.last_asked_date)
    return (*_place(red.key), red.state, "empty", "its bar has volume", *asked, NOW)
