"""Statements that ask the ledger what happened in all the time it knows, in the dialect of SQLite.

What belongs here: questions of reports and audits, which may read whole tables.  What does not:
what a download or a look at its progress asks (``lake.ledger.statements``).
"""

from typing import Final

RUNS: Final = """
SELECT run_id, min(recorded_at), max(recorded_at), count(*), sum(requests),
    sum(CASE WHEN kind IS NULL THEN requests ELSE 0 END), sum(sessions), sum(rows),
    (SELECT sum(seconds) FROM steps WHERE steps.run_id = attempts.run_id)
FROM attempts GROUP BY run_id ORDER BY min(recorded_at), run_id
"""
PURPOSES: Final = """
SELECT coalesce(purpose, ''), id % 2, sum(requests), sum(coalesce(expected_requests, 0))
FROM attempts LEFT JOIN purposes ON purposes.attempt = attempts.id
WHERE kind IS NULL AND recorded_at > :since GROUP BY 1, 2 ORDER BY 1, 2
"""
UNTIMED: Final = """
SELECT count(*) FROM sessions
WHERE is_green = 1 AND requests > 0 AND committed_at > :since
    AND run_id NOT IN (SELECT DISTINCT run_id FROM attempts)
"""
PLAN_REQUESTS: Final = """
SELECT ticker, CAST(substr(first_session, 1, 4) AS INTEGER), sum(requests), sum(expected_requests)
FROM attempts JOIN purposes ON purposes.attempt = attempts.id
WHERE kind IS NULL AND purpose = 'plan' GROUP BY 1, 2 ORDER BY 1, 2
"""
ATTEMPTS_BY_HOUR: Final = """
SELECT substr(recorded_at, 1, 13) || ':00', coalesce(kind, ''), count(*)
FROM attempts GROUP BY 1, 2 ORDER BY 1, 2
"""
NEWEST_COMMIT: Final = "SELECT max(committed_at) FROM sessions WHERE is_green = 1"
COMMITTED_SINCE: Final = """
SELECT count(*) FROM sessions WHERE is_green = 1 AND committed_at > :since
"""
