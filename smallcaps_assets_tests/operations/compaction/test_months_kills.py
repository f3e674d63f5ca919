"""L13: kill -9 at any instant of compaction, removal and repair: each row is read exactly once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import Done, compact_month, judge_months
from smallcaps_assets.operations.repair.moving import move_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.ingest.month_lakes import (
    APRIL,
    KEYS,
    MARCH,
    NO_CHANGES,
    REMOVING,
    Settings,
    assert_exactly_once,
    compact,
    fill_month_lake,
    hash_rows,
    open_month_lake,
    read_catalog,
    read_rows,
    store_session,
)
from smallcaps_assets_tests.lake.disks import Crash, PowerLossDisk, ScriptedDisk

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("receipt_lakes")]

MOST_OPERATIONS: Final = 400

Work = Callable[[Lakehouse], object]


def read_polars(data_dir: Path) -> pl.DataFrame:
    return Lake(data_dir).trades().collect()


def copy_lake(origin: Path, folder: Path) -> Path:
    shutil.copytree(origin / "data", folder / "data")
    return folder / "data"


def kill_everywhere(
    origin: Path, folder: Path, work: Work, *, step: int, changes: Settings = NO_CHANGES
) -> int:
    """Do some work, killed at each of its operations; return how many there are.

    After every kill users read exactly the rows of before, and the same work ends as usual.
    """
    before = hash_rows(read_polars(origin / "data"))
    for crash_at in range(0, MOST_OPERATIONS, step):
        data = copy_lake(origin, folder / str(crash_at))
        try:
            work(open_month_lake(data, ScriptedDisk(crash_at=crash_at), changes=changes))
        except Crash:
            assert hash_rows(read_polars(data)) == before, crash_at
            work(open_month_lake(data, changes=changes))
            assert hash_rows(read_polars(data)) == before, crash_at
        else:
            return crash_at
        finally:
            shutil.rmtree(folder / str(crash_at))
    pytest.fail("it never ended")


@pytest.fixture
def due(tmp_path: Path) -> Path:
    """Return the folder of a lake that was never compacted."""
    fill_month_lake(tmp_path / "due" / "data").ledger.close()
    return tmp_path / "due"


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """Return the folder of a lake whose landing files may go, with one month that is stale."""
    lakehouse = fill_month_lake(tmp_path / "stale" / "data", changes=REMOVING)
    compact(lakehouse)
    store_session(lakehouse, KEYS[0], seed=99)
    lakehouse.ledger.close()
    return tmp_path / "stale"


def test_a_kill_at_any_operation_of_a_first_compaction(due: Path, tmp_path: Path) -> None:
    operations = kill_everywhere(due, tmp_path, compact, step=4)

    assert operations > 20


def test_a_kill_at_any_operation_of_a_rebuild_and_a_removal(stale: Path, tmp_path: Path) -> None:
    operations = kill_everywhere(stale, tmp_path, compact, step=4, changes=REMOVING)

    assert operations > 20


def test_a_kill_at_any_operation_of_a_repair_of_months(stale: Path, tmp_path: Path) -> None:
    lakehouse = open_month_lake(stale / "data")
    (part,) = lakehouse.layout.home.month_dir(APRIL).glob("trades-*")
    part.unlink()
    lakehouse.ledger.close()

    operations = kill_everywhere(stale, tmp_path, repair_lake, step=3)

    assert operations > 10


def test_a_kill_in_a_move_of_months(stale: Path, tmp_path: Path) -> None:
    lakehouse = open_month_lake(stale / "data", changes=REMOVING)
    compact(lakehouse)
    compact(lakehouse)
    lakehouse.ledger.close()

    def move(lakehouse: Lakehouse) -> object:
        return move_lake(lakehouse, lakehouse.home.data_dir.parent / "elsewhere")

    operations = kill_everywhere(stale, tmp_path, move, step=13)

    assert operations > 20


def test_a_power_failure_at_any_operation_leaves_whole_months(due: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    before = hash_rows(read_polars(due / "data"))
    for crash_at in range(0, MOST_OPERATIONS, 9):
        folder = tmp_path / str(crash_at)
        data = copy_lake(due, folder)
        disk = PowerLossDisk(folder, crash_at=crash_at)
        try:
            lake = open_month_lake(data, disk)
            for facts in judge_months(lake.ledger, lake.store, lake.bounds):
                compact_month(lake.store, facts, lake.clock())
        except Crash:
            returned = tmp_path / f"{crash_at}-back"
            returned.mkdir()
            disk.lose_power(returned, rng)
            back = open_month_lake(returned / "data")
            assert hash_rows(read_polars(back.home.data_dir)) == before, crash_at
            assert set(compact(back).values()) <= {Done.WRITTEN, Done.REUSED}
            assert_exactly_once(back)
        else:
            break
    assert crash_at > 20


def test_leftovers_of_a_killed_write_are_no_data_and_go(due: Path) -> None:
    disk = ScriptedDisk(crash_at=12)
    with pytest.raises(Crash):
        compact(open_month_lake(due / "data", disk))
    lakehouse = open_month_lake(due / "data")

    compact(lakehouse)

    for month in (MARCH, APRIL):
        folder = lakehouse.layout.home.month_dir(month)
        found = lakehouse.store.months.find(month)
        assert found is not None
        named = {file.name for file in found.manifest.files} | {"manifest.json"}
        # The process that was killed is this one, whose temporary files are kept.
        assert {path.name for path in folder.glob("[!.]*")} == named
    assert read_catalog(lakehouse).height == read_rows(lakehouse).height
