"""Bars of research: from a lake as downloaded, in memory, and beside the textbook's rule.

Trades of the lake are random, with few prints a minute, so that opening sessions and rows of bars
count.  Loops run in memory on a random walk.  The textbook's rule for imbalance bars is here for
comparison alone: its bars have the length in the table, whatever was wanted.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from measuring import make_row, print_result, run_contender, time_work
from sample_lake import fill_sample, open_sample

from smallcaps_assets.core.research.information_bars import BarRules
from smallcaps_assets.core.research.kernels import cut_imbalance_bars, sign_ticks, sum_bars
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.research.months import Months
from smallcaps_assets.schemas import Table
from smallcaps_assets.schemas_research import BAR_FEATURES, INFORMATION_BARS, MINUTE_BARS

SESSIONS, SHORT_SESSIONS = 4_000, 400
PRINTS, SHORT_PRINTS = 4_000_000, 400_000
SLOW_PRINTS = 100_000
"""Prints that the textbook's rule in plain Python gets."""
REPEATS, SHORT_REPEATS = 5, 2
WANTED, SESSION_PRINTS = 200, 10_000
MILLION = 1_000_000
TABLES = {table.name: table for table in (MINUTE_BARS, INFORMATION_BARS, BAR_FEATURES)}
KINDS = ("dollar", "dollar_imbalance")

Floats = npt.NDArray[np.float64]


def open_months(lakehouse: Lakehouse) -> Months:
    """Return the monthly tables of a lake, with two kinds of bars."""
    store = ResearchStore(lakehouse.home, lakehouse.fs)
    ground = Ground(Lake(lakehouse.home.data_dir), store, lakehouse.calendar)
    return Months(ground, BarRules(kinds=KINDS))


def make(lakehouse: Lakehouse, table: Table) -> dict[str, object]:
    """Make a table of all months again."""
    months = open_months(lakehouse)
    names = months.list_months()
    months.discard(table, names)
    return {"rows": sum(month.rows for month in months.make(table, names))}


def make_walk(prints: int) -> tuple[Floats, Floats]:
    """Return prices and sizes of a random walk on a grid of cents."""
    random = np.random.default_rng(11)
    prices = 20 + np.cumsum(random.choice([-0.01, 0.0, 0.0, 0.01], prints))
    return np.maximum(prices, 1.0), np.ceil(random.lognormal(4.5, 1.2, prints))


def cut(prices: Floats, sizes: Floats) -> int:
    """Sign, cut and sum a walk to dollar imbalance bars; return their number."""
    everything = np.ones(prices.size, dtype=bool)
    starts = np.arange(prices.size) % SESSION_PRINTS == 0
    signs = sign_ticks(prices, sizes, everything, everything, (starts, ~everything))
    firsts = np.append(np.flatnonzero(starts), prices.size)
    wanted = np.full(firsts.size - 1, float(WANTED))
    lasts, *_ = cut_imbalance_bars(
        prices * sizes * signs, signs, firsts, wanted, (2 / 31, 10, 20_000)
    )
    roles = np.full(prices.size, 3, dtype=np.int8)
    return len(sum_bars(prices, sizes, roles, signs, lasts))


def cut_by_the_textbook(prices: Floats, sizes: Floats) -> int:
    """Cut by E[T] |E[b v]| of the bars themselves; return their number."""
    expected_prints, expected_flow, theta = float(WANTED), 0.0, 0.0
    bars = count = sign = 0
    before = prices[0]
    weight = 2 / (20 * WANTED + 1)
    for place, (price, size) in enumerate(zip(prices.tolist(), sizes.tolist(), strict=True)):
        sign = sign if price == before else 1 if price > before else -1
        before = price
        flow = sign * price * size
        theta, count = theta + flow, count + 1
        expected_flow += weight * (flow - expected_flow)
        if place >= WANTED and abs(theta) >= expected_prints * abs(expected_flow):
            expected_prints += 2 / 21 * (count - expected_prints)
            bars, theta, count = bars + 1, 0.0, 0
    return bars


def time_cpu(work: Callable[[], int], repeats: int) -> tuple[list[float], int]:
    """Return the CPU seconds of work, each time it is done, and what it returns."""
    found = work()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return taken, found


