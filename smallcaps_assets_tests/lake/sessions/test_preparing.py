"""A session is the same whether it is prepared by itself or as a slice of a longer tape."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core import states
from smallcaps_assets.core.ticks.conditions import VolumeMeter, measure_volume
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.sessions.preparing import MeasuredTape
from smallcaps_assets_tests.lake.lake_factories import OPENING_NS, SESSION, make_facts, make_tape

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
    """Hashes, counts and instants do not tell what lay around the session."""
    first, last = place
    own = tape[first:last]
    facts = make_facts(state="complete" if own.height else "empty")

    cut = MeasuredTape(tape, source="s").prepare("ABCD", SESSION, facts, rows=slice(first, last))

    assert cut.receipt == MeasuredTape(own, source="s").prepare("ABCD", SESSION, facts).receipt
    assert cut.trades.equals(own)
    assert VolumeMeter(tape).measure(first, last) == measure_volume(own)


def test_a_slice_of_another_ticker_or_date_is_refused() -> None:
    other = TAPE.with_columns(ticker=pl.lit("EFGH"))
    tape = MeasuredTape(pl.concat([TAPE, other]), source="s")

    with pytest.raises(DataError, match=r"expected trades of ABCD_2024-03-15 alone, got .*EFGH"):
        tape.prepare("ABCD", SESSION, make_facts(), rows=slice(100, 110))
    with pytest.raises(DataError, match="2024-03-15"):
        MeasuredTape(TAPE, source="s").prepare("ABCD", dt.date(2024, 3, 18), make_facts())


def test_prepare_keeps_nanoseconds_in_the_receipt() -> None:
    trades = make_tape(2).with_columns(
        sip_timestamp=pl.Series([OPENING_NS + 1, OPENING_NS + 999]).cast(pl.Datetime("ns", "UTC"))
    )

    receipt = MeasuredTape(trades, source="s").prepare("ABCD", SESSION, make_facts()).receipt

    assert receipt.first_sip_timestamp == OPENING_NS + 1
    assert receipt.last_sip_timestamp == OPENING_NS + 999


@pytest.mark.parametrize(
    "phases",
    [["after_hours"] * 3, ["pre_market"] * 3, ["regular"] * 3, ["closed", "regular", "closed"]],
    ids=" ".join,
)
def test_a_session_is_complete_whatever_its_phases(phases: list[str]) -> None:
    """L7, L11: all phases are kept and counted, and none of them is demanded."""
    trades = make_tape(3).with_columns(trading_phase=pl.Series(phases))

    prepared = MeasuredTape(trades, source="s").prepare("ABCD", SESSION, make_facts())

    assert prepared.receipt.rows_by_phase == {phase: phases.count(phase) for phase in phases}
    assert prepared.trades["trading_phase"].to_list() == phases


@pytest.mark.parametrize(
    ("trades", "state", "message"),
    [
        (make_tape(3, ticker="EFGH"), states.COMPLETE, "EFGH"),
        (make_tape(3, session_date=dt.date(2024, 3, 18)), states.COMPLETE, "2024-03-18"),
        (make_tape(3).reverse(), states.COMPLETE, "order of sip_timestamp"),
        (make_tape(3), states.EMPTY, "got 'empty'"),
        (make_tape(0), states.COMPLETE, "got 'complete'"),
        (make_tape(0), states.FAILED, "got 'failed'"),
        (make_tape(3).drop("price"), states.COMPLETE, "trades"),
    ],
    ids=["ticker", "date", "order", "rows but empty", "complete but no rows", "failed", "table"],
)
def test_prepare_refuses_what_is_no_session(trades: pl.DataFrame, state: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MeasuredTape(trades, source="s").prepare("ABCD", SESSION, make_facts(state=state))
