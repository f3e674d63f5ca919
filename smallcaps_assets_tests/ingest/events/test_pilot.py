from pathlib import Path
from typing import Any, Final

import pytest

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.figures import GB
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist, take_pilot
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets_tests.lakehouse_factories import download_plan, make_lakehouse, write_text

ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
TEXT: Final = "ticker,date,events\n" + "".join(
    f"{ticker},2024-03-{day:02},E6\n"
    for ticker, days in {"AA": (5, 12, 19), "BB": (5, 12), "CC": (5,)}.items()
    for day in days
)
"""Windows of three sessions: 9 of AA, 6 of BB, 3 of CC, in the order of the pilot."""
SESSION_BYTES: Final = Calibration().predict_bytes(2_700, 1) + Calibration().block_bytes
"""A session that nothing is known of: trades and indices."""


def make_choosing(folder: Path, **changes: object) -> Lakehouse:
    watchlist = write_text(folder / "watchlist.csv", TEXT)
    lakehouse = make_lakehouse(folder / "data", ADDRESS, watchlist=watchlist, **changes)
    make_watchlist(lakehouse)
    return lakehouse


@pytest.mark.parametrize(
    ("sessions", "changes", "tickers"),
    [
        (8.9, {}, []),
        (9.1, {}, ["AA"]),
        (15.1, {}, ["AA", "BB"]),
        (1e6, {}, ["AA", "BB", "CC"]),
        (1e6, {"pilot_tickers": 2}, ["AA", "BB"]),
    ],
)
def test_budget_takes_the_most_tickers_that_fit(
    tmp_path: Path, sessions: float, changes: dict[str, Any], tickers: list[str]
) -> None:
    budget_gb = sessions * SESSION_BYTES / GB
    lakehouse = make_choosing(tmp_path, pilot_budget=True, disk_budget_gb=budget_gb, **changes)

    pilot = take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST))

    assert sorted(set(pilot.watchlist["ticker"])) == tickers
    chosen = [rung for rung in pilot.ladder if rung.tickers == len(tickers)]
    assert all(rung.verdict.fits for rung in chosen)


def test_budget_below_the_first_ticker_publishes_nothing_and_says_what_it_needs(
    tmp_path: Path,
) -> None:
    lakehouse = make_choosing(tmp_path, pilot_budget=True, disk_budget_gb=1e-6)

    made = make_pilot(lakehouse)

    assert not made.verdict.passed
    assert "not even the first ticker fits the budget" in made.verdict.summary
    assert "1.0 KB free x 1 = 1.0 KB allowed" in made.verdict.summary
    assert not lakehouse.layout.pilot_watchlist_file.exists()


def test_budget_beyond_the_disk_is_held_to_four_fifths_of_it(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, pilot_budget=True, disk_budget_gb=1e9)

    pilot = take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST))

    assert "free x 0.8" in pilot.ladder[0].verdict.arithmetic


def test_ladder_holds_the_size_in_force_and_the_usual_ones(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, pilot_tickers=1)

    made = make_pilot(lakehouse)

    ladder = made.tables["pilot_ladder"]
    assert ladder["tickers"].to_list() == [3, 1]
    assert ladder["unique_sessions"].to_list() == [18, 9]
    assert ladder["fits"].all()
    assert lakehouse.tables.read_table(PILOT_WATCHLIST)["ticker"].unique().to_list() == ["AA"]


def test_ladder_of_months_counts_months(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, plan_mode="event_months")

    rungs = take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST)).ladder

    assert [rung.unique_ticker_sessions for rung in rungs] == [3 * 20]
    assert [rung.ticker_sessions for rung in rungs] == [6 * 20]


def test_a_pilot_does_not_shrink_while_it_is_fetched(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """What it holds already counts as free: the rungs of the ladder are whole costs."""
    watchlist = write_text(tmp_path / "w.csv", "ticker,date,events\nBCPC,2024-03-06,E6\n")
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    make_watchlist(lakehouse)
    make_pilot(lakehouse)
    make_plan(lakehouse)
    free = lakehouse.fs.free_bytes(tmp_path)

    download_plan(lakehouse)

    rung = take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST)).ladder[0]
    assert rung.verdict.allowed_bytes == pytest.approx(0.8 * free, rel=0.05)
    assert rung.unique_ticker_sessions == 3
