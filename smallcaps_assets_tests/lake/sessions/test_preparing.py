"""A session is the same whether it is prepared by itself or as a slice of a longer tape."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.conditions import VolumeMeter, measure_volume
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.sessions.parquet import TapeEncoder, encode_trades
from smallcaps_assets.lake.sessions.preparing import StorableTape
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_facts, make_tape

TAPE = pl.concat([make_tape(60, seed=1), make_tape(40, seed=2)]).sort("sip_timestamp")
SPARSE = TAPE.with_columns(
    pl.when(pl.int_range(pl.len()) % 3 > 0).then(name).alias(name)
    for name in ("conditions", "id", "trf_timestamp", "sequence_number")
)
ODD_PHASES = TAPE.with_columns(
    trading_phase=pl.Series(["closed", "regular", "pre_market", "after_hours"] * 25)
)
places = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted)


@pytest.mark.parametrize("tape", [TAPE, SPARSE, ODD_PHASES], ids=["whole", "sparse", "phases"])
@given(place=places)
@settings(max_examples=40)
def test_a_slice_is_stored_as_the_session_itself(tape: pl.DataFrame, place: list[int]) -> None:
    """File, hashes, counts and instants do not tell what lay around the session."""
    first, last = place
    own = tape[first:last]
    facts = make_facts(state="complete" if own.height else "empty")

    cut = StorableTape(tape, source="s").prepare("ABCD", SESSION, facts, rows=slice(first, last))

    assert cut == StorableTape(own, source="s").prepare("ABCD", SESSION, facts)
    assert (cut.content == encode_trades(own)) is bool(own.height)
    assert VolumeMeter(tape).measure(first, last) == measure_volume(own)


def test_a_slice_of_another_ticker_or_date_is_refused() -> None:
    other = TAPE.with_columns(ticker=pl.lit("EFGH"))
    tape = StorableTape(pl.concat([TAPE, other]), source="s")

    with pytest.raises(DataError, match=r"expected trades of ABCD_2024-03-15 alone, got .*EFGH"):
        tape.prepare("ABCD", SESSION, make_facts(), rows=slice(100, 110))
    with pytest.raises(DataError, match="2024-03-15"):
        StorableTape(TAPE, source="s").prepare("ABCD", dt.date(2024, 3, 18), make_facts())


def test_one_encoder_makes_any_number_of_files() -> None:
    encoder = TapeEncoder(TAPE)

    halves = [encoder.encode(0, 50), encoder.encode(50, 100)]

    assert halves == [encode_trades(TAPE[:50]), encode_trades(TAPE[50:])]
    assert encoder.encode(0, 100) == encode_trades(TAPE)
