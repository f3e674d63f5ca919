import os
from pathlib import Path

import polars as pl

from smallcaps_assets.core.segments.indexing import INDEX_SCHEMA
from smallcaps_assets.core.segments.witnesses import Loss
from smallcaps_assets.lake.segments.commit import commit_segments
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.upkeep.packing import pack_month
from smallcaps_assets.lake.upkeep.snapshots import (
    find_month_losses,
    index_month,
    list_named,
    read_snapshots,
    write_snapshot,
)
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    make_draft,
    make_lake,
    make_sessions,
)


def test_an_index_says_what_each_record_holds(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (first,) = commit_segments(lake, [make_draft(make_sessions(["A", "B"]))])
    (second,) = commit_segments(lake, [make_draft(make_sessions(["B"]), revision=2)])

    index = index_month(read_month(lake, MONTH))

    assert index.schema == INDEX_SCHEMA
    assert index.select("month", "record", "sha256", "bytes").rows() == [
        (MONTH, one.header.name, one.sha256, one.size) for one in (first, second)
    ]
    assert index.select("sessions", "green", "rows").rows() == [(2, 2, 5), (2, 2, 5)]
    assert index["parts"].explode().to_list() == [
        f"{one.header.name}.parquet" for one in (first, second)
    ]


def test_the_last_two_snapshots_are_kept(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit_segments(lake, [make_draft(make_sessions(["A"]))])
    index = index_month(read_month(lake, MONTH))

    keys = [write_snapshot(lake, index) for _ in range(3)]

    snapshots = read_snapshots(lake)
    assert [*snapshots] == keys[1:]
    assert all(snapshot.equals(index) for snapshot in snapshots.values())
    assert list_named(snapshots.values()) == {*index["record"], *index["parts"].explode()}


def test_a_clock_that_jumped_back_makes_no_snapshot_old(tmp_path: Path) -> None:
    nothing = pl.DataFrame(schema=INDEX_SCHEMA)
    lake = make_lake(tmp_path, digit="b")
    for number in range(2):
        path = tmp_path / write_snapshot(lake, nothing)
        os.utime(path, ns=(number, number))

    key = write_snapshot(make_lake(tmp_path, digit="a"), nothing)

    assert [*read_snapshots(lake)][-1] == key


def test_a_damaged_snapshot_is_no_witness(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    key = write_snapshot(lake, pl.DataFrame(schema=INDEX_SCHEMA))
    (tmp_path / key).write_bytes((tmp_path / key).read_bytes()[:-1])

    assert read_snapshots(lake) == {}


def test_a_removed_record_is_named_by_its_witnesses(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (first,) = commit_segments(lake, [make_draft(make_sessions(["A"]))])
    (second,) = commit_segments(lake, [make_draft(make_sessions(["B"]))])
    index = index_month(read_month(lake, MONTH))

    (tmp_path / record_key(MONTH, first.header.name)).unlink()

    seen = f"seen by {second.header.name}"
    month = read_month(lake, MONTH)
    assert find_month_losses(month, {"ledger": index}) == [
        Loss(first.header.name, ("ledger", seen))
    ]
    assert find_month_losses(month, {}) == [Loss(first.header.name, (seen,))]


def test_a_replaced_record_is_no_loss(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (first,) = commit_segments(lake, [make_draft(make_sessions(["A"]))])
    commit_segments(lake, [make_draft(make_sessions(["B"]))])
    index = index_month(read_month(lake, MONTH))
    pack_month(lake, MONTH, is_forced=True)
    (tmp_path / record_key(MONTH, first.header.name)).unlink()

    assert find_month_losses(read_month(lake, MONTH), {"ledger": index}) == []
