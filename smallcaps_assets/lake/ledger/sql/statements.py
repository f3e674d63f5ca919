"""Statements of the ledger, in the dialect of SQLite.

What belongs here: SQL that asks and records; what asks for all the time that the ledger knows
stands last, since it may read whole tables.  What does not: tables (``schema``), and
when a statement runs (``lake.ledger.writer``).

Nothing here scans ``sessions`` for a single ticker-session: the cost of one does not grow with
those already done.
"""

from typing import Final

from smallcaps_assets.lake.ledger.sql.plain_statements import is_unlisted

CREATE_WANTED: Final = """
CREATE TEMP TABLE wanted (
    ticker TEXT NOT NULL,
    session_date TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (ticker, session_date)
) WITHOUT ROWID
"""
INSERT_WANTED: Final = "INSERT INTO wanted VALUES (?, ?, ?)"

UNPLAN: Final = """
UPDATE sessions SET is_planned = 0
WHERE is_planned = 1 AND NOT EXISTS (
    SELECT 1 FROM wanted
    WHERE wanted.ticker = sessions.ticker AND wanted.session_date = sessions.session_date
        AND wanted.state = 'planned'
)
"""
FORGET_UNPLANNED: Final = """
DELETE FROM sessions
WHERE is_planned = 0 AND state IN ('planned', 'not_yet_available')
"""
PLAN: Final = """
INSERT INTO sessions (ticker, session_date, state, is_planned)
SELECT ticker, session_date, state, state = 'planned' FROM wanted WHERE true
ON CONFLICT DO UPDATE SET
    is_planned = excluded.is_planned,
    state = CASE
        WHEN excluded.state = 'not_yet_available' AND NOT is_green THEN 'not_yet_available'
        WHEN state = 'not_yet_available' THEN 'planned'
        ELSE state
    END
WHERE is_planned <> excluded.is_planned OR state = 'not_yet_available'
    OR excluded.state = 'not_yet_available'
"""

TAKE_WANTED: Final = (UNPLAN, FORGET_UNPLANNED, PLAN)

RECORD_RECEIPT: Final = """
INSERT INTO sessions (
    ticker, session_date, state, rows, bytes, sha256, content_hash, pages, requests,
    repeats_dropped, is_seam_ambiguous, committed_at, error_kind, error_message, attempts,
    asked_count, last_asked_date, run_id, updated_at
) VALUES (
    :ticker, :session_date, :state, :rows, :bytes, :sha256, :content_hash, :pages, :requests,
    :repeats_dropped, :is_seam_ambiguous, :committed_at, :kind, :message, :attempts,
    :asked, :asked_date, :run_id, :updated_at
)
ON CONFLICT DO UPDATE SET
    state = excluded.state, rows = excluded.rows, bytes = excluded.bytes,
    sha256 = excluded.sha256, content_hash = excluded.content_hash, pages = excluded.pages,
    requests = excluded.requests, repeats_dropped = excluded.repeats_dropped,
    is_seam_ambiguous = excluded.is_seam_ambiguous, committed_at = excluded.committed_at,
    error_kind = excluded.error_kind, error_message = excluded.error_message,
    attempts = attempts + excluded.attempts, asked_count = excluded.asked_count,
    last_asked_date = excluded.last_asked_date, run_id = excluded.run_id,
    updated_at = excluded.updated_at
"""
RECORD_COMPARISON: Final = """
INSERT OR REPLACE INTO comparisons VALUES (
    :ticker, :session_date, :volume, :trade_count, :original_volume, :original_trade_count,
    :bar_volume, :bar_trade_count, :volume_deficit, :count_deficit, :marks, :asked_again, :is_same,
    :revision
)
"""
# What a bar that came later says of a session that it does not dispute.
NOTE_COMPARISON: Final = """
UPDATE comparisons SET bar_volume = :bar_volume, bar_trade_count = :bar_trade_count,
    volume_deficit = :volume_deficit, count_deficit = :count_deficit, marks = :marks
WHERE ticker = :ticker AND session_date = :session_date
"""

