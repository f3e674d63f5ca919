import datetime as dt
import math
from dataclasses import replace
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.budget.calibration import (
    DEFAULT_FILE_BYTES,
    DEFAULT_TRADES_PER_SESSION,
    Calibration,
    assume_costs,
    fit_bytes_per_trade,
    label_expected_rows,
)
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets_tests.core.plan_factories import (
    PROPERTY,
    SESSIONS,
    make_count_bars,
    make_keys,
)

FIRST, SECOND, THIRD, *_ = SESSIONS
NOTHING = make_keys("A", []).drop("expected_rows")


def make_key(ticker: str = "A") -> pl.DataFrame:
    return make_keys(ticker, [FIRST]).drop("expected_rows")


def estimate(*bars: tuple[str, dt.date, float | None, int | None], ticker: str = "A") -> int:
    """Return the estimated rows of a ticker on the first session, given all bars."""
    labelled = label_expected_rows(make_key(ticker), make_count_bars(*bars))
    return int(labelled["estimated_rows"].item())


MEASURED: Final = (
    *((1, 2_586), (10, 3_333), (50, 4_119), (100, 5_182), (200, 7_142), (500, 12_632)),
    *((1_000, 21_845), (2_000, 40_592), (5_000, 91_240), (120_017, 2_146_690)),
)
"""Trades and bytes of exported files of the emulated market, cut from several sessions."""
REPLAYED: Final = (
    *((1, 2_569), (10, 2_973), (50, 3_338), (200, 4_971), (1_000, 12_246), (5_000, 47_646)),
    *((19_264, 182_516), (43_342, 367_178), (54_318, 441_049)),
)
"""The same of real prints of 2013, replayed."""


@pytest.mark.parametrize("files", [MEASURED, REPLAYED])
@pytest.mark.parametrize("held_out", range(9))
def test_a_fit_foretells_the_file_that_it_has_not_seen(
    files: tuple[tuple[int, int], ...], held_out: int
) -> None:
    """L49: on another tape too, and whatever the size of the file that is foretold."""
    known = [file for place, file in enumerate(files) if place != held_out]
    rows, sizes = (pl.Series(values) for values in zip(*known, strict=True))

    fit = fit_bytes_per_trade(rows, sizes, Calibration(file_bytes=2_560))

    calibration = Calibration(bytes_per_trade=fit.bytes_per_trade, file_bytes=fit.file_bytes)
    foretold, size = files[held_out]
    assert calibration.predict_bytes(foretold, 1) == pytest.approx(size, rel=0.12)


def test_no_trade_takes_no_file() -> None:
    assert Calibration().predict_bytes(0, 0) == 0


@pytest.mark.parametrize(("limit", "seconds"), [(0.0, 25.0), (600.0, 25.0), (30.0, 202.0)])
def test_time_is_that_of_the_work_or_of_the_rate(limit: float, seconds: float) -> None:
    """L49: without a limit a download takes what its requests, trades and sessions take."""
    costs = Calibration(
        request_s=0.1, row_s=1e-5, session_s=0.01, start_s=2.0, requests_per_minute=limit
    )

    assert costs.predict_seconds(100, 1_000_000, 300) == pytest.approx(seconds)
    assert costs.predict_seconds(0, 0, 0) == 0


@pytest.mark.parametrize(
    "amounts",
    [
        {"bytes_per_trade": -1.0},
        {"file_bytes": math.nan},
        {"raw_bytes_per_trade": math.inf},
        {"requests_per_minute": -1.0},
        {"page_limit": 0},
    ],
)
def test_calibration_refuses_impossible_amounts(amounts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected amounts of 0 or more"):
        replace(Calibration(), **amounts)


@PROPERTY
@given(
    st.lists(st.integers(1, 400_000), min_size=30, max_size=60, unique=True),
    st.floats(4, 60),
    st.floats(180, 600),
)
def test_fit_bytes_per_trade_finds_the_cost_of_files_of_any_tape(
    rows: list[int], per_trade: float, per_file: float
) -> None:
    rows = [*rows, 400_001]  # small files alone do not tell their trades from their footers
    truth = Calibration(bytes_per_trade=per_trade, file_bytes=per_file)
    sizes = pl.Series([truth.predict_bytes(count, 1) for count in rows])

    fit = fit_bytes_per_trade(pl.Series(rows), sizes)

    found = Calibration(bytes_per_trade=fit.bytes_per_trade, file_bytes=fit.file_bytes)
    for count, size in zip(rows, sizes, strict=True):
        assert found.predict_bytes(count, 1) == pytest.approx(size, rel=0.4)
    assert sum(found.predict_bytes(count, 1) for count in rows) == pytest.approx(sizes.sum())


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, 400_000), st.integers(0, 10**7)), min_size=1, max_size=20
    ).filter(lambda files: any(rows for rows, _ in files))
)
def test_fit_bytes_per_trade_keeps_the_total_and_is_never_negative(
    files: list[tuple[int, int]],
) -> None:
    rows, sizes = (pl.Series(values) for values in zip(*files, strict=True))

    fit = fit_bytes_per_trade(rows, sizes)

    stored = [(row, size) for row, size in files if row]
    costs = Calibration(bytes_per_trade=fit.bytes_per_trade, file_bytes=fit.file_bytes)
    total = sum(costs.predict_bytes(row, 1) for row, _ in stored)
    assert total == pytest.approx(sum(size for _, size in stored), abs=1, rel=1e-6)
    assert fit.files == len(stored)
    assert min(fit.file_bytes, fit.bytes_per_trade) >= 0


