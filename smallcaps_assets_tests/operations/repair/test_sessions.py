"""L17, L18: damage is found whatever it is, moved aside with its evidence, and never deleted."""

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Final

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.sessions.damages import EVIDENCE_NAME
from smallcaps_assets.lake.storage.files import TEMPORARY_PREFIX
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import RepairFacts, repair_lake
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SESSIONS,
    SmallLake,
    make_settings,
)
from smallcaps_assets_tests.stored_rows import (
    damage_rows,
    find_data_file,
    lose_session,
    store_off_session,
)

KEY: Final = "BCPC_2024-01-10"
OTHER: Final = "CON_2024-01-31"
MOST_OPERATIONS: Final = 200


def read_contents(folder: Path) -> Counter[bytes]:
    """Return the contents of the files below a folder, without evidence and what is no data."""
    places = [folder / "lake" / name for name in ("segments", "quarantine")]
    files = [file for place in places for file in place.rglob("*")]
    return Counter(file.read_bytes() for file in files if file.is_file() and is_data(file))


def is_data(file: Path) -> bool:
    return file.name != EVIDENCE_NAME and not file.name.startswith(TEMPORARY_PREFIX)


def named_sessions(verdict: Verdict) -> set[tuple[str, dt.date]]:
    """Return the sessions among the offenders; a file of many has none of its own."""
    return set(verdict.offenders.select("ticker", "session_date").drop_nulls().iter_rows())


def list_missing(lakehouse: Lakehouse) -> list[str]:
    return lakehouse.ledger.missing_keys()["key"].to_list()