def measure_loops(*, is_short: bool) -> list[dict[str, object]]:
    """Return the rows about loops in memory."""
    prints = SHORT_PRINTS if is_short else PRINTS
    prices, sizes = make_walk(prints)
    few = SLOW_PRINTS if not is_short else SLOW_PRINTS // 10
    ours, bars = time_cpu(lambda: cut(prices, sizes), SHORT_REPEATS if is_short else REPEATS)
    slow, collapsed = time_cpu(lambda: cut_by_the_textbook(prices[:few], sizes[:few]), 1)
    speeds = [prints / MILLION / seconds for seconds in ours]
    rows = [
        make_row(
            "imbalance bars with their sums, in memory",
            speeds,
            "M trades/CPU s",
            at_least=50,
            target="imbalance bars in memory, million trades per CPU second",
        ),
        make_row("mean length over the wanted one", [prints / bars / WANTED], "times"),
        make_row("the same by the textbook's rule", [few / collapsed / WANTED], "times"),
        make_row(
            "speed over the textbook's rule in Python",
            [speed / (few / MILLION / slow[0]) for speed in speeds],
            "times",
        ),
    ]
    return rows + measure_peer(prices, sizes, speeds)


def measure_peer(prices: Floats, sizes: Floats, speeds: list[float]) -> list[dict[str, object]]:
    """Return our speed over that of mlfinpy, where it is installed."""
    if importlib.util.find_spec("mlfinpy") is None:
        print("mlfinpy is not installed, so it is not compared", file=sys.stderr)
        return []
    from mlfinpy.data_structure import get_ema_dollar_imbalance_bars  # noqa: PLC0415  optional

    few = SLOW_PRINTS // 10
    instants = pl.datetime_range(
        pl.datetime(2024, 3, 15), pl.datetime(2024, 3, 16), "1s", eager=True
    ).head(few)
    frame = pl.DataFrame({"date_time": instants, "price": prices[:few], "volume": sizes[:few]})
    table = frame.to_pandas()
    taken, _ = time_cpu(
        lambda: len(get_ema_dollar_imbalance_bars(table, exp_num_ticks_init=WANTED)[0]), 1
    )
    ratios = [speed / (few / MILLION / taken[0]) for speed in speeds]
    return [
        make_row(
            "speed over mlfinpy",
            ratios,
            "times",
            at_least=1_000,
            target="imbalance bars in memory, speed over mlfinpy",
        )
    ]


def measure_lake(folder: Path, *, is_short: bool) -> list[dict[str, object]]:
    """Return the rows about a lake as downloaded."""
    lakehouse = open_sample(folder)
    trades = fill_sample(lakehouse, SHORT_SESSIONS if is_short else SESSIONS)
    lakehouse.ledger.close()
    millions = trades / MILLION
    limits = {MINUTE_BARS.name: 0.35, INFORMATION_BARS.name: 0.25}
    words = {MINUTE_BARS.name: "minute bars", INFORMATION_BARS.name: "two kinds of bars"}
    rows = [make_row("trades of the lake, in three months", [trades], "trades")]
    for name in TABLES:
        repeats = range(SHORT_REPEATS if is_short else REPEATS)
        runs = [run_contender(Path(__file__), "--make", name, str(folder)) for _ in repeats]
        limit = limits.get(name)
        rows += [
            make_row(
                f"{name}, CPU per million trades",
                [run["cpu_s"] / millions for run in runs],
                "s",
                at_most=limit,
                target=f"lake to {words[name]}, CPU per million trades" if limit else "",
            ),
            make_row(
                f"{name}, peak memory",
                [run["peak_mb"] for run in runs],
                "MB",
                at_most=600 if name == MINUTE_BARS.name else None,
                target="lake to minute bars, peak memory" if name == MINUTE_BARS.name else "",
            ),
        ]
    return rows


def main() -> None:
    """Measure, or be one of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--make", nargs=2, metavar=("TABLE", "FOLDER"))
    options = parser.parse_args()
    if options.make:
        table, folder = TABLES[options.make[0]], Path(options.make[1])
        lakehouse = open_sample(folder)
        # Loading numba and compiled loops takes half a second, once a process.
        _ = lakehouse.calendar, cut(*make_walk(WANTED))
        time_work(lambda: make(lakehouse, table))
        return
    rows = measure_loops(is_short=options.short)
    with tempfile.TemporaryDirectory(prefix="smallcaps-bench-") as folder:
        rows += measure_lake(Path(folder), is_short=options.short)
    print_result("research", "bars of research", rows)


if __name__ == "__main__":
    main()
