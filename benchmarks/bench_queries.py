"""Questions to a lake of 10,000 ticker-sessions, as downloaded, against naive files.

Contenders, asked in turn, each time on a connection that has seen no file yet:

* ``ours``: the view ``trades`` of the catalog, which reads the parts of segments.
* ``naive``: ``TICKER/date=YYYY-MM-DD/trades.parquet``, plain polars zstd 2, found by a glob and
  asked by its columns.

For information: the naive files asked by the date of their folders, which DuckDB takes for a hive
partition and opens no other; and polars, by ``Lake.trades`` and by a glob.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
from measuring import make_row
from sample_lake import fill_sample, open_sample

from smallcaps_assets import Lake
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse

SESSIONS, SHORT_SESSIONS = 10_000, 600
REPEATS, SHORT_REPEATS = 5, 2
TICKER, DATE = "T003", "2024-02-01"
MS = 1_000
GLOB = "*/*/trades.parquet"

ONE = "SELECT count(*), sum(size), max(price) FROM {trades} WHERE ticker = '{ticker}'"
BY_TICKER = "GROUP BY ticker ORDER BY ticker"
DAY = "{date} = DATE '{day}'"
QUESTIONS = {
    "one ticker, one day": (f"{ONE} AND {DAY}", 50),
    "one ticker, all days": (ONE, None),
    "all tickers, one day": (
        f"SELECT ticker, count(*), sum(size) FROM {{trades}} WHERE {DAY} {BY_TICKER}",
        15,
    ),
    "counts per ticker": (f"SELECT ticker, count(*) FROM {{trades}} {BY_TICKER}", 20),
}
"""SQL of each question, and how many times less CPU than naive it has to take."""

Taken = dict[str, list[float]]


def timed(work: Callable[[], object]) -> tuple[object, float, float]:
    """Return what some work gives, its CPU and its wall time, in ms."""
    started, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, (time.process_time() - cpu) * MS, (time.perf_counter() - started) * MS


def ask_ours(lakehouse: Lakehouse, sql: str) -> tuple[object, float, float]:
    """Ask the catalog."""
    with duckdb.connect(str(lakehouse.home.catalog_file), read_only=True) as connection:
        question = sql.format(trades="trades", date="session_date", ticker=TICKER, day=DATE)
        return timed(lambda: connection.execute(question).fetchall())


def ask_naive(naive: Path, sql: str, date: str = "session_date") -> tuple[object, float, float]:
    """Ask the naive files; by ``"date"``, the hive partition, other dates are not opened."""
    with duckdb.connect() as connection:
        source = f"read_parquet('{naive / GLOB}')"
        question = sql.format(trades=source, date=date, ticker=TICKER, day=DATE)
        return timed(lambda: connection.execute(question).fetchall())


def ask_polars(trades: pl.LazyFrame, name: str) -> object:
    """Ask the same of a lazy frame."""
    date = pl.col("session_date") == pl.lit(DATE).str.to_date()
    if "one ticker" in name:
        trades = trades.filter(pl.col("ticker") == TICKER)
    if "one day" in name:
        trades = trades.filter(date)
    if "ticker," in name and "one" in name:
        return trades.select(pl.len(), pl.sum("size"), pl.max("price")).collect().rows()
    return trades.group_by("ticker").agg(pl.len()).sort("ticker").collect().rows()


def compare(lakehouse: Lakehouse, naive: Path, repeats: int) -> list[dict[str, object]]:
    """Ask everything in turn and return the rows of the result."""
    lake = Lake(lakehouse.home.data_dir)
    rows = []
    for name, (sql, least) in QUESTIONS.items():
        contenders: dict[str, Callable[[], tuple[object, float, float]]] = {
            "ours": lambda sql=sql: ask_ours(lakehouse, sql),
            "naive": lambda sql=sql: ask_naive(naive, sql),
            "naive by folders": lambda sql=sql: ask_naive(naive, sql, '"date"'),
            "ours by polars": lambda name=name: timed(lambda: ask_polars(lake.trades(), name)),
            "naive by polars": lambda name=name: timed(
                lambda: ask_polars(pl.scan_parquet(naive / GLOB, hive_partitioning=False), name)
            ),
        }
        taken: dict[str, Taken] = {who: {"cpu": [], "wall": []} for who in contenders}
        for _ in range(repeats):
            answers = {who: ask() for who, ask in contenders.items()}
            if len({str(answers[who][0]) for who in ("ours", "naive", "naive by folders")}) > 1:
                raise SystemExit(f"{name}: contenders disagree")
            for who, (_, cpu, wall) in answers.items():
                taken[who]["cpu"].append(cpu)
                taken[who]["wall"].append(wall)
        rows += describe(name, taken, least)
    return rows


def describe(name: str, taken: dict[str, Taken], least: float | None) -> list[dict[str, object]]:
    """Return the rows of one question."""
    cpu, wall = (
        [b / a for a, b in zip(taken["ours"][what], taken["naive"][what], strict=True)]
        for what in ("cpu", "wall")
    )
    target = f"10,000 ticker-sessions: {name}, naive over ours" if least else ""
    return [
        make_row(f"{name}: CPU, naive over ours", cpu, "times", at_least=least, target=target),
        make_row(f"{name}: wall, naive over ours", wall, "times"),
        *(make_row(f"{name}: CPU, {who}", times["cpu"], "ms") for who, times in taken.items()),
    ]


def main() -> None:
    """Make the lake and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        naive = Path(folder) / "naive"
        lakehouse = open_sample(Path(folder) / "data")
        trades = fill_sample(lakehouse, SHORT_SESSIONS if options.short else SESSIONS, naive)
        refresh_catalog(lakehouse)
        rows = [make_row("trades", [trades], "trades")]
        rows += compare(lakehouse, naive, SHORT_REPEATS if options.short else REPEATS)
    about = "questions to a lake as downloaded, against naive files, through DuckDB"
    json.dump({"bench": "queries", "about": about, "rows": rows}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
