import datetime as dt
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist, pilot_size
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets_tests.lakehouse_factories import (
    make_lakehouse,
    refresh_due_bars,
    write_bars,
    write_text,
)

FIRST: Final = dt.date(2024, 1, 2)
QUIET: Final = {"ABCD": [1.0] * 30}
JUMPS: Final = {"ABCD": [1.0] * 20 + [1.2] * 5 + [2.0] * 5, "WXYZ": [5.0] * 29 + [6.0]}
ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here: no test of this module asks the vendor."""


def make_detecting(folder: Path, closes: dict[str, list[float]], **changes: object) -> Lakehouse:
    """Return a lakehouse that has stored the bars of a file."""
    bars = write_bars(folder / "bars.csv", closes, FIRST)
    lakehouse = make_lakehouse(folder / "data", ADDRESS, daily_bars=bars, **changes)
    refresh_due_bars(lakehouse)
    return lakehouse


def make_importing(folder: Path, text: str, **changes: object) -> Lakehouse:
    watchlist = write_text(folder / "watchlist.csv", text)
    return make_lakehouse(folder / "data", ADDRESS, watchlist=watchlist, **changes)


def test_make_watchlist_applies_the_rules_to_the_stored_bars(tmp_path: Path) -> None:
    lakehouse = make_detecting(tmp_path, JUMPS)

    made = make_watchlist(lakehouse)

    rows = lakehouse.tables.read_table(WATCHLIST)
    assert made.verdict.passed
    assert rows.filter(pl.col("events").list.contains("E2_GapUp"))["ticker"].to_list() == [
        "ABCD",
        "ABCD",
        "WXYZ",
    ]
    assert made.tables["rows_per_event"].filter(event="E2_GapUp")["rows"].item() == 3


def test_make_watchlist_lists_jumps_that_look_like_splits(tmp_path: Path) -> None:
    lakehouse = make_detecting(tmp_path, {"ABCD": [1.0] * 20 + [10.0] * 5})

    made = make_watchlist(lakehouse)

    assert made.numbers["split_like_jumps"] == 1
    assert made.tables["split_like_jumps"]["ticker"].to_list() == ["ABCD"]


def test_make_watchlist_keeps_to_the_sessions_wanted(tmp_path: Path) -> None:
    last = dt.date(2024, 2, 1)
    lakehouse = make_detecting(tmp_path, JUMPS, last_session=last)

    make_watchlist(lakehouse)

    assert lakehouse.tables.read_table(WATCHLIST)["session_date"].to_list() == [
        dt.date(2024, 1, 30)
    ]


def test_make_watchlist_without_bars_says_what_to_do(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, ADDRESS)

    with pytest.raises(MissingPartitionError, match="materialize daily_bars"):
        make_watchlist(lakehouse)


def test_make_watchlist_publishes_no_empty_candidate_and_keeps_the_old_one(tmp_path: Path) -> None:
    old = make_detecting(tmp_path, JUMPS)
    make_watchlist(old)
    before = old.tables.read_table(WATCHLIST)

    lakehouse = make_detecting(tmp_path, QUIET)
    made = make_watchlist(lakehouse)

    assert not made.verdict.passed
    assert made.verdict.summary.startswith("expected at least one row, got none: the rules")
    assert "30 bars of 1 tickers are stored, 2024-01-02 to 2024-02-12" in made.verdict.summary
    assert lakehouse.tables.read_table(WATCHLIST).equals(before)
    layout = lakehouse.layout
    assert pl.read_parquet(layout.candidate_file(layout.watchlist_file)).is_empty()


def test_make_watchlist_imports_a_file_and_counts_what_it_merged(tmp_path: Path) -> None:
    text = "ticker,date,events,event_count\nABCD,2024-01-03,E1|E2,1\nABCD,2024-01-03,E2,1\n"
    lakehouse = make_importing(tmp_path, text)

    made = make_watchlist(lakehouse)

    assert lakehouse.tables.read_table(WATCHLIST).rows() == [
        ("ABCD", dt.date(2024, 1, 3), ["E1_VolExplosion", "E2_GapUp"], 2)
    ]
    assert {name: made.numbers[name] for name in ("repeated_rows", "repeated_names")} == {
        "repeated_rows": 1,
        "repeated_names": 1,
    }
    assert (made.numbers["file"], made.numbers["wrong_counts"]) == ("watchlist.csv", 2)


def test_make_watchlist_keeps_the_old_one_when_a_file_is_bad(tmp_path: Path) -> None:
    lakehouse = make_importing(tmp_path, "ticker,date,events\nABCD,2024-01-03,E1\n")
    make_watchlist(lakehouse)
    before = lakehouse.layout.watchlist_file.read_bytes()

    write_text(tmp_path / "watchlist.csv", "ticker,date,events\nABCD,2024-01-03,E99\n")
    with pytest.raises(DataError, match="E99"):
        make_watchlist(lakehouse)

    assert lakehouse.layout.watchlist_file.read_bytes() == before


def test_make_pilot_takes_the_tickers_with_the_most_sessions_of_several_events(
    tmp_path: Path,
) -> None:
    text = "ticker,date,events\nABCD,2024-01-03,E1|E2\nWXYZ,2024-01-03,E1|E2\n"
    lakehouse = make_importing(
        tmp_path,
        text + "WXYZ,2024-01-04,E1|E2\nABCD,2024-01-05,E1\n",
        pilot_min_events=2,
        pilot_tickers=1,
    )
    make_watchlist(lakehouse)

    made = make_pilot(lakehouse)

    assert lakehouse.tables.read_table(PILOT_WATCHLIST)["ticker"].to_list() == ["WXYZ", "WXYZ"]
    assert made.tables["ranking"].rows() == [("WXYZ", 2), ("ABCD", 1)]


def test_make_pilot_publishes_none_that_is_empty_and_keeps_the_old_one(tmp_path: Path) -> None:
    text = "ticker,date,events\nABCD,2024-01-03,E1|E2\n"
    lakehouse = make_importing(tmp_path, text)
    make_watchlist(lakehouse)
    make_pilot(lakehouse)

    strict = make_importing(tmp_path, text, pilot_min_events=3)
    made = make_pilot(strict)

    assert not made.verdict.passed
    assert "lower SMALLCAPS_PILOT_MIN_EVENTS" in made.verdict.summary
    assert strict.tables.read_table(PILOT_WATCHLIST).height == 1


def test_make_pilot_needs_a_watchlist(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="materialize watchlist"):
        make_pilot(make_lakehouse(tmp_path, ADDRESS))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (3, 15)),
        ({"watchlist": (Path("watchlist.csv"),)}, (0, 0)),
        ({"pilot_min_events": 2, "pilot_tickers": 30}, (2, 30)),
    ],
)
def test_pilot_size_is_the_default_of_the_source_unless_it_is_set(
    tmp_path: Path, changes: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert pilot_size(make_lakehouse(tmp_path, ADDRESS, **changes)) == expected
