"""From a watchlist of the whole market to unique sessions and merged ranges.

The watchlist is made up: 2,939,824 rows of 8,500 tickers over 22 years, events as frequent as in
the study that ``docs/design`` quotes, in bursts, so that windows overlap and adjoin.  Contenders,
each a process of its own on the same file, read before the clock starts:

* ``ours``: intervals by the widest window of each row, merged, then expanded to sessions.
* ``cut``: ours, and the request ranges that a download would ask for.
* ``loop``: a Python loop over the rows that puts every session into a set per ticker.
"""

import argparse
import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from measuring import make_row, pick, print_result, run_contender, time_work

from smallcaps_assets.core.events.watchlist import build_watchlist
from smallcaps_assets.core.plan.intervals import expand_sessions
from smallcaps_assets.core.plan.ranges import plan_request_ranges
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, merge_windows
from smallcaps_assets.core.sessions import load_calendar

ROWS = 2_939_824
TICKERS = 8_500
COUNTS = {
    "E1_VolExplosion": 164_941,
    "E2_GapUp": 73_170,
    "E3_PriceSpikeIntraday": 144_062,
    "E4_Parabolic": 81_278,
    "E5_BreakoutATH": 412_902,
    "E6_MultipleGreenDays": 1_543_990,
    "E7_FirstRedDay": 16_919,
    "E8_GapDownViolent": 19_924,
    "E9_CrashIntraday": 24_074,
    "E10_FirstGreenBounce": 814_068,
    "E11_VolumeBounce": 47_583,
}
FIRST, LAST = dt.date(2004, 1, 2), dt.date(2025, 12, 31)
BURST_ROWS = 4
"""Rows of a burst, on average; its sessions lie one to four apart."""
SEED = 20040102

MAX_WALL_S, MAX_PEAK_MB, MIN_RATIO = 3.0, 1_200, 5
MAX_ROWS, MAX_SESSIONS, TRADES_PER_SESSION = 250_000, 60, 2_700