# A failed request takes nothing from a session that is stored; only damage does.
RECORD_FAILURE: Final = f"""
INSERT INTO sessions (
    ticker, session_date, state, error_kind, error_message, attempts, asked_count,
    last_asked_date, run_id, updated_at
)
SELECT
    :ticker, :session_date, :state, :kind, :message, 1, :asked, :asked_date, :run_id, :updated_at
WHERE NOT ({is_unlisted(":ticker", ":session_date")})
ON CONFLICT DO UPDATE SET
    state = excluded.state, rows = NULL, bytes = NULL, sha256 = NULL, content_hash = NULL,
    pages = NULL, requests = NULL, repeats_dropped = NULL, is_seam_ambiguous = NULL,
    committed_at = NULL, error_kind = excluded.error_kind,
    error_message = excluded.error_message, attempts = attempts + 1,
    asked_count = asked_count + excluded.asked_count,
    last_asked_date = coalesce(excluded.last_asked_date, last_asked_date),
    run_id = excluded.run_id, updated_at = excluded.updated_at
WHERE (NOT is_green AND state <> 'disputed')
    OR excluded.state = 'quarantined'
"""

RECORD_ATTEMPT: Final = """
INSERT INTO attempts (
    recorded_at, run_id, ticker, first_session, last_session, sessions, requests, pages, rows,
    bytes, outcome, kind, message
) VALUES (
    :recorded_at, :run_id, :ticker, :first_session, :last_session, :sessions, :requests, :pages,
    :rows, :bytes, :outcome, :kind, :message
)
"""
RECORD_PURPOSE: Final = """
INSERT INTO purposes VALUES (last_insert_rowid(), ?, ?)
"""
RECORD_COUNTER: Final = "INSERT INTO counters VALUES (?, ?, ?, ?)"

