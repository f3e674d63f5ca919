import errno
import json
import os
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import Month, read_month, read_rows, survey_month
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.upkeep.healing import Healing, heal_month
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets.schemas import ENTRIES
from smallcaps_assets_tests.core.segments.segment_factories import STARTED
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONDAY,
    MONTH,
    SMALL,
    SOURCE,
    hash_all,
    make_draft,
    make_lake,
    make_naming,
    make_sessions,
    read_hashes,
)

SESSIONS = make_sessions(["A", "B", "C"])
HASHES = hash_all(SESSIONS)
NOTHING = ENTRIES.empty()


def commit(lake: SegmentLake, **changes: object) -> Record:
    """Commit ``SESSIONS``, with row groups so small that damage spares some of them."""
    return commit_segments(
        lake, [make_draft(SESSIONS, shape=SMALL._replace(part_bytes=10**6), **changes)]
    )[0]


def file_of(folder: Path, record: Record, *, is_part: bool = True) -> Path:
    part, name = record.header.parts[0].name, record.header.name
    return folder / (part_key(MONTH, part) if is_part else record_key(MONTH, name))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def audit(lake: SegmentLake) -> list[tuple[str, str]]:
    found = audit_month(lake, survey_month(lake, MONTH))
    return [(finding.kind, finding.ticker) for finding in found]


def states(lake: SegmentLake) -> dict[str, tuple[str, int]]:
    """Return state and revision of the sessions with rows, by ticker."""
    winners = read_month(lake, MONTH).winners.filter(pl.col("session_date") == SESSION)
    return {row["ticker"]: (row["state"], row["revision"]) for row in winners.to_dicts()}


