"""Sessions in segments through the operations of a download: what counts, and what it knows."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.errors import DataError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segment_store import MONTHS_KEPT, SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.sessions.damages import DamageKind
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import ImportFacts, Receipt
from smallcaps_assets_tests.lake.lake_factories import SESSION, STARTED, make_facts, make_tape
from smallcaps_assets_tests.lake.memory_storage import MemoryStorage
from smallcaps_assets_tests.lake.segments.lake_of_segments import MONDAY, SATURDAY, SOURCE

KEY = "ABCD_2024-03-15"


@pytest.fixture
def store() -> SegmentStore:
    return SegmentStore(SegmentLake(MemoryStorage(), SOURCE), load_calendar())


def prepare(
    store: SegmentStore, rows: int = 5, *, seed: int = 1, **facts: object
) -> PreparedSession:
    """Return a session of Friday ready to be committed."""
    values = {"state": states.COMPLETE if rows else states.EMPTY} | facts
    return store.prepare("ABCD", SESSION, make_tape(rows, seed=seed), make_facts(**values))


def comparable(receipt: Receipt) -> Receipt:
    return replace(receipt, bytes=0, committed_at=STARTED)


def test_what_is_committed_is_read_as_it_was_prepared(store: SegmentStore) -> None:
    facts: dict[str, Any] = {
        "volume": 90.0,
        "bar_volume": 91.0,
        "volume_deficit": 0.01,
        "marks": ("bar_residual",),
        "askings": (Asking(dt.date(2024, 4, 1), 100, "x"),),
        "archive": ImportFacts(fingerprint="f", verdict="proven"),
        "is_imported": True,
        "is_accepted_disputed": True,
    }
    prepared = prepare(store, **facts)
    empty = store.prepare("ABCD", MONDAY, make_tape(0), make_facts(state=states.EMPTY))

    written = store.commit([prepared, empty])

    assert [comparable(receipt) for receipt in written] == [
        replace(prepared.receipt, committed_at=STARTED),
        replace(empty.receipt, committed_at=STARTED),
    ]
    assert written[0].bytes > 0
    assert store.find_receipt(KEY) == written[0]
    assert store.read_trades("ABCD", SESSION).equals(make_tape(5))
    assert [receipt.key for receipt in store.iter_receipts()] == [r.key for r in written]


def test_a_group_across_months_is_a_segment_each(store: SegmentStore) -> None:
    april = dt.date(2024, 4, 1)
    tape = make_tape(3, session_date=april)
    later = store.prepare("ABCD", april, tape, make_facts())

    store.commit([prepare(store), later])

    lake = store.lake
    assert [read_month(lake, month).winners.height for month in ("2024-03", "2024-04")] == [1, 1]


def test_a_group_of_more_months_than_are_kept_in_memory_is_stored(store: SegmentStore) -> None:
    firsts = pl.date_range(dt.date(2021, 1, 1), dt.date(2023, 6, 1), "1mo", eager=True)
    facts = make_facts(state=states.EMPTY)
    batch = [store.prepare("ABCD", date, make_tape(0), facts) for date in firsts]
    assert len(batch) > MONTHS_KEPT

    stored = store.commit(batch)

    assert [receipt.session_date for receipt in stored] == firsts.to_list()


def test_prints_on_a_closed_day_belong_to_the_next_session(store: SegmentStore) -> None:
    tape = make_tape(2, session_date=SATURDAY)

    store.commit([store.prepare("ABCD", SATURDAY, tape, make_facts(), tree=Tree.OFF_SESSION)])

    assert read_month(store.lake, "2024-03").winners["owner"].to_list() == [MONDAY]
    assert store.read_receipt("ABCD", SATURDAY, tree=Tree.OFF_SESSION).rows == 2
    with pytest.raises(MissingPartitionError):
        store.read_receipt("ABCD", SATURDAY)


def test_of_two_first_answers_the_earlier_counts(store: SegmentStore) -> None:
    """Two processes asked for the same: nothing is replaced, whoever comes last."""
    other = SegmentStore(store.lake, load_calendar())
    first = prepare(store, started_at=STARTED)
    later = prepare(store, 7, seed=2, started_at=STARTED + dt.timedelta(hours=1))

    other.commit([later])
    store.commit([first])

    for one in (store, other):
        one.forget()
        assert one.read_receipt("ABCD", SESSION).rows == 5


@pytest.mark.parametrize("state", [states.DISPUTED, states.IMPORTED_UNPROVEN])
def test_an_answer_heals_what_is_red(store: SegmentStore, state: str) -> None:
    tree = Tree.IMPORTED if state == states.IMPORTED_UNPROVEN else Tree.TRADES
    session = prepare(store)
    red = PreparedSession(replace(session.receipt, state=state), tree, session.trades)
    store.commit([red])

    (healed,) = store.commit([prepare(store, 7, seed=2, started_at=STARTED)])

    assert (store.read_receipt("ABCD", SESSION).rows, healed.revision) == (7, 2)


def test_what_is_restated_keeps_its_rows(store: SegmentStore) -> None:
    (stored,) = store.commit([prepare(store)])
    told = replace(stored, state=states.DISPUTED, revision=2, marks=("bar_differs",))

    (written,) = store.restate([told])

    assert comparable(written) == comparable(told)
    assert store.read_trades("ABCD", SESSION).equals(make_tape(5))
    assert read_month(store.lake, "2024-03").winners["revision"].to_list() == [2]


def test_an_answer_that_does_not_count_is_kept_and_loses(store: SegmentStore) -> None:
    (stored,) = store.commit([prepare(store)])
    lost = prepare(store, 1, seed=3, started_at=STARTED + dt.timedelta(days=1))

    store.keep_revision(stored, lost)

    assert store.read_receipt("ABCD", SESSION).rows == 5
    assert sorted(read_month(store.lake, "2024-03").entries["rows"]) == [1, 5]


@pytest.mark.parametrize("date", [dt.date(1999, 1, 4), SATURDAY])
def test_a_date_that_is_no_session_of_the_calendar_is_not_stored(
    store: SegmentStore, date: dt.date
) -> None:
    assert store.find_receipt(f"ABCD_{date}") is None


@pytest.mark.parametrize("days", [-4000, 0, 4000], ids=["back", "same", "on"])
def test_an_answer_that_does_not_count_loses_whatever_the_clock_says(
    store: SegmentStore, days: int
) -> None:
    """A clock that was put back made a kept answer the earlier one, which won."""
    (stored,) = store.commit([prepare(store)])
    started = STARTED + dt.timedelta(days=days)

    for _ in range(2):
        store.keep_revision(stored, prepare(store, 9, seed=2, started_at=started))

    assert store.find_receipt(KEY) == stored
    assert read_month(store.lake, "2024-03").entries.height == 2  # kept once


def test_what_is_said_last_counts(store: SegmentStore) -> None:
    """Of two things said at one revision a name made at random decided."""
    (stored,) = store.commit([prepare(store)])
    for mark in ("bar_residual", "bar_surplus", "bar_differs"):
        store.restate([replace(stored, marks=(mark,))])

        assert store.read_receipt("ABCD", SESSION).marks == (mark,)


def test_what_is_restated_is_told_of_its_own_rows(store: SegmentStore) -> None:
    """Another process stores another answer between a look and what is said of it."""
    (old,) = store.commit([prepare(store)])
    store.commit([prepare(store, 9, seed=2, revision=2)])

    (told,) = store.restate([replace(old, revision=3, marks=("bar_residual",))])

    assert store.verify_session(told) == []
    assert store.read_trades("ABCD", SESSION).equals(make_tape(5))


def test_what_lost_its_proof_is_missing_until_it_is_asked_for_again(store: SegmentStore) -> None:
    store.commit([prepare(store)])

    folder = store.quarantine("ABCD", SESSION, evidence={"evidence.json": b"{}"})

    assert store.find_receipt(KEY) is None
    assert store.lake.storage.load(f"{folder}/evidence.json") == b"{}"
    (again,) = store.commit([prepare(store)])
    assert (again.revision, store.find_receipt(KEY)) == (3, again)


def test_damage_of_a_part_is_found(store: SegmentStore) -> None:
    (stored,) = store.commit([prepare(store)])
    part = read_month(store.lake, "2024-03").winners["part"][0]
    storage = store.lake.storage
    assert isinstance(storage, MemoryStorage)
    key = part_key("2024-03", part)
    content, stored_ns = storage.objects[key]
    storage.objects[key] = (content[: len(content) // 2], stored_ns)

    assert [damage.kind for damage in store.verify_session(stored)] == [DamageKind.CONTENT_HASH]
    with pytest.raises(DataError):
        store.read_trades("ABCD", SESSION)
    storage.remove(key)
    (lost,) = store.verify_session(stored)
    assert lost.kind is DamageKind.MISSING_FILE


def test_a_damaged_record_hides_its_own_sessions_alone(store: SegmentStore) -> None:
    """An audit and a repair look at all others; a download would miss what the record says."""
    store.commit([prepare(store)])
    (name,) = read_month(store.lake, "2024-03").records
    other = store.prepare("ABCD", MONDAY, make_tape(3, session_date=MONDAY), make_facts())
    (told,) = store.commit([other])
    harm_record(store, name)

    assert [receipt.key for receipt in store.iter_receipts(damages=[])] == [told.key]
    assert store.verify_sessions([told]) == store.verify_session(told) == []
    assert store.read_sessions([told]).height == 3
    for ask in (lambda: store.find_receipts([KEY]), lambda: store.find_damages(told)):
        with pytest.raises(LedgerMismatchError, match=name):
            ask()


def harm_record(store: SegmentStore, name: str) -> None:
    """Cut a record, as whoever opens the lake next finds it."""
    storage = store.lake.storage
    assert isinstance(storage, MemoryStorage)
    storage.objects[record_key("2024-03", name)] = (b"PAR1", 0)
    store.forget()


def test_only_new_records_are_read(store: SegmentStore) -> None:
    """What another process stores is seen, for the price of what it stored."""
    other = SegmentStore(store.lake, load_calendar())
    for seed in range(1, 4):
        tape = make_tape(2, seed=seed, ticker=f"T{seed}")
        store.commit([store.prepare(f"T{seed}", SESSION, tape, make_facts())])
    loads: list[str] = []
    storage = store.lake.storage
    assert isinstance(storage, MemoryStorage)
    other.commit([prepare(other)])
    storage.before = loads.append

    store.commit([store.prepare("LAST", MONDAY, make_tape(0), make_facts(state=states.EMPTY))])

    assert loads.count("load") == 2
    assert {receipt.ticker for receipt in store.iter_receipts()} == {
        "T1",
        "T2",
        "T3",
        "ABCD",
        "LAST",
    }
