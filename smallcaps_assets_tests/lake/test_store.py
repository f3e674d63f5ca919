import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.errors import DataError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind, OrphanKind
from smallcaps_assets.lake.sessions.parquet import encode_trades
from smallcaps_assets.lake.sessions.receipts import Receipt, encode_receipt
from smallcaps_assets.lake.storage.files import FileSystem, temporary_path
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.lake.tables.files import encode_rows
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import (
    SESSION,
    make_batch,
    make_facts,
    make_session,
    make_store,
    make_tape,
)

KEY = f"ABCD_{SESSION}"


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    """Return the store of a lake with one session of five trades."""
    store = make_store(tmp_path)
    store.commit([make_session(store)])
    return store


@pytest.fixture
def receipt(store: LakeStore) -> Receipt:
    return store.read_receipt("ABCD", SESSION)


@pytest.fixture
def path(store: LakeStore) -> Path:
    return store.layout.trades_file("ABCD", SESSION)


def kinds(damages: list[Damage]) -> list[str]:
    return [damage.kind.value for damage in damages]


def reseal(store: LakeStore, receipt: Receipt, **changes: object) -> Receipt:
    """Write another receipt beside the file, with a seal that fits."""
    other = replace(receipt, **changes)
    store.layout.receipt_file("ABCD", SESSION).write_bytes(encode_receipt(other))
    return other


class TearingDisk(FileSystem):
    """A disk on which another process commits between two reads."""

    def __init__(self, store: LakeStore, *, seed: int) -> None:
        super().__init__()
        self.store = store
        self.seeds = [seed]

    def read(self, path: Path) -> bytes:
        content = super().read(path)
        if self.seeds:
            self.store.commit([make_session(self.store, seed=self.seeds.pop())])
        return content


def test_a_session_is_stored_when_its_receipt_is(store: LakeStore, receipt: Receipt) -> None:
    """L1: a session is green only with a receipt, and a receipt means a whole file."""
    assert store.find_receipt(KEY) == receipt
    assert store.find_receipt("EFGH_2024-03-15") is None
    assert store.read_trades("ABCD", SESSION).height == receipt.rows == 5

    store.layout.receipt_file("ABCD", SESSION).unlink()

    assert store.find_receipt(KEY) is None
    assert list(store.iter_receipts()) == []
    with pytest.raises(MissingPartitionError, match="_SUCCESS"):
        store.read_trades("ABCD", SESSION)


def test_a_receipt_without_its_file_is_damage_and_no_empty_session(
    store: LakeStore, receipt: Receipt, path: Path
) -> None:
    """L1: missing is never empty."""
    path.unlink()

    assert kinds(store.verify_session(receipt)) == ["missing_file"]
    with pytest.raises(MissingPartitionError, match=r"trades\.parquet"):
        store.read_trades("ABCD", SESSION)


def test_iter_receipts_goes_in_order_of_folders(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.commit(make_batch(seed=1))

    keys = [receipt.key for receipt in store.iter_receipts()]

    assert keys == ["ABCD_2024-03-15", "ABCD_2024-03-18", "BCpC_2024-03-15"]


def test_iter_receipts_collects_what_cannot_be_believed(store: LakeStore) -> None:
    """L12: a bad session fails alone."""
    store.commit([make_session(store, day=3)])
    store.layout.receipt_file("ABCD", SESSION).write_bytes(b"{")
    damages: list[Damage] = []

    receipts = list(store.iter_receipts(damages=damages))

    assert [receipt.key for receipt in receipts] == ["ABCD_2024-03-18"]
    assert [(damage.key, damage.kind) for damage in damages] == [(KEY, DamageKind.RECEIPT)]
    with pytest.raises(LedgerMismatchError):
        list(store.iter_receipts())


def test_a_receipt_of_another_folder_is_refused(store: LakeStore, receipt: Receipt) -> None:
    reseal(store, receipt, ticker="EFGH")

    with pytest.raises(LedgerMismatchError, match="EFGH_2024-03-15, not of its folder"):
        store.read_receipt("ABCD", SESSION)


def test_read_trades_finds_damage(store: LakeStore, path: Path) -> None:
    path.write_bytes(encode_trades(make_tape(5, seed=9)))

    with pytest.raises(DataError, match=r"expected sha256 .* got .* repair"):
        store.read_trades("ABCD", SESSION)
    assert store.read_trades("ABCD", SESSION, verify=False).height == 5


def test_read_trades_follows_a_commit_between_its_reads(store: LakeStore) -> None:
    reader = LakeStore(store.layout, TearingDisk(store, seed=2), store.source)

    trades = reader.read_trades("ABCD", SESSION)

    assert trades.equals(make_tape(5, seed=2))


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_flipped_bit_of_a_file_is_found(
    store: LakeStore, receipt: Receipt, path: Path, data: st.DataObject
) -> None:
    """L17: whatever the bit, in data or footer."""
    content = bytearray(encode_trades(make_tape(5)))
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)

    assert "sha256" in kinds(store.verify_session(receipt))
    with pytest.raises(DataError):
        store.read_trades("ABCD", SESSION)