def test_a_whole_lake_has_nothing_to_heal(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    commit(lake)

    assert audit(lake) == []
    assert heal_month(lake, MONTH, NOTHING) == Healing()


def test_what_still_proves_is_copied_out(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    flip(file_of(tmp_path, record), 10)  # rows of A, which come first
    assert audit(lake) == [("content", "A"), ("part", "")]

    healing = heal_month(lake, MONTH, NOTHING)

    assert healing.quarantined == (("A", SESSION, "session"),)
    assert [key[0] for key in healing.rescued] == ["B", "C"]
    assert states(lake) == {"A": (QUARANTINED, 2), "B": ("complete", 1), "C": ("complete", 1)}
    assert read_hashes(lake).items() <= HASHES.items()
    assert len(read_hashes(lake)) == 5
    assert audit(lake) == []


def test_damaged_files_are_kept_with_their_evidence(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    path = file_of(tmp_path, commit(lake))
    flip(path, 10)
    damaged = path.read_bytes()

    (key,) = heal_month(lake, MONTH, NOTHING).moved

    assert not path.exists()
    assert (tmp_path / "quarantine" / key).read_bytes() == damaged
    evidence = json.loads((tmp_path / "quarantine" / f"{key}.json").read_bytes())
    assert evidence == {"key": key, "reason": "it does not have the hash that its record states"}


@pytest.mark.parametrize("harm", ["delete", "cut", "swap"])
def test_a_part_that_is_no_more_is_quarantined(tmp_path: Path, harm: str) -> None:
    lake = make_lake(tmp_path)
    path = file_of(tmp_path, commit(lake))
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:99] if harm == "cut" else b"PAR1 of another PAR1")
    assert audit(lake)

    healing = heal_month(lake, MONTH, NOTHING)

    assert len(healing.quarantined) == 3
    assert {state for state, _ in states(lake).values()} == {QUARANTINED}
    assert audit(lake) == []


class BadSector(LocalStorage):
    """A disk on which one place of one object cannot be read any more."""

    def __init__(self, root: Path, key: str, place: int) -> None:
        super().__init__(root, ScriptedDisk())
        self.key = key
        self.place = place

    def load(self, key: str) -> bytes:
        self._fail(key, range(self.place + 1))
        return super().load(key)

    def load_range(self, key: str, start: int, size: int) -> bytes:
        self._fail(key, range(start, start + size))
        return super().load_range(key, start, size)

    def _fail(self, key: str, asked: range) -> None:
        if key == self.key and self.place in asked:
            with storage_errors("read", Path(key)):
                raise OSError(errno.EIO, os.strerror(errno.EIO), key)


@pytest.mark.parametrize("is_part", [True, False])
def test_a_place_that_cannot_be_read_costs_the_sessions_in_it_alone(
    tmp_path: Path, *, is_part: bool
) -> None:
    """One bad sector closes no lake: in a part it costs A, in a record what has no rows."""
    (record,) = commit_segments(make_lake(tmp_path), [make_draft(SESSIONS, shape=SMALL)])
    path = file_of(tmp_path, record, is_part=is_part)
    content, key = path.read_bytes(), path.relative_to(tmp_path).as_posix()
    lake = SegmentLake(BadSector(tmp_path, key, 10), SOURCE, make_naming("b"))
    assert audit(lake)

    healing = heal_month(lake, MONTH, record.entries)

    lost = {("A", SESSION)} if is_part else {(ticker, MONDAY) for ticker in "ABC"}
    assert {row[:2] for row in healing.quarantined} == lost
    assert read_hashes(lake) == {place: told for place, told in HASHES.items() if place not in lost}
    assert healing.moved == (key,)
    assert (tmp_path / "quarantine" / key).read_bytes() == bytes(4096) + content[4096:]


def test_another_green_answer_takes_the_place_of_a_lost_one(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    first = commit(lake)
    commit(lake, started_at=STARTED.replace(hour=13))
    file_of(tmp_path, first).unlink()
    with pytest.raises(MissingPartitionError):
        read_hashes_of_winners(lake)

    healing = heal_month(lake, MONTH, NOTHING)

    assert (len(healing.rescued), healing.quarantined) == (3, ())
    assert read_hashes(lake) == HASHES
    assert {revision for _, revision in states(lake).values()} == {2}


def read_hashes_of_winners(lake: SegmentLake) -> None:
    read_rows(lake, MONTH, read_month(lake, MONTH).winners)


def test_a_damaged_record_is_proven_again_by_what_the_ledger_remembers(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    flip(file_of(tmp_path, record, is_part=False), 200)
    assert audit(lake) == [("record", ""), ("stray", "")]

    healing = heal_month(lake, MONTH, record.entries)

    assert len(healing.rescued) == 3
    assert {key[1] for key in healing.quarantined} == {MONDAY}  # what was empty has no rows
    assert read_hashes(lake) == {key: told for key, told in HASHES.items() if key[1] == SESSION}
    assert [kind for kind, _ in audit(lake)] == ["stray"]
    assert record.header.name in read_month(lake, MONTH).replaced


def test_a_damaged_record_without_a_ledger_is_asked_for_again(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    flip(file_of(tmp_path, record, is_part=False), 200)

    healing = heal_month(lake, MONTH, NOTHING)

    assert (healing.rescued, healing.quarantined) == ((), ())
    assert read_hashes(lake) == {}


def test_a_lost_decision_never_lets_an_older_answer_back(tmp_path: Path) -> None:
    """The second answer replaced the first on purpose; its record is gone, its part is not."""
    lake = make_lake(tmp_path)
    commit(lake)
    other = {("A", SESSION): make_tape(9, ticker="A", seed=99)}
    (second,) = commit_segments(lake, [make_draft(other, revision=2)])
    file_of(tmp_path, second, is_part=False).unlink()

    healing = heal_month(lake, MONTH, NOTHING, lost=[second.header.name])

    assert healing.quarantined == (("A", SESSION, "session"),)
    assert states(lake)["A"] == (QUARANTINED, 2)


def test_a_record_that_is_found_again_wins(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    path = file_of(tmp_path, record, is_part=False)
    content = path.read_bytes()
    path.unlink()
    file_of(tmp_path, record).rename(tmp_path / "kept")
    heal_month(lake, MONTH, record.entries, lost=[record.header.name])
    assert {state for state, _ in states(lake).values()} == {QUARANTINED}

    path.write_bytes(content)
    (tmp_path / "kept").rename(file_of(tmp_path, record))

    assert read_hashes(lake) == HASHES


def test_healing_twice_says_nothing_new(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    flip(file_of(tmp_path, record), 10)
    flip(file_of(tmp_path, record, is_part=False), 200)
    heal_month(lake, MONTH, record.entries)

    assert heal_month(lake, MONTH, record.entries) == Healing()


def test_a_repair_that_was_killed_before_it_moved_files_is_finished(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake)
    path = file_of(tmp_path, record, is_part=False)
    flip(path, 200)
    damaged = path.read_bytes()
    heal_month(lake, MONTH, record.entries)
    path.write_bytes(damaged)

    healing = heal_month(lake, MONTH, record.entries)

    assert (healing.record, len(healing.moved)) == ("", 1)
    assert not path.exists()
    assert len(read_hashes(lake)) == 3


def test_labels_that_no_hash_holds_are_compared(tmp_path: Path) -> None:
    """A part whose rows say another ticker, beside a record that says so of its hash."""
    lake = make_lake(tmp_path)
    commit(lake)
    month = read_month(lake, MONTH)
    renamed = month.winners.with_columns(ticker=pl.col("ticker") + "X").drop("segment")
    wrong = Month(
        MONTH,
        {
            name: Record(record.header, renamed, record.sha256, record.size)
            for name, record in month.records.items()
        },
        {},
        month.stored,
        month.parts,
    )

    assert {finding.kind for finding in audit_month(lake, wrong)} == {"content"}
