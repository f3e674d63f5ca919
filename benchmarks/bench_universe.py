"""The plan of a universe: 6,405 made-up listings over 22 years, with daily bars of their lives.

Lives and trades are assumed: 3,105 active listings of 13 years at the mean, 3,300 delisted ones of
7, ``TRADES`` in all, spread over months by two lognormal factors, of the ticker and of the month.
Bars lie in files by month, as a lake has them.  The plan is made by the use case of the command in
a process of its own; what is missing of it is asked with one ticker-month in three proven.
"""

import argparse
import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from measuring import make_row, pick, print_result, run_contender, time_work

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.universe.costs import RATES
from smallcaps_assets.core.universe.progress import (
    find_missing,
    measure_tickers,
    measure_units,
    select_units,
)
from smallcaps_assets.ingest.universe.publishing import make_universe_plan
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, UNIVERSE
from smallcaps_assets.settings import Settings

FIRST, LAST = dt.date(2004, 1, 2), dt.date(2025, 12, 31)
NOW = dt.datetime(2026, 1, 15, 17, tzinfo=dt.UTC)
ACTIVE, DELISTED = 3_105, 3_300
TRADES = 13.5e9
DAYS_A_MONTH = 30.44
OF_TICKER, OF_MONTH = 1.8, 0.9
"""Standard deviations of the two factors, in logarithms."""
REPEATS = 3
MAX_PLAN_S, MAX_PEAK_MB = 60, 1_536
GB = 1e9


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--plan", type=Path, help="Plan the universe of a folder, and tell.")
    options = parser.parse_args()
    if options.plan:
        time_work(lambda: plan(options.plan))
        return
    share = 0.02 if options.short else 1.0
    with tempfile.TemporaryDirectory(prefix="smallcaps-universe-") as folder:
        bars = make_market(Path(folder), share)
        script = Path(__file__)
        runs = [
            run_contender(script, "--plan", folder) for _ in range(1 if options.short else REPEATS)
        ]
    about = f"{round((ACTIVE + DELISTED) * share):,} listings, {bars:,} daily bars"
    print_result("universe", about, list(list_rows(runs)))


def list_rows(runs: list[dict[str, float]]) -> list[dict[str, object]]:
    """Return the rows of the result."""
    last = runs[-1]
    shown = {
        "units": "units",
        "ticker_months": "ticker-months",
        "sessions": "ticker-sessions",
        "requests": "requests",
        "gb": "GB",
        **{f"hours {name}": "hours" for name in (*RATES, "cpu")},
    }
    timed = {
        "units_s": "what is missing, by unit",
        "tickers_s": "what is missing, by ticker and year",
        "span_s": "sessions to ask for of 20 units",
    }
    return [
        make_row(
            "plan, wall",
            pick(runs, "wall_s"),
            "s",
            at_most=MAX_PLAN_S,
            target="a plan of 6,405 listings over 22 years",
        ),
        make_row("plan, CPU", pick(runs, "cpu_s"), "s"),
        make_row(
            "plan, peak memory",
            pick(runs, "peak_mb"),
            "MiB",
            at_most=MAX_PEAK_MB,
            target="the same, peak memory",
        ),
        *(make_row(name, [last[name]], unit) for name, unit in shown.items()),
        *(make_row(text, pick(runs, name), "s") for name, text in timed.items()),
    ]


def plan(folder: Path) -> dict[str, object]:
    """Plan the universe of a folder and tell what it costs, and what it takes to ask of it."""
    made = make_universe_plan(Lakehouse(make_settings(folder), clock=lambda: NOW))
    estimate, plan = made.estimate, made.plan
    proven = plan.gather_every(3).select("month", "ticker", proven="owed")
    taken = {}
    for name, work in {
        "units_s": lambda: measure_units(plan, proven),
        "tickers_s": lambda: measure_tickers(plan, proven, by_year=True),
    }.items():
        started = time.perf_counter()
        work()
        taken[name] = time.perf_counter() - started
    some = measure_units(plan, proven).head(20)
    started = time.perf_counter()
    find_missing(select_units(plan, some), proven)
    taken["span_s"] = time.perf_counter() - started
    return {
        "units": made.record.units,
        "ticker_months": made.record.ticker_months,
        "sessions": made.record.sessions,
        "requests": estimate.whole.requests,
        "gb": estimate.whole.bytes_on_disk / GB,
        **{f"hours {name}": hours for name, hours in estimate.hours.items()},
        **taken,
    }


