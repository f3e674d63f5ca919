import contextlib
import datetime as dt
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.errors import (
    DataError,
    LakeError,
    LedgerMismatchError,
    MissingPartitionError,
    SchemaError,
    StorageError,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.schemas import (
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SPLITS,
    UNIVERSE,
    WATCHLIST,
    Table,
)
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, PowerLossDisk, ScriptedDisk
from smallcaps_assets_tests.lake.ledger_factories import NOON, make_plan
from smallcaps_assets_tests.lake.reader_factories import (
    make_pilot,
    make_splits,
    make_watchlist,
    make_window_plan,
)

OLD = make_window_plan("AAA_2024-03-14", "AAA_2024-03-15")
NEW = make_window_plan("AAA_2024-03-14", "AAA_2024-03-15", "BBB_2024-03-18")
PUBLISH_STEPS = 13
"""Operations of publishing a plan over another one, as the test below makes sure."""


def make_record(plan: pl.DataFrame, **changes: object) -> PlanRecord:
    record = PlanRecord(
        plan_hash=hash_plan(plan),
        sessions=plan.height,
        tickers=plan["ticker"].n_unique(),
        created_at=NOON,
        windows={"E2_GapUp": (2, 2)},
        thresholds={"coverage": 0.95},
        facts={"watchlist_rows": 2},
    )
    return msgspec.structs.replace(record, **changes)


def publish(store: TableStore, plan: pl.DataFrame) -> None:
    store.write_plan(plan, make_record(plan), is_published=True)


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(LakeLayout(tmp_path), FileSystem())


def test_write_table_published_is_read_back_sorted(store: TableStore) -> None:
    watchlist = make_watchlist("AAA_2024-03-14", "AAA_2024-03-15", "BBB_2024-03-14")

    path = store.write_table(WATCHLIST, watchlist.reverse(), is_published=True)

    assert path == store.layout.watchlist_file
    assert_frame_equal(store.read_table(WATCHLIST), watchlist)


def test_write_table_unpublished_leaves_the_published_one(store: TableStore) -> None:
    published, candidate = make_pilot("AAA_2024-03-14"), make_pilot("BBB_2024-03-14")
    store.write_table(PILOT_WATCHLIST, published, is_published=True)

    path = store.write_table(PILOT_WATCHLIST, candidate, is_published=False)

    assert path.name == "pilot_watchlist.candidate.parquet"
    assert_frame_equal(store.read_table(PILOT_WATCHLIST), published)
    assert_frame_equal(pl.read_parquet(path), candidate)
    store.write_table(PILOT_WATCHLIST, candidate, is_published=True)
    assert not path.exists()


@pytest.mark.parametrize("table", [WATCHLIST, PILOT_WATCHLIST, EVENT_WINDOW_PLAN])
def test_read_table_that_was_never_made_says_which_to_make(store: TableStore, table: Table) -> None:
    with pytest.raises(MissingPartitionError, match=f"materialize {table.name}"):
        store.read_table(table)


def test_read_table_refuses_a_damaged_file(store: TableStore) -> None:
    path = store.write_table(WATCHLIST, make_watchlist("AAA_2024-03-14"), is_published=True)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"watchlist\.parquet is damaged"):
        store.read_table(WATCHLIST)


def test_read_table_refuses_another_table(store: TableStore) -> None:
    path = store.write_table(SPLITS, make_splits("AAA_2024-03-14"), is_published=True)
    store.layout.watchlist_file.parent.mkdir()
    path.rename(store.layout.watchlist_file)

    with pytest.raises(SchemaError, match="materialize watchlist again"):
        store.read_table(WATCHLIST)


def test_read_splits_reads_what_was_written(store: TableStore) -> None:
    splits = make_splits("AAA_2024-03-14")
    assert store.read_splits().equals(SPLITS.empty())

    store.write_table(SPLITS, splits, is_published=True)

    assert_frame_equal(store.read_splits(), splits)


