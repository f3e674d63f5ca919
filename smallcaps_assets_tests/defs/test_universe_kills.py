"""A universe that two processes download, killed again and again, each time resumed.

The same command, on one lake.  Whoever is killed and when: the others end with the parent, nothing
proven is lost or asked for again, and the end is that of a download that nobody disturbed.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets_tests.defs.defs_factories import PATIENCE_S, EmulatorProcess, Home
from smallcaps_assets_tests.defs.universe_factories import (
    MARKET,
    MONTHS,
    list_proven,
    make_universe_home,
    plan_universe,
    read_batches,
    read_colours,
    republish,
)
from smallcaps_assets_tests.defs.universe_kills import (
    COMMAND,
    draw_kills,
    find_problems,
    find_workers,
)

pytestmark = pytest.mark.slow

ALL_TICKERS = Market(MarketConfig(tickers=12, busy_trades=0)).tickers
TICKERS = ALL_TICKERS[:10]
UNITS = {f"b{batch:03d}_{month}" for batch in (1, 2, 3) for month in MONTHS}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(*MARKET) as process:
        yield process


@pytest.fixture(scope="module")
def planned(emulator: EmulatorProcess, memory: Path) -> Home:
    """Return a home in which the universe is planned and registered."""
    return make_universe_home(memory / "planned", emulator.url, plan_universe(TICKERS))


@pytest.fixture(scope="module")
def calm(planned: Home, memory: Path) -> Home:
    """Return the home of a download that nobody disturbed."""
    home = planned.copy(memory / "calm")
    finished = home.run(*COMMAND)
    assert finished.code == 0, finished.out
    return home


def test_kills_lose_nothing_and_repeat_nothing(
    planned: Home, calm: Home, emulator: EmulatorProcess, memory: Path
) -> None:
    home = planned.copy(memory / "killed")
    emulator.set_faults("slow:seconds=0.1,endpoint=trades")

    problems = [
        f"{kill}: {problem}"
        for kill in draw_kills(1, 2, 25)  # the campaign kills both at once too
        for problem in find_problems(home, emulator, kill)
    ]
    emulator.set_faults()
    last = home.run(*COMMAND)
    asked = len(emulator.requests)

    assert problems == []
    assert last.code == 0, last.out
    assert home.hash_lake() == calm.hash_lake()
    assert home.run(*COMMAND).code == 0
    assert len(emulator.requests) == asked
    with home.open_instance() as instance:
        colours = read_colours(instance)
    assert colours["MATERIALIZED"] == UNITS == list_proven(home.lakehouse)


def test_ctrl_c_ends_all_and_keeps_what_is_finished(
    planned: Home, emulator: EmulatorProcess, memory: Path
) -> None:
    home = planned.copy(memory / "interrupted")
    emulator.set_faults("slow:seconds=0.2,endpoint=trades")
    before = emulator.count_requests()
    process = home.start(*COMMAND)
    while process.poll() is None and emulator.count_requests() < before + 12:
        time.sleep(0.05)
    workers = find_workers(process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    emulator.set_faults()

    assert process.returncode == 130
    assert "run the same command to go on" in output
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
    assert home.read_receipts()
    with home.open_instance() as instance:
        colours = read_colours(instance)
    assert colours["IN_PROGRESS"] == set()
    assert colours["MATERIALIZED"] == list_proven(home.lakehouse)


def test_a_second_parent_is_refused(planned: Home, emulator: EmulatorProcess, memory: Path) -> None:
    home = planned.copy(memory / "second")
    emulator.set_faults("slow:seconds=0.5,endpoint=trades")
    process = home.start(*COMMAND)
    while process.poll() is None and not find_workers(process):
        time.sleep(0.05)

    refused = home.run(*COMMAND)
    process.kill()
    process.communicate()
    emulator.set_faults()

    assert refused.code == 2
    assert "smallcaps download --universe" in refused.out


def test_growth_turns_nothing_green_and_a_corrected_life_one_unit(
    calm: Home, emulator: EmulatorProcess, memory: Path
) -> None:
    home = calm.copy(memory / "grown", page_limit=50_000, range_max_sessions=60)
    months, batches = (*MONTHS, "2024-03"), read_batches(plan_universe(TICKERS))
    corrected = plan_universe(ALL_TICKERS, months, batches)
    is_unknown = (pl.col("ticker") == "CON") & (pl.col("month") == "2024-03")

    grown = republish(home, corrected.filter(~is_unknown))

    assert grown["MATERIALIZED"] == UNITS
    new = {f"b{batch:03d}_2024-03" for batch in (1, 2, 3)} | {f"b004_{month}" for month in months}
    assert grown["MISSING"] == new
    assert home.run(*COMMAND).code == 0

    turned = republish(home, corrected)

    assert (turned["FAILED"], turned["MISSING"]) == ({"b001_2024-03"}, set())
    assert turned["MATERIALIZED"] == (UNITS | new) - {"b001_2024-03"}
    before = len(emulator.requests)
    assert home.run(*COMMAND).code == 0
    (asked,) = emulator.requests[before:]
    assert asked["path"] == "/v3/trades/CON"
    with home.open_instance() as instance:
        assert read_colours(instance)["MATERIALIZED"] == list_proven(home.lakehouse) == UNITS | new
