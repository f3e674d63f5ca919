"""Statements about the records and proofs of a lake of segments, in the dialect of SQLite.

What belongs here: SQL of the tables ``months``, ``ticker_months``, ``lost_proof`` and
``two_answers``, and of rows that follow from them.  What does not: sessions by themselves
(``statements``), tables (``schema``).
"""

from collections.abc import Iterable
from typing import Final

from smallcaps_assets.lake.ledger.sql.statements import FORGOTTEN

MONTH_RECORDS: Final = """
SELECT month, record, sha256, bytes, sessions, green, rows, parts, replaces, is_lost FROM months
WHERE :months IS NULL OR month IN (SELECT value FROM json_each(:months))
ORDER BY month, record
"""
RECORD_MONTH: Final = """
INSERT OR REPLACE INTO months VALUES (
    :month, :record, :sha256, :bytes, :sessions, :green, :rows, :parts, :replaces, :is_lost
)
"""
COUNT_RECORD: Final = """
UPDATE months SET sessions = sessions + :sessions, green = green + :green, rows = rows + :rows
WHERE month = :month AND record = :record
"""
ACCOUNT_FOR: Final = "DELETE FROM months WHERE month = ? AND record = ? AND is_lost = 1"
FORGET_MONTH: Final = (
    "DELETE FROM months WHERE month = ?",
    "DELETE FROM ticker_months WHERE month = ?",
)
# A row a month, of lists: a row of Python objects a ticker and month would cost ten times more.
PACKED_MONTHS: Final = """
SELECT month, group_concat(ticker), COLUMNS
FROM ticker_months WHERE month BETWEEN :first AND :last GROUP BY month
"""
PACKED_TICKERS: Final = """
SELECT month, group_concat(ticker), COLUMNS
FROM (SELECT DISTINCT month FROM months WHERE month BETWEEN :first AND :last)
    CROSS JOIN ticker_months USING (month)
WHERE ticker IN (SELECT value FROM json_each(:tickers)) GROUP BY month
"""


def pack(statement: str, columns: Iterable[str]) -> str:
    """Let ``PACKED_MONTHS`` or ``PACKED_TICKERS`` list some columns."""
    return statement.replace("COLUMNS", ", ".join(f"group_concat({name})" for name in columns))


HELD: Final = """
SELECT month, ticker, record, proven, red, beside FROM ticker_months WHERE month = :month
"""
HOLDERS: Final = """
SELECT month, ticker, record, proven, red, beside
FROM json_each(:pairs) AS pair
CROSS JOIN ticker_months ON month = pair.value ->> 0 AND ticker = pair.value ->> 1
"""
# The bits of the records of a month never overlap, so that a union is a sum.
ADD_TICKER_MONTH: Final = """
INSERT INTO ticker_months VALUES (
    :month, :ticker, :record, :proven, :red, :marked, :beside, :rows, :bytes
)
ON CONFLICT DO UPDATE SET
    proven = proven + excluded.proven, red = red + excluded.red, marked = marked + excluded.marked,
    beside = beside + excluded.beside, rows = rows + excluded.rows, bytes = bytes + excluded.bytes
"""
FORGET_IDLE: Final = """
DELETE FROM ticker_months
WHERE month = :month AND ticker = :ticker AND record = :record AND proven | red | beside = 0
"""
PROOFS: Final = """
SELECT (key.value ->> 0) || '_' || (key.value ->> 1) FROM json_each(:keys) AS key
WHERE EXISTS (
    SELECT 1 FROM ticker_months
    WHERE month = substr(key.value ->> 1, 1, 7) AND ticker = key.value ->> 0
        AND proven >> CAST(substr(key.value ->> 1, 9) AS INTEGER) & 1
) AND NOT EXISTS (
    SELECT 1 FROM lost_proof
    WHERE ticker = key.value ->> 0 AND session_date = key.value ->> 1
)
"""
TOLD: Final = PROOFS.replace("AND proven >>", "AND (proven | red) >>")
REVISED: Final = """
SELECT ticker, session_date FROM comparisons INDEXED BY revised
WHERE revision > 1 AND session_date BETWEEN :first AND :last
"""
# What is counted as proven was green, whatever happened to its row since.
REMEMBERED: Final = """
SELECT key.value ->> 0, key.value ->> 1, key.value ->> 2, coalesce(revision, 1),
    iif(is_green, state, 'complete'), coalesce(content_hash, '')
FROM json_each(:keys) AS key
LEFT JOIN sessions ON sessions.ticker = key.value ->> 0
    AND sessions.session_date = key.value ->> 1
LEFT JOIN comparisons ON comparisons.ticker = key.value ->> 0
    AND comparisons.session_date = key.value ->> 1
"""
LISTED: Final = """
SELECT ticker, session_date FROM json_each(:tickers) CROSS JOIN sessions
ON ticker = value AND session_date BETWEEN :first AND :last
"""
LOST_PROOF: Final = """
SELECT ticker, session_date, record, revision, state, content_hash FROM lost_proof
ORDER BY ticker, session_date
"""
RECORD_LOST_PROOF: Final = """
INSERT INTO lost_proof VALUES (:ticker, :session_date, :record, :revision, :state, :content_hash)
"""
FORGET_LOST_PROOF: Final = "DELETE FROM lost_proof WHERE ticker = ? AND session_date = ?"