@pytest.mark.parametrize("files", [1, 2, 40])
def test_fit_bytes_per_trade_lays_the_rest_on_the_trades_when_files_are_alike(files: int) -> None:
    costs = Calibration(bytes_per_trade=9.0)
    size = costs.predict_bytes(500, 1)

    fit = fit_bytes_per_trade(pl.Series([500] * files), pl.Series([size] * files))

    assert fit.bytes_per_trade == pytest.approx(9.0)
    assert fit.file_bytes == pytest.approx(DEFAULT_FILE_BYTES)


@pytest.mark.parametrize(
    ("rows", "sizes", "message"),
    [
        ([1, 2], [3], "one size for each file"),
        ([0], [100], "expected files with trades"),
        ([], [], "expected files with trades"),
        ([1], [-3], "expected files with trades"),
    ],
)
def test_fit_bytes_per_trade_refuses_what_it_cannot_fit(
    rows: list[int], sizes: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fit_bytes_per_trade(pl.Series(rows, dtype=pl.Int64), pl.Series(sizes, dtype=pl.Int64))


def test_label_expected_rows_takes_the_trade_count_of_the_bar() -> None:
    labelled = label_expected_rows(make_key(), make_count_bars(("A", FIRST, 9e6, 123)))

    assert labelled.select("expected_rows", "estimated_rows").row(0) == (123, 123)


def test_label_expected_rows_claims_nothing_without_a_count() -> None:
    labelled = label_expected_rows(make_key(), make_count_bars(("A", FIRST, 9e6, None)))

    assert labelled["expected_rows"].to_list() == [None]


def test_label_expected_rows_converts_volume_by_the_ticker_then_by_all_then_by_default() -> None:
    volume_only = ("A", FIRST, 1_900.0, None)
    other = ("B", FIRST, 1_000.0, 50)

    assert estimate(volume_only, ("A", SECOND, 1_000.0, 100), other) == 190
    assert estimate(volume_only, ("A", SECOND, 1_000.0, 100), ("A", THIRD, 0.0, 50)) == 190
    assert estimate(volume_only, other) == 95
    assert estimate(volume_only) == 10


def test_label_expected_rows_falls_back_to_medians_then_to_the_default() -> None:
    counted = [("A", SECOND, 1.0, 10), ("A", THIRD, 1.0, 31), ("B", SECOND, 1.0, 900)]

    assert estimate(*counted) == 21
    assert estimate(*counted, ticker="C") == 31
    assert estimate() == DEFAULT_TRADES_PER_SESSION


@pytest.mark.parametrize("volume", [None, math.nan, math.inf, -1.0])
def test_label_expected_rows_ignores_a_volume_that_is_none(volume: float | None) -> None:
    assert estimate(("A", FIRST, volume, None), ("A", SECOND, 500.0, 7)) == 7


def test_label_expected_rows_expects_nothing_of_a_day_without_volume() -> None:
    assert estimate(("A", FIRST, 0.0, None), ("A", SECOND, 500.0, 7)) == 0


def test_label_expected_rows_believes_a_count_of_none_but_not_a_negative_one() -> None:
    other = ("A", SECOND, None, 7)

    assert estimate(("A", FIRST, None, 0), other) == 0
    assert estimate(("A", FIRST, None, -1), other) == 7


def test_label_expected_rows_keeps_rows_and_their_order() -> None:
    sessions = make_keys("A", [THIRD, FIRST, SECOND]).drop("expected_rows")

    labelled = label_expected_rows(sessions, make_count_bars(("A", SECOND, 1.0, 5)))

    assert labelled["session_date"].to_list() == [THIRD, FIRST, SECOND]
    assert labelled.columns == ["ticker", "session_date", "expected_rows", "estimated_rows"]
    assert label_expected_rows(NOTHING, make_count_bars()).is_empty()


@pytest.mark.parametrize(
    ("rows", "stored"), [(10_229, 249_585), (40_351, 905_321), (200_554, 4_236_219)]
)
def test_assume_costs_foretells_emulated_lakes_of_123_sessions(rows: int, stored: int) -> None:
    costs = assume_costs(is_replay=False)

    assert costs.predict_bytes(rows, 123) == pytest.approx(stored, rel=0.15)
