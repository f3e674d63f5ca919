from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.budget.estimates import estimate_lake
from smallcaps_assets.ingest.plan.difference import measure_change
from smallcaps_assets.ingest.plan.document import document_change
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    SmallLake,
    download_plan,
    make_lakehouse,
    publish_plan,
    write_text,
)

HEADER = "ticker,date,events\n"
GROWN = HEADER + "BCPC,2024-01-10,E6\nCON,2024-01-30,E6|E1\nBRK.A,2024-01-30,E6\n"
"""BCpC is gone with 3 sessions, CON gained 2, BRK.A is new with 3."""


def read_files(folder: Path) -> dict[str, bytes]:
    """Return every file but the side files that SQLite keeps while it is read."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_measure_change_tells_sessions_requests_and_bytes_of_both_sides(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    write_text(tmp_path / "watchlist.csv", GROWN)

    change = measure_change(lakehouse)

    added, removed = change.added, change.removed
    assert (added.ticker_sessions, added.tickers, added.stored_sessions) == (5, 2, 0)
    # The sessions that CON gained lie on both sides of those it has: two ranges, and one of BRK.A.
    assert added.cost.requests == 3
    assert added.cost.bytes_stored > 0
    assert (removed.ticker_sessions, removed.stored_sessions, change.kept) == (3, 3, SESSIONS - 3)
    assert (removed.cost.requests, removed.stored_bytes > 0) == (0, True)
    assert change.problems == ()


def test_measure_change_changes_nothing_on_the_disk(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path, pilot_tickers=2, batch="1/2", plan_mode="event_months")
    lakehouse.ledger.close()
    write_text(tmp_path / "watchlist.csv", GROWN)
    before = read_files(tmp_path)

    change = measure_change(lakehouse)

    assert change.added.ticker_sessions > 0
    assert read_files(tmp_path) == before


def test_measure_change_of_an_empty_folder_makes_no_lake(tmp_path: Path) -> None:
    watchlist = write_text(tmp_path / "watchlist.csv", GROWN)
    lakehouse = make_lakehouse(tmp_path / "data", "http://127.0.0.1:9", watchlist=watchlist)

    change = measure_change(lakehouse)

    assert (change.added.ticker_sessions, change.removed.ticker_sessions) == (11, 0)
    assert change.unread_months == 3
    assert list((tmp_path / "data").iterdir()) == []


def test_measure_change_is_what_planning_and_downloading_then_do(
    market_server: EmulatorServer, small_lake: SmallLake, tmp_path: Path
) -> None:
    copied = small_lake.copy(tmp_path)
    settings = copied.settings.model_copy(update={"base_url": market_server.url})
    lakehouse = type(copied)(settings, clock=copied.clock)
    write_text(tmp_path / "watchlist.csv", GROWN)

    promised = measure_change(lakehouse).added
    publish_plan(lakehouse)
    remaining = estimate_lake(lakehouse).remaining
    summary = download_plan(lakehouse).summary

    assert remaining.ticker_sessions == promised.ticker_sessions == summary.finished
    assert remaining.requests == promised.cost.requests == summary.requests


def test_measure_change_says_why_a_plan_would_not_be_published(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    write_text(tmp_path / "watchlist.csv", HEADER + "BCPC,2024-01-13,E6\n")

    change = measure_change(lakehouse)

    (problem,) = change.problems
    assert problem.startswith("expected at least one session, got none")
    assert problem.endswith("on weekends and holidays: BCPC 2024-01-13")
    assert change.removed.ticker_sessions == SESSIONS


def test_a_plan_that_stays_is_told_without_costs(small_lake: SmallLake, tmp_path: Path) -> None:
    told = document_change(measure_change(small_lake.copy(tmp_path)))

    assert told.kept_sessions == SESSIONS
    for side in (told.added, told.removed):
        assert (side.ticker_sessions, side.requests, side.bytes) == (0, 0, 0)


def test_measure_change_of_the_rules_needs_daily_bars(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="no daily bars"):
        measure_change(make_lakehouse(tmp_path, "http://127.0.0.1:9"))


def test_a_plan_of_sessions_is_compared_too(small_lake: SmallLake, tmp_path: Path) -> None:
    plain = {"plan_mode": "sessions", "plan_tickers": "BCPC", "first_session": "2024-01-09"}
    lakehouse = small_lake.copy(tmp_path, **plain, last_session="2024-01-12")

    change = measure_change(lakehouse)
    make_plan(lakehouse)

    assert (change.added.ticker_sessions, change.kept) == (1, 3)
    assert lakehouse.tables.read_plan()[0].sessions == 4
