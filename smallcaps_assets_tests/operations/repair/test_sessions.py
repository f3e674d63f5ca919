"""L17, L18: damage is found whatever it is, moved aside with its evidence, and never deleted."""

import datetime as dt
import errno
import hashlib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pytest
from msgspec.structs import replace

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.quarantine import EVIDENCE_NAME
from smallcaps_assets.lake.sessions.receipts import Receipt, encode_receipt
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import TEMPORARY_PREFIX, FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import RepairFacts, repair_lake
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    NOW,
    SESSIONS,
    SmallLake,
    flip_byte,
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

Damage = Callable[[Lakehouse], None]


def find_data(lakehouse: Lakehouse, key: str = KEY) -> Path:
    return lakehouse.layout.trades_file(*decode_key(key))


def find_receipt(lakehouse: Lakehouse, key: str = KEY) -> Path:
    return lakehouse.layout.receipt_file(*decode_key(key))


def flip_bit(lakehouse: Lakehouse) -> None:
    flip_byte(find_data(lakehouse))


def truncate_data(lakehouse: Lakehouse) -> None:
    os.truncate(find_data(lakehouse), 100)


def truncate_receipt(lakehouse: Lakehouse) -> None:
    os.truncate(find_receipt(lakehouse), 100)


def edit_receipt(lakehouse: Lakehouse) -> None:
    path = find_receipt(lakehouse)
    path.write_text(path.read_text().replace('"pages": 1', '"pages": 2'))


def take_receipt_of_another(lakehouse: Lakehouse) -> None:
    find_receipt(lakehouse).write_bytes(find_receipt(lakehouse, OTHER).read_bytes())


def take_data_of_another(lakehouse: Lakehouse) -> None:
    find_data(lakehouse).write_bytes(find_data(lakehouse, OTHER).read_bytes())


def lose_data(lakehouse: Lakehouse) -> None:
    find_data(lakehouse).unlink()


def lose_receipt(lakehouse: Lakehouse) -> None:
    find_receipt(lakehouse).unlink()


def fill_empty_session(lakehouse: Lakehouse) -> None:
    find_data(lakehouse, EMPTY_KEY).write_bytes(b"PAR1")


def link_data(lakehouse: Lakehouse) -> None:
    path = find_data(lakehouse)
    outside = lakehouse.home.data_dir / "outside.parquet"
    path.rename(outside)
    path.symlink_to(outside)


def claim(**changes: object) -> Damage:
    """Return a damage that a bug of a writer would do: a sealed receipt that says otherwise."""

    def write(lakehouse: Lakehouse) -> None:
        path = find_receipt(lakehouse)
        receipt = lakehouse.store.read_receipt(*decode_key(KEY))
        path.write_bytes(encode_receipt(replace(receipt, **changes)))

    return write


def drop_column(lakehouse: Lakehouse) -> None:
    """Write a file without a column, and a receipt that agrees with its bytes."""
    path = find_data(lakehouse)
    pl.read_parquet(path, hive_partitioning=False).drop("price").write_parquet(path)
    content = path.read_bytes()
    claim(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())(lakehouse)


DAMAGES: Final[dict[str, tuple[Damage, str, set[str]]]] = {
    "a flipped bit": (flip_bit, KEY, {"sha256"}),
    "a truncated file": (truncate_data, KEY, {"bytes", "sha256", "unreadable"}),
    "a truncated receipt": (truncate_receipt, KEY, {"receipt"}),
    "an edited receipt": (edit_receipt, KEY, {"receipt"}),
    "the receipt of another": (take_receipt_of_another, KEY, {"receipt"}),
    "the file of another": (take_data_of_another, KEY, {"bytes", "sha256", "rows"}),
    "a file that is gone": (lose_data, KEY, {"missing_file"}),
    "a file where none belongs": (fill_empty_session, EMPTY_KEY, {"stray_file"}),
    "a link": (link_data, KEY, {"unreadable"}),
    "a wrong number of rows": (claim(rows=1), KEY, {"rows"}),
    "a wrong content": (claim(content_hash="0" * 64), KEY, {"content_hash"}),
    "a column that is gone": (drop_column, KEY, {"schema"}),
}
"""How it is done, to which session, and the kinds that must be told."""


def read_contents(folder: Path) -> Counter[bytes]:
    """Return the contents of the files below a folder, without evidence and what is no data."""
    names = ["segments", "quarantine", *(tree.value for tree in Tree)]
    places = [*(folder / "lake" / name for name in names), folder / "quarantine"]
    files = [file for place in places for file in place.rglob("*")]
    return Counter(file.read_bytes() for file in files if file.is_file() and is_data(file))


def is_data(file: Path) -> bool:
    return file.name != EVIDENCE_NAME and not file.name.startswith(TEMPORARY_PREFIX)


