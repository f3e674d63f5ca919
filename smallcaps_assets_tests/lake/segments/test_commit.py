import errno
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.errors import (
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import (
    list_months,
    read_month,
    read_rows,
    survey_month,
)
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, PowerLossDisk, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    SMALL,
    SOURCE,
    RemovingDisk,
    hash_all,
    make_draft,
    make_lake,
    make_sessions,
    read_hashes,
)

SESSIONS = make_sessions()
HASHES = hash_all(SESSIONS)
OPERATIONS = range(12)
SYNCED_OPERATIONS = range(20)
"""More than the commit of a segment takes, without and with each sync by itself."""


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)

    (record,) = commit_segments(lake, [make_draft(SESSIONS)])

    month = read_month(lake, MONTH)
    assert read_hashes(lake) == HASHES
    assert month.proven.height == len(SESSIONS)
    assert month.winners["part"].drop_nulls().unique().to_list() == [
        f"{record.header.name}.parquet"
    ]
    assert month.part_facts["is_whole"].to_list() == [True]
    assert list_months(lake) == [MONTH]


def test_rows_are_those_of_the_sessions_asked_for(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit_segments(lake, [make_draft(SESSIONS)])
    wanted = read_month(lake, MONTH).winners.filter(pl.col("ticker") == "BCpC")

    rows = read_rows(lake, MONTH, wanted)

    assert rows.equals(SESSIONS["BCpC", SESSION])


def test_a_record_may_name_several_parts(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)

    (record,) = commit_segments(lake, [make_draft(SESSIONS, shape=SMALL)])

    assert len(record.header.parts) == 2
    assert record.header.parts[0].name == f"{record.header.name}.parquet"
    assert read_hashes(lake) == HASHES


def test_a_group_shares_its_syncs(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    drafts = [make_draft(make_sessions([ticker])) for ticker in ("A", "B", "C")]

    commit_segments(make_lake(tmp_path, disk), drafts)

    assert [name for name, _ in disk.operations].count("sync_group") == 4


def test_a_record_notes_what_its_writer_knew(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (first,) = commit_segments(lake, [make_draft(SESSIONS)])

    (second,) = commit_segments(lake, [make_draft(make_sessions(["Z"]))])

    assert first.header.seen == ()
    assert second.header.seen == (first.header.name,)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    commit_segments(make_lake(tmp_path, digit="a"), [make_draft(SESSIONS)])

    with pytest.raises(PartitionConflictError, match="written once"):
        commit_segments(make_lake(tmp_path, digit="a"), [make_draft(make_sessions(seed=9))])

    assert read_hashes(make_lake(tmp_path)) == HASHES


@pytest.mark.parametrize("times", [1, 3])
def test_a_part_that_is_gone_is_stored_again(tmp_path: Path, times: int) -> None:
    lake = make_lake(tmp_path, RemovingDisk(times))

    (record,) = commit_segments(lake, [make_draft(SESSIONS)])

    month = read_month(lake, MONTH)
    assert read_hashes(lake) == HASHES
    assert month.proven.height == len(SESSIONS)
    assert len(month.records) == times + 1
    assert month.replaced == month.records.keys() - {record.header.name}


def test_a_part_that_is_always_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="find out what removes files"):
        commit_segments(make_lake(tmp_path, RemovingDisk(99)), [make_draft(SESSIONS)])


@pytest.mark.parametrize("crash_at", OPERATIONS)
def test_a_kill_leaves_a_whole_segment_or_none(tmp_path: Path, crash_at: int) -> None:
    """L13: what is half written is read by nobody."""
    lake = make_lake(tmp_path, ScriptedDisk(crash_at=crash_at))
    is_done = True
    try:
        commit_segments(lake, [make_draft(SESSIONS)])
    except Crash:
        is_done = False

    survivor = make_lake(tmp_path, digit="b")
    assert read_hashes(survivor) in ([HASHES] if is_done else [HASHES, {}])
    commit_segments(survivor, [make_draft(SESSIONS)])
    assert read_hashes(survivor) == HASHES


@pytest.mark.parametrize("fail_at", OPERATIONS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_refusal_is_told_and_leaves_no_lie(tmp_path: Path, number: int, fail_at: int) -> None:
    disk = FailingDisk(number=number, fail_at=fail_at)
    try:
        commit_segments(make_lake(tmp_path, disk), [make_draft(SESSIONS)])
    except StorageError:
        assert read_hashes(make_lake(tmp_path)) in [HASHES, {}]

    commit_segments(make_lake(tmp_path, digit="b"), [make_draft(SESSIONS)])
    assert read_hashes(make_lake(tmp_path)) == HASHES


def test_no_operation_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "synced").mkdir()
    disks = (ScriptedDisk(), PowerLossDisk(tmp_path / "synced"))
    for disk, folder in zip(disks, (tmp_path, tmp_path / "synced"), strict=True):
        commit_segments(make_lake(folder, disk), [make_draft(SESSIONS)])

    counts = [len(disk.operations) for disk in disks]
    assert counts[0] < len(OPERATIONS)
    assert counts[1] < len(SYNCED_OPERATIONS)


@pytest.mark.parametrize("crash_at", SYNCED_OPERATIONS)
def test_a_power_failure_leaves_a_whole_segment_or_none(tmp_path: Path, crash_at: int) -> None:
    (tmp_path / "live").mkdir()
    disk = PowerLossDisk(tmp_path / "live", crash_at=crash_at)
    is_done = True
    try:
        commit_segments(make_lake(tmp_path / "live", disk), [make_draft(SESSIONS)])
    except Crash:
        is_done = False

    for seed in range(2):
        survivor = tmp_path / f"survivor{seed}"
        survivor.mkdir()
        disk.lose_power(survivor, np.random.default_rng(seed))
        assert read_hashes(make_lake(survivor)) in ([HASHES] if is_done else [HASHES, {}])


def test_two_copies_that_went_on_separately_are_put_together_by_copying(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, digit, tickers in ((one, "a", ["A", "B"]), (two, "b", ["B", "C"])):
        folder.mkdir()
        commit_segments(make_lake(folder, digit=digit), [make_draft(make_sessions(tickers))])
    expected = hash_all(make_sessions(["A", "B"])) | hash_all(make_sessions(["B", "C"]))
    expected |= {
        key: read_hashes(make_lake(one))[key] for key in hash_all(make_sessions(["A", "B"]))
    }

    for path in sorted((two / "segments" / MONTH).iterdir()):
        (one / "segments" / MONTH / path.name).write_bytes(path.read_bytes())

    assert read_hashes(make_lake(one)) == expected
    assert read_month(make_lake(one), MONTH).two_answers["ticker"].to_list() == ["B", "B"]


def test_a_damaged_record_is_never_left_out_silently(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (record,) = commit_segments(lake, [make_draft(SESSIONS)])
    path = tmp_path / record_key(MONTH, record.header.name)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(LedgerMismatchError, match=record.header.name):
        read_month(lake, MONTH)
    assert [*survey_month(lake, MONTH).damaged] == [record.header.name]


def test_a_part_that_is_gone_says_reopen(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (record,) = commit_segments(lake, [make_draft(SESSIONS)])
    (tmp_path / part_key(MONTH, record.header.parts[0].name)).unlink()
    month = read_month(lake, MONTH)

    with pytest.raises(MissingPartitionError, match="reopen"):
        read_rows(lake, MONTH, month.winners)
    assert month.proven["rows"].to_list() == [0, 0]


class PackedMeanwhile(LocalStorage):
    """A storage on which a month is packed right before a reader opens its first part."""

    def __init__(self, root: Path, old: Path) -> None:
        super().__init__(root)
        self.root = root
        self.old = old

    def load_range(self, key: str, start: int, size: int) -> bytes:
        if self.old.exists():
            commit_segments(make_lake(self.root, digit="b"), [make_draft(SESSIONS, packed=1)])
            self.old.unlink()
        return super().load_range(key, start, size)


def test_a_reader_reads_again_once(tmp_path: Path) -> None:
    (record,) = commit_segments(make_lake(tmp_path), [make_draft(SESSIONS)])
    old = tmp_path / part_key(MONTH, record.header.parts[0].name)
    lake = SegmentLake(PackedMeanwhile(tmp_path, old), SOURCE)

    rows = read_rows(lake, MONTH, record.entries)

    assert not old.exists()
    assert rows.height == sum(tape.height for tape in SESSIONS.values())


def test_what_was_not_asked_for_is_not_opened(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit_segments(lake, [make_draft({("A", SESSION): make_tape(3, ticker="A")})])
    commit_segments(lake, [make_draft({("B", SESSION): make_tape(3, ticker="B")})])
    month = read_month(lake, MONTH)
    (other,) = month.winners.filter(pl.col("ticker") == "A")["part"]
    (tmp_path / part_key(MONTH, other)).unlink()

    assert read_rows(lake, MONTH, month.winners.filter(pl.col("ticker") == "B")).height == 3
