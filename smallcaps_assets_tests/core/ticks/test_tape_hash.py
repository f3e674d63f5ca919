"""The content hash: what it sees, and what it must not see."""

import hashlib
import io
import itertools
import os
import struct
import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.content_hash import hash_lake, hash_trades
from smallcaps_assets.core.ticks.tape import read_instants
from smallcaps_assets.errors import SchemaError
from smallcaps_assets.schemas import TRADES, VENDOR_COLUMNS
from smallcaps_assets_tests.core.tape_factories import INSTANTS, OPENING_NS, make_tape
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

ZONES = ("America/New_York", "Asia/Tokyo")
TAPE = make_tape(
    {"conditions": [14, 12, 37, 41], "id": "900]:C", "trf_timestamp": OPENING_NS, "trf_id": 201},
    {"sip_timestamp": OPENING_NS + 1, "size": 0.013374, "id": "été", "conditions": []},
    {"sip_timestamp": OPENING_NS + 1, "sequence_number": None, "id": None, "price": 5.0},
)
CHANGES: dict[str, Any] = {
    "sip_timestamp": OPENING_NS + 2,
    "participant_timestamp": OPENING_NS + 7,
    "trf_timestamp": OPENING_NS + 1,
    "sequence_number": 99,
    "id": "ete",
    "price": 10.000000000000002,
    "size": 0.013375,
    "exchange": 12,
    "tape": 1,
    "trf_id": 202,
    "conditions": [0],
    "correction": 12,
}
PROBE = """
import hashlib, io, sys
import polars as pl
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.core.ticks.tape import locate_sessions, read_instants, sort_tape
import datetime as dt

tape = sort_tape(pl.read_ipc(io.BytesIO(sys.stdin.buffer.read())))
trades = label_trades(tape, load_calendar())
instants = read_instants(trades, "sip_timestamp")
for date, rows in locate_sessions(instants, dt.date(2024, 3, 7), dt.date(2024, 3, 15)).items():
    cut = trades[rows]
    stored = io.BytesIO()
    cut.write_parquet(stored)
    print(date, hash_trades(cut), hashlib.sha256(stored.getvalue()).hexdigest())
"""


def hash_by_hand(rows: list[dict[str, Any]]) -> str:
    """Return the hash as its definition reads, value by value."""
    blocks = [b"smallcaps trades 1\n"]
    for name in VENDOR_COLUMNS:
        values = [row[name] for row in rows]
        blocks.append(f"{name} {len(rows)}\n".encode())
        if name == "id":
            texts = [(value or "").encode() for value in values]
            blocks += [struct.pack("<q", len(text)) for text in texts] + texts
        elif name == "conditions":
            lists = [value or [] for value in values]
            blocks += [struct.pack("<q", len(ids)) for ids in lists]
            blocks += [struct.pack("<q", number) for ids in lists for number in ids]
        else:
            code = "<d" if name in {"price", "size"} else "<q"
            blocks += [struct.pack(code, value or 0) for value in values]
    return hashlib.sha256(b"".join(blocks)).hexdigest()


def list_rows(tape: pl.DataFrame) -> list[dict[str, Any]]:
    return tape.with_columns(pl.col(INSTANTS).to_physical()).to_dicts()


def test_hash_trades_is_the_hash_of_its_definition() -> None:
    assert hash_trades(TAPE) == hash_by_hand(list_rows(TAPE))


def test_hash_trades_never_changes_between_versions() -> None:
    """Whoever must change this literal must change ``HASH_HEADER`` and the schema version too."""
    assert hash_trades(make_tape()) == (
        "a2489c972f25b3afab056486fc9582a970fef8326222d389db35a38320864e3a"
    )


@given(st.lists(st.integers(0, 3), max_size=6))
def test_hash_trades_ignores_chunks(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 3]
    chunks = [TAPE[start:end] for start, end in itertools.pairwise(edges)]

    assert hash_trades(pl.concat(chunks, rechunk=False)) == hash_trades(TAPE)


@pytest.mark.parametrize("row_group_size", [1, 2, 1000])
def test_hash_trades_ignores_row_groups_and_compression(row_group_size: int) -> None:
    stored = io.BytesIO()
    TAPE.write_parquet(stored, row_group_size=row_group_size, compression="uncompressed")
    stored.seek(0)

    assert hash_trades(pl.read_parquet(stored)) == hash_trades(TAPE)


