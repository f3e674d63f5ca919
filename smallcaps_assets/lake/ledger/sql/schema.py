"""Tables of the ledger, in the dialect of SQLite, and what keeps its counts true.

What belongs here: tables, indices, triggers.  What does not: statements that ask and record
(``statements``).

Two tables hold what happened and what is: ``attempts`` is append-only, ``sessions`` has the
state of each ticker-session.  ``tallies`` and ``tallies_by_year`` are counts, kept by triggers
within the same transaction, so that counting a million sessions reads a dozen rows.  A plan or
a rebuild touches all sessions: it counts once, at its end, with the triggers put aside.

A session that no event window asks for, and that is green without a mark, has no row: its bit in
``ticker_months`` says that it is proven, its record says the rest, and ``plain_commits`` and
``plain_dates`` are the sums of all that have none.
"""

from typing import Final

# The index holds whatever is asked of open sessions, ``is_planned`` included: SQLite looks each
# row up in the table for any column it lacks, a virtual one above all, and is ten times slower.
OPEN_SESSIONS: Final = """
CREATE INDEX open_sessions ON sessions
    (ticker, session_date, state, is_planned, asked_count, last_asked_date, error_kind)
WHERE is_planned = 1 AND state NOT IN ('complete', 'empty', 'empty_unverified')
"""

TALLIES_BY_YEAR: Final = """
CREATE TABLE tallies_by_year (
    ticker TEXT NOT NULL,
    year INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_planned INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (ticker, year, state, is_planned)
) WITHOUT ROWID
"""

_ADD: Final = """
    INSERT INTO tallies (state, is_planned, sessions, rows, bytes)
    VALUES (NEW.state, NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
    ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
        bytes = bytes + excluded.bytes;
    INSERT INTO tallies_by_year (ticker, year, state, is_planned, sessions, rows, bytes)
    VALUES (NEW.ticker, CAST(substr(NEW.session_date, 1, 4) AS INTEGER), NEW.state,
        NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
    ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
        bytes = bytes + excluded.bytes;
"""
_TAKE: Final = """
    UPDATE tallies SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
        bytes = bytes - coalesce(OLD.bytes, 0)
    WHERE state = OLD.state AND is_planned = OLD.is_planned;
    UPDATE tallies_by_year SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
        bytes = bytes - coalesce(OLD.bytes, 0)
    WHERE ticker = OLD.ticker AND year = CAST(substr(OLD.session_date, 1, 4) AS INTEGER)
        AND state = OLD.state AND is_planned = OLD.is_planned;
"""

TALLY_TRIGGERS: Final = {
    "sessions_are_tallied": f"AFTER INSERT ON sessions BEGIN {_ADD} END",
    "sessions_are_untallied": f"AFTER DELETE ON sessions BEGIN {_TAKE} END",
    "sessions_are_moved": f"""
        AFTER UPDATE OF state, is_planned, rows, bytes ON sessions BEGIN {_TAKE} {_ADD} END
    """,
}
"""What keeps the tallies, by name of the trigger."""

CREATE_TALLY_TRIGGERS: Final = tuple(
    f"CREATE TRIGGER {name} {body}" for name, body in TALLY_TRIGGERS.items()
)
DROP_TALLY_TRIGGERS: Final = tuple(f"DROP TRIGGER IF EXISTS {name}" for name in TALLY_TRIGGERS)

RETIRED: Final = (("trigger", "requests_are_summed"), ("table", "requests_by_year"))
"""What a ledger has until it is written again by this version."""

FORGET_TALLIES: Final = ("DELETE FROM tallies", "DELETE FROM tallies_by_year")

TALLIED_TICKERS: Final = """
WITH RECURSIVE tickers (ticker) AS (
    SELECT min(ticker) FROM sessions
    UNION ALL
    SELECT (SELECT min(ticker) FROM sessions WHERE sessions.ticker > tickers.ticker)
    FROM tickers WHERE ticker IS NOT NULL
)
SELECT ticker FROM tickers WHERE ticker IS NOT NULL
"""

# One ticker at a time: grouping all of them by an expression would sort every session.
TALLY_TICKER: Final = """
INSERT INTO tallies_by_year (ticker, year, state, is_planned, sessions, rows, bytes)
SELECT ticker, CAST(substr(session_date, 1, 4) AS INTEGER), state, is_planned, count(*),
    coalesce(sum(rows), 0), coalesce(sum(bytes), 0)
FROM sessions WHERE ticker = ? GROUP BY 1, 2, 3, 4
"""
TALLY_STATES: Final = """
INSERT INTO tallies (state, is_planned, sessions, rows, bytes)
SELECT state, is_planned, sum(sessions), sum(rows), sum(bytes)
FROM tallies_by_year GROUP BY state, is_planned
"""

