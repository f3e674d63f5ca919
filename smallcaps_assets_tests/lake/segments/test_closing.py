import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.segments.entries import Entry, frame_entries, list_entries
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.lake.segments.parts import ROW_GROUP, PartReader, PartShape
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONDAY,
    MONTH,
    SATURDAY,
    enter,
    make_draft,
    make_sessions,
)


def close(entries: list[Entry], *tapes: pl.DataFrame) -> Draft:
    return close_segment(MONTH, frame_entries(entries), pl.concat([TRADES.empty(), *tapes]))


def decode(draft: Draft) -> pl.DataFrame:
    tables = [pq.read_table(pa.BufferReader(part.content)) for part in draft.parts]
    return pl.concat([pl.DataFrame(table) for table in tables])


def test_rows_are_sorted_by_ticker_session_and_tape() -> None:
    late = make_tape(4, ticker="ABCD", session_date=MONDAY)
    early, other = make_tape(3, ticker="ABCD"), make_tape(2, ticker="BCpC")
    entries = [enter("BCpC", SESSION, 2), enter("ABCD", MONDAY, 4), enter("ABCD", SESSION, 3)]

    draft = close(entries, other, late, early)

    assert decode(draft).equals(pl.concat([early, late, other]))
    told = draft.entries.select("ticker", "session_date", "part", "first_row", "rows").rows()
    assert told == [
        ("ABCD", SESSION, "0", 0, 3),
        ("ABCD", MONDAY, "0", 3, 4),
        ("BCpC", SESSION, "0", 7, 2),
    ]


def test_what_the_rows_tell_is_measured() -> None:
    tape = make_tape(7).with_columns(
        trading_phase=pl.Series(["pre_market"] * 2 + ["regular"] * 4 + ["closed"])
    )

    (entry,) = list_entries(close([enter("ABCD", SESSION, 7)], tape).entries)

    assert entry.content_hash == hash_trades(tape)
    phases = (entry.pre_market_rows, entry.regular_rows, entry.after_hours_rows, entry.closed_rows)
    assert (entry.rows, *phases) == (7, 2, 4, 0, 1)
    instants = tape["sip_timestamp"].to_physical()
    assert (entry.first_sip, entry.last_sip) == (instants[0], instants[-1])


def test_more_rows_than_are_grouped_at_once_are_measured_by_session() -> None:
    rows = make_tape(500).sample(140_000, with_replacement=True, seed=1).sort("sip_timestamp")
    tapes = [rows.with_columns(ticker=pl.lit(name)) for name in ("ABCD", "BCpC", "CON")]

    draft = close([enter(tape["ticker"][0], SESSION, tape.height) for tape in tapes], *tapes)

    told = list_entries(draft.entries)
    assert [entry.rows for entry in told] == [140_000] * 3
    assert [entry.first_row for entry in told] == [0, 140_000, 280_000]
    assert {entry.last_sip for entry in told} == {rows["sip_timestamp"].to_physical()[-1]}


def test_sessions_without_rows_have_no_part() -> None:
    draft = close([enter("ABCD", SESSION, 0), enter("BCpC", SESSION, 0, state="quarantined")])

    assert draft.parts == ()
    assert draft.entries["part"].null_count() == 2
    assert set(draft.entries["content_hash"]) == {hash_trades(TRADES.empty())}


