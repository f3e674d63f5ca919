"""CPU, memory and bytes from HTTP to proven files, against naive, official and floor.

Sessions of one size each; contenders (see ``contenders``) run in turn, each a process of its own
that starts after the emulator has rendered the pages.  That fast and naive paths store the same
rows is proven by the content hash of every session.
"""

import argparse
import datetime as dt
import tempfile
from pathlib import Path

import polars as pl
from measuring import divide, make_row, pick, print_result, run_contender
from stores import list_parts, read_part
from vendor import serve

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.schemas import TRADES, VENDOR_COLUMNS

SCRIPT = Path(__file__).with_name("contenders.py")
NAMES = ("ours", "single", "naive", "official", "floor")
FIRST = dt.date(2024, 3, 4)
SESSIONS = {500: 100, 20_000: 10, 400_000: 1}
SHORT_SESSIONS = {500: 20, 20_000: 1}
WORDS = {500: "500", 20_000: "20k", 400_000: "400k"}
MIN_RATIO = {500: 3.5, 20_000: 9, 400_000: 9}
MAX_FLOOR_RATIO, MAX_PEAK_MIB, MIN_SAVED = 2, 600, 25
Runs = dict[str, list[dict[str, float]]]


def main() -> None:
    """Compare at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    sizes, repeats = (SHORT_SESSIONS, 1) if options.short else (SESSIONS, 5)
    with serve() as url, tempfile.TemporaryDirectory() as folder:
        for size, count in sizes.items():
            dates = load_calendar().dates(FIRST, FIRST + dt.timedelta(days=200))[:count]
            dest = Path(folder) / str(size)
            runs = run_all(url, f"N{size}", dates, dest, repeats)
            rows += compare(size, runs)
            rows += [compare_bytes(size, dest), compare_rows(size, f"N{size}", dates, dest)]
    print_result("download", "from HTTP to proven files, one thread", rows)


def run_all(url: str, ticker: str, dates: list[dt.date], dest: Path, repeats: int) -> Runs:
    """Run the contenders in turn; the first round warms the emulator up and is not counted."""
    days = [date.isoformat() for date in dates]
    run_contender(SCRIPT, "floor", url, ticker, *days, "--dest", str(dest / "first"))
    runs: Runs = {name: [] for name in NAMES}
    for number in range(repeats):
        for name, found in runs.items():
            folder = str(dest / f"{name}_{number}")
            found.append(run_contender(SCRIPT, name, url, ticker, *days, "--dest", folder))
    return runs


def compare(size: int, runs: Runs) -> list[dict[str, object]]:
    """Return what the contenders took at one size, and the targets."""
    words = WORDS[size]
    rows = []
    for name, found in runs.items():
        each = [1e6 * run["cpu_s"] / run["rows"] for run in found]
        rows.append(make_row(f"{words}: CPU of {name}", each, "us a trade"))
    ours = runs["ours"]
    rows += [
        make_row(
            f"{words}: CPU, naive over ours",
            divide(runs["naive"], ours, "cpu_s"),
            "times",
            at_least=MIN_RATIO[size],
            target=f"CPU per trade against naive, {words} trades",
        ),
        make_row(
            f"{words}: CPU, official over ours", divide(runs["official"], ours, "cpu_s"), "times"
        ),
        make_row(
            f"{words}: CPU, ours over floor",
            divide(ours, runs["floor"], "cpu_s"),
            "times",
            at_most=MAX_FLOOR_RATIO,
            target=f"CPU per trade against the floor, {words} trades",
        ),
        make_row(
            f"{words}: CPU, naive over ours with one range per session",
            divide(runs["naive"], runs["single"], "cpu_s"),
            "times",
        ),
        make_row(f"{words}: peak memory of naive", pick(runs["naive"], "peak_mib"), "MiB"),
        make_row(f"{words}: peak memory of ours", pick(ours, "peak_mib"), "MiB"),
    ]
    return rows


def compare_bytes(size: int, dest: Path) -> dict[str, object]:
    """Return what ours saves against the same columns in plain polars zstd 2."""
    parts, records = list_parts(dest / "ours_0")
    stored = sum(path.stat().st_size for path in (*parts, *records))
    plain, copy = 0, dest / "plain.parquet"
    for path in parts:
        for session in read_part(path).partition_by("ticker", "session_date"):
            session.write_parquet(copy, compression="zstd", compression_level=2)
            plain += copy.stat().st_size
    return make_row(
        f"{WORDS[size]}: bytes saved against the same columns, plain",
        [100 * (1 - stored / plain)],
        "%",
        at_least=MIN_SAVED,
        target=f"bytes per trade against plain polars zstd 2, {WORDS[size]} trades: saved",
    )


def compare_rows(size: int, ticker: str, dates: list[dt.date], dest: Path) -> dict[str, object]:
    """Return how many sessions have the same content hash whether ours or naive stored them."""
    same = 0
    ours = pl.concat([read_part(path) for path in list_parts(dest / "ours_0")[0]])
    for date in dates:
        naive = dest / "naive_0" / ticker / f"date={date}" / "trades.parquet"
        stored = hash_trades(ours.filter(session_date=date))
        same += stored == hash_trades(read_naive(naive))
    return make_row(
        f"{WORDS[size]}: sessions of the same content hash, ours and naive",
        [same],
        "sessions",
        at_least=len(dates),
        target=f"same rows as naive by content hash, {WORDS[size]} trades",
    )


def read_naive(path: Path) -> pl.DataFrame:
    """Return the rows of a naive file as the vendor's columns."""
    found = pl.read_parquet(path, hive_partitioning=False)
    whole = [pl.col("size").cast(pl.Float64)]
    if "decimal_size" in found.columns:
        whole = [pl.col("decimal_size").cast(pl.Float64), *whole]
    columns = {name: TRADES.columns[name].dtype for name in VENDOR_COLUMNS}
    trades = found.with_columns(size=pl.coalesce(whole)).select(
        (pl.col(name) if name in found.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in columns.items()
    )
    return trades.with_columns(pl.col("correction").fill_null(0))


if __name__ == "__main__":
    main()
