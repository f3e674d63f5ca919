"""Statements that ask the ledger what happened in all the time it knows, in the dialect of SQLite.

What belongs here: questions of reports and audits, which may read whole tables.  What does not:
what a download or a look at its progress asks (``ledger_sql``).
"""

from typing import Final

RUNS: Final = """
SELECT run_id, min(recorded_at), max(recorded_at), count(*), sum(requests),
    sum(CASE WHEN kind IS NULL THEN requests ELSE 0 END), sum(sessions), sum(rows)
FROM attempts GROUP BY run_id ORDER BY min(recorded_at), run_id
"""
UNTIMED: Final = """
SELECT count(*) FROM sessions
WHERE is_green = 1 AND requests > 0 AND run_id NOT IN (SELECT DISTINCT run_id FROM attempts)
"""
ATTEMPTS_BY_HOUR: Final = """
SELECT substr(recorded_at, 1, 13) || ':00', coalesce(kind, ''), count(*)
FROM attempts GROUP BY 1, 2 ORDER BY 1, 2
"""
NEWEST_COMMIT: Final = "SELECT max(committed_at) FROM sessions WHERE is_green = 1"
COMMITTED_SINCE: Final = """
SELECT count(*) FROM sessions WHERE is_green = 1 AND committed_at > :since
"""
