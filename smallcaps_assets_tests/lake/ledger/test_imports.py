import sqlite3
from pathlib import Path

import pytest

from smallcaps_assets.core import states
from smallcaps_assets.lake.ledger.import_records import ImportRecord
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets_tests.lake.ledger_factories import forget_stored, make_plan

KEY = "ABCD_2024-03-15"
UNPROVEN = ImportRecord(KEY, "unproven", "f", 7, 70, 100.0, 6, ("a: cut_to_seconds: all",))
UNUSABLE = ImportRecord("WXYZ_2024-03-15", "unusable", "g", findings=("empty",))


def test_record_imports_is_read_back(ledger: Ledger) -> None:
    ledger.record_imports([UNPROVEN, UNUSABLE])

    assert ledger.imports([KEY, UNUSABLE.key, "ZZ_2024-03-15"]) == {
        KEY: UNPROVEN,
        UNUSABLE.key: UNUSABLE,
    }


def test_unproven_session_counts_as_missing_and_unusable_one_as_never_seen(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(KEY, UNUSABLE.key))

    ledger.record_imports([UNPROVEN, UNUSABLE])

    assert ledger.missing_keys()["key"].to_list() == [KEY, UNUSABLE.key]
    assert ledger.counts() == {states.PLANNED: 1, states.IMPORTED_UNPROVEN: 1}
    assert ledger.failed_sessions().is_empty()


def test_plan_that_comes_later_takes_over_what_was_imported(ledger: Ledger) -> None:
    ledger.record_imports([UNPROVEN])

    ledger.record_plan(make_plan(KEY))

    assert ledger.missing_keys()["state"].to_list() == [states.IMPORTED_UNPROVEN]


@pytest.mark.parametrize("state", [states.EMPTY_DISPUTED, states.QUARANTINED])
def test_what_vendor_or_audit_said_weighs_more(ledger: Ledger, state: str) -> None:
    ledger.record_failures([Failure(KEY, state, "kind", "message")])

    ledger.record_imports([UNPROVEN])

    assert ledger.states([KEY]) == {KEY: state}
    assert ledger.imports([KEY]) == {KEY: UNPROVEN}


def test_failed_download_leaves_what_was_imported_readable(ledger: Ledger) -> None:
    ledger.record_imports([UNPROVEN])

    ledger.record_failures([Failure(KEY, states.FAILED, "payload", "cut")])

    assert ledger.states([KEY]) == {KEY: states.FAILED}
    assert ledger.imports([KEY]) == {KEY: UNPROVEN}


def test_a_rebuild_without_records_forgets_imports(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(KEY))
    other = ImportRecord("EFGH_2024-03-15", "unproven", "h", 1, 10)
    ledger.record_imports([UNPROVEN, other])

    forget_stored(ledger)

    assert ledger.states([KEY, other.key]) == {KEY: states.PLANNED}
    assert ledger.imports([KEY, other.key]) == {}


def test_ledger_of_before_imports_is_read_and_then_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE imports")
    connection.close()

    with LedgerReader(path) as reader:
        assert reader.imports([KEY]) == {}
    with Ledger(path) as ledger:
        ledger.record_imports([UNPROVEN])
        assert ledger.imports([KEY]) == {KEY: UNPROVEN}
