import errno
import os
from pathlib import Path

import pytest

from smallcaps_assets.core.segments.upkeep import REST_NS, Removals
from smallcaps_assets.errors import DataError, StorageError
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import part_key
from smallcaps_assets.lake.segments.parts import PartShape
from smallcaps_assets.lake.segments.reading import read_month, survey_month
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced, remove_strays
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, ScriptedDisk
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    SOURCE,
    RemovingDisk,
    hash_all,
    make_draft,
    make_lake,
    make_sessions,
    read_hashes,
)

TICKERS = ("A", "B", "C", "D", "E")
HASHES = {
    key: told for ticker in TICKERS for key, told in hash_all(make_sessions([ticker])).items()
}
OPERATIONS = range(18)
"""More than packing takes."""


def commit_each(folder: Path) -> SegmentLake:
    """Commit each ticker by itself, the last one first: a month with one part a ticker."""
    lake = make_lake(folder)
    for ticker in TICKERS[::-1]:
        commit_segments(lake, [make_draft(make_sessions([ticker]))])
    return lake


def age(folder: Path, ns: int = 2 * REST_NS) -> None:
    """Make all files of a lake older, as its storage tells."""
    for path in folder.rglob("*.parquet"):
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - ns))


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.parquet"))


def test_a_packed_month_says_the_same_in_one_part_and_one_record(tmp_path: Path) -> None:
    lake = commit_each(tmp_path)

    record = pack_month(lake, MONTH)

    month = read_month(lake, MONTH)
    assert record is not None
    assert read_hashes(lake) == HASHES
    assert len(record.header.parts) == 1
    assert set(month.winners["segment"]) == {record.header.name}
    assert set(record.header.replaces) == month.records.keys() - {record.header.name}
    assert audit_month(lake, month) == []


def test_a_second_packing_writes_nothing(tmp_path: Path) -> None:
    lake = commit_each(tmp_path)
    pack_month(lake, MONTH)
    files = list_files(tmp_path)

    assert pack_month(lake, MONTH) is None
    assert list_files(tmp_path) == files


def test_large_months_are_packed_into_full_parts(tmp_path: Path) -> None:
    """Rows are read in chunks; what is left of one goes on into the next part."""
    lake = commit_each(tmp_path)

    record = pack_month(lake, MONTH, shape=PartShape(4_500, group_rows=2, chunk_rows=8))

    assert record is not None
    assert len(record.header.parts) >= 2
    assert all(part.bytes >= 4_500 for part in record.header.parts[:-1])
    assert read_hashes(lake) == HASHES
    assert audit_month(lake, read_month(lake, MONTH)) == []


def test_a_session_that_does_not_prove_stops_the_packing(tmp_path: Path) -> None:
    lake = commit_each(tmp_path)
    (tmp_path / "other").mkdir()
    (other,) = commit_segments(
        make_lake(tmp_path / "other"), [make_draft(make_sessions(["A"], seed=7))]
    )
    stolen = tmp_path / "other" / part_key(MONTH, other.header.parts[0].name)
    target = read_month(lake, MONTH).winners["part"].drop_nulls()[0]
    (tmp_path / part_key(MONTH, target)).write_bytes(stolen.read_bytes())

    with pytest.raises(DataError, match="content that was proven"):
        pack_month(lake, MONTH)


def test_a_packing_that_slept_leads_back_to_the_old_parts(tmp_path: Path) -> None:
    """Its new part was taken for a stray; the record that names it is there already."""
    commit_each(tmp_path)

    with pytest.raises(StorageError, match="run the same command again"):
        pack_month(make_lake(tmp_path, RemovingDisk(1), digit="b"), MONTH)

    lake = make_lake(tmp_path, digit="c")
    month = read_month(lake, MONTH)
    assert read_hashes(lake) == HASHES
    assert (month.strays, audit_month(lake, month)) == ({}, [])
    age(tmp_path)
    assert remove_displaced(lake, MONTH).parts == ()
    assert pack_month(lake, MONTH)
    assert read_hashes(lake) == HASHES


class ForgetfulStorage(LocalStorage):
    """A storage that gives back other bytes than it was given."""

    def load(self, key: str) -> bytes:
        content = super().load(key)
        return content if key.endswith(".record.parquet") else content[:-1]