def list_hashes(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the content hash of every session that is stored."""
    return {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}


# -- one damage at a time ------------------------------------------------------------------


def test_damaged_rows_are_found_and_only_their_session_is_missing(lakehouse: Lakehouse) -> None:
    """L17: that rows are there proves nothing; audit and repair read and hash them."""
    whole = list_hashes(lakehouse)
    damage_rows(lakehouse, KEY)
    contents = read_contents(lakehouse.home.data_dir)

    audited = audit_lake(lakehouse)["files_are_undamaged"]
    facts = repair_lake(lakehouse)

    assert named_sessions(audited) == {decode_key(KEY)}
    assert audited.numbers["checked"] == SESSIONS
    assert facts.keys == list(facts.damages) == list_missing(lakehouse) == [KEY]
    assert contents <= read_contents(lakehouse.home.data_dir)
    assert list_hashes(lakehouse) == {k: h for k, h in whole.items() if k != KEY}
    assert lakehouse.ledger.states([KEY]) == {KEY: "quarantined"}


def assert_lost(lakehouse: Lakehouse) -> RepairFacts:
    """Assert that an audit misses ``KEY``, and that a repair asks for it again."""
    audited = [verdict for verdict in audit_lake(lakehouse).values() if not verdict.passed]
    facts = repair_lake(lakehouse)

    of_sessions = [one for one in audited if {"ticker", "session_date"} <= {*one.offenders.columns}]
    assert set().union(*map(named_sessions, of_sessions)) == {decode_key(KEY)}
    assert facts.lost == facts.keys == list_missing(lakehouse) == [KEY]
    assert lakehouse.ledger.states([KEY]) == {KEY: "quarantined"}
    return facts


def test_a_session_of_which_nothing_is_left_is_lost(lakehouse: Lakehouse) -> None:
    lose_session(lakehouse, KEY)

    facts = assert_lost(lakehouse)

    assert (facts.orphans, facts.moved) == ([], [])


def test_files_that_are_none_of_the_lake_are_moved(lakehouse: Lakehouse) -> None:
    notes = find_data_file(lakehouse, KEY).with_name("notes.txt")
    notes.write_text("mine")
    contents = read_contents(lakehouse.home.data_dir)

    facts = repair_lake(lakehouse)

    assert [orphan.path.name for orphan in facts.orphans] == ["notes.txt"]
    assert (len(facts.moved), notes.exists(), facts.keys) == (1, False, [])
    assert read_contents(lakehouse.home.data_dir) == contents


def test_damage_beside_the_sessions_is_moved_and_not_missing(lakehouse: Lakehouse) -> None:
    """Prints of a Saturday: no plan asks for them, and no download brings them back."""
    saturday = dt.date(2024, 1, 13)
    store_off_session(lakehouse, KEY, saturday)
    damage_rows(lakehouse, "BCPC_2024-01-13")

    facts = repair_lake(lakehouse)

    assert list(facts.apart[Tree.OFF_SESSION]) == ["BCPC_2024-01-13"]
    assert facts.keys == list_missing(lakehouse) == []
    assert lakehouse.sessions.find_content("BCPC", saturday, Tree.OFF_SESSION) is None


# -- all of it -----------------------------------------------------------------------------


def damage_much(lakehouse: Lakehouse) -> None:
    """Damage three sessions, lose one, and leave a file that is none of the lake."""
    lose_session(lakehouse, "BCpC_2024-01-08")
    for key in (KEY, OTHER, "CON_2024-01-30"):
        damage_rows(lakehouse, key)
    find_data_file(lakehouse, KEY).with_name("notes.txt").write_text("mine")


MUCH: Final = sorted([KEY, OTHER, "CON_2024-01-30", "BCpC_2024-01-08"])


def test_after_a_repair_the_audit_finds_nothing(lakehouse: Lakehouse) -> None:
    damage_much(lakehouse)

    facts = repair_lake(lakehouse)
    again = repair_lake(lakehouse)

    assert facts.keys == list_missing(lakehouse) == MUCH
    assert (again.damages, again.orphans, again.moved) == ({}, [], [])
    assert set(again.lost) <= set(facts.lost)
    verdicts = audit_lake(lakehouse)
    assert verdicts["files_are_undamaged"].passed
    assert verdicts["no_orphans"].passed


def test_a_dry_run_finds_the_same_and_changes_nothing(lakehouse: Lakehouse) -> None:
    damage_much(lakehouse)
    lakehouse.ledger.close()
    before = {path: path.stat().st_mtime_ns for path in lakehouse.home.data_dir.rglob("*")}

    facts = repair_lake(Lakehouse(lakehouse.settings, clock=lambda: NOW), is_dry_run=True)

    after = {path: path.stat().st_mtime_ns for path in before}
    changed = [path for path in before if before[path] != after[path]]
    assert facts.keys == MUCH
    assert facts.moved == []
    assert all(path.name.startswith("ledger.sqlite") or path.is_dir() for path in changed)
    assert not list(lakehouse.home.data_dir.rglob("quarantine"))


def test_a_kill_in_between_leaves_nothing_undone(small_lake: SmallLake, tmp_path: Path) -> None:
    """L13: the next repair ends as one that nobody disturbed."""
    for crash_at in range(MOST_OPERATIONS):
        folder = tmp_path / str(crash_at)
        whole = small_lake.copy(folder)
        hashes = list_hashes(whole)
        damage_much(whole)
        contents = read_contents(whole.home.data_dir)
        settings = make_settings(folder / "data", small_lake.url)
        is_ended = True
        try:
            repair_lake(Lakehouse(settings, fs=ScriptedDisk(crash_at=crash_at)))
        except Crash:
            is_ended = False

        repair_lake(Lakehouse(settings, fs=ScriptedDisk()))

        lakehouse = Lakehouse(settings)
        assert list_missing(lakehouse) == MUCH, crash_at
        assert list_hashes(lakehouse) == {k: hashes[k] for k in hashes if k not in MUCH}
        assert contents <= read_contents(lakehouse.home.data_dir)
        if is_ended:
            break
    assert 15 < crash_at < MOST_OPERATIONS - 1


def test_the_plan_still_holds_what_was_moved(lakehouse: Lakehouse) -> None:
    damage_much(lakehouse)
    _, plan = lakehouse.tables.read_plan()

    repair_lake(lakehouse)

    planned = plan.select(key_expression()).to_series()
    assert set(MUCH) < set(planned)
    assert lakehouse.ledger.counts() == {
        "complete": SESSIONS - 1 - len(MUCH),
        "empty": 1,
        "quarantined": len(MUCH),
    }