TWO_ANSWERS: Final = """
SELECT ticker, session_date, revision FROM two_answers ORDER BY ticker, session_date
"""
RECORD_TWO_ANSWERS: Final = "INSERT OR REPLACE INTO two_answers VALUES (?, ?, ?)"
FORGET_ANSWERS: Final = "DELETE FROM two_answers WHERE ticker = ? AND session_date = ?"
FORGET_TWO_ANSWERS: Final = "DELETE FROM two_answers WHERE session_date BETWEEN :first AND :last"
RECALLED: Final = """
SELECT ticker, session_date, coalesce(lost_proof.state, sessions.state),
    volume, trade_count, original_volume, original_trade_count, bar_volume, bar_trade_count,
    volume_deficit, count_deficit, coalesce(marks, ''),
    coalesce(lost_proof.content_hash, sessions.content_hash, ''),
    coalesce(lost_proof.revision, comparisons.revision, 1), coalesce(asked, 0),
    coalesce(pages, 0), requests, coalesce(repeats_dropped, 0),
    coalesce(is_seam_ambiguous, 0), coalesce(run_id, ''), committed_at
FROM sessions LEFT JOIN comparisons USING (ticker, session_date)
    LEFT JOIN lost_proof USING (ticker, session_date)
WHERE session_date BETWEEN :first AND :last AND (is_green OR lost_proof.revision IS NOT NULL)
ORDER BY ticker, session_date
"""

FORGET_VANISHED: Final = (
    "DELETE FROM comparisons WHERE ticker = ? AND session_date = ?",
    "DELETE FROM sessions WHERE ticker = ? AND session_date = ? AND is_planned = 0",
    """
    UPDATE sessions SET state = 'planned', FORGOTTEN WHERE ticker = ? AND session_date = ?
    """.replace("FORGOTTEN", FORGOTTEN),
)
"""A session that a record told of, and no longer does."""
_IS_UNTOLD: Final = """NOT EXISTS (
    SELECT 1 FROM ticker_months AS held
    WHERE held.month = substr(session_date, 1, 7) AND held.ticker = sessions.ticker
        AND (held.proven | held.red) >> CAST(substr(session_date, 9) AS INTEGER) & 1
)"""
FORGET_UNTOLD: Final = """
DELETE FROM sessions
WHERE (is_green = 1 OR state IN ('disputed', 'imported_unproven')) AND is_planned = 0 AND IS_UNTOLD
""".replace("IS_UNTOLD", _IS_UNTOLD)
DEMOTE_UNTOLD: Final = """
UPDATE sessions SET state = 'planned', FORGOTTEN
WHERE (is_green = 1 OR state IN ('disputed', 'imported_unproven')) AND IS_UNTOLD
""".replace("FORGOTTEN", FORGOTTEN).replace("IS_UNTOLD", _IS_UNTOLD)
FORGET_UNTOLD_COMPARISONS: Final = """
DELETE FROM comparisons WHERE IS_UNTOLD
""".replace("IS_UNTOLD", _IS_UNTOLD.replace("sessions.ticker", "comparisons.ticker"))
