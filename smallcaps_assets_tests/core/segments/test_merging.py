import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from polars.testing import assert_frame_equal

from smallcaps_assets.core import states
from smallcaps_assets.core.segments.entries import Entry, list_entries
from smallcaps_assets.core.segments.merging import (
    SEGMENT,
    measure_parts,
    select_proven,
    select_two_answers,
    select_winners,
)
from smallcaps_assets_tests.core.segments.segment_factories import (
    STARTED,
    Records,
    draw_entries,
    draw_records,
    frame_records,
    make_entry,
    merge_plainly,
)

STEPS = st.sampled_from(["write", "write", "write", "tidy", "repair", "again"])
FEW = settings(max_examples=25, deadline=None)
LATER = STARTED + dt.timedelta(hours=1)


def read_winners(records: Records) -> list[tuple[str, Entry]]:
    winners = select_winners(frame_records(records))
    return list(zip(winners[SEGMENT], list_entries(winners), strict=True))


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        ({"revision": 2, "state": "disputed"}, {"revision": 1}),
        ({"state": "complete", "started_at": LATER}, {"state": "disputed", "packed": 9}),
        ({"state": "empty"}, {"state": "empty_disputed"}),
        ({"started_at": STARTED}, {"started_at": LATER, "packed": 9}),
        ({"packed": 1}, {"packed": 0}),
        ({}, {}),
    ],
    ids=["revision", "green", "green_empty", "earlier", "packed", "name"],
)
@pytest.mark.parametrize("is_swapped", [False, True])
def test_the_rule_decides(
    winner: dict[str, Any], loser: dict[str, Any], *, is_swapped: bool
) -> None:
    records = {"s1": [make_entry(**winner)], "s2": [make_entry(**loser)]}
    if is_swapped and winner:
        records = {"s1": records["s2"], "s2": records["s1"]}

    ((segment, entry),) = read_winners(records)

    assert entry == make_entry(**winner)
    assert segment == ("s2" if is_swapped and winner else "s1")


@given(draw_records())
def test_frames_merge_as_plain_python_does(records: Records) -> None:
    merged = merge_plainly(records)

    assert read_winners(records) == [merged[key] for key in sorted(merged)]


@FEW
@given(st.data())
def test_merging_knows_no_order(data: st.DataObject) -> None:
    """Commutative, associative, idempotent, whatever copies have in common."""
    records = data.draw(draw_records())
    names = st.sets(st.sampled_from(sorted(records))) if records else st.just(set[str]())
    chosen = [data.draw(names) for _ in range(3)]
    a, b, c = (frame_records({name: records[name] for name in copy}) for copy in chosen)

    whole = merge(a, b, c)

    assert_frame_equal(merge(merge(c, a), b), whole)
    assert_frame_equal(merge(c, merge(b, a)), whole)
    assert_frame_equal(merge(whole, a, whole), whole)


def merge(*copies: pl.DataFrame) -> pl.DataFrame:
    return select_winners(pl.concat(copies))


@FEW
@given(st.data())
def test_writers_repair_and_tidy_in_any_interleaving_equal_the_maximum(data: st.DataObject) -> None:
    """Each sees any part of what was written before it, as on copies that went on separately."""
    records: Records = {}
    for number, step in enumerate(data.draw(st.lists(STEPS, min_size=1, max_size=6))):
        seen = {name: told for name, told in records.items() if data.draw(st.booleans())}
        known = [entry for _, entry in merge_plainly(seen).values()]
        name = f"{data.draw(st.integers(0, 9))}-{number}"
        records[name] = data.draw(draw_entries()) if step == "write" else take_step(step, known)

    merged = frame_records({})
    for name in data.draw(st.permutations(sorted(records))):
        merged = merge(merged, frame_records({name: records[name]}))

    assert_frame_equal(merged, merge(frame_records(records)))


def take_step(step: str, known: list[Entry]) -> list[Entry]:
    """Return the entries that upkeep, or asking again, writes for those that it knows."""
    if step == "tidy":
        return [replace(e, packed=e.packed + 1) for e in known]
    red = {"state": states.QUARANTINED, "part": None, "rows": 0} if step == "repair" else {}
    return [replace(e, revision=e.revision + 1, packed=0, **red) for e in known]


@given(draw_records())
def test_packing_changes_no_answer(records: Records) -> None:
    before = merge_plainly(records)
    packed = [replace(e, packed=e.packed + 1, part="new.parquet") for _, e in before.values()]

    after = merge_plainly(records | {"zz": packed})

    told = ("revision", "state", "content_hash", "rows", "started_at")
    assert [[getattr(e, name) for name in told] for _, e in after.values()] == [
        [getattr(e, name) for name in told] for _, e in before.values()
    ]
    assert {name for name, _ in after.values()} <= {"zz"}


def test_what_counts_as_proven() -> None:
    entries = [
        make_entry(ticker="GREEN"),
        make_entry(ticker="EMPTY", state=states.EMPTY),
        make_entry(ticker="LOST", part="gone.parquet"),
        make_entry(ticker="RED", state=states.DISPUTED),
    ]
    winners = select_winners(frame_records({"s1": entries}))

    assert select_proven(winners, {"p1.parquet"})["ticker"].to_list() == ["EMPTY", "GREEN"]


def test_two_answers_are_listed() -> None:
    records = {
        "s1": [make_entry(), make_entry(ticker="SAME"), make_entry(ticker="RED", content_hash="a")],
        "s2": [
            make_entry(content_hash="h2", started_at=LATER),
            make_entry(ticker="SAME", started_at=LATER),
            make_entry(ticker="RED", content_hash="b", state=states.DISPUTED),
        ],
    }
    entries = frame_records(records)

    rivals = select_two_answers(entries, select_winners(entries))

    assert rivals.select("ticker", SEGMENT).rows() == [("ABCD", "s1"), ("ABCD", "s2")]


def test_a_later_decision_settles_two_answers() -> None:
    records = {
        "s1": [make_entry()],
        "s2": [make_entry(content_hash="h2")],
        "s3": [make_entry(content_hash="h2", revision=2)],
    }
    entries = frame_records(records)

    assert select_two_answers(entries, select_winners(entries)).is_empty()


def test_a_part_is_whole_when_its_winners_add_up() -> None:
    records = {
        "s1": [make_entry(rows=3), make_entry(ticker="BCpC", rows=2, part="p2.parquet")],
        "s2": [make_entry(ticker="BCpC", rows=2, part="p3.parquet", started_at=LATER)],
    }
    parts = pl.DataFrame({"part": ["p1.parquet", "p2.parquet", "p3.parquet"], "rows": [3, 4, 2]})

    measured = measure_parts(select_winners(frame_records(records)), parts)

    assert measured["live_rows"].to_list() == [3, 2, 0]
    assert measured["is_whole"].to_list() == [True, False, False]
