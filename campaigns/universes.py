"""Universes that several processes download: killed at random, and in random histories."""

import random
from pathlib import Path

from campaigns.ground import Part, serve_market
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets_tests.defs.defs_factories import EmulatorProcess
from smallcaps_assets_tests.defs.histories import ALL, begin_history
from smallcaps_assets_tests.defs.universe_factories import (
    list_proven,
    make_universe_home,
    plan_universe,
    read_colours,
)
from smallcaps_assets_tests.defs.universe_kills import COMMAND, draw_kills, find_problems

MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05", "2024-06")
SCALE = ("--from", "2024-01-02", "--to", "2024-06-28", "--trades-scale", "0.02")


def run_universe_kills(folder: Path, *, is_short: bool) -> Part:
    """Kill parent, processes or both at random moments, and resume by the same command."""
    part = Part(
        "SIGKILL of a universe's download by two processes",
        "same content hash; nothing proven asked again; green is proven; at last no request",
    )
    tickers, months, kills, size = (12, MONTHS[:2], 3, 4) if is_short else (240, MONTHS, 10, 60)
    plan = plan_universe(Market(MarketConfig(tickers=tickers)).tickers, months, size=size)
    usual = {"range_max_sessions": 60, "page_limit": 500, "commit_interval_s": 2.0, "workers": 4}
    market = ("--tickers", str(tickers), "--busy-trades", "0", *SCALE)
    with EmulatorProcess(*market) as emulator:
        planned = make_universe_home(folder / "universe", emulator.url, plan, **usual)
        calm = planned.copy(folder / "universe-calm", **usual)
        finished = calm.run(*COMMAND)
        truth, most = calm.hash_lake(), len(emulator.requests)
        part.check("undisturbed", [] if finished.code == 0 else [finished.out[-200:]])
        home = planned.copy(folder / "universe-killed", **usual)
        for kill in draw_kills(1, kills, max(1, most // kills)):
            part.check(kill, find_problems(home, emulator, kill))
        resumed = home.run(*COMMAND)
        asked = len(emulator.requests)
        again = home.run(*COMMAND)
        problems = [] if (resumed.code, again.code) == (0, 0) else [resumed.out[-200:]]
        problems += [] if home.hash_lake() == truth else ["another content hash"]
        more = len(emulator.requests) - asked
        problems += [f"{more} requests for nothing"] if more else []
        with home.open_instance() as instance:
            green = read_colours(instance)["MATERIALIZED"]
        problems += [] if green == list_proven(home.lakehouse) else ["green is not what is proven"]
        part.check("resumed", problems)
    part.notes = f"{tickers} tickers, {len(months)} months, {most:,} requests undisturbed"
    return part


def run_universe_histories(folder: Path, *, is_short: bool) -> Part:
    """Edit plans, download, kill, damage and align at random; compare colours and proofs."""
    part = Part(
        "random histories of a universe",
        "the green set is the proven set, and every red unit has a reason",
    )
    steps = 10 if is_short else 200
    with (
        serve_market() as server,
        begin_history(folder / "histories", server, random.Random(7)) as history,
    ):
        for place in range(steps):
            part.check(f"step {place}", history.step())
    part.notes = f"{len(ALL)} ticker-sessions that may be planned"
    return part