def test_write_plan_is_read_back_with_its_record(store: TableStore) -> None:
    record = store.write_plan(
        NEW.reverse(), make_record(NEW), make_plan("AAA_2024-03-19"), is_published=True
    )

    found, plan = store.read_plan()

    assert_frame_equal(plan, NEW)
    assert found == record
    assert store.read_not_yet_available().rows() == [("AAA", dt.date(2024, 3, 19))]
    fields = json.loads(store.layout.plan_record_file.read_text())
    assert (fields["plan_hash"], fields["windows"]) == (hash_plan(NEW), {"E2_GapUp": [2, 2]})
    assert "pending" not in fields


def test_write_plan_unpublished_leaves_the_published_pair(store: TableStore) -> None:
    publish(store, OLD)

    store.write_plan(NEW, make_record(NEW), is_published=False)

    assert store.read_plan()[0].plan_hash == hash_plan(OLD)
    assert_frame_equal(store.read_plan_candidate()[1], NEW)
    publish(store, NEW)
    assert not store.layout.plan_candidate_file.exists()


@pytest.mark.parametrize("changes", [{"plan_hash": "0" * 64}, {"sessions": 9}])
def test_write_plan_refuses_the_record_of_another_plan(
    store: TableStore, changes: dict[str, object]
) -> None:
    with pytest.raises(DataError, match="by its record"):
        store.write_plan(OLD, make_record(OLD, **changes), is_published=True)


def test_read_plan_never_published_says_what_to_do(store: TableStore) -> None:
    with pytest.raises(MissingPartitionError, match="smallcaps plan"):
        store.read_plan()


def test_read_plan_refuses_a_plan_that_was_exchanged(store: TableStore) -> None:
    publish(store, OLD)
    kept = store.layout.plan_file.read_bytes()
    publish(store, NEW)
    store.layout.plan_file.write_bytes(kept)

    with pytest.raises(LedgerMismatchError, match=r"plan\.json"):
        store.read_plan()


def test_read_plan_refuses_a_record_that_was_edited(store: TableStore) -> None:
    publish(store, OLD)
    file = store.layout.plan_record_file
    file.write_text(file.read_text().replace(hash_plan(OLD), hash_plan(NEW)))

    with pytest.raises(LedgerMismatchError, match="smallcaps plan"):
        store.read_plan()


@pytest.mark.parametrize("text", ["", "[]", '{"plan_hash": 1}', '{"plan_hash"'])
def test_read_plan_refuses_a_damaged_record(store: TableStore, text: str) -> None:
    publish(store, OLD)
    store.layout.plan_record_file.write_text(text)

    with pytest.raises(LedgerMismatchError, match="no record of a plan"):
        store.read_plan()


def test_write_plan_replaces_a_damaged_pair(store: TableStore) -> None:
    publish(store, OLD)
    store.layout.plan_record_file.write_text("{")

    publish(store, NEW)

    assert store.read_plan()[0].plan_hash == hash_plan(NEW)


def test_publish_steps_are_all_of_them(tmp_path: Path) -> None:
    publish(TableStore(LakeLayout(tmp_path), FileSystem()), OLD)
    disk = ScriptedDisk()

    publish(TableStore(LakeLayout(tmp_path), disk), NEW)

    assert len(disk.operations) == PUBLISH_STEPS


@pytest.mark.parametrize("crash_at", range(PUBLISH_STEPS))
def test_crash_leaves_the_old_plan_or_the_new_one(tmp_path: Path, crash_at: int) -> None:
    """L13: whatever instant the process dies at, plan and record belong together."""
    layout = LakeLayout(tmp_path)
    publish(TableStore(layout, FileSystem()), OLD)
    with pytest.raises(Crash):
        publish(TableStore(layout, ScriptedDisk(crash_at=crash_at)), NEW)

    record, plan = TableStore(layout, FileSystem()).read_plan()

    assert record.plan_hash == hash_plan(plan)
    assert plan.height in {OLD.height, NEW.height}
    publish(TableStore(layout, FileSystem()), NEW)
    assert TableStore(layout, FileSystem()).read_plan()[1].equals(NEW)