def test_verify_session_finds_nothing_wrong_with_a_whole_session(
    store: LakeStore, receipt: Receipt
) -> None:
    (empty,) = store.commit([make_session(store, rows=0, day=3)])

    for checked in (receipt, empty):
        assert store.verify_session(checked) == store.verify_session(checked, deep=False) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["bytes", "sha256", "unreadable"]),
        (encode_trades(make_tape(5))[:-1], ["bytes", "sha256", "unreadable"]),
        (encode_trades(make_tape(4)), ["bytes", "sha256", "rows", "content_hash"]),
        (encode_trades(make_tape(5), zstd_level=1), ["bytes", "sha256"]),
        (encode_rows(pl.DataFrame({"price": [1.0]})), ["bytes", "sha256", "schema"]),
    ],
    ids=["emptied", "cut", "a row less", "rewritten", "another table"],
)
def test_verify_session_opens_counts_and_hashes(
    store: LakeStore, receipt: Receipt, path: Path, content: bytes, expected: list[str]
) -> None:
    """L17: that a file exists proves nothing."""
    path.write_bytes(content)

    damages = store.verify_session(receipt)

    assert kinds(damages) == expected
    assert all(damage.key == KEY and str(path) in damage.message for damage in damages)
    assert kinds(store.verify_session(receipt, deep=False)) == ["bytes"]


def test_verify_session_compares_rows_with_a_receipt_that_lies(
    store: LakeStore, receipt: Receipt
) -> None:
    lying = reseal(store, receipt, rows=6, content_hash="0" * 64)

    assert kinds(store.verify_session(lying)) == ["rows", "content_hash"]


def test_verify_session_reads_the_receipt_again(store: LakeStore, receipt: Receipt) -> None:
    (damage,) = store.verify_session(replace(receipt, run_id="another"))

    assert damage.kind is DamageKind.RECEIPT
    assert "another one" in damage.message
    for text in (b"", b"{}"):
        store.layout.receipt_file("ABCD", SESSION).write_bytes(text)
        assert kinds(store.verify_session(receipt)) == ["receipt"]


def test_verify_session_tells_of_a_file_beside_no_rows(store: LakeStore) -> None:
    (receipt,) = store.commit([make_session(store, rows=0)])
    store.layout.trades_file("ABCD", SESSION).write_bytes(b"x")
    lying = reseal(store, receipt, content_hash="0" * 64)

    assert kinds(store.verify_session(lying)) == ["stray_file", "content_hash"]


def test_find_orphans_is_content_with_what_was_planned_or_imported(store: LakeStore) -> None:
    imported = make_facts(is_imported=True)
    trades = make_tape(2, ticker="OLD")
    store.commit([store.prepare("OLD", SESSION, trades, imported)])
    store.commit([store.prepare("OLD", SESSION, trades, make_facts(), tree=Tree.OFF_SESSION)])

    assert store.find_orphans({KEY}) == []


def test_find_orphans_lists_what_nobody_asked_for(store: LakeStore) -> None:
    """L18: every receipt belongs to a plan or an import."""
    (orphan,) = store.find_orphans(set())

    assert orphan.kind is OrphanKind.UNPLANNED
    assert orphan.path == store.layout.session_dir("ABCD", SESSION)
    store.layout.receipt_file("ABCD", SESSION).write_bytes(b"damaged")
    assert [orphan.kind for orphan in store.find_orphans(set())] == [OrphanKind.UNPLANNED]


