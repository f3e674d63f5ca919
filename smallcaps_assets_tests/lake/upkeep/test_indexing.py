"""The ledger of a lake of segments: what commits and refreshes leave is what a rebuild makes."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.witnesses import Loss
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.upkeep.healing import heal_month
from smallcaps_assets.lake.upkeep.indexing import (
    Losses,
    find_losses,
    list_stale_months,
    record_commit,
    refresh_months,
    reindex_segments,
)
from smallcaps_assets.lake.upkeep.packing import pack_month
from smallcaps_assets.lake.upkeep.snapshots import read_snapshots, write_snapshot
from smallcaps_assets_tests.core.segments.segment_factories import STARTED
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.ledger_factories import (
    make_attempt,
    make_plan,
    make_receipt,
)
from smallcaps_assets_tests.lake.memory_storage import MemoryStorage
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONDAY,
    MONTH,
    SOURCE,
    make_draft,
    make_lake,
    make_naming,
    make_sessions,
)
from smallcaps_assets_tests.lake.upkeep.histories import (
    NOTHING,
    Act,
    acts,
    commit,
    do,
    dump,
    keys_of,
    make_beside,
    make_memory_lake,
    opened,
    restate,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path / "ledger.sqlite") as made:
        yield made


@settings(max_examples=20)
@given(st.lists(acts, max_size=6))
def test_any_history_leaves_what_a_rebuild_makes(history: list[Act]) -> None:
    lake, storage = make_memory_lake()
    with opened() as kept, opened() as rebuilt:
        for act in history:
            records = do(act, lake, storage)
            if act.is_recorded:
                record_commit(kept, lake, records, lists_all=True)
        losses = refresh_months(kept, lake, list_stale_months(kept, lake), lists_all=True)
        reindex_segments(rebuilt, lake, lists_all=True)

        assert losses.is_empty
        assert list_stale_months(kept, lake) == []
        assert dump(kept) == dump(rebuilt)
        kept.check()
        proven = read_month(lake, MONTH).proven.filter(pl.col("kind") == "session")
        expected = {encode_key(*key) for key in proven.select("ticker", "session_date").rows()}
        assert kept.find_proofs(keys_of("A", "B", "C", "D")) == expected


@given(st.permutations(range(5)))
@settings(max_examples=5)
def test_the_order_in_which_commits_are_recorded_does_not_matter(order: list[int]) -> None:
    lake, _ = make_memory_lake()
    records = [
        commit(lake, "A", "B"),
        commit(lake, "B", revision=2),
        commit(lake, "A", started_at=STARTED.replace(hour=1)),
        commit_segments(lake, [make_beside("A")])[0],
        commit_segments(lake, [make_beside("A", revision=2)])[0],
    ]
    with opened() as kept, opened() as rebuilt:
        for number in order:
            record_commit(kept, lake, [records[number]])
        record_commit(kept, lake, records)
        reindex_segments(rebuilt, lake)

        assert dump(kept) == dump(rebuilt)


def test_two_copies_that_went_on_separately_are_put_together(ledger: Ledger) -> None:
    lake, storage = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A")])
    copy = MemoryStorage(storage.objects)
    other = SegmentLake(copy, SOURCE, make_naming("b"))
    commit(other, "B")
    commit(other, "A", revision=2)
    record_commit(ledger, lake, [commit(lake, "C")])
    storage.objects |= copy.objects
    assert list_stale_months(ledger, lake, [MONTH, "2024-04"]) == [MONTH]

    losses = refresh_months(ledger, lake, [MONTH])

    assert losses.is_empty
    assert ledger.find_proofs(keys_of("A", "B", "C")) == {*keys_of("A", "B", "C")}
    with opened() as rebuilt:
        reindex_segments(rebuilt, lake)
        assert dump(ledger) == dump(rebuilt)


@pytest.mark.parametrize(("tickers", "loads"), [(["X"], 0), (["A"], 1), (["A", "X"], 1)])
def test_a_commit_reads_only_what_it_says_something_new_of(
    ledger: Ledger, tickers: list[str], loads: int
) -> None:
    lake, storage = make_memory_lake()
    for ticker in "ABCD":
        record_commit(ledger, lake, [commit(lake, ticker)])
    record = commit(lake, *tickers, revision=2)
    seen: list[str] = []
    storage.before = seen.append

    record_commit(ledger, lake, [record])

    assert seen == ["load"] * loads


def test_bits_say_what_of_a_month_is_proven_red_and_marked(ledger: Ledger) -> None:
    lake, _ = make_memory_lake()
    red = {("B", SESSION): make_tape(4, ticker="B")}
    drafts = [make_draft(red, state="disputed"), make_draft(make_sessions(["A"]), marks=("x",))]
    record_commit(ledger, lake, commit_segments(lake, drafts))

    told = ledger.ticker_months(MONTH, MONTH)

    both = 2**SESSION.day + 2**MONDAY.day
    assert told.select("month", "ticker", "proven", "red", "marked", "rows").rows() == [
        (MONTH, "A", both, 0, both, 5),
        (MONTH, "B", 0, 2**SESSION.day, 0, 4),
    ]
    assert ledger.ticker_months("2024-04").is_empty()


def test_sessions_that_no_plan_asked_for_may_stay_unlisted(ledger: Ledger) -> None:
    lake, _ = make_memory_lake()
    planned, *others = keys_of("A", "B")
    ledger.record_plan(make_plan(planned))

    record_commit(ledger, lake, [commit(lake, "A", "B")], lists_all=False)

    assert ledger.states([planned, *others]) == {planned: "complete"}
    assert ledger.find_proofs([planned, *others]) == {planned, *others}


def test_a_rebuild_keeps_plan_and_attempts_and_forgets_what_no_record_tells_of(
    ledger: Ledger,
) -> None:
    lake, storage = make_memory_lake()
    ledger.record_plan(make_plan(*keys_of("A", "B")))
    ledger.record_attempt(make_attempt(requests=7))
    ledger.record_receipts([make_receipt(keys_of("Z")[0])])
    red = {("C", SESSION): make_tape(4, ticker="C")}
    drafts = [make_draft(make_sessions(["A"])), make_draft(red, state="disputed")]
    record_commit(ledger, lake, commit_segments(lake, drafts))

    found = reindex_segments(ledger, lake)

    assert (found.records, found.unproven, found.losses.is_empty) == (2, 1, True)
    assert ledger.counts() == {"planned": 2, "complete": 1, "empty": 1}
    assert (ledger.is_indexed, ledger.totals().requests) == (True, 7)
    storage.objects.clear()
    reindex_segments(ledger, lake)
    assert ledger.counts() == {"planned": 2, "quarantined": 2}
    assert ledger.states(keys_of("C", "Z")) == {}


def test_what_is_told_again_stays_proven_in_the_part_that_it_lies_in(ledger: Ledger) -> None:
    """Twice: by then the record of the part holds no entry that counts."""
    lake, _ = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A")])
    whole = ledger.totals()
    act = Act("restate", "A", 1, is_disputed=False, is_recorded=True)

    for _number in range(2):
        record_commit(ledger, lake, restate(lake, act))

    assert ledger.find_proofs(keys_of("A")) == {*keys_of("A")}
    assert ledger.lost_proof().is_empty()
    assert ledger.totals() == whole
    with opened() as rebuilt:
        reindex_segments(rebuilt, lake)
        assert dump(ledger) == dump(rebuilt)


@pytest.mark.parametrize("last", [1, 2])
def test_two_answers_are_noted_until_a_later_one_settles_them(ledger: Ledger, last: int) -> None:
    lake, _ = make_memory_lake()
    other = {("A", SESSION): make_tape(9, ticker="A", seed=99)}
    record_commit(ledger, lake, [commit(lake, "A")])
    record_commit(ledger, lake, commit_segments(lake, [make_draft(other)]))
    assert ledger.two_answers().rows() == [("A", SESSION, 1)]

    record_commit(ledger, lake, [commit(lake, "A", revision=last)])

    assert ledger.two_answers().rows() == [("A", SESSION, 1)][: 2 - last]
    with opened() as rebuilt:
        reindex_segments(rebuilt, lake)
        assert dump(ledger) == dump(rebuilt)


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


Harm = Callable[[Path, Path], object]
HARMS: dict[str, Harm] = {
    "removed": lambda path, _: path.unlink(),
    "cut": lambda path, _: path.write_bytes(path.read_bytes()[:-9]),
    "flipped": lambda path, _: path.write_bytes(flip(path.read_bytes(), 200)),
    "replaced": lambda path, other: path.write_bytes(other.read_bytes()),
}


def harm_a_record(folder: Path, ledger: Ledger, harm: str) -> tuple[SegmentLake, Record]:
    """Make a lake of two records with a snapshot, and harm the one that no other has seen."""
    lake = make_lake(folder)
    records = [commit(lake, "A"), commit(lake, "B")]
    record_commit(ledger, lake, records)
    write_snapshot(lake, ledger.month_records())
    paths = [folder / record_key(MONTH, record.header.name) for record in records]
    HARMS[harm](paths[1], paths[0])
    return lake, records[1]


def name_sessions(losses: Losses) -> set[str]:
    return {encode_key(*key) for key in losses.sessions.select("ticker", "session_date").rows()}


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_harmed_record_proved_is_named_by_the_ledger(
    tmp_path: Path, ledger: Ledger, harm: str
) -> None:
    lake, _ = harm_a_record(tmp_path, ledger, harm)

    losses = find_losses(ledger, lake, MONTH)

    assert name_sessions(losses) == {*keys_of("B")}
    assert set(losses.sessions["revision"]) == {1}


@pytest.mark.parametrize("harm", ["cut", "flipped", "replaced"])
@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_damaged_record_is_refused_and_the_ledger_forgets_nothing(
    tmp_path: Path, ledger: Ledger, harm: str, *, has_ledger: bool
) -> None:
    lake, _ = harm_a_record(tmp_path, ledger, harm)
    with opened() as empty:
        chosen = ledger if has_ledger else empty
        before = dump(chosen)

        for rebuild in (
            lambda: reindex_segments(chosen, lake),
            lambda: refresh_months(chosen, lake, [MONTH]),
        ):
            with pytest.raises(LedgerMismatchError, match="smallcaps repair"):
                rebuild()

        assert dump(chosen) == before


@pytest.mark.parametrize("has_ledger", [True, False])
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_a_removed_record_is_lost_by_its_witnesses_or_missing(
    tmp_path: Path, ledger: Ledger, *, has_ledger: bool, has_snapshot: bool
) -> None:
    lake, record = harm_a_record(tmp_path, ledger, "removed")
    (key,) = read_snapshots(lake)
    if not has_snapshot:
        lake.storage.remove(key)
    with opened() as empty:
        chosen = ledger if has_ledger else empty

        losses = reindex_segments(chosen, lake).losses

        witnesses = ("ledger",) * has_ledger + (key,) * has_snapshot
        told = {MONTH: [Loss(record.header.name, witnesses)]} if witnesses else {}
        assert losses.records == told
        assert name_sessions(losses) == ({*keys_of("B")} if has_ledger else set())
        assert chosen.find_proofs(keys_of("A", "B")) == {*keys_of("A")}


def test_a_loss_stays_named_until_it_is_made_good(tmp_path: Path, ledger: Ledger) -> None:
    lake, record = harm_a_record(tmp_path, ledger, "removed")
    assert list_stale_months(ledger, lake) == [MONTH]
    first = refresh_months(ledger, lake, [MONTH])
    assert list_stale_months(ledger, lake, [MONTH]) == []
    assert reindex_segments(ledger, lake).losses.sessions.equals(first.sessions)
    assert {told.error_kind for told in ledger.records(keys_of("B")).values()} == {"lost_proof"}

    heal_month(lake, MONTH, NOTHING, lost=[record.header.name])
    healed = refresh_months(ledger, lake, [MONTH])
    assert (healed.records, name_sessions(healed)) == ({}, {*keys_of("B")})

    record_commit(ledger, lake, [commit(lake, "B")])
    assert ledger.lost_proof().is_empty()
    assert ledger.find_proofs(keys_of("B")) == {*keys_of("B")}


def test_an_earlier_answer_proves_nothing_in_place_of_a_lost_one(
    tmp_path: Path, ledger: Ledger
) -> None:
    lake = make_lake(tmp_path)
    record_commit(ledger, lake, [commit(lake, "A")])
    second = commit(lake, "A", revision=2)
    record_commit(ledger, lake, [second])
    lake.storage.remove(record_key(MONTH, second.header.name))

    losses = refresh_months(ledger, lake, [MONTH])

    assert name_sessions(losses) == {*keys_of("A")}
    assert ledger.find_proofs(keys_of("A")) == set()
    assert ledger.ticker_months()["proven"].to_list() == [0]
    record_commit(ledger, lake, [commit(lake, "A", revision=2)])
    assert ledger.find_proofs(keys_of("A")) == {*keys_of("A")}


def test_a_part_that_is_gone_takes_the_proof_away(tmp_path: Path, ledger: Ledger) -> None:
    lake = make_lake(tmp_path)
    record = commit(lake, "A")
    record_commit(ledger, lake, [record])
    lake.storage.remove(part_key(MONTH, record.header.parts[0].name))
    assert list_stale_months(ledger, lake) == [MONTH]

    losses = refresh_months(ledger, lake, [MONTH])

    rows, empty = keys_of("A")
    assert name_sessions(losses) == {rows}
    assert ledger.find_proofs([rows, empty]) == {empty}
    assert ledger.states([rows]) == {rows: "quarantined"}


def test_a_commit_over_a_record_that_is_gone_looks_at_the_whole_month(
    tmp_path: Path, ledger: Ledger
) -> None:
    lake, _ = harm_a_record(tmp_path, ledger, "removed")

    record_commit(ledger, lake, [commit(lake, "B", revision=2)])

    assert ledger.find_proofs(keys_of("A", "B")) == {*keys_of("A", "B")}
    assert ledger.month_records()["is_lost"].sum() == 1


def test_a_restored_ledger_takes_no_witness_away(tmp_path: Path, ledger: Ledger) -> None:
    lake = make_lake(tmp_path)
    record_commit(ledger, lake, [commit(lake, "A")])
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(ledger.path, tmp_path / "old.sqlite")
    lost = commit(lake, "B")
    record_commit(ledger, lake, [lost])
    write_snapshot(lake, ledger.month_records())
    lake.storage.remove(record_key(MONTH, lost.header.name))

    with opened(tmp_path / "old.sqlite") as restored:
        assert list_stale_months(restored, lake) == [MONTH]
        with pytest.raises(LedgerMismatchError, match=r"older than the snapshot.*reindex"):
            write_snapshot(lake, restored.month_records())
        reindex_segments(restored, lake)
        key = write_snapshot(lake, restored.month_records())

    assert lost.header.name in {*read_snapshots(lake)[key]["record"]}


def test_what_was_packed_and_removed_makes_no_index_old(tmp_path: Path, ledger: Ledger) -> None:
    lake = make_lake(tmp_path)
    first = commit(lake, "A")
    record_commit(ledger, lake, [first])
    write_snapshot(lake, ledger.month_records())
    pack_month(lake, MONTH, is_forced=True)
    lake.storage.remove(record_key(MONTH, first.header.name))

    losses = refresh_months(ledger, lake, [MONTH])

    assert losses.is_empty
    write_snapshot(lake, ledger.month_records())
    assert len(read_snapshots(lake)) == 2
