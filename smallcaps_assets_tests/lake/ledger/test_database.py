import os
import sqlite3
from pathlib import Path

import pytest

from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError, StorageError
from smallcaps_assets.lake.ledger.database import (
    LEDGER_VERSION,
    open_database,
    transaction,
    translated_errors,
)
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets_tests.lake.ledger_factories import make_attempt, make_plan, make_receipt


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a ledger with one stored session."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_plan(make_plan("AAA_2024-03-15"))
        ledger.record_receipts([make_receipt("AAA_2024-03-15")])
    return tmp_path / "ledger.sqlite"


DOWNGRADE = """
DROP TRIGGER sessions_are_tallied;
DROP TRIGGER sessions_are_untallied;
DROP TRIGGER sessions_are_moved;
DROP TRIGGER requests_are_counted;
DROP TABLE tallies_by_year;
DROP INDEX open_sessions;
CREATE INDEX missing_sessions ON sessions (ticker, session_date, state)
    WHERE is_planned = 1 AND is_green = 0;
CREATE TRIGGER requests_are_summed AFTER INSERT ON attempts
BEGIN UPDATE facts SET value = value + NEW.requests WHERE name = 'requests'; END;
CREATE TRIGGER sessions_are_tallied AFTER INSERT ON sessions BEGIN DELETE FROM tallies; END;
CREATE TRIGGER sessions_are_untallied AFTER DELETE ON sessions BEGIN DELETE FROM tallies; END;
CREATE TRIGGER sessions_are_moved AFTER UPDATE ON sessions BEGIN DELETE FROM tallies; END;
PRAGMA user_version = 1;
"""
"""What makes a ledger of version 1 of a present one, its triggers cut short."""


BEFORE = """
DROP TRIGGER requests_are_counted;
CREATE TABLE requests_by_year (ticker TEXT, year INTEGER, requests INTEGER);
CREATE TRIGGER requests_are_summed AFTER INSERT ON attempts BEGIN
    UPDATE facts SET value = value + NEW.requests WHERE name = 'requests';
    INSERT INTO requests_by_year VALUES (NEW.ticker, 2024, NEW.requests);
END;
"""
"""What makes a ledger as earlier versions did of a present one."""


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("ledger_class", [Ledger, LedgerReader])
def test_open_refuses_a_file_that_is_no_database(
    path: Path, ledger_class: type[LedgerReader]
) -> None:
    path.write_bytes(b"overwritten" * 1000)

    with pytest.raises(LedgerMismatchError, match="smallcaps reindex"):
        ledger_class(path)


@pytest.mark.parametrize("ledger_class", [Ledger, LedgerReader])
def test_open_refuses_a_newer_ledger(path: Path, ledger_class: type[LedgerReader]) -> None:
    execute(path, f"PRAGMA user_version = {LEDGER_VERSION + 1}")

    with pytest.raises(LedgerMismatchError, match=r"version 3.*smallcaps reindex"):
        ledger_class(path)


@pytest.mark.parametrize("ledger_class", [Ledger, LedgerReader])
def test_open_of_an_old_ledger_loses_nothing(path: Path, ledger_class: type[LedgerReader]) -> None:
    with Ledger(path) as ledger:
        ledger.record_attempt(make_attempt(requests=7))
    execute(path, DOWNGRADE)

    with ledger_class(path) as opened:
        assert opened.coverage_by_year().rows() == [("AAA", 2024, 1, 1)]
        opened.check()
        assert opened.counts() == {"complete": 1}


def test_a_ledger_that_summed_requests_by_year_counts_them_on(path: Path) -> None:
    execute(path, BEFORE)
    with LedgerReader(path) as reader:
        reader.check()

    with Ledger(path) as ledger:
        ledger.record_attempt(make_attempt(requests=7))
        ledger.check()
        assert ledger.totals().requests == 7
    with sqlite3.connect(path) as connection:
        count = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'requests*'"
        assert connection.execute(count).fetchall() == [(1,)]
    connection.close()


def test_upgraded_ledger_goes_on_counting(path: Path) -> None:
    execute(path, DOWNGRADE)

    with Ledger(path) as ledger:
        ledger.record_receipts([make_receipt("BBB_2024-03-15")])
        ledger.record_attempt(make_attempt())

    with LedgerReader(path) as reader:
        assert (reader.totals().sessions, reader.totals().requests) == (2, 2)
        assert reader.missing_keys().is_empty()


def test_open_refuses_a_database_of_another_program(tmp_path: Path) -> None:
    execute(tmp_path / "other.sqlite", "CREATE TABLE cookies (name TEXT)")

    with pytest.raises(LedgerMismatchError, match="no ledger of smallcaps_assets"):
        Ledger(tmp_path / "other.sqlite")


def test_damage_inside_is_met_with_the_remedy(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    with LedgerReader(path) as reader, pytest.raises(LedgerMismatchError, match="reindex"):
        reader.stored_sessions()


def test_open_in_a_folder_that_is_gone_is_an_error_of_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unmounted"):
        Ledger(tmp_path / "unmounted" / "ledger.sqlite")


def test_write_to_a_reader_is_an_error_of_storage(path: Path) -> None:
    connection = open_database(path, is_read_only=True)

    with pytest.raises(StorageError, match="readonly"), translated_errors(path):
        connection.execute("DELETE FROM tallies")

    connection.close()


def test_locked_ledger_names_what_to_do(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    other = sqlite3.connect(path, timeout=0, isolation_level=None)

    with pytest.raises(PartitionConflictError, match="locked"), translated_errors(path):
        other.execute("BEGIN IMMEDIATE")

    holder.close()
    other.close()


def execute_and_fail(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement)
    raise RuntimeError("killed")


@pytest.mark.parametrize("statement", ["DELETE FROM sessions", "ROLLBACK"])
def test_transaction_that_fails_leaves_nothing(path: Path, statement: str) -> None:
    """One that SQLite has ended by itself is not ended again."""
    connection = open_database(path, is_read_only=False)

    with pytest.raises(RuntimeError, match="killed"), transaction(connection):
        execute_and_fail(connection, statement)

    assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    assert not connection.in_transaction
    connection.close()


def test_closed_ledger_is_one_file_that_needs_no_log(path: Path) -> None:
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    states = connection.execute("SELECT state FROM sessions").fetchall()
    connection.close()

    assert states == [("complete",)]
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_open_in_a_folder_that_cannot_be_written(path: Path) -> None:
    path.parent.chmod(0o500)

    with LedgerReader(path) as reader:
        assert reader.counts() == {"complete": 1}
