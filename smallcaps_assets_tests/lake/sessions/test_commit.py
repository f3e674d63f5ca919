import datetime as dt
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, MissingPartitionError, StorageError
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, PowerLossDisk, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import (
    OPENING_NS,
    SESSION,
    make_batch,
    make_facts,
    make_session,
    make_store,
    make_tape,
)

OPERATIONS = range(60)
"""More than a commit of ``make_batch`` takes, with and without syncfs."""


def read_contents(store: LakeStore) -> dict[str, str]:
    """Return the content hash of every session, after proof that nothing is damaged."""
    receipts = list(store.iter_receipts())
    assert [damage for receipt in receipts for damage in store.verify_session(receipt)] == []
    return {receipt.key: receipt.content_hash for receipt in receipts}


def expect_contents(*, seed: int) -> dict[str, str]:
    """Return what ``read_contents`` gives after ``make_batch``."""
    return {
        prepared.receipt.key: prepared.receipt.content_hash for prepared in make_batch(seed=seed)
    }


def make_lake(folder: Path, *, is_filled: bool) -> LakeStore:
    """Return the store of a new lake, which may hold an older version of the batch."""
    folder.mkdir()
    store = make_store(folder)
    if is_filled:
        store.commit(make_batch(seed=1))
    return store


def commit_until_crash(folder: Path, fs: FileSystem, *, seed: int) -> bool:
    """Return whether the commit came to its end."""
    store = make_store(folder, fs)
    try:
        store.commit(make_batch(seed=seed))
    except Crash:
        return False
    return True


def test_commit_stores_rows_and_their_proof(tmp_path: Path) -> None:
    store = make_store(tmp_path, FileSystem())
    trades = make_tape(7)

    (receipt,) = store.commit([store.prepare("ABCD", SESSION, trades, make_facts())])

    path = store.layout.trades_file("ABCD", SESSION)
    assert store.read_trades("ABCD", SESSION).equals(trades)
    assert (receipt.rows, receipt.bytes) == (7, path.stat().st_size)
    assert receipt.content_hash == hash_trades(trades)
    assert receipt.rows_by_phase == {"regular": 7}
    assert receipt.source == "emulator:seed=1"


def test_prepare_keeps_nanoseconds_in_the_receipt() -> None:
    trades = make_tape(2).with_columns(
        sip_timestamp=pl.Series([OPENING_NS + 1, OPENING_NS + 999]).cast(pl.Datetime("ns", "UTC"))
    )

    receipt = make_store(Path("nowhere")).prepare("ABCD", SESSION, trades, make_facts()).receipt

    assert receipt.first_sip_timestamp == OPENING_NS + 1
    assert receipt.last_sip_timestamp == OPENING_NS + 999


@pytest.mark.parametrize(
    "phases",
    [["after_hours"] * 3, ["pre_market"] * 3, ["regular"] * 3, ["closed", "regular", "closed"]],
    ids=" ".join,
)
def test_a_session_is_complete_whatever_its_phases(tmp_path: Path, phases: list[str]) -> None:
    """L7, L11: all phases are kept and counted, and none of them is demanded."""
    store = make_store(tmp_path)
    trades = make_tape(3).with_columns(trading_phase=pl.Series(phases))

    (receipt,) = store.commit([store.prepare("ABCD", SESSION, trades, make_facts())])

    assert receipt.state == states.COMPLETE
    assert receipt.rows_by_phase == {phase: phases.count(phase) for phase in phases}
    assert store.read_trades("ABCD", SESSION)["trading_phase"].to_list() == phases


def test_a_session_without_trades_is_a_receipt_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    (receipt,) = store.commit([make_session(store, rows=0)])

    assert (receipt.rows, receipt.bytes, receipt.sha256) == (0, 0, None)
    folder = store.layout.session_dir("ABCD", SESSION)
    assert [path.name for path in folder.iterdir()] == ["_SUCCESS"]
    assert store.read_trades("ABCD", SESSION).equals(TRADES.empty())