# One row per ticker: a row per session would cost five times as much.
MISSING: Final = """
SELECT ticker, group_concat(session_date || state) FROM sessions INDEXED BY open_sessions
WHERE is_planned = 1 AND state NOT IN ('complete', 'empty', 'empty_unverified')
    AND session_date BETWEEN :first AND :last
    AND (:due_on IS NULL OR state NOT IN ('empty_disputed', 'disputed')
        OR (asked_count <= :repeats AND last_asked_date <> :due_on))
GROUP BY ticker
"""
STORED: Final = """
SELECT ticker, session_date, rows, bytes, is_planned = 1 FROM sessions
WHERE is_green = 1 AND session_date BETWEEN :first AND :last
ORDER BY ticker, session_date
"""
LISTED: Final = """
SELECT ticker, session_date FROM sessions WHERE session_date BETWEEN :first AND :last
"""
FAILED: Final = """
SELECT ticker, session_date, state, error_kind, error_message
FROM (
    SELECT ticker, session_date FROM sessions INDEXED BY open_sessions
    WHERE is_planned = 1 AND state NOT IN ('complete', 'empty', 'empty_unverified')
        AND error_kind IS NOT NULL
    ORDER BY ticker, session_date LIMIT :limit
) CROSS JOIN sessions USING (ticker, session_date)
"""
RECORDS: Final = """
SELECT ticker || '_' || session_date, state, coalesce(rows, 0), coalesce(bytes, 0),
    coalesce(content_hash, ''), coalesce(error_kind, ''), coalesce(error_message, ''),
    asked_count, last_asked_date
FROM json_each(:keys) AS key
CROSS JOIN sessions ON ticker = key.value ->> 0 AND session_date = key.value ->> 1
"""
STATES: Final = """
SELECT ticker || '_' || session_date, state
FROM json_each(:keys) AS key
CROSS JOIN sessions ON ticker = key.value ->> 0 AND session_date = key.value ->> 1
"""
HAS_TABLE: Final = "SELECT count(*) FROM sqlite_schema WHERE name = :name"
_TICKERS: Final = "SELECT value FROM json_each(:tickers)"
COUNTS: Final = """
SELECT state, sum(sessions) FROM tallies
WHERE (is_planned = 1 OR state = 'not_yet_available') AND sessions > 0
GROUP BY state
"""
TOTALS: Final = """
SELECT sum(sessions), sum(rows), sum(bytes),
    (SELECT value FROM facts WHERE name = 'requests')
FROM tallies WHERE state IN ('complete', 'empty', 'empty_unverified')
"""
COVERAGE: Final = """
SELECT ticker, session_date, state, rows, error_kind, nullif(marks, ''), revision
FROM sessions LEFT JOIN comparisons USING (ticker, session_date)
WHERE is_planned = 1 OR state = 'not_yet_available'
ORDER BY ticker, session_date
"""
COVERAGE_BY_YEAR: Final = """
SELECT ticker, year, sum(sessions),
    sum(iif(state IN ('complete', 'empty', 'empty_unverified'), sessions, 0))
FROM tallies_by_year WHERE is_planned = 1
GROUP BY ticker, year HAVING sum(sessions) > 0 ORDER BY ticker, year
"""
RECEIPTS: Final = """
SELECT ticker, session_date, state, rows, bytes, sha256, content_hash, pages, requests,
    repeats_dropped, is_seam_ambiguous, committed_at, volume, trade_count, bar_volume,
    bar_trade_count, nullif(marks, ''), revision
FROM sessions LEFT JOIN comparisons USING (ticker, session_date)
WHERE is_green = 1 ORDER BY ticker, session_date
"""
WITHOUT_COMPARISONS: Final = """
WITH comparisons (
    ticker, session_date, volume, trade_count, bar_volume, bar_trade_count, marks, revision
) AS (SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE false)
"""
"""Stands before a statement where the ledger was made before bars were compared."""
MARKS: Final = """
SELECT marks, count(*) FROM comparisons INDEXED BY marked WHERE marks <> '' GROUP BY marks
"""
DEFICITS: Final = """
SELECT ticker, session_date, state, volume_deficit, count_deficit, marks, asked, is_same
FROM comparisons INDEXED BY deficits JOIN sessions USING (ticker, session_date)
WHERE volume_deficit > 0 OR count_deficit > 0 OR asked > 1
ORDER BY ticker, session_date
"""
COMPARED: Final = """
SELECT session_date, count(volume_deficit), count(count_deficit) FROM comparisons
GROUP BY session_date ORDER BY session_date
"""
# By ticker and not by date: that is how the table lies, and a month is a small part of it.
FIGURES: Final = """
WITH RECURSIVE tickers (ticker) AS (
    SELECT min(ticker) FROM comparisons
    UNION ALL
    SELECT (SELECT min(ticker) FROM comparisons WHERE comparisons.ticker > tickers.ticker)
    FROM tickers WHERE ticker IS NOT NULL
)
SELECT ticker, session_date, state, volume, trade_count, original_volume, original_trade_count,
    bar_volume, bar_trade_count, volume_deficit, count_deficit, marks
FROM tickers CROSS JOIN comparisons USING (ticker) CROSS JOIN sessions USING (ticker, session_date)
WHERE session_date BETWEEN :first AND :last
ORDER BY ticker, session_date
"""
RECORD_REVISION: Final = """
INSERT INTO revisions (
    recorded_at, run_id, ticker, session_date, counts, old_rows, new_rows, old_hash, new_hash,
    folder
) VALUES (
    :recorded_at, :run_id, :ticker, :session_date, :counts, :old_rows, :new_rows, :old_hash,
    :new_hash, :folder
)
"""
REVISIONS: Final = """
SELECT ticker, session_date, recorded_at, run_id, counts, old_rows, new_rows, old_hash, new_hash,
    folder
FROM revisions WHERE recorded_at >= :since ORDER BY id DESC LIMIT :limit
"""
UNJUDGED: Final = "SELECT month FROM unjudged_months ORDER BY month"
RECORD_UNJUDGED: Final = "INSERT OR IGNORE INTO unjudged_months VALUES (?)"
FORGET_UNJUDGED: Final = "DELETE FROM unjudged_months WHERE month = ?"
SETTLED: Final = """
SELECT ticker || '_' || session_date FROM comparisons INDEXED BY marked
WHERE marks <> '' AND instr(marks, 'bar_residual') ORDER BY 1
"""
RED: Final = """
SELECT ticker, session_date, state FROM sessions
WHERE is_green = 0 AND state NOT IN ('planned', 'not_yet_available') ORDER BY 1, 2
"""
RESTING: Final = """
SELECT ticker, session_date FROM sessions
WHERE state IN ('disputed', 'empty_disputed') AND last_asked_date IS NOT NULL
    AND (asked_count > :repeats OR last_asked_date = :today)
UNION ALL
SELECT sessions.ticker, session_date
FROM attempts INDEXED BY failed_attempts CROSS JOIN sessions
    ON sessions.ticker = attempts.ticker AND session_date BETWEEN first_session AND last_session
WHERE attempts.kind IS NOT NULL AND state = 'failed'
GROUP BY 1, 2
HAVING count(DISTINCT substr(recorded_at, 1, 10)) >= :dates
    AND max(substr(recorded_at, 1, 10)) = :today
ORDER BY 1, 2
"""
RECENT_ERRORS: Final = """
SELECT recorded_at, run_id, ticker, first_session, last_session, kind, message
FROM attempts INDEXED BY failed_attempts WHERE kind IS NOT NULL ORDER BY id DESC LIMIT :limit
"""
ACTIVITY: Final = """
SELECT coalesce(sum(sessions), 0), coalesce(sum(requests), 0),
    coalesce(sum(rows), 0), coalesce(sum(bytes), 0), min(recorded_at)
FROM attempts WHERE recorded_at >= :since
"""
ACTIVITY_ERRORS: Final = """
SELECT CAST(kind AS TEXT), count(*) FROM attempts
WHERE recorded_at >= :since AND kind IS NOT NULL GROUP BY kind ORDER BY kind
"""
ACTIVITY_COUNTERS: Final = """
SELECT CAST(name AS TEXT), coalesce(sum(value), 0) FROM counters
WHERE recorded_at >= :since AND name <> 'overhead_ms' GROUP BY name ORDER BY name
"""
OVERHEADS: Final = """
SELECT sum(value) / 1000.0 FROM counters WHERE name = 'overhead_ms'
GROUP BY run_id ORDER BY max(rowid) DESC LIMIT :limit
"""
RECORD_STEP: Final = """
INSERT INTO steps (recorded_at, run_id, seconds, sessions, requests, rows)
VALUES (:recorded_at, :run_id, :seconds, :sessions, :requests, :rows)
"""
STEPS: Final = """
SELECT seconds, sessions, requests, rows, sum(requests) OVER (PARTITION BY run_id)
FROM (SELECT * FROM steps ORDER BY id DESC LIMIT :limit) ORDER BY id DESC
"""
RECENT_SESSIONS: Final = """
WITH newest AS (
    SELECT id, ticker, first_session, last_session, run_id FROM attempts
    WHERE sessions > 0 ORDER BY id DESC LIMIT :limit
)
SELECT sessions.ticker, session_date, sessions.state, sessions.rows, sessions.bytes, committed_at
FROM newest JOIN sessions ON sessions.ticker = newest.ticker
    AND session_date BETWEEN first_session AND last_session
WHERE committed_at IS NOT NULL
ORDER BY committed_at DESC, newest.id DESC, session_date DESC LIMIT :limit
"""
RECORD_FACT: Final = """
INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value
"""
FACT: Final = "SELECT value FROM facts WHERE name = :name"
COUNT_COMMIT: Final = "UPDATE facts SET value = value + 1 WHERE name = 'commits'"