def is_moved(file: Path) -> bool:
    return file.name in {"trades.parquet", "_SUCCESS"}


def named_sessions(verdict: Verdict) -> set[tuple[str, dt.date]]:
    """Return the sessions among the offenders; a file of many has none of its own."""
    return set(verdict.offenders.select("ticker", "session_date").drop_nulls().iter_rows())


def read_evidence(folder: Path) -> dict[str, Any]:
    """Return what lies beside a session in quarantine."""
    return msgspec.json.decode((folder / EVIDENCE_NAME).read_bytes(), type=dict[str, Any])


def list_missing(lakehouse: Lakehouse) -> list[str]:
    return lakehouse.ledger.missing_keys()["key"].to_list()


def list_receipts(lakehouse: Lakehouse) -> dict[str, Receipt]:
    return {receipt.key: receipt for receipt in lakehouse.store.iter_receipts()}


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


@pytest.mark.parametrize("name", DAMAGES)
def test_every_kind_of_damage_of_a_file_is_found_and_moved_aside(
    receipt_lakehouse: Lakehouse, name: str
) -> None:
    """L17: that a file exists proves nothing; audit and repair open, count and hash it."""
    lakehouse = receipt_lakehouse
    do, key, kinds = DAMAGES[name]
    whole = list_receipts(lakehouse)
    do(lakehouse)
    contents = read_contents(lakehouse.home.data_dir)

    audited = audit_lake(lakehouse)["files_are_undamaged"]
    facts = repair_lake(lakehouse)

    assert named_sessions(audited) == {decode_key(key)}
    assert (kinds <= set(audited.offenders["kind"]), audited.numbers["checked"]) == (True, SESSIONS)
    assert facts.keys == list(facts.damages) == list_missing(lakehouse) == [key]
    assert kinds <= {damage.kind.value for damage in facts.damages[key]}
    assert read_contents(lakehouse.home.data_dir) == contents
    assert list_receipts(lakehouse) == {k: r for k, r in whole.items() if k != key}
    evidence = read_evidence(facts.moved[0])
    assert {kind for kind, _ in evidence["damages"]} >= kinds
    assert evidence["found_at"] == NOW.isoformat().replace("+00:00", "Z")
    record = lakehouse.ledger.records([key])[key]
    assert (record.state, record.error_kind) == ("quarantined", facts.damages[key][0].kind.value)


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


def test_a_session_without_its_receipt_is_lost(receipt_lakehouse: Lakehouse) -> None:
    lose_receipt(receipt_lakehouse)

    facts = assert_lost(receipt_lakehouse)

    assert len(facts.orphans) == len(facts.moved) == 1


def test_a_place_on_the_disk_that_cannot_be_read_is_damage(receipt_lakehouse: Lakehouse) -> None:
    """One bad sector closes one session, not the lake (segments: ``lake.upkeep.healing``)."""

    class DyingDisk(FileSystem):
        def read(self, path: Path) -> bytes:
            if path == broken:
                with storage_errors("read", path):
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return super().read(path)

    broken = find_data(receipt_lakehouse)
    facts = repair_lake(Lakehouse(receipt_lakehouse.settings, fs=DyingDisk(), clock=lambda: NOW))

    assert facts.keys == [KEY]
    assert facts.damages[KEY][0].kind.value == "unreadable"
    assert (facts.moved[0] / "trades.parquet").exists()


def test_files_that_are_none_of_the_lake_are_moved(lakehouse: Lakehouse) -> None:
    notes = find_data_file(lakehouse, KEY).with_name("notes.txt")
    notes.write_text("mine")
    contents = read_contents(lakehouse.home.data_dir)

    facts = repair_lake(lakehouse)

    assert [orphan.path.name for orphan in facts.orphans] == ["notes.txt"]
    assert (len(facts.moved), notes.exists(), facts.keys) == (1, False, [])
    assert read_contents(lakehouse.home.data_dir) == contents


def test_temporary_files_are_no_strays(receipt_lakehouse: Lakehouse) -> None:
    (receipt_lakehouse.home.staging_dir / ".tmp-0-0-0").write_text("under way")

    assert repair_lake(receipt_lakehouse).orphans == []


def test_damage_beside_the_sessions_is_moved_and_not_missing(lakehouse: Lakehouse) -> None:
    """Prints of a Saturday: no plan asks for them, and no download brings them back."""
    saturday = dt.date(2024, 1, 13)
    store_off_session(lakehouse, KEY, saturday)
    damage_rows(lakehouse, "BCPC_2024-01-13", Tree.OFF_SESSION)

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
    """L13: the next repair ends as one that nobody disturbed, evidence beside every file."""
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
        moved = (lakehouse.home.quarantine_dir / "trades").rglob("*")
        assert all(read_evidence(file.parent)["damages"] for file in moved if is_moved(file))
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
