"""What the ledger remembers of archives: the sessions that do not agree with their bars.

What belongs here: the record and its row in SQLite. What does not: statements (``sql``),
the verdict (``core.archive.sessions``), and sessions that agree, which have a receipt like any
other.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.lake.ledger.rows import Row


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """What an import found out about one session of an archive.

    Attributes:
        key: Key of the ticker-session.
        verdict: ``unproven``, whose rows are kept apart, or ``unusable``.
        fingerprint: Hash of names, sizes and times of its files in the archive, and of the prices
            of its daily bar.
        rows: Trades kept.
        bytes: Size of the file kept.
        bar_volume: Shares of the daily bar it was compared with; ``None``: none was known.
        bar_trade_count: Trades of that bar, where it knows them.
        findings: What is missing or suspicious, a line each.
    """

    key: str
    verdict: str
    fingerprint: str
    rows: int = 0
    bytes: int = 0
    bar_volume: float | None = None
    bar_trade_count: int | None = None
    findings: tuple[str, ...] = ()


def import_row(record: ImportRecord, now: str) -> Row:
    """Make the row of ``imports`` from a record."""
    ticker, session_date = decode_key(record.key)
    return asdict(record) | {
        "ticker": ticker,
        "session_date": session_date.isoformat(),
        "findings": json.dumps(record.findings),
        "updated_at": now,
    }


def parse_import(row: Sequence[Any]) -> ImportRecord:
    """Parse the record that a row of ``ledger_sql.IMPORTS`` holds."""
    named = dict(zip((column.name for column in fields(ImportRecord)), row, strict=True))
    named["findings"] = tuple(json.loads(named["findings"]))
    return ImportRecord(**named)