def test_a_commit_takes_the_place_of_whatever_is_there(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    path = store.layout.trades_file("ABCD", SESSION)
    store.commit([make_session(store)])
    before = path.read_bytes()

    store.commit([make_session(store)])
    assert path.read_bytes() == before

    store.layout.receipt_file("ABCD", SESSION).unlink()
    with pytest.raises(MissingPartitionError):
        store.read_trades("ABCD", SESSION)
    store.commit([make_session(store, seed=2)])
    assert store.read_trades("ABCD", SESSION).equals(make_tape(5, seed=2))

    store.commit([make_session(store, rows=0)])
    assert not path.exists()
    assert store.verify_session(store.read_receipt("ABCD", SESSION)) == []


def test_commit_syncs_a_batch_as_often_as_one_session(tmp_path: Path) -> None:
    store = make_store(tmp_path, disk := ScriptedDisk())

    store.commit([make_session(store, day=day) for day in range(20)])

    assert [name for name, _ in disk.operations].count("sync_group") == 3


def test_off_session_prints_lie_in_their_own_tree(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    saturday = SESSION + dt.timedelta(days=1)
    trades = make_tape(2, session_date=saturday)

    store.commit([store.prepare("ABCD", saturday, trades, make_facts(), tree=Tree.OFF_SESSION)])

    assert list(store.iter_receipts()) == []
    assert [receipt.rows for receipt in store.iter_receipts(tree=Tree.OFF_SESSION)] == [2]
    assert store.read_trades("ABCD", saturday, tree=Tree.OFF_SESSION).equals(trades)


def test_commit_syncs_between_its_steps(tmp_path: Path) -> None:
    store = make_store(tmp_path, disk := ScriptedDisk())
    store.commit([make_session(store, seed=1)])
    disk.operations.clear()

    store.commit([make_session(store, seed=2)])

    steps = [(name, path.name.split("-")[0]) for name, path in disk.operations]
    assert steps == [
        ("write_new", ".tmp"),
        ("remove", "_SUCCESS"),
        ("sync_group", ".tmp"),
        ("rename", "trades.parquet"),
        ("write_new", ".tmp"),
        ("sync_group", ".tmp"),
        ("rename", "_SUCCESS"),
        ("sync_group", "date=2024"),
    ]


@pytest.mark.parametrize("uses_syncfs", [True, False])
@pytest.mark.parametrize("is_replacing", [False, True])
def test_a_kill_at_any_operation_leaves_whole_sessions_or_none(
    tmp_path: Path, *, uses_syncfs: bool, is_replacing: bool
) -> None:
    """L13: and committing again converges to the same content."""
    old, new = expect_contents(seed=1), expect_contents(seed=2)
    for crash_at in OPERATIONS:
        store = make_lake(tmp_path / str(crash_at), is_filled=is_replacing)
        disk = ScriptedDisk(crash_at=crash_at, uses_syncfs=uses_syncfs)

        is_ended = commit_until_crash(store.layout.data_dir, disk, seed=2)

        assert read_contents(store).items() <= (old.items() | new.items())
        store.commit(make_batch(seed=2))
        assert read_contents(store) == new
        if is_ended:
            break
    assert OPERATIONS[10] < crash_at < OPERATIONS[-1]


@pytest.mark.parametrize("is_replacing", [False, True])
def test_a_power_failure_at_any_operation_leaves_whole_sessions_or_none(
    tmp_path: Path, *, is_replacing: bool
) -> None:
    """L13: even where nothing but what was synced survives, in any combination."""
    rng = np.random.default_rng(7)
    old, new = expect_contents(seed=1), expect_contents(seed=2)
    for crash_at in OPERATIONS:
        folder = tmp_path / str(crash_at)
        make_lake(folder, is_filled=is_replacing)
        disk = PowerLossDisk(folder, crash_at=crash_at)
        is_ended = commit_until_crash(folder, disk, seed=2)
        for survivor in (tmp_path / f"{crash_at}-{number}" for number in range(5)):
            survivor.mkdir()

            disk.lose_power(survivor, rng)

            contents = read_contents(make_store(survivor))
            assert contents == new if is_ended else contents.items() <= (old.items() | new.items())
        if is_ended:
            break
    assert OPERATIONS[10] < crash_at < OPERATIONS[-1]


def test_sigkill_leaves_whole_sessions_or_none(tmp_path: Path) -> None:
    """L13: a real process, killed while it replaces sessions."""
    allowed = {item for seed in range(3) for item in expect_contents(seed=seed).items()}
    code = "from smallcaps_assets_tests.lake.lake_factories import commit_for_ever as run"
    command = [sys.executable, "-c", f"{code}; run({str(tmp_path)!r})"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.031)
        child.send_signal(signal.SIGKILL)

    assert read_contents(make_store(tmp_path)).items() <= allowed
    make_store(tmp_path).sweep()
    assert list(make_store(tmp_path).layout.staging_dir.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("fail_at", range(0, 18, 2))
def test_a_disk_that_refuses_stops_the_commit_cleanly(
    tmp_path: Path, number: int, fail_at: int
) -> None:
    disk = FailingDisk(number=number, fail_at=fail_at)
    store = make_store(tmp_path, disk)

    with pytest.raises(StorageError, match=os.strerror(number)):
        store.commit(make_batch(seed=1))

    staging = store.layout.staging_dir
    assert not staging.exists() or list(staging.iterdir()) == []
    read_contents(store)
    store.commit(make_batch(seed=1))
    assert read_contents(store) == expect_contents(seed=1)


def test_a_full_disk_leaves_the_sessions_to_be_replaced_alone(tmp_path: Path) -> None:
    make_store(tmp_path).commit(make_batch(seed=1))
    store = make_store(tmp_path, FailingDisk(number=errno.ENOSPC, fail_at=1))

    with pytest.raises(StorageError, match="free space or move the lake"):
        store.commit(make_batch(seed=2))

    assert read_contents(store) == expect_contents(seed=1)


def test_a_lake_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    batch = make_batch(seed=1)
    store.layout.lake_dir.rename(tmp_path / "unmounted")

    with pytest.raises(StorageError, match="mount the disk again"):
        store.commit(batch)

    assert not store.layout.lake_dir.exists()


def test_commit_refuses_a_session_twice(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    with pytest.raises(DataError, match="ABCD_2024-03-15"):
        store.commit([make_session(store), make_session(store)])

    assert list(store.iter_receipts()) == []


@pytest.mark.parametrize(
    ("trades", "state", "message"),
    [
        (make_tape(3, ticker="EFGH"), states.COMPLETE, "EFGH"),
        (make_tape(3, session_date=dt.date(2024, 3, 18)), states.COMPLETE, "2024-03-18"),
        (make_tape(3).reverse(), states.COMPLETE, "order of sip_timestamp"),
        (make_tape(3), states.EMPTY, "got 'empty'"),
        (make_tape(0), states.COMPLETE, "got 'complete'"),
        (make_tape(0), states.FAILED, "got 'failed'"),
        (make_tape(3).drop("price"), states.COMPLETE, "trades"),
    ],
    ids=["ticker", "date", "order", "rows but empty", "complete but no rows", "failed", "table"],
)
def test_prepare_refuses_what_is_no_session(trades: pl.DataFrame, state: str, message: str) -> None:
    store = make_store(Path("nowhere"))

    with pytest.raises(DataError, match=message):
        store.prepare("ABCD", SESSION, trades, make_facts(state=state))
