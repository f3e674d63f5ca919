import datetime as dt
from dataclasses import replace as change

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from smallcaps_assets.core.segments.merging import select_winners
from smallcaps_assets.core.segments.upkeep import (
    PART_BYTES,
    REST_NS,
    Files,
    Fill,
    Removals,
    choose_removals,
    choose_strays,
    measure_fill,
)
from smallcaps_assets_tests.core.segments.segment_factories import (
    STARTED,
    Records,
    draw_records,
    frame_records,
    make_entry,
    merge_plainly,
)

NOTHING = Removals((), ())


def make_parts(**sizes: tuple[int, int]) -> pl.DataFrame:
    """Return parts by name, each with its rows and its bytes."""
    rows = [(f"{name}.parquet", *size) for name, size in sizes.items()]
    return pl.DataFrame(
        rows, {"part": pl.String, "rows": pl.Int64, "bytes": pl.Int64}, orient="row"
    )


def test_only_parts_with_rows_that_count_are_measured() -> None:
    entries = [make_entry(rows=90), make_entry(ticker="B", rows=50, part="p2.parquet")]
    winners = select_winners(frame_records({"s1": entries}))
    parts = make_parts(p1=(100, PART_BYTES), p2=(50, PART_BYTES), p3=(900, PART_BYTES))

    fill = measure_fill(winners, parts, records=1)

    assert change(fill, stale_share=0.0) == Fill(parts=2, needed=2, stale_share=0.0, records=1)
    assert fill.stale_share == pytest.approx(1 - 140 / 150)
    assert not fill.is_untidy


@pytest.mark.parametrize(
    ("fill", "is_untidy"),
    [
        (Fill(parts=5, needed=2, stale_share=0.1, records=16), False),
        (Fill(parts=6, needed=2, stale_share=0.0, records=1), True),
        (Fill(parts=2, needed=2, stale_share=0.11, records=1), True),
        (Fill(parts=2, needed=2, stale_share=0.0, records=17), True),
    ],
)
def test_what_makes_a_month_untidy(fill: Fill, *, is_untidy: bool) -> None:
    assert fill.is_untidy is is_untidy


def test_a_month_without_rows_needs_nothing() -> None:
    winners = select_winners(frame_records({"s1": [make_entry(state="empty")]}))

    assert measure_fill(winners, make_parts(), records=1) == Fill(0, 0, 0.0, 1)


@given(draw_records())
def test_a_packed_month_stays_packed(records: Records) -> None:
    told = records | {"zz": [make_entry()]}
    packed = [replace(e, packed=9, part="new.parquet") for _, e in merge_plainly(told).values()]
    winners = select_winners(frame_records(told | {"zzz": packed}))
    rows = int(winners["rows"].sum())

    fill = measure_fill(winners, make_parts(new=(rows, rows * 20), p1=(50, 50)), records=1)

    assert not fill.is_untidy


FILES = Files(
    records={"s1": 0, "s2": 0, "s3": REST_NS},
    replaces={"s3": ("s1", "s2")},
    parts=("p1.parquet", "p2.parquet", "p3.parquet", "stray.parquet"),
)


def choose(now_ns: int, files: Files = FILES) -> Removals:
    """Choose of a month whose s1 and s2 were packed into s3 at ``REST_NS``."""
    records = {
        "s1": [make_entry(), make_entry(ticker="B", part="p1.parquet")],
        "s2": [make_entry(ticker="C", part="p2.parquet")],
    }
    records["s3"] = [
        replace(e, packed=1, part="p3.parquet") for told in records.values() for e in told
    ]
    entries = frame_records(records)
    return choose_removals(entries, select_winners(entries), files, now_ns)


def test_displaced_files_rest_a_day() -> None:
    assert choose(2 * REST_NS - 1) == NOTHING
    assert choose(2 * REST_NS) == Removals(("p1.parquet", "p2.parquet"), ("s1", "s2"))


def test_what_catalog_or_snapshots_name_stays() -> None:
    removals = choose(2 * REST_NS, change(FILES, named=("p1.parquet", "s2")))

    assert removals == Removals(("p2.parquet",), ("s1",))


def test_a_record_goes_only_when_another_replaces_it() -> None:
    removals = choose(2 * REST_NS, change(FILES, replaces={"s3": ("s2",)}))

    assert removals == Removals(("p1.parquet", "p2.parquet"), ("s2",))


def test_a_record_with_an_entry_that_counts_stays() -> None:
    records = {"s1": [make_entry(), make_entry(ticker="B")], "s2": [make_entry(packed=1)]}
    files = Files({"s1": 0, "s2": 0}, {"s2": ("s1",)}, ("p1.parquet",))
    entries = frame_records(records)

    assert choose_removals(entries, select_winners(entries), files, 9 * REST_NS) == NOTHING


@given(draw_records(), st.integers(0, 3 * REST_NS))
def test_removal_takes_nothing_that_counts(records: Records, now_ns: int) -> None:
    told = {name: [replace(e, part=f"{name}.parquet") for e in es] for name, es in records.items()}
    entries = frame_records(told)
    winners = select_winners(entries)
    files = Files(
        dict.fromkeys(told, REST_NS), {"s8": tuple(told)}, [f"{name}.parquet" for name in told]
    )

    removals = choose_removals(entries, winners, files, now_ns)

    assert not {*removals.parts} & {*winners.filter(pl.col("rows") > 0)["part"]}
    assert not {*removals.records} & {*winners["segment"]}
    left = {name: es for name, es in told.items() if name not in removals.records}
    assert merge_plainly(left) == merge_plainly(told)
    assert now_ns >= 2 * REST_NS or removals == NOTHING


def test_strays_rest_unless_nobody_can_write() -> None:
    strays = {"old.parquet": 0, "new.parquet": 1}

    assert choose_strays(strays, (), REST_NS) == ("old.parquet",)
    assert choose_strays(strays, (), 1, rest_ns=0) == ("new.parquet", "old.parquet")


def test_a_stray_that_may_be_all_that_is_left_stays() -> None:
    assert choose_strays({"a.parquet": 0, "b.parquet": 0}, ("a",), REST_NS) == ("b.parquet",)


def test_times_are_those_of_the_storage() -> None:
    """Entries tell when they were made by clocks of machines, which decide nothing here."""
    records = {"s1": [make_entry()], "s2": [make_entry(packed=1, part="p2.parquet")]}
    late = STARTED + dt.timedelta(days=900)
    records["s2"] = [replace(e, committed_at=late) for e in records["s2"]]
    files = Files({"s1": 0, "s2": 0}, {"s2": ("s1",)}, ("p1.parquet", "p2.parquet"))
    entries = frame_records(records)

    removals = choose_removals(entries, select_winners(entries), files, REST_NS)

    assert removals == Removals(("p1.parquet",), ("s1",))