SCHEMA: Final = (
    """
    CREATE TABLE sessions (
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'planned',
        is_planned INTEGER NOT NULL DEFAULT 0,
        is_green INTEGER GENERATED ALWAYS AS
            (state IN ('complete', 'empty', 'empty_unverified')) VIRTUAL,
        rows INTEGER,
        bytes INTEGER,
        sha256 TEXT,
        content_hash TEXT,
        pages INTEGER,
        requests INTEGER,
        repeats_dropped INTEGER,
        is_seam_ambiguous INTEGER,
        committed_at TEXT,
        error_kind TEXT,
        error_message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        asked_count INTEGER NOT NULL DEFAULT 0,
        last_asked_date TEXT,
        run_id TEXT,
        updated_at TEXT,
        PRIMARY KEY (ticker, session_date)
    ) WITHOUT ROWID
    """,
    OPEN_SESSIONS,
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        recorded_at TEXT NOT NULL,
        run_id TEXT NOT NULL,
        ticker TEXT NOT NULL,
        first_session TEXT NOT NULL,
        last_session TEXT NOT NULL,
        sessions INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        pages INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        kind TEXT,
        message TEXT
    )
    """,
    "CREATE INDEX attempts_by_time ON attempts (recorded_at)",
    "CREATE INDEX failed_attempts ON attempts (id) WHERE kind IS NOT NULL",
    """
    CREATE TRIGGER attempts_are_kept BEFORE DELETE ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END
    """,
    """
    CREATE TRIGGER attempts_are_final BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END
    """,
    """
    CREATE TABLE counters (
        recorded_at TEXT NOT NULL,
        run_id TEXT NOT NULL,
        name TEXT NOT NULL,
        value INTEGER NOT NULL
    )
    """,
    "CREATE INDEX counters_by_time ON counters (recorded_at)",
    """
    CREATE TABLE tallies (
        state TEXT NOT NULL,
        is_planned INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (state, is_planned)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO facts VALUES ('requests', 0)",
    TALLIES_BY_YEAR,
    *CREATE_TALLY_TRIGGERS,
)
"""Statements that make an empty ledger, in order."""

UPGRADE: Final = (
    "DROP INDEX missing_sessions",
    OPEN_SESSIONS,
    TALLIES_BY_YEAR,
    *DROP_TALLY_TRIGGERS,
    *CREATE_TALLY_TRIGGERS,
)
"""Statements that make a ledger of version 1 one of version 2; its tallies are then counted."""

ADDITIONS: Final = (
    *(f"DROP {kind} IF EXISTS {name}" for kind, name in RETIRED),
    """
    CREATE TRIGGER IF NOT EXISTS requests_are_counted AFTER INSERT ON attempts
    BEGIN UPDATE facts SET value = value + NEW.requests WHERE name = 'requests'; END
    """,
    """
    CREATE TABLE IF NOT EXISTS imports (
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        verdict TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        bar_volume REAL,
        bar_trade_count INTEGER,
        findings TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (ticker, session_date)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS steps (
        id INTEGER PRIMARY KEY,
        recorded_at TEXT NOT NULL,
        run_id TEXT NOT NULL,
        seconds REAL NOT NULL,
        sessions INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        rows INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS comparisons (
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        volume REAL,
        trade_count INTEGER,
        original_volume REAL,
        original_trade_count INTEGER,
        bar_volume REAL,
        bar_trade_count INTEGER,
        volume_deficit REAL,
        count_deficit REAL,
        marks TEXT NOT NULL,
        asked INTEGER NOT NULL,
        is_same INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (ticker, session_date)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX IF NOT EXISTS deficits ON comparisons (session_date)
    WHERE volume_deficit > 0 OR count_deficit > 0 OR asked > 1
    """,
    "CREATE INDEX IF NOT EXISTS marked ON comparisons (marks) WHERE marks <> ''",
    "CREATE INDEX IF NOT EXISTS revised ON comparisons (session_date) WHERE revision > 1",
    """
    CREATE TABLE IF NOT EXISTS revisions (
        id INTEGER PRIMARY KEY,
        recorded_at TEXT NOT NULL,
        run_id TEXT NOT NULL,
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        counts TEXT NOT NULL,
        old_rows INTEGER NOT NULL,
        new_rows INTEGER NOT NULL,
        old_hash TEXT NOT NULL,
        new_hash TEXT NOT NULL,
        folder TEXT NOT NULL
    )
    """,
    "CREATE TABLE IF NOT EXISTS unjudged_months (month TEXT PRIMARY KEY) WITHOUT ROWID",
    """
    CREATE TABLE IF NOT EXISTS purposes (
        attempt INTEGER PRIMARY KEY,
        purpose TEXT NOT NULL,
        expected_requests INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS months (
        month TEXT NOT NULL,
        record TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        green INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        parts TEXT NOT NULL,
        replaces TEXT NOT NULL,
        is_lost INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (month, record)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS ticker_months (
        month TEXT NOT NULL,
        ticker TEXT NOT NULL,
        record TEXT NOT NULL,
        proven INTEGER NOT NULL,
        red INTEGER NOT NULL,
        marked INTEGER NOT NULL,
        beside INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (month, ticker, record)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS lost_proof (
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        record TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        content_hash TEXT NOT NULL,
        PRIMARY KEY (ticker, session_date)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS two_answers (
        ticker TEXT NOT NULL,
        session_date TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (ticker, session_date)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS plain_commits (
        month TEXT NOT NULL,
        committed_at TEXT NOT NULL,
        run_id TEXT NOT NULL,
        sessions INTEGER NOT NULL,
        asked INTEGER NOT NULL,
        traded INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (month, committed_at, run_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS plain_dates (
        session_date TEXT PRIMARY KEY,
        volume INTEGER NOT NULL,
        trade_count INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "INSERT OR IGNORE INTO facts VALUES ('commits', 0)",
)
"""Statements that give a ledger of this version what came later; each may run again."""
