-- Tables of the ledger of a lake of receipts, version 2.
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1397574723;
PRAGMA user_version = 2;
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
) WITHOUT ROWID;
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
);
CREATE TABLE counters (
    recorded_at TEXT NOT NULL,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL
);
CREATE TABLE tallies (
    state TEXT NOT NULL,
    is_planned INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (state, is_planned)
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tallies_by_year (
    ticker TEXT NOT NULL,
    year INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_planned INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (ticker, year, state, is_planned)
) WITHOUT ROWID;
CREATE TABLE requests_by_year (
    ticker TEXT NOT NULL,
    year INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (ticker, year)
) WITHOUT ROWID;
CREATE TABLE imports (
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
) WITHOUT ROWID;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY,
    recorded_at TEXT NOT NULL,
    run_id TEXT NOT NULL,
    seconds REAL NOT NULL,
    sessions INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    rows INTEGER NOT NULL
);
CREATE TABLE comparisons (
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
) WITHOUT ROWID;
CREATE TABLE revisions (
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
);
CREATE TABLE unjudged_months (month TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE purposes (
    attempt INTEGER PRIMARY KEY,
    purpose TEXT NOT NULL,
    expected_requests INTEGER NOT NULL
);
CREATE INDEX open_sessions ON sessions
    (ticker, session_date, state, is_planned, asked_count, last_asked_date, error_kind)
WHERE is_planned = 1 AND state NOT IN ('complete', 'empty', 'empty_unverified');
CREATE INDEX attempts_by_time ON attempts (recorded_at);
CREATE INDEX failed_attempts ON attempts (id) WHERE kind IS NOT NULL;
CREATE INDEX counters_by_time ON counters (recorded_at);
CREATE INDEX deficits ON comparisons (session_date)
WHERE volume_deficit > 0 OR count_deficit > 0 OR asked > 1;
CREATE INDEX marked ON comparisons (marks) WHERE marks <> '';
CREATE INDEX revised ON comparisons (session_date) WHERE revision > 1;
CREATE TRIGGER attempts_are_kept BEFORE DELETE ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END;
CREATE TRIGGER attempts_are_final BEFORE UPDATE ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END;
CREATE TRIGGER requests_are_summed AFTER INSERT ON attempts
BEGIN
    UPDATE facts SET value = value + NEW.requests WHERE name = 'requests';
    INSERT INTO requests_by_year
    VALUES (NEW.ticker, CAST(substr(NEW.first_session, 1, 4) AS INTEGER), NEW.requests)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests;
END;
CREATE TRIGGER sessions_are_tallied AFTER INSERT ON sessions BEGIN 
   INSERT INTO tallies (state, is_planned, sessions, rows, bytes)
   VALUES (NEW.state, NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
   ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
       bytes = bytes + excluded.bytes;
   INSERT INTO tallies_by_year (ticker, year, state, is_planned, sessions, rows, bytes)
   VALUES (NEW.ticker, CAST(substr(NEW.session_date, 1, 4) AS INTEGER), NEW.state,
       NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
   ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
       bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER sessions_are_untallied AFTER DELETE ON sessions BEGIN 
   UPDATE tallies SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
       bytes = bytes - coalesce(OLD.bytes, 0)
   WHERE state = OLD.state AND is_planned = OLD.is_planned;
   UPDATE tallies_by_year SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
       bytes = bytes - coalesce(OLD.bytes, 0)
   WHERE ticker = OLD.ticker AND year = CAST(substr(OLD.session_date, 1, 4) AS INTEGER)
       AND state = OLD.state AND is_planned = OLD.is_planned;
END;
CREATE TRIGGER sessions_are_moved 
       AFTER UPDATE OF state, is_planned, rows, bytes ON sessions BEGIN 
   UPDATE tallies SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
       bytes = bytes - coalesce(OLD.bytes, 0)
   WHERE state = OLD.state AND is_planned = OLD.is_planned;
   UPDATE tallies_by_year SET sessions = sessions - 1, rows = rows - coalesce(OLD.rows, 0),
       bytes = bytes - coalesce(OLD.bytes, 0)
   WHERE ticker = OLD.ticker AND year = CAST(substr(OLD.session_date, 1, 4) AS INTEGER)
       AND state = OLD.state AND is_planned = OLD.is_planned;

   INSERT INTO tallies (state, is_planned, sessions, rows, bytes)
   VALUES (NEW.state, NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
   ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
       bytes = bytes + excluded.bytes;
   INSERT INTO tallies_by_year (ticker, year, state, is_planned, sessions, rows, bytes)
   VALUES (NEW.ticker, CAST(substr(NEW.session_date, 1, 4) AS INTEGER), NEW.state,
       NEW.is_planned, 1, coalesce(NEW.rows, 0), coalesce(NEW.bytes, 0))
   ON CONFLICT DO UPDATE SET sessions = sessions + 1, rows = rows + excluded.rows,
       bytes = bytes + excluded.bytes;
END;
INSERT INTO facts VALUES ('requests', 0), ('commits', 0);
