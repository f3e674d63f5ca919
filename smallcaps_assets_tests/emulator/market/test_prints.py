import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.emulator.market.dressing import Hours, dress_prints
from smallcaps_assets.emulator.market.history import Day
from smallcaps_assets.emulator.market.prints import Prints, build_bar, draw_prints
from smallcaps_assets_tests.emulator.emulator_factories import OPENING_NS, build_core_bar

HOUR_NS = 3_600 * 10**9
HOURS = Hours(
    OPENING_NS - 5 * HOUR_NS - HOUR_NS // 2,
    OPENING_NS,
    OPENING_NS + 6 * HOUR_NS + HOUR_NS // 2,
    OPENING_NS + 10 * HOUR_NS + HOUR_NS // 2,
)


@st.composite
def days(draw: st.DrawFn) -> Day:
    low = draw(st.sampled_from([50, 9_000, 20_000, 5_000_000_000])) // 100 * 100
    prices = sorted(low + 100 * draw(st.integers(0, 40)) for _ in range(4))
    is_rising = draw(st.booleans())
    return Day(
        open=prices[1] if is_rising else prices[2],
        high=prices[3],
        low=prices[0],
        close=prices[2] if is_rising else prices[1],
        trades=draw(st.integers(0, 120)),
        mean_size=draw(st.sampled_from([10.0, 200.0, 3_000.0])),
        phase=draw(st.sampled_from(["all", "all", "pre", "post"])),
        halts=draw(st.integers(0, 3)),
    )


def draw_both(day: Day, seed: int) -> tuple[Prints, pl.DataFrame]:
    prints = draw_prints(day, np.random.default_rng(seed))
    frame = dress_prints(prints, HOURS, np.random.default_rng(seed + 1), tape=3, halts=day.halts)
    return prints, frame


@given(days(), st.integers(0, 10**6))
def test_the_bar_is_what_the_rules_make_of_the_trades(day: Day, seed: int) -> None:
    """L17: bars and trades agree exactly, so that any residual is the downloader's."""
    prints, frame = draw_both(day, seed)

    bar = build_bar(prints)

    expected = build_core_bar(frame)
    assert (bar is None) == (expected is None)
    assert expected is None or expected.items() <= (bar or {}).items()


@given(days(), st.integers(0, 10**6))
def test_trades_are_on_the_tape_in_order_and_known_before_they_are_published(
    day: Day, seed: int
) -> None:
    _, frame = draw_both(day, seed)

    sip = frame["sip_timestamp"]
    assert sip.is_sorted()
    assert sip.is_between(HOURS.pre_open, HOURS.post_close + HOUR_NS).all()
    assert (frame["participant_timestamp"] <= sip).all()
    off_exchange = frame.filter(pl.col("exchange") == 4)
    assert (off_exchange["trf_timestamp"] < off_exchange["sip_timestamp"]).all()
    assert frame.filter(pl.col("exchange") != 4)["trf_timestamp"].sum() == 0


@given(st.integers(0, 10**6))
def test_amendments_come_in_pairs_that_share_an_identity(seed: int) -> None:
    day = Day(50_000, 60_000, 40_000, 55_000, trades=4_000, mean_size=200.0)

    _, frame = draw_both(day, seed)

    identity = ["exchange", "id", "sequence_number", "participant_timestamp"]
    for original, record in ((8, 10), (1, 12), (7, 11)):
        first = frame.filter(pl.col("correction") == original)
        second = frame.filter(pl.col("correction") == record)
        pairs = first.join(second, on=identity, suffix="_record")
        assert first.height == second.height == pairs.height
        assert (pairs["sip_timestamp_record"] > pairs["sip_timestamp"]).all()
    ordinary = frame.filter(pl.col("correction").is_in([0, 1, 7, 8]))
    assert ordinary.select(identity).is_unique().all()


@pytest.fixture(scope="module")
def busy() -> pl.DataFrame:
    day = Day(50_000, 60_000, 40_000, 55_000, trades=100_000, mean_size=200.0, halts=1)
    return draw_both(day, 1)[1]


@pytest.mark.parametrize("correction", [1, 7, 8, 10, 11, 12])
def test_a_busy_day_has_every_amendment(busy: pl.DataFrame, correction: int) -> None:
    assert busy.filter(pl.col("correction") == correction).height > 0


@pytest.mark.parametrize(
    "condition", ["2", "5", "10", "12", "13", "15", "16", "22", "32", "37", "53"]
)
def test_a_busy_day_has_odd_conditions(busy: pl.DataFrame, condition: str) -> None:
    assert busy["conditions"].str.split(",").list.contains(condition).any()


def test_a_busy_day_has_shared_times_fractions_and_late_reports(busy: pl.DataFrame) -> None:
    """L4, L8: what breaks a downloader that drops duplicates or guesses types."""
    off_exchange = busy.filter(pl.col("exchange") == 4)
    lag = off_exchange["sip_timestamp"] - off_exchange["participant_timestamp"]

    assert busy["sip_timestamp"].is_duplicated().sum() > busy.height / 20
    assert busy.filter(pl.col("size") == 0)["decimal_size"].str.starts_with("0.").all()
    assert off_exchange["decimal_size"].null_count() == 0
    assert (lag > 10 * 10**9).any()
    assert busy["id"].str.contains(r"[\]^]").any()


def test_a_halt_stops_trading(busy: pl.DataFrame) -> None:
    regular = busy.filter(pl.col("sip_timestamp").is_between(HOURS.open, HOURS.close))

    assert np.diff(regular["sip_timestamp"].to_numpy()).max() > 5 * 60 * 10**9
