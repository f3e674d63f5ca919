import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smallcaps_assets.core.archive.findings import ArchiveVerdict, FindingKind
from smallcaps_assets.core.archive.sessions import (
    ArchivedSession,
    ArchiveFile,
    classify_file,
    judge_session,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.archive_corruptions import CORRUPTIONS
from smallcaps_assets_tests.archive_factories import (
    HOUR_NS,
    SESSION,
    TICKER,
    make_bar,
    make_vendor_trades,
    to_wire,
)

ENOUGH_ROWS: Final = 50
"""Rows of a session in which every corruption contradicts something."""
DATES: Final = tuple(dt.date(2024, month, 3) for month in (1, 4, 6, 7, 9, 10, 12))
"""In summer and winter; the 3rd of July is an early close."""


@dataclass(frozen=True)
class Session:
    """One session of the emulated market as an archive has it, and its daily bar."""

    ticker: str
    session_date: dt.date
    rows: pl.DataFrame
    bar: dict[str, Any]

    def judge(self, rows: pl.DataFrame) -> ArchivedSession:
        """Return the verdict on rows that are said to be this session's."""
        file = classify_file(ArchiveFile("trades.parquet"), rows, self.ticker, load_calendar())
        return judge_session([file], self.ticker, self.session_date, self.bar, load_calendar())


@pytest.fixture(scope="module")
def sessions(small_market: Market) -> list[Session]:
    """Return sessions of the emulated market, of a few trades and of many."""
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap"}
    names["n"] = "trade_count"
    return [
        Session(
            bar["T"],
            date,
            small_market.read_trades(bar["T"], date),
            {name: bar.get(short) for short, name in names.items()},
        )
        for date in DATES
        for bar in small_market.read_grouped_bars(date)
    ]


def test_every_honest_session_agrees(sessions: list[Session]) -> None:
    """L33: nothing that is looked for is in what the vendor sends."""
    found = [
        (session.ticker, session.session_date, finding.describe())
        for session in sessions
        for finding in session.judge(session.rows).findings
        if not finding.is_note
    ]

    assert len(sessions) > len(DATES)
    assert found == []


@given(st.sampled_from(sorted(CORRUPTIONS)), st.integers(0, 2**32 - 1))
def test_no_corruption_agrees(sessions: list[Session], kind: str, seed: int) -> None:
    """L33: equal volume and count are not enough: prices, order, clocks and identity are too."""
    rng = np.random.default_rng(seed)
    large = [session for session in sessions if session.rows.height >= ENOUGH_ROWS]
    session = large[int(rng.integers(0, len(large)))]
    corrupt = CORRUPTIONS[kind](session.rows, rng)
    assume(not corrupt.equals(session.rows))

    judged = session.judge(corrupt)

    assert judged.verdict is not ArchiveVerdict.PROVEN, kind


TRADES: Final = make_vendor_trades(200)
EARLY: Final = pl.int_range(pl.len()) < 20
"""The pre-market."""


def judge(trades: pl.DataFrame) -> set[FindingKind]:
    """Return the findings on trades that have their own daily bar."""
    file = classify_file(ArchiveFile("trades.parquet"), to_wire(trades), TICKER, load_calendar())
    session = judge_session([file], TICKER, SESSION, make_bar(trades), load_calendar())
    return {finding.kind for finding in session.findings if not finding.is_note}


def place(trades: pl.DataFrame, row: int, hour: float, conditions: list[int]) -> pl.DataFrame:
    """Move a trade to an hour of the day on an exchange, under conditions, numbers in order."""
    midnight = pl.col("sip_timestamp").dt.convert_time_zone("America/New_York").dt.truncate("1d")
    instant = midnight.dt.convert_time_zone("UTC") + pl.duration(
        nanoseconds=int(hour * HOUR_NS) + 111
    )
    is_row = pl.int_range(pl.len()) == row
    changed = trades.with_columns(
        pl.when(is_row).then(instant).otherwise("sip_timestamp").alias("sip_timestamp"),
        pl.when(is_row)
        .then(instant - pl.duration(nanoseconds=20_001))
        .otherwise("participant_timestamp")
        .alias("participant_timestamp"),
        pl.when(is_row)
        .then(pl.lit(conditions, pl.List(pl.Int32)))
        .otherwise("conditions")
        .alias("conditions"),
        pl.when(is_row).then(pl.lit(11, pl.Int16)).otherwise("exchange").alias("exchange"),
        pl.when(~is_row).then("trf_timestamp").alias("trf_timestamp"),
        pl.when(~is_row).then("trf_id").alias("trf_id"),
    )
    ordered = changed.sort("sip_timestamp", maintain_order=True)
    return ordered.with_columns(sequence_number=pl.int_range(pl.len()) * 7 + 1_000)


SECOND: Final = 1 / 3600


@pytest.mark.parametrize(
    ("hour", "conditions", "is_odd"),
    [
        (9.5 - 2 * SECOND, [12], False),
        (9.5 - 2 * SECOND, [], True),
        (9.5 - 2 * SECOND, [25, 9], True),
        (9.5 - 0.02 * SECOND, [], False),
        (9.5 + 0.4 * SECOND, [12], False),
        (9.5 + 0.6 * SECOND, [12], True),
        (12.0, [12], False),
        (16 - SECOND, [8, 9], True),
        (16 - SECOND, [15], True),
        (16 + 7 * SECOND, [8, 9], False),
        (16.1, [15], False),
        (17.0, [8, 9], True),
        (16 + SECOND, [], True),
        (16 + SECOND, [37], True),
        (16 + SECOND, [12, 37], False),
        (16.2, [32], False),
    ],
)
def test_trades_on_the_wrong_side_of_a_bell_mean_a_shifted_clock(
    hour: float, conditions: list[int], *, is_odd: bool
) -> None:
    """L33: real tapes of 2013 have what is tolerated here, and nothing of the rest."""
    trades = place(TRADES, 100, hour, conditions)

    assert judge(trades) == ({FindingKind.PHASES_IMPLAUSIBLE} if is_odd else set())


def test_correction_shares_number_and_id_with_its_original() -> None:
    """The vendor sends 1 for what was corrected and 12 for what it became."""
    original = pl.int_range(pl.len()) == 100
    marked = TRADES.with_columns(
        correction=pl.when(original).then(pl.lit(1, pl.Int8)).otherwise("correction")
    )
    record = marked.filter(original).with_columns(
        pl.col("sip_timestamp") + pl.duration(seconds=77, nanoseconds=5),
        price=pl.lit(5.0),
        correction=pl.lit(12, pl.Int8),
    )
    trades = pl.concat([marked, record]).sort("sip_timestamp", maintain_order=True)

    assert judge(trades) == set()


def test_two_off_exchange_trades_may_have_one_id() -> None:
    """A real tape of 2016 has two trades of ZYNE that do."""
    off = TRADES.with_row_index().filter(pl.col("exchange") == 4)["index"].to_list()
    pair = pl.int_range(pl.len()).is_in(off[:2])
    one = TRADES.with_columns(id=pl.when(pair).then(pl.lit("same")).otherwise("id"))
    all_off = pl.col("exchange") == 4
    many = TRADES.with_columns(id=pl.when(all_off).then(pl.lit("same")).otherwise("id"))

    assert judge(one) == set()
    assert judge(many) == {FindingKind.REPEATED_IDS}


def test_over_the_counter_numbers_may_repeat() -> None:
    """Seen at the vendor: two trades of exchange 62 with one number."""
    counter = TRADES.with_columns(
        exchange=pl.lit(62, pl.Int16),
        trf_id=pl.lit(None, pl.Int16),
        sequence_number=pl.int_range(pl.len()) // 2 + 1_000,
    )

    assert judge(counter) == set()


@pytest.mark.parametrize("sleep_ms", [0.1, 5, 60])
def test_slow_venues_are_no_shifted_clock(sleep_ms: float) -> None:
    slow = pl.col("participant_timestamp") - pl.duration(nanoseconds=int(sleep_ms * 10**6))

    assert judge(TRADES.with_columns(slow)) == set()