@pytest.mark.parametrize("name", [name for name in VENDOR_COLUMNS if TRADES.columns[name].nullable])
def test_hash_trades_ignores_how_nothing_is_written(name: str) -> None:
    nothing: dict[str, Any] = {"id": "", "conditions": []}

    assert hash_trades(make_tape({name: None})) == hash_trades(
        make_tape({name: nothing.get(name, 0)})
    )


def test_hash_trades_ignores_further_columns_and_their_order() -> None:
    shuffled = TAPE.select(reversed(TAPE.columns)).with_columns(note=pl.lit("x"))

    assert hash_trades(shuffled) == hash_trades(TAPE)


@pytest.mark.parametrize("name", VENDOR_COLUMNS)
def test_hash_trades_sees_a_change_in_any_field_of_any_row(name: str) -> None:
    """L24: every vendor field counts, to the last bit and nanosecond."""
    rows = list_rows(TAPE)
    hashes = {hash_trades(TAPE)}

    for place, row in enumerate(rows):
        changed = [*rows[:place], row | {name: CHANGES[name]}, *rows[place + 1 :]]
        hashes.add(hash_trades(make_tape(*changed)))

    assert len(hashes) == len(rows) + 1


@pytest.mark.parametrize("places", [[1, 0, 2], [0, 2, 1], [0, 1], [0, 1, 2, 2], []], ids=str)
def test_hash_trades_sees_swapped_lost_and_repeated_rows(places: list[int]) -> None:
    """L4: also where rows share a nanosecond."""
    assert hash_trades(TAPE[places]) != hash_trades(TAPE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([{"id": "ab"}, {"id": "c"}], [{"id": "a"}, {"id": "bc"}]),
        (
            [{"conditions": [1, 2]}, {"conditions": [3]}],
            [{"conditions": [1]}, {"conditions": [2, 3]}],
        ),
    ],
    ids=["texts", "lists"],
)
def test_hash_trades_sees_where_a_value_ends(one: list[Any], other: list[Any]) -> None:
    assert hash_trades(make_tape(*one)) != hash_trades(make_tape(*other))


def test_hash_trades_refuses_another_type_instead_of_casting_it() -> None:
    """L5: microseconds would be another content."""
    coarse = TAPE.with_columns(pl.col("sip_timestamp").cast(pl.Datetime("us", "UTC")))

    with pytest.raises(SchemaError, match="sip_timestamp: expected Datetime"):
        hash_trades(coarse)


def test_hash_trades_refuses_a_missing_column() -> None:
    with pytest.raises(SchemaError, match="trf_id: expected Int16, got None"):
        hash_trades(TAPE.drop("trf_id"))


def test_hash_lake_is_the_hash_of_sorted_lines() -> None:
    lines = b"A_2024-03-15 11\nB_2024-03-14 22\n"

    assert hash_lake({"B_2024-03-14": "22", "A_2024-03-15": "11"}) == (
        hashlib.sha256(lines).hexdigest()
    )


def test_labels_cuts_and_bytes_are_the_same_in_every_time_zone() -> None:
    """L5, L6: the zone of the machine changes no label, no cut, no byte."""
    hours = range(0, 7 * 24, 5)
    tape = make_tape(*({"sip_timestamp": OPENING_NS - hour * 3600 * 10**9 - 1} for hour in hours))
    source = io.BytesIO()
    tape.write_ipc(source)

    running = [start_probe(zone) for zone in ZONES]
    outputs = [process.communicate(source.getvalue(), timeout=60)[0] for process in running]

    assert (
        len(outputs[0].splitlines())
        == tape.select(
            pl.col("sip_timestamp").dt.convert_time_zone("America/New_York").dt.date().n_unique()
        ).item()
    )
    assert outputs == outputs[:1] * len(ZONES)


def start_probe(zone: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROBE],
        cwd=REPO_ROOT,
        env=os.environ | {"TZ": zone},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_read_instants_keeps_the_last_nanosecond() -> None:
    """L5: a float would be off by up to 128 ns."""
    tape = make_tape({"sip_timestamp": 1_710_509_400_123_456_789})

    assert read_instants(tape, "sip_timestamp").tolist() == [1_710_509_400_123_456_789]