@pytest.mark.parametrize("crash_at", range(0, 2 * PUBLISH_STEPS, 3))
def test_power_loss_leaves_the_old_plan_or_the_new_one(tmp_path: Path, crash_at: int) -> None:
    """L13: also when the disk kept only what was synced."""
    (tmp_path / "disk").mkdir()
    publish(TableStore(LakeLayout(tmp_path / "disk"), FileSystem()), OLD)
    disk = PowerLossDisk(tmp_path / "disk", crash_at=crash_at)
    with contextlib.suppress(Crash):
        publish(TableStore(LakeLayout(tmp_path / "disk"), disk), NEW)

    for seed in range(8):
        target = tmp_path / f"after-{seed}"
        target.mkdir()
        disk.lose_power(target, np.random.default_rng(seed))
        record, plan = TableStore(LakeLayout(target), FileSystem()).read_plan()
        assert (record.plan_hash, record.sessions) == (hash_plan(plan), plan.height)


@pytest.mark.parametrize("crash_at", range(9))
def test_crash_of_the_first_publication_leaves_none_or_the_plan(
    tmp_path: Path, crash_at: int
) -> None:
    store = TableStore(LakeLayout(tmp_path), FileSystem())
    with pytest.raises(Crash):
        publish(TableStore(LakeLayout(tmp_path), ScriptedDisk(crash_at=crash_at)), OLD)

    try:
        assert store.read_plan()[1].equals(OLD)
    except MissingPartitionError:
        publish(store, OLD)
        assert store.read_plan()[1].equals(OLD)


def test_disk_that_refuses_leaves_the_old_pair_readable(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path)
    publish(TableStore(layout, FileSystem()), OLD)

    with pytest.raises(StorageError):
        publish(TableStore(layout, FailingDisk(number=28, fail_at=5)), NEW)

    assert TableStore(layout, FileSystem()).read_plan()[1].equals(OLD)


class RacingDisk(FileSystem):
    """A disk on which another process publishes a plan between two readings."""

    def __init__(self, layout: LakeLayout) -> None:
        super().__init__()
        self.layout = layout
        self.readings = 0

    def read(self, path: Path) -> bytes:
        content = super().read(path)
        self.readings += 1
        if self.readings == 1:
            publish(TableStore(self.layout, FileSystem()), NEW)
        return content


def test_read_plan_meets_a_plan_published_meanwhile_whole(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path)
    publish(TableStore(layout, FileSystem()), OLD)

    record, plan = TableStore(layout, RacingDisk(layout)).read_plan()

    assert record.plan_hash == hash_plan(NEW)
    assert_frame_equal(plan, NEW)


def test_tables_are_not_made_where_the_disk_is_gone(tmp_path: Path) -> None:
    store = TableStore(LakeLayout(tmp_path / "unmounted"), FileSystem())

    with pytest.raises(LakeError, match="unmounted"):
        store.write_table(SPLITS, make_splits("AAA_2024-03-14"), is_published=True)


def test_the_universe_is_read_with_what_is_known_of_it(store: TableStore) -> None:
    gone = {"ticker": "RC", "is_active": False, "delisted_date": dt.date(2020, 5, 6)}
    rows = [
        dict.fromkeys(UNIVERSE.columns) | row for row in ({"ticker": "RC", "is_active": True}, gone)
    ]
    listings = pl.DataFrame(rows, UNIVERSE.schema)
    assert store.read_universe() is None

    store.write_table(UNIVERSE, listings, is_published=True, facts={"types": "CS"})

    found = store.read_universe()
    assert found is not None
    assert found[0].select("ticker", "is_active").rows() == [("RC", False), ("RC", True)]
    assert found[1] == {"types": "CS"}


def test_a_damaged_universe_is_not_taken_for_none(store: TableStore) -> None:
    store.write_table(UNIVERSE, UNIVERSE.empty(), is_published=True)
    store.layout.universe_file.write_bytes(b"PAR1")

    with pytest.raises(DataError, match="materialize universe again"):
        store.read_universe()


def test_sweep_looks_wherever_tables_are_published(store: TableStore) -> None:
    layout = store.layout
    files = (layout.daily_bars_file("2024-03"), layout.splits_file, layout.watchlist_file)
    abandoned = [file.with_name(".tmp-old") for file in (*files, layout.plan_record_file)]
    for path in abandoned:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (0, 0))

    assert sorted(store.sweep()) == sorted(abandoned)