FORGOTTEN: Final = """rows = NULL, bytes = NULL, sha256 = NULL, content_hash = NULL, pages = NULL,
    requests = NULL, repeats_dropped = NULL, is_seam_ambiguous = NULL, committed_at = NULL,
    error_kind = NULL, error_message = NULL"""
RECORD_IMPORT: Final = """
INSERT OR REPLACE INTO imports VALUES (
    :ticker, :session_date, :verdict, :fingerprint, :rows, :bytes, :bar_volume, :bar_trade_count,
    :findings, :updated_at
)
"""
# What the vendor or an audit said of a session weighs more than an archive that proves nothing.
RECORD_UNPROVEN: Final = f"""
INSERT INTO sessions (ticker, session_date, state, updated_at)
SELECT :ticker, :session_date, 'imported_unproven', :updated_at
WHERE NOT ({is_unlisted(":ticker", ":session_date")})
ON CONFLICT DO UPDATE SET
    state = excluded.state, error_kind = NULL, error_message = NULL,
    updated_at = excluded.updated_at
WHERE state IN ('planned', 'failed', 'not_entitled', 'imported_unproven')
"""
FORGET_IMPORTS: Final = "DELETE FROM imports"
IMPORTS: Final = """
SELECT ticker || '_' || session_date, verdict, fingerprint, rows, bytes, bar_volume,
    bar_trade_count, findings
FROM json_each(:keys) AS key
CROSS JOIN imports ON ticker = key.value ->> 0 AND session_date = key.value ->> 1
"""

RUNS: Final = """
WITH times AS (
    SELECT run_id, sum(seconds) AS seconds FROM (
        SELECT run_id, seconds FROM steps
        UNION ALL SELECT run_id, value / 1000.0 FROM counters WHERE name = 'overhead_ms'
    ) GROUP BY run_id
)
SELECT run_id, min(recorded_at), max(recorded_at), count(*), sum(requests),
    sum(CASE WHEN kind IS NULL THEN requests ELSE 0 END), sum(sessions), sum(rows),
    (SELECT seconds FROM times WHERE times.run_id = attempts.run_id)
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


def select_tickers(statement: str) -> str:
    """Restrict ``MISSING``, ``STORED`` or ``LISTED`` to the tickers of a parameter."""
    return statement.replace(":last", f":last\n    AND ticker IN ({_TICKERS})")
