import datetime as dt

import polars as pl
import pytest

from smallcaps_assets.core.events.unknown_tickers import (
    judge_unknown_tickers,
    select_unknown_sessions,
    suggest_symbols,
)
from smallcaps_assets.core.verdicts import Thresholds
from smallcaps_assets.schemas import COVERAGE

KNOWN = ["A", "BCPC", "BCpC", "BRK.A", "BRK.B", "CON", "GOOGL", "BACpL"]


@pytest.mark.parametrize(
    ("ticker", "near"),
    [
        ("con", "CON"),
        ("bcpc", "BCPC"),
        ("BRK-A", "BRK.A"),
        ("brk/b", "BRK.B"),
        ("BAC-PL", "BACpL"),
        ("GOGL", "GOOGL"),
        ("QQQQ", ""),
    ],
)
def test_suggest_symbols_finds_the_nearest(ticker: str, near: str) -> None:
    """L38: a ticker that does not exist ended green."""
    assert suggest_symbols([ticker], KNOWN) == {ticker: near}


@pytest.mark.parametrize(("unknown", "is_red"), [(1, 0), (5, 0), (6, 1)])
def test_judge_unknown_tickers_is_red_above_the_threshold(unknown: int, is_red: int) -> None:
    found = {f"T{number}": "" for number in range(unknown)}

    verdict = judge_unknown_tickers(100, 100, found, Thresholds())

    assert (verdict.passed, verdict.numbers["is_red"]) == (False, is_red)
    assert verdict.offenders["ticker"].to_list() == list(found)


def test_judge_unknown_tickers_passes_where_bars_know_all() -> None:
    assert judge_unknown_tickers(100, 40, {}, Thresholds()).passed


def test_judge_unknown_tickers_says_that_nothing_can_be_judged_without_bars() -> None:
    verdict = judge_unknown_tickers(3, 0, {}, Thresholds())

    assert not verdict.passed
    assert "no daily bars of the planned sessions are stored" in verdict.summary


def test_select_unknown_sessions_leaves_out_tickers_that_brought_trades() -> None:
    date = dt.date(2024, 1, 2)
    rows = [
        ("con", date, "empty", 0, None),
        ("con", date + dt.timedelta(1), "failed", None, "payload"),
        ("REAL", date, "empty", 0, None),
        ("REAL", date + dt.timedelta(1), "complete", 9, None),
        ("CON", date, "empty", 0, None),
    ]
    states = pl.DataFrame([(*row, None, 1) for row in rows], COVERAGE.schema, orient="row")

    assert select_unknown_sessions(states, ["con", "REAL"]).rows() == [("con", date)]
