"""Compaction of closed months: CPU and memory per million trades, proof and catalog included.

A lake of ticker-sessions with a mean near 540 trades, so that opening files counts.  Each run is a
process of its own on the same landing files: read and prove them by their receipts, write month
files, read these back and prove every session, publish.  The same rows read and written plainly,
without proof and sync, are the floor.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from measuring import make_row, run_contender, time_work
from sample_lake import fill_sample, open_sample

from smallcaps_assets.lake.months.parts import BATCH_SESSIONS, SessionBatch, encode_parts
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import Done, compact_month, judge_months

SESSIONS, SHORT_SESSIONS = 3_000, 400
REPEATS, SHORT_REPEATS = 5, 1
MILLION = 1_000_000
MOST_CPU_S = 0.7


def compact(lakehouse: Lakehouse) -> dict[str, object]:
    """Compact a lake."""
    store, bounds = lakehouse.store, lakehouse.bounds
    outcomes = [
        compact_month(store, facts, lakehouse.clock())
        for facts in judge_months(lakehouse.ledger, store, bounds)
    ]
    manifests = [outcome.compacted.manifest for outcome in outcomes if outcome.compacted]
    if any(outcome.done is not Done.WRITTEN for outcome in outcomes):
        raise SystemExit(f"a month was not compacted: {outcomes}")
    return {
        "rows": sum(manifest.rows for manifest in manifests),
        "bytes": sum(manifest.bytes for manifest in manifests),
    }


def copy_plainly(lakehouse: Lakehouse) -> dict[str, object]:
    """Read every landing file and write the same rows in one order: no proof, no sync."""
    columns = ("ticker", "session_date", "rows", "content_hash")
    sessions = lakehouse.ledger.stored_contents().select(columns)
    paths = [lakehouse.layout.trades_file(*key) for key in sessions.select(columns[:2]).rows()]

    def read() -> Iterator[SessionBatch]:
        for start in range(0, len(paths), BATCH_SESSIONS):
            trades = pl.read_parquet(paths[start : start + BATCH_SESSIONS], hive_partitioning=False)
            yield SessionBatch(trades, sessions.slice(start, BATCH_SESSIONS))

    return {"rows": sum(part.rows for part in encode_parts(read()))}


def measure(folder: Path, *, is_short: bool) -> list[dict[str, object]]:
    """Compact the same lake several times and return the rows of the result."""
    trades = fill_sample(open_sample(folder), SHORT_SESSIONS if is_short else SESSIONS)
    landing = sum(file.stat().st_size for file in folder.rglob("trades.parquet"))
    runs, floor = [], []
    for _ in range(SHORT_REPEATS if is_short else REPEATS):
        shutil.rmtree(folder / "lake" / "compacted_trades", ignore_errors=True)
        runs.append(run_contender(Path(__file__), "--compact", str(folder)))
        floor.append(run_contender(Path(__file__), "--floor", str(folder)))
    if any(run["rows"] != trades for run in (*runs, *floor)):
        raise SystemExit(f"expected {trades} trades in month files, got {runs}")
    millions = trades / MILLION
    return [
        make_row("trades", [trades], "trades"),
        make_row("ticker-sessions", [SHORT_SESSIONS if is_short else SESSIONS], "sessions"),
        make_row(
            "CPU per million trades",
            [run["cpu_s"] / millions for run in runs],
            "s",
            at_most=MOST_CPU_S,
            target="compaction, CPU per million trades",
        ),
        make_row(
            "CPU per million trades, plain read and write",
            [run["cpu_s"] / millions for run in floor],
            "s",
        ),
        make_row(
            "CPU, compaction over plain read and write",
            [a["cpu_s"] / b["cpu_s"] for a, b in zip(runs, floor, strict=True)],
            "times",
        ),
        make_row("wall per million trades", [run["wall_s"] / millions for run in runs], "s"),
        make_row("peak memory", [run["peak_mb"] for run in runs], "MB"),
        make_row("bytes per trade, month files", [runs[0]["bytes"] / trades], "bytes"),
        make_row("bytes per trade, landing files", [landing / trades], "bytes"),
    ]


def main() -> None:
    """Measure, or be one of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--compact", type=Path)
    parser.add_argument("--floor", type=Path)
    options = parser.parse_args()
    if folder := options.compact or options.floor:
        lakehouse = open_sample(folder)
        _ = lakehouse.calendar, lakehouse.store, lakehouse.ledger
        work = compact if options.compact else copy_plainly
        time_work(lambda: work(lakehouse))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder) / "data", is_short=options.short)
    about = "closed months written as month files, proven on both sides"
    json.dump({"bench": "compaction", "about": about, "rows": rows}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