def make_settings(folder: Path) -> Settings:
    """Return settings that nothing of the environment changes."""
    return Settings(
        _env_file=None,
        _env_prefix="SMALLCAPS_BENCH_",
        POLYGON_API_KEY="none",
        data_dir=folder,
        source="vendor",
        first_session=FIRST,
        last_session=LAST,
    )


def make_market(folder: Path, share: float) -> int:
    """Write listings and daily bars; return how many bars."""
    rng = np.random.default_rng(3)
    listings = make_listings(rng, round(ACTIVE * share), round(DELISTED * share))
    layout = LakeLayout(folder)
    TableStore(layout, FileSystem()).write_table(UNIVERSE, listings, is_published=True)
    level = rng.lognormal(-(OF_TICKER**2) / 2, OF_TICKER, listings.height)
    begin = listings["listed_date"].to_numpy()
    end = listings["delisted_date"].fill_null(LAST).to_numpy()
    lived = (np.minimum(end, np.datetime64(LAST)) - np.maximum(begin, np.datetime64(FIRST))).astype(
        int
    )
    mean = TRADES * share / (lived.clip(0).sum() * 252 / 365.25)
    tickers, count = listings["ticker"], 0
    dates = pl.Series(load_calendar().dates(FIRST, LAST))
    for (month,), days in dates.to_frame("d").group_by(
        pl.col("d").dt.to_string("%Y-%m"), maintain_order=True
    ):
        wave = rng.lognormal(-(OF_MONTH**2) / 2, OF_MONTH, listings.height) * level * mean
        parts = []
        for day in days["d"]:
            alive = np.flatnonzero((begin <= np.datetime64(day)) & (end > np.datetime64(day)))
            trades = rng.poisson(np.minimum(wave[alive], 1e8))
            traded = trades > 0
            parts.append(
                pl.DataFrame(
                    {"ticker": tickers.gather(alive[traded]), "trade_count": trades[traded]}
                ).with_columns(session_date=pl.lit(day))
            )
        write_bars(layout.daily_bars_file(str(month)), pl.concat(parts))
        count += sum(part.height for part in parts)
    return count


def make_listings(rng: np.random.Generator, active: int, delisted: int) -> pl.DataFrame:
    """Return listings whose lives are as the docstring of this module assumes."""
    months = (LAST.year - FIRST.year + 1) * 12
    lives = rng.gamma(2.0, 78, active)
    starts = rng.integers(0, months, delisted)
    ages = rng.gamma(1.8, 48, delisted)
    begun = [LAST - dt.timedelta(days=DAYS_A_MONTH * life) for life in lives]
    begun += [FIRST + dt.timedelta(days=DAYS_A_MONTH * float(start)) for start in starts]
    ended = [None] * active + [
        min(day + dt.timedelta(days=DAYS_A_MONTH * age + 1), LAST)
        for day, age in zip(begun[active:], ages, strict=True)
    ]
    names = [f"T{number:05d}" for number in range(active + delisted)]
    rng.shuffle(names)
    rows = [
        dict.fromkeys(UNIVERSE.columns)
        | {
            "ticker": name,
            "type": "CS",
            "primary_exchange": "XNAS",
            "is_active": end is None,
            "listed_date": begin,
            "delisted_date": end,
        }
        for name, begin, end in zip(names, begun, ended, strict=True)
    ]
    return pl.DataFrame(rows, UNIVERSE.schema).sort("ticker")


def write_bars(path: Path, bars: pl.DataFrame) -> None:
    """Write the bars of a month as a lake has them."""
    path.parent.mkdir(parents=True)
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), pl.lit(1.0))
    full = bars.with_columns(**prices, volume=pl.col("trade_count") * 190.0)
    DAILY_BARS.conform(
        full.select(*DAILY_BARS.columns).sort("ticker", "session_date")
    ).write_parquet(path)


if __name__ == "__main__":
    sys.exit(main())