def test_prints_on_a_date_without_a_session_are_entries_of_their_own() -> None:
    tapes = [make_tape(2, session_date=SATURDAY), make_tape(3, session_date=MONDAY)]
    saturday = enter("ABCD", SATURDAY, 2, kind="off_session", owner=MONDAY)

    draft = close([saturday, enter("ABCD", MONDAY, 3)], *tapes)

    assert draft.entries.select("kind", "rows", "first_row").rows() == [
        ("off_session", 2, 0),
        ("session", 3, 2),
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(1, 9_000))
def test_parts_cut_no_session(sizes: list[int], part_bytes: int) -> None:
    sessions = {
        (f"T{number}", SESSION): make_tape(rows, ticker=f"T{number}", seed=number)
        for number, rows in enumerate(sizes)
    }

    draft = make_draft(sessions, shape=PartShape(part_bytes, group_rows=7))

    for entry in list_entries(draft.entries):
        rows = sessions[entry.ticker, SESSION]
        assert entry.rows == rows.height
        assert (entry.part is None) == rows.is_empty()
        if entry.part is not None:
            part = pq.read_table(pa.BufferReader(draft.parts[int(entry.part)].content))
            assert pl.DataFrame(part)[entry.first_row :].head(entry.rows).equals(rows)
    assert sum(part.rows for part in draft.parts) == sum(sizes)


def test_row_groups_are_bounded_and_read_by_place(tmp_path: Path) -> None:
    tapes = [
        make_tape(rows, ticker=f"T{number}") for number, rows in enumerate((30_000, 40_000, 9))
    ]
    entries = [enter(f"T{number}", SESSION, tape.height) for number, tape in enumerate(tapes)]
    (part,) = close(entries, *tapes).parts
    storage = LocalStorage(tmp_path, ScriptedDisk())
    storage.save({"a/part": part.content})

    reader = PartReader(storage, "a/part")

    groups = pq.ParquetFile(pa.BufferReader(part.content)).metadata
    sizes = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert max(sizes) <= ROW_GROUP
    assert reader.rows == sum(sizes) == 70_009
    assert reader.read([(30_000, 40_000)]).equals(tapes[1])
    assert reader.read([(0, 30_000), (70_000, 9)]).equals(pl.concat([tapes[0], tapes[2]]))
    assert reader.read([]).is_empty()
    with pytest.raises(DataError, match="70010"):
        reader.read([(70_000, 10)])


def test_a_part_that_is_gone_or_damaged_says_so(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, ScriptedDisk())
    storage.save({"a/part": b"PAR1 no file PAR1"})

    with pytest.raises(DataError, match="damaged"):
        PartReader(storage, "a/part")
    with pytest.raises(MissingPartitionError):
        PartReader(storage, "a/none")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "an entry for all trades"),
        ([("ABCD", SESSION, 3, {}), ("ABCD", SESSION, 3, {})], "once"),
        ([("ABCD", SESSION, 3, {"state": "empty"})], "exactly where the state"),
        ([("ABCD", SESSION, 3, {}), ("B", SESSION, 3, {})], "exactly where the state"),
        ([("ABCD", SESSION, 3, {"state": "failed"})], "in a state of"),
        ([("ABCD", SESSION, 3, {"owner": MONDAY})], "once"),
        ([("ABCD", SESSION, 3, {"kind": "off_session"})], "once"),
        ([("ABCD", SESSION, 3, {}), ("AB CD", SESSION, 0, {})], "once"),
        ([("ABCD", SESSION, 3, {}), ("B", dt.date(2024, 4, 1), 0, {})], "of 2024-03"),
    ],
)
def test_what_no_record_may_say_is_refused(entries: list[Any], words: str) -> None:
    made = [enter(*place, **changes) for *place, changes in entries]

    with pytest.raises(DataError, match=words):
        close(made, make_tape(3))


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(DataError, match="out of order"):
        close([enter("ABCD", SESSION, 3)], make_tape(3).reverse())


def test_rows_other_than_those_that_were_proven_are_refused() -> None:
    stated = close([enter("ABCD", SESSION, 3)], make_tape(3)).entries

    with pytest.raises(DataError, match=r"content that was proven.*ABCD"):
        close_segment(MONTH, stated, make_tape(3, seed=2))


def test_equal_sessions_make_equal_parts() -> None:
    first, second = make_draft(make_sessions()), make_draft(make_sessions())

    assert first.parts == second.parts