def make_watchlist(scale: float) -> pl.DataFrame:
    """Return ``schemas.WATCHLIST`` of about ``ROWS * scale`` rows."""
    random = np.random.default_rng(SEED)
    sessions = load_calendar().dates(FIRST, LAST)
    tickers = [f"T{number:04d}" for number in range(round(TICKERS * scale))]
    cells = draw_cells(random, len(tickers), len(sessions), round(ROWS * scale))
    labels = np.repeat(np.arange(len(COUNTS)), [round(n * scale) for n in COUNTS.values()])
    random.shuffle(labels)
    rows = np.arange(len(labels))
    spare = rows >= len(cells)
    while spare.any():
        # A further event goes to any row that has another one first.
        rows[spare] = random.integers(0, len(cells), spare.sum())
        spare[spare] = labels[rows[spare]] == labels[spare]
    named = pl.DataFrame(
        {
            "ticker": pl.Series(tickers).gather(cells[rows] // len(sessions)),
            "session_date": pl.Series(sessions).gather(cells[rows] % len(sessions)),
            "event": pl.Series(list(COUNTS)).gather(labels),
        }
    )
    return build_watchlist(named.lazy()).collect()


def draw_cells(random: np.random.Generator, tickers: int, sessions: int, rows: int) -> np.ndarray:
    """Return that many distinct ticker-sessions, in bursts."""
    bursts = round(rows * 1.3 / BURST_ROWS)
    sizes = random.geometric(1 / BURST_ROWS, bursts)
    burst = np.repeat(np.arange(bursts), sizes)
    steps = random.integers(1, 5, len(burst))
    reached = np.cumsum(steps)
    offsets = reached - np.repeat(reached[np.cumsum(sizes) - sizes], sizes)
    place = random.integers(0, sessions, bursts)[burst] + offsets
    cells = random.integers(0, tickers, bursts)[burst] * sessions + place
    distinct = np.unique(cells[place < sessions])
    return random.choice(distinct, rows, replace=False)


def merge(watchlist: pl.DataFrame) -> dict[str, object]:
    """Do what ours does."""
    calendar = load_calendar()
    intervals = merge_windows(watchlist, DEFAULT_WINDOWS, calendar)
    sessions = expand_sessions(intervals, calendar)
    return {"sessions": sessions.height, "ranges": intervals.height}


def merge_and_cut(watchlist: pl.DataFrame) -> dict[str, object]:
    """Do what ours does, and cut request ranges."""
    calendar = load_calendar()
    intervals = merge_windows(watchlist, DEFAULT_WINDOWS, calendar)
    sessions = expand_sessions(intervals, calendar).with_columns(
        expected_rows=pl.lit(TRADES_PER_SESSION, pl.Int64)
    )
    ranges = plan_request_ranges(sessions, calendar, MAX_ROWS, MAX_SESSIONS)
    return {"sessions": sessions.height, "ranges": ranges.height}


def loop(watchlist: pl.DataFrame) -> dict[str, object]:
    """Do what a loop over rows does."""
    dates = load_calendar().frame["session_date"].to_list()
    indexes = {date: index for index, date in enumerate(dates)}
    sides = {name: (window.before, window.after) for name, window in DEFAULT_WINDOWS.items()}
    planned: dict[str, set[int]] = {}
    for ticker, date, events in watchlist.select("ticker", "session_date", "events").iter_rows():
        index = indexes[date]
        own = planned.setdefault(ticker, set())
        for event in events:
            before, after = sides[event]
            own.update(range(max(0, index - before), min(len(dates), index + after + 1)))
    ranges = 0
    for own in planned.values():
        ranges += sum(index - 1 not in own for index in own)
    return {"sessions": sum(map(len, planned.values())), "ranges": ranges}


CONTENDERS = {"ours": merge, "cut": merge_and_cut, "loop": loop}


def compare(watchlist: Path, *, repeats: int, is_short: bool) -> list[dict[str, object]]:
    """Run the contenders in turn and return the rows of the result."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name, runs in taken.items():
            runs.append(
                run_contender(Path(__file__), "--contender", name, "--watchlist", str(watchlist))
            )
    ours, slow = taken["ours"], taken["loop"]
    if any(
        (a["sessions"], a["ranges"]) != (b["sessions"], b["ranges"]) for a in ours for b in slow
    ):
        raise SystemExit("contenders disagree about sessions or ranges")
    ratios = {
        "CPU": [b["cpu_s"] / a["cpu_s"] for a, b in zip(ours, slow, strict=True)],
        "peak memory": [b["peak_mb"] / a["peak_mb"] for a, b in zip(ours, slow, strict=True)],
    }
    is_full = not is_short
    return [
        make_row("watchlist rows", [ours[0]["rows"]], "rows"),
        make_row("unique sessions", [ours[0]["sessions"]], "sessions"),
        make_row("merged ranges", [ours[0]["ranges"]], "ranges"),
        make_row("ours, wall", pick(ours, "wall_s"), "s", at_most=MAX_WALL_S if is_full else None),
        make_row("ours, CPU", pick(ours, "cpu_s"), "s"),
        make_row(
            "ours, peak memory",
            pick(ours, "peak_mb"),
            "MB",
            at_most=MAX_PEAK_MB if is_full else None,
        ),
        make_row("ours and request ranges, wall", pick(taken["cut"], "wall_s"), "s"),
        make_row("ours and request ranges, peak memory", pick(taken["cut"], "peak_mb"), "MB"),
        make_row("request ranges, cut", pick(taken["cut"], "ranges"), "ranges"),
        make_row("loop, CPU", pick(slow, "cpu_s"), "s"),
        make_row("loop, peak memory", pick(slow, "peak_mb"), "MB"),
        make_row("CPU, loop over ours", ratios["CPU"], "times", at_least=MIN_RATIO),
        make_row("peak memory, loop over ours", ratios["peak memory"], "times"),
    ]


def main() -> None:
    """Compare, or be one of the contenders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--watchlist", type=Path)
    options = parser.parse_args()
    if options.contender:
        watchlist = pl.read_parquet(options.watchlist)
        load_calendar()
        rows = {"rows": watchlist.height}
        time_work(lambda: CONTENDERS[options.contender](watchlist) | rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watchlist.parquet"
        make_watchlist(0.1 if options.short else 1.0).write_parquet(path)
        rows = compare(path, repeats=1 if options.short else 3, is_short=options.short)
    about = "watchlist of the whole market to unique sessions and merged ranges"
    print_result("plan", about, rows)


if __name__ == "__main__":
    main()
