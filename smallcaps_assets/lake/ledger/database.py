"""How the ledger's SQLite file is opened, and what its failures are called.

What belongs here: connections, pragmas, the version of the file, the way from an error of SQLite
to an error of ours.  What does not: tables and statements (``sql``), and what they mean
(``writer``).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NoReturn

from smallcaps_assets.errors import (
    LedgerMismatchError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.ledger.sql.schema import (
    ADDITIONS,
    CREATE_TALLY_TRIGGERS,
    DROP_TALLY_TRIGGERS,
    FORGET_TALLIES,
    SCHEMA,
    TALLIED_TICKERS,
    TALLY_STATES,
    TALLY_TICKER,
    UPGRADE,
)

LEDGER_VERSION: Final = 2
OLD_VERSION: Final = 1
"""The version that is made a present one when it is first opened; nothing is lost by that."""

APPLICATION_ID: Final = 0x534D4C43
"""``SMLC`` in the header of the file, so that another program's file is never taken for ours."""

BUSY_TIMEOUT_S: Final = 30.0

_PRAGMAS: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -65536;
"""
_STORAGE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGES: Final = (sqlite3.Error, UnicodeError, MemoryError, OverflowError)
"""What `sqlite3` raises on a damaged file: not its own errors alone, because a message or a text
that is no UTF-8 cannot be decoded, and a length that is wrong asks for all the memory there is."""

_VERSIONS: Final = slice(18, 20)
"""Bytes of the header that name the versions for writing and reading; 1 and 2 are known."""
_KNOWN_VERSIONS: Final = frozenset({1, 2})

REASON_LENGTH: Final = 200
"""Characters that are told of what SQLite says of a damaged file."""

_PRIMARY_CODE: Final = 0xFF
"""Mask of the part of an extended result code that names its family."""


def open_database(path: Path, *, is_read_only: bool) -> sqlite3.Connection:
    """Connect to the ledger at ``path``, which is made again where there is none.

    Readers never wait for the writer and see whole transactions only (write-ahead log).

    Raises:
        LedgerMismatchError: The file is damaged, newer, or not a ledger.
        StorageError: It cannot be opened or created.
    """
    with translated_errors(path), ExitStack() as on_failure:
        connection = _connect(path, is_read_only=is_read_only)
        on_failure.callback(connection.close)
        if is_read_only and _is_old(connection):
            open_database(path, is_read_only=False).close()
        _prepare(connection, path, is_read_only=is_read_only)
        on_failure.pop_all()
    return connection


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the ledger at ``path`` into errors that say what to do.

    Raises:
        LedgerMismatchError: The file is damaged.
        PartitionConflictError: Another process keeps it locked.
        StorageError: The disk is full, read-only or broken.
    """
    try:
        yield
    except DAMAGES as error:
        _raise_translated(error, path)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold one write transaction: all of it is stored, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def counted_at_end(connection: sqlite3.Connection) -> Iterator[None]:
    """Count all sessions again at the end of the block, which belongs to one transaction.

    For a change that touches most of them: counting while it continues would take longer.
    """
    for statement in DROP_TALLY_TRIGGERS:
        connection.execute(statement)
    yield
    for statement in FORGET_TALLIES:
        connection.execute(statement)
    connection.executemany(TALLY_TICKER, connection.execute(TALLIED_TICKERS).fetchall())
    for statement in (TALLY_STATES, *CREATE_TALLY_TRIGGERS):
        connection.execute(statement)


def _connect(path: Path, *, is_read_only: bool) -> sqlite3.Connection:
    mode = "ro" if is_read_only else "rwc"
    if is_read_only and _is_frozen(path):
        mode = "ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _is_frozen(path: Path) -> bool:
    """Tell whether no process can be writing, as on a read-only disk.

    A reader of a write-ahead log needs to create its index beside the file, which such a disk
    refuses; without a log there is nothing to index.
    """
    log = path.with_name(f"{path.name}-wal")
    return not os.access(path.parent, os.W_OK) and not log.exists()


def _prepare(connection: sqlite3.Connection, path: Path, *, is_read_only: bool) -> None:
    if is_read_only:
        _check_version(connection, path)
        return
    connection.executescript(_PRAGMAS)
    with transaction(connection):
        # Asked inside the transaction: of two processes that find no ledger, one creates it.
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        elif _is_old(connection):
            _upgrade(connection)
        _check_version(connection, path)
        for statement in ADDITIONS:
            connection.execute(statement)


def _is_old(connection: sqlite3.Connection) -> bool:
    marks = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    ]
    return marks == [APPLICATION_ID, OLD_VERSION]


def _upgrade(connection: sqlite3.Connection) -> None:
    for statement in UPGRADE:
        connection.execute(statement)
    with counted_at_end(connection):
        connection.execute(f"PRAGMA user_version = {LEDGER_VERSION}")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise LedgerMismatchError(
            f"{path} is no ledger of smallcaps_assets: `smallcaps reindex` moves it aside and "
            "makes one from the records"
        )
    if version != LEDGER_VERSION:
        raise LedgerMismatchError(
            f"{path} is a ledger of version {version}, this program knows {LEDGER_VERSION}: "
            "install the version that wrote it, or rebuild the ledger from the records by "
            "`smallcaps reindex`"
        )


def find_damage(path: Path) -> str:
    """Ask SQLite what is wrong with a database, whosever it is; empty: nothing.

    A database that another process keeps locked, or that the disk refuses, is not called damaged.
    """
    connection = _connect(path, is_read_only=True)
    try:
        found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except DAMAGES as error:
        is_damage = _find_code(error) not in _BUSY_CODES | _STORAGE_CODES
        return _quote(error) if is_damage else ""
    finally:
        connection.close()
    return find_strange_version(path) if found == "ok" else found


def damaged_ledger(path: Path, what: object) -> LedgerMismatchError:
    """Make the error that says what is wrong with the ledger at ``path``, and the remedy."""
    return LedgerMismatchError(
        f"{path}: {what}; the ledger is damaged, rebuild it from the records: `smallcaps reindex`"
    )


def _raise_translated(error: Exception, path: Path) -> NoReturn:
    code = _find_code(error)
    if code in _BUSY_CODES:
        raise PartitionConflictError(
            f"{path}: another process kept the ledger locked for {BUSY_TIMEOUT_S:g} s; wait for it "
            "to end, or end it"
        ) from error
    if code == sqlite3.SQLITE_READONLY and (strange := find_strange_version(path)):
        raise damaged_ledger(path, strange) from error
    if code in _STORAGE_CODES:
        raise StorageError(
            f"{path}: {error}; make room on the disk, or make the folder exist and writable"
        ) from error
    raise damaged_ledger(path, _quote(error)) from error


def find_strange_version(path: Path) -> str:
    """Say what is wrong with the header of a file that SQLite would only read; empty: nothing."""
    try:
        with path.open("rb") as file:
            found = file.read(_VERSIONS.stop)[_VERSIONS]
    except OSError:
        return ""
    if set(found) <= _KNOWN_VERSIONS:
        return ""
    return f"expected 1 or 2 for its versions in the header, got {', '.join(map(str, found))}"


def _find_code(error: Exception) -> int:
    # Errors that the module raises itself, such as a wrong number of values, carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE


def _quote(error: Exception) -> str:
    """Clean what SQLite says of a damaged file: it quotes what it cannot read, whatever it is."""
    what = str(error) if isinstance(error, sqlite3.Error) else "what it holds cannot be read"
    line = "".join(letter for letter in what.partition("\n")[0] if letter.isprintable())
    return line[:REASON_LENGTH]
