"""One run's work on units of a universe, without Dagster."""

import dataclasses
import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.universe.fetching import PROVEN_BEFORE, UnitEnd, UnitsDownload
from smallcaps_assets.ingest.universe.standing import find_open_units
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.defs.universe_factories import frame_plan, publish_universe
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SmallLake,
    count_trade_requests,
    make_lakehouse,
)

JANUARY = [f"2024-01-{day:02d}" for day in (29, 30, 31)]
FEBRUARY = [f"2024-02-{day:02d}" for day in (1, 2, 5)]
BATCHES = {"BCPC": 1, "CON": 1, "BCpC": 2, "BRK.A": 2}
OWED = [f"{ticker}_{day}" for ticker in ("BCPC", "CON", "BCpC") for day in JANUARY + FEBRUARY]
UNITS = ["b001_2024-01", "b001_2024-02", "b002_2024-01", "b002_2024-02"]
FIRST = [f"{ticker}_{day}" for ticker in ("BCPC", "CON") for day in JANUARY]
"""Sessions of the first unit."""


@pytest.fixture
def lakehouse(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lake for which a universe is planned, and nothing else."""
    lakehouse = make_lakehouse(tmp_path, market_server.url)
    plan(lakehouse, OWED)
    ensure_indexed(lakehouse)
    return lakehouse


def plan(lakehouse: Lakehouse, keys: Iterable[str]) -> None:
    publish_universe(lakehouse, frame_plan(map(decode_key, keys), BATCHES))


def open_run(
    lakehouse: Lakehouse, units: Iterable[str] = UNITS, run_id: str = "run"
) -> tuple[Backfill, UnitsDownload]:
    backfill = Backfill(lakehouse, run_id=run_id)
    return backfill, UnitsDownload(lakehouse, backfill, list(units))


def download(lakehouse: Lakehouse, units: Iterable[str] = UNITS) -> dict[str, UnitEnd]:
    backfill, work = open_run(lakehouse, units)
    with backfill.held(wait_s=0, is_shared=True):
        return {end.unit: end for end in work.run()}


def on(lakehouse: Lakehouse, days: int) -> Lakehouse:
    """Return the same lake some days later."""
    return dataclasses.replace(lakehouse, clock=lambda: NOW + dt.timedelta(days=days))


def test_units_end_with_what_they_hold(lakehouse: Lakehouse, market_server: EmulatorServer) -> None:
    ends = download(lakehouse)

    assert sorted(ends) == UNITS
    assert all(end.is_green for end in ends.values())
    first = ends["b001_2024-01"]
    assert (first.sessions, first.tickers, first.open, first.open_keys) == (6, 2, 0, ())
    assert sum(first.states.values()) == 6
    spent = sum(end.requests for end in ends.values())
    assert spent == count_trade_requests(market_server) > 0
    receipts = lakehouse.sessions.find_receipts(FIRST)
    assert first.rows == sum(receipt.rows for receipt in receipts)
    assert first.content_hash == hash_lake({r.key: r.content_hash for r in receipts})


def test_chains_cross_months(lakehouse: Lakehouse, market_server: EmulatorServer) -> None:
    download(lakehouse, UNITS[:2])

    assert count_trade_requests(market_server) == 2  # a chain a ticker, for both months


def test_again_asks_for_nothing(lakehouse: Lakehouse, market_server: EmulatorServer) -> None:
    download(lakehouse)
    before = count_trade_requests(market_server)

    ends = download(lakehouse)

    assert count_trade_requests(market_server) == before
    assert list(ends) == UNITS
    assert all(end.states == {PROVEN_BEFORE: end.sessions} for end in ends.values())
    assert find_open_units(lakehouse).open == frozenset()


def test_what_event_windows_stored_is_not_asked_for(
    small_lake: SmallLake, market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path, base_url=market_server.url)
    plan(lakehouse, [f"BCPC_2024-01-{day:02d}" for day in (9, 10, 11, 12)])

    (end,) = download(lakehouse, UNITS[:1]).values()

    assert (end.is_green, end.sessions, end.states[PROVEN_BEFORE]) == (True, 4, 3)
    assert count_trade_requests(market_server) == 1
    assert len(end.content_hash) == 64


def test_a_unit_that_grows_while_it_is_fetched_is_not_finished(lakehouse: Lakehouse) -> None:
    backfill, work = open_run(lakehouse)
    with backfill.held(wait_s=0, is_shared=True):
        run = work.run()
        seen = next(run).unit
        grown = {unit: f"BRK.A_{unit[5:]}-{'01' if unit.endswith('2') else '31'}" for unit in UNITS}
        plan(lakehouse, [*OWED, grown["b002_2024-01"], grown["b002_2024-02"], "BCPC_2024-02-06"])
        after = {end.unit: end for end in run}

    grown["b001_2024-02"] = "BCPC_2024-02-06"
    assert set(after) == set(UNITS) - {seen}
    for unit, end in after.items():
        assert end.open_keys == (() if unit == "b001_2024-01" else (grown[unit],))
        assert end.is_green == (unit == "b001_2024-01")
    assert find_open_units(lakehouse).sessions == 3


def test_a_unit_that_shrinks_while_it_is_fetched_owes_less(lakehouse: Lakehouse) -> None:
    backfill, work = open_run(lakehouse, UNITS[:2])
    with backfill.held(wait_s=0, is_shared=True):
        run = work.run()
        first = next(run)
        plan(lakehouse, [key for key in OWED if first.unit[5:] in key][:1])
        (end,) = run

    assert (end.sessions, end.tickers, end.is_green) == (0, 0, True)
    assert find_open_units(lakehouse).planned == 1


def test_a_sick_ticker_is_asked_for_once_a_day_after_three_dates(
    lakehouse: Lakehouse, market_server: EmulatorServer
) -> None:
    market_server.faults = [Fault("500", ticker="CON")]
    today = lakehouse
    for day in range(3):
        today = on(lakehouse, day)
        ends = download(today)
        found = find_open_units(today)
        assert ends["b001_2024-01"].open_keys == tuple(f"CON_{date}" for date in JANUARY)
        assert found.open == {"b001_2024-01", "b001_2024-02"}
        assert found.resting == (6 if day == 2 else 0)
        assert found.known_failures == (frozenset() if day == 2 else found.open)

    before = count_trade_requests(market_server)
    assert find_open_units(today).due == ()
    assert find_open_units(today, is_forced=True).sessions == 6
    assert not download(today, UNITS[:2])["b001_2024-02"].is_green
    assert count_trade_requests(market_server) == before

    market_server.faults = []
    tomorrow = on(lakehouse, 3)
    assert find_open_units(tomorrow).due == ("b001_2024-01", "b001_2024-02")
    assert all(end.is_green for end in download(tomorrow).values())


def test_the_lake_is_shared_by_two_runs(lakehouse: Lakehouse) -> None:
    first, work = open_run(lakehouse, UNITS[:2], "first")
    second, other = open_run(dataclasses.replace(lakehouse), UNITS[2:], "second")
    with first.held(wait_s=0, is_shared=True), second.held(wait_s=0, is_shared=True):
        ends = [*work.run(), *other.run()]

    assert len(ends) == 4
    assert all(end.is_green for end in ends)
    assert find_open_units(lakehouse).open == frozenset()