def test_find_orphans_lists_what_an_older_run_left(store: LakeStore, path: Path) -> None:
    """L18: every file belongs to a receipt."""
    tree = store.layout.tree_dir(Tree.TRADES)
    leftovers = {
        path.with_name("premarket.parquet"): OrphanKind.FOREIGN,
        path.with_name(".tmp-old"): OrphanKind.TEMPORARY,
        tree / "AAPL": OrphanKind.FOREIGN,
        tree / "ticker=bcpc": OrphanKind.FOREIGN,
        tree / "ticker=%C3%A9": OrphanKind.FOREIGN,
        tree / "ticker=ABCD/2024-03-15": OrphanKind.FOREIGN,
        tree / "ticker=ABCD/date=2024-03-16": OrphanKind.FOREIGN,
    }
    for leftover in leftovers:
        leftover.write_bytes(b"")

    assert {orphan.path: orphan.kind for orphan in store.find_orphans({KEY})} == leftovers


def test_find_orphans_lists_files_without_receipt(store: LakeStore, path: Path) -> None:
    store.layout.receipt_file("ABCD", SESSION).unlink()

    (orphan,) = store.find_orphans({KEY})

    assert (orphan.path, orphan.kind) == (path, OrphanKind.NO_RECEIPT)


def test_find_orphans_lists_what_dead_processes_were_writing(store: LakeStore) -> None:
    staging = store.layout.staging_dir
    abandoned = staging / ".tmp-0123456789ab-1-2-3"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    temporary_path(staging).write_bytes(b"a living process writes this")

    (orphan,) = store.find_orphans({KEY})

    assert (orphan.path, orphan.kind) == (abandoned, OrphanKind.TEMPORARY)
    assert store.sweep() == [abandoned]


def test_quarantine_keeps_every_damaged_session_aside(store: LakeStore, path: Path) -> None:
    content = path.read_bytes()
    folder = store.quarantine("ABCD", SESSION)

    assert store.find_receipt(KEY) is None
    assert folder.is_relative_to(store.layout.quarantine_dir)
    assert store.find_orphans({KEY}) == []

    store.commit([make_session(store, seed=2)])
    assert store.quarantine("ABCD", SESSION) != folder
    assert (folder / "trades.parquet").read_bytes() == content
    assert (folder / "_SUCCESS").exists()


def test_a_kill_during_quarantine_leaves_no_receipt_without_file(tmp_path: Path) -> None:
    """L13: what is left in between is a file without receipt, which is not data."""
    for crash_at in range(30):
        folder = tmp_path / str(crash_at)
        folder.mkdir()
        store = make_store(folder)
        store.commit(make_batch(seed=1)[:1])
        disk = ScriptedDisk(crash_at=crash_at)
        try:
            LakeStore(store.layout, disk, store.source).quarantine("ABCD", SESSION)
        except Crash:
            assert [store.verify_session(receipt) for receipt in store.iter_receipts()] in (
                [],
                [[]],
            )
            store.quarantine("ABCD", SESSION)
        else:
            break
        assert store.find_orphans({KEY}) == []
    assert 3 < crash_at < 29


def test_sweep_looks_wherever_tables_are_published(store: LakeStore) -> None:
    layout = store.layout
    files = (layout.daily_bars_file("2024-03"), layout.splits_file, layout.watchlist_file)
    abandoned = [file.with_name(".tmp-old") for file in (*files, layout.plan_record_file)]
    for path in abandoned:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (0, 0))

    assert sorted(store.sweep()) == sorted(abandoned)


def test_an_empty_lake_has_nothing(tmp_path: Path) -> None:
    store = LakeStore(LakeLayout(tmp_path / "gone"), FileSystem(), "vendor:polygon")

    assert list(store.iter_receipts()) == []
    assert store.find_orphans(set()) == []
    assert store.sweep() == []


def test_an_accepted_empty_session_says_so(store: LakeStore) -> None:
    facts = make_facts(state=states.EMPTY, is_accepted_empty=True, bar_volume=100.0)

    (receipt,) = store.commit([store.prepare("ABCD", SESSION, make_tape(0), facts)])

    assert store.read_receipt("ABCD", SESSION) == receipt
    assert receipt.is_accepted_empty
    assert receipt.bar_volume == 100.0