def test_what_does_not_read_back_is_not_believed(tmp_path: Path) -> None:
    commit_each(tmp_path)
    storage = ForgetfulStorage(tmp_path, ScriptedDisk())

    with pytest.raises(StorageError, match="read back as it was written"):
        pack_month(SegmentLake(storage, SOURCE), MONTH)

    assert len(read_month(make_lake(tmp_path), MONTH).records) == len(TICKERS)


def test_displaced_files_are_removed_after_a_day(tmp_path: Path) -> None:
    lake = commit_each(tmp_path)
    record = pack_month(lake, MONTH)
    assert record is not None
    assert remove_displaced(lake, MONTH) == Removals((), ())
    age(tmp_path)

    removed = remove_displaced(lake, MONTH)

    assert (len(removed.parts), len(removed.records)) == (5, 5)
    assert list_files(tmp_path) == [
        f"{record.header.name}.parquet",
        f"{record.header.name}.record.parquet",
    ]
    assert read_hashes(lake) == HASHES


def test_what_is_named_elsewhere_is_not_removed(tmp_path: Path) -> None:
    lake = commit_each(tmp_path)
    month = read_month(lake, MONTH)
    pack_month(lake, MONTH)
    age(tmp_path)

    removed = remove_displaced(lake, MONTH, named={*month.parts, *month.records})

    assert removed == Removals((), ())


def test_strays_are_removed_under_the_exclusive_lock(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, ScriptedDisk(crash_at=8))
    with pytest.raises(Crash):
        commit_segments(lake, [make_draft(make_sessions(["A"]))])
    lake = make_lake(tmp_path, digit="b")
    (stray,) = survey_month(lake, MONTH).strays

    assert remove_strays(lake, survey_month(lake, MONTH), [stray.partition(".")[0]]) == ()
    assert remove_strays(lake, survey_month(lake, MONTH), ()) == (stray,)
    assert remove_strays(lake, survey_month(lake, MONTH), ()) == ()


def test_in_a_bucket_strays_rest_from_the_run_that_saw_them(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, ScriptedDisk(crash_at=8))
    with pytest.raises(Crash):
        commit_segments(lake, [make_draft(make_sessions(["A"]))])
    lake = make_lake(tmp_path, digit="b")
    month = survey_month(lake, MONTH)
    sighted: dict[str, int] = {}

    assert remove_strays(lake, month, (), sighted) == ()
    assert remove_strays(lake, month, (), sighted) == ()
    sighted = {name: seen - REST_NS for name, seen in sighted.items()}
    assert remove_strays(lake, month, (), sighted) == tuple(month.strays)


@pytest.mark.parametrize("crash_at", OPERATIONS)
def test_a_killed_packing_or_removal_loses_nothing(tmp_path: Path, crash_at: int) -> None:
    commit_each(tmp_path)
    disk = ScriptedDisk(crash_at=crash_at)
    try:
        pack_month(make_lake(tmp_path, disk, digit="b"), MONTH)
        age(tmp_path)
        remove_displaced(make_lake(tmp_path, disk, digit="c"), MONTH)
    except Crash:
        pass

    assert read_hashes(make_lake(tmp_path)) == HASHES
    pack_month(make_lake(tmp_path, digit="d"), MONTH)
    age(tmp_path)
    remove_displaced(make_lake(tmp_path, digit="e"), MONTH)
    assert read_hashes(make_lake(tmp_path)) == HASHES


@pytest.mark.parametrize("fail_at", OPERATIONS)
def test_a_full_disk_stops_a_packing_and_loses_nothing(tmp_path: Path, fail_at: int) -> None:
    commit_each(tmp_path)
    disk = FailingDisk(number=errno.ENOSPC, fail_at=fail_at)
    try:
        pack_month(make_lake(tmp_path, disk, digit="b"), MONTH)
    except StorageError:
        assert read_hashes(make_lake(tmp_path)) == HASHES

    pack_month(make_lake(tmp_path, digit="d"), MONTH)
    assert len(read_month(make_lake(tmp_path), MONTH).winners["part"].unique()) == 2
    assert read_hashes(make_lake(tmp_path)) == HASHES
