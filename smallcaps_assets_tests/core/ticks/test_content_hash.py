"""Hashing many sessions at once gives what hashing each of them gives."""

from itertools import accumulate

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.content_hash import NEIGHBOUR_ROWS, hash_sessions, hash_trades
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.lake_factories import make_tape

TAPES = [make_tape(rows, seed=rows) for rows in (0, 1, 2, 7, 40)]
HOLES = {
    name: column.dtype
    for name, column in TRADES.columns.items()
    if column.nullable and name not in {"ticker", "session_date"}
}


def make_holes(tape: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return a tape with null in every other row of some columns."""
    is_hole = pl.int_range(pl.len()) % 2 == 0
    return tape.with_columns(
        pl.when(is_hole).then(pl.lit(None, HOLES[name])).otherwise(name).alias(name)
        for name in names
    )


@given(
    st.lists(st.sampled_from(range(len(TAPES))), max_size=6),
    st.lists(st.sampled_from(sorted(HOLES)), unique=True),
)
def test_hash_sessions_equals_the_hash_of_each_session(chosen: list[int], names: list[str]) -> None:
    tapes = [make_holes(TAPES[number], names) for number in chosen]

    hashes = hash_sessions(pl.concat([TRADES.empty(), *tapes]), [tape.height for tape in tapes])

    assert hashes == [hash_trades(tape) for tape in tapes]


def test_hash_sessions_of_more_rows_than_are_made_canonical_together() -> None:
    tape = TAPES[4].sample(3 * NEIGHBOUR_ROWS, with_replacement=True, seed=1)
    sizes = [NEIGHBOUR_ROWS - 1, 0, 2, 2 * NEIGHBOUR_ROWS - 1]

    hashes = hash_sessions(tape, sizes)

    ends = list(accumulate(sizes))
    assert hashes == [
        hash_trades(tape[end - size : end]) for size, end in zip(sizes, ends, strict=True)
    ]


def test_hash_sessions_takes_texts_of_any_alphabet() -> None:
    tape = TAPES[3].with_columns(id=pl.Series(["ä", "", "漢字", "a\n", "\x00", "é", "🙂"]))

    assert hash_sessions(tape, [3, 4]) == [hash_trades(tape[:3]), hash_trades(tape[3:])]


def test_hash_sessions_refuses_sizes_that_are_not_all_rows() -> None:
    with pytest.raises(DataError, match="expected 6 rows of 1 session, got 7"):
        hash_sessions(TAPES[3], [6])


def test_hash_sessions_refuses_another_type() -> None:
    with pytest.raises(SchemaError, match="price: expected Float64, got Float32"):
        hash_sessions(TAPES[3].cast({"price": pl.Float32}), [7])
