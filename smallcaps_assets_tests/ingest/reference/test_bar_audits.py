"""Daily bars against splits and listings."""

import datetime as dt
from pathlib import Path
from typing import Final

from smallcaps_assets.ingest.reference.daily_bars import (
    judge_bar_lives,
    judge_split_jumps,
    refresh_splits,
)
from smallcaps_assets.ingest.reference.universe import refresh_universe
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import (
    find_shared,
    make_lakehouse,
    refresh_due_bars,
    write_bars,
    write_text,
)

FIRST: Final = dt.date(2024, 2, 1)
CLOSES: Final = {"AAAA": [5.0] * 20, "SPLT": [1.0] * 5 + [10.0] * 15, "SHRT": [3.0] * 10}
SPLIT: Final = "ticker,execution_date,split_from,split_to\nSPLT,2024-02-08,10,1\n"
LISTINGS: Final = """ticker,listed_date,delisted_date
AAAA,2010-01-04,
SPLT,2010-01-04,
SHRT,2010-01-04,2024-02-29
NONE,2010-01-04,
"""


def store_bars(folder: Path, **changes: object) -> Lakehouse:
    """Return a lakehouse that holds twenty sessions of three tickers."""
    bars = write_bars(folder / "bars.csv", CLOSES, FIRST)
    lakehouse = make_lakehouse(folder / "data", "http://127.0.0.1:9", daily_bars=bars, **changes)
    refresh_due_bars(lakehouse)
    return lakehouse


def test_judge_split_jumps_lists_jumps_without_a_split_on_record(tmp_path: Path) -> None:
    verdict = judge_split_jumps(store_bars(tmp_path))

    assert not verdict.passed
    assert verdict.numbers["split_like_jumps"] == 1
    assert verdict.offenders.select("ticker", "jump").rows() == [("SPLT", "10:1")]


def test_judge_split_jumps_passes_where_splits_explain_them(tmp_path: Path) -> None:
    lakehouse = store_bars(tmp_path, splits=write_text(tmp_path / "splits.csv", SPLIT))
    refresh_splits(lakehouse)

    verdict = judge_split_jumps(lakehouse)

    assert verdict.passed
    assert verdict.numbers["splits_on_record"] == 1


def test_judge_split_jumps_does_not_pass_without_bars(tmp_path: Path) -> None:
    assert not judge_split_jumps(make_lakehouse(tmp_path, "http://127.0.0.1:9")).passed


def test_judge_bar_lives_finds_sessions_that_a_listing_owes(tmp_path: Path) -> None:
    """L22: by listing, so that an end is not mistaken for a gap, nor a gap for an end."""
    file = write_text(tmp_path / "listings.csv", LISTINGS)
    lakehouse = store_bars(tmp_path, universe=file, universe_types="all")
    before = judge_bar_lives(lakehouse)
    refresh_universe(lakehouse)

    verdict = judge_bar_lives(lakehouse)

    assert (before.passed, before.numbers["missing_sessions"]) == (True, 0)
    assert (verdict.passed, verdict.numbers["missing_sessions"]) == (False, 9)
    assert verdict.offenders["ticker"].to_list() == ["SHRT"]
    assert verdict.numbers["listings_without_bars"] == 1


def test_real_bars_have_few_gaps_and_jumps_that_look_like_splits(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(
        tmp_path, "http://127.0.0.1:9", daily_bars=find_shared("daily_bars.parquet")
    )
    refresh_due_bars(lakehouse)

    lives, jumps = judge_bar_lives(lakehouse), judge_split_jumps(lakehouse)

    assert lives.passed
    assert lives.offenders["ticker"].head(3).to_list() == ["SD", "KEG", "HERO"]
    assert (jumps.passed, jumps.numbers["split_like_jumps"]) == (False, 56)
