"""Statements about sessions that are proven and have no row, in the dialect of SQLite.

What belongs here: which sessions these are, and their sums.  What does not: statements about rows
(``statements``) and about records (``month_statements``).
"""

from typing import Final


def is_unlisted(ticker: str, date: str) -> str:
    """Make the condition that a session is proven and has no row, of two expressions."""
    return f"""NOT EXISTS (
        SELECT 1 FROM sessions AS listed
        WHERE listed.ticker = {ticker} AND listed.session_date = {date}
    ) AND EXISTS (
        SELECT 1 FROM ticker_months AS held
        WHERE held.month = substr({date}, 1, 7) AND held.ticker = {ticker}
            AND held.proven >> CAST(substr({date}, 9) AS INTEGER) & 1
    )"""  # noqa: S608  our own words


UNLISTED: Final = f"""
SELECT (key.value ->> 0) || '_' || (key.value ->> 1) FROM json_each(:keys) AS key
WHERE {is_unlisted("(key.value ->> 0)", "(key.value ->> 1)")}
"""  # noqa: S608  our own words
UNLISTED_WANTED: Final = f"""
SELECT ticker || '_' || session_date FROM wanted
WHERE {is_unlisted("wanted.ticker", "wanted.session_date")}
"""  # noqa: S608  our own words
ADD_COMMIT: Final = """
INSERT INTO plain_commits VALUES (
    :month, :committed_at, :run_id, :sessions, :asked, :traded, :rows, :bytes
)
ON CONFLICT DO UPDATE SET
    sessions = sessions + excluded.sessions, asked = asked + excluded.asked,
    traded = traded + excluded.traded, rows = rows + excluded.rows, bytes = bytes + excluded.bytes
"""
ADD_DATE: Final = """
INSERT INTO plain_dates VALUES (:session_date, :volume, :trade_count)
ON CONFLICT DO UPDATE SET
    volume = volume + excluded.volume, trade_count = trade_count + excluded.trade_count
"""
FORGET_IDLE: Final = """
DELETE FROM plain_commits
WHERE month = :month AND committed_at = :committed_at AND run_id = :run_id AND sessions = 0
"""
FORGET_MONTH: Final = (
    "DELETE FROM plain_commits WHERE month = substr(:first, 1, 7)",
    "DELETE FROM plain_dates WHERE session_date BETWEEN :first AND :last",
)
MONTHS: Final = "SELECT DISTINCT month FROM plain_commits ORDER BY month"
SUMS: Final = """
SELECT coalesce(sum(sessions), 0), coalesce(sum(traded), 0), coalesce(sum(rows), 0),
    coalesce(sum(bytes), 0)
FROM plain_commits
"""
SIZES: Final = """
SELECT rows / traded, bytes / traded FROM plain_commits WHERE traded > 0
ORDER BY month, committed_at, run_id
"""
DATES: Final = "SELECT session_date, volume, trade_count FROM plain_dates"
NEWEST: Final = "SELECT max(committed_at) FROM plain_commits"
COMMITTED_SINCE: Final = """
SELECT coalesce(sum(sessions), 0) FROM plain_commits WHERE committed_at > :since
"""
UNTIMED: Final = """
SELECT coalesce(sum(asked), 0) FROM plain_commits
WHERE committed_at > :since AND run_id NOT IN (SELECT DISTINCT run_id FROM attempts)
"""
