"""Ledger, missing set and status as the lake grows: 10 thousand to a million ticker-sessions.

The ledgers are made up: nine sessions in ten are stored, one is still missing.  Every size is
asked in a process of its own.  Baseline of the missing set is a walk of real folders for
``_SUCCESS``, measured on 50,000 of them with a warm cache and scaled to a million, which favours
the walk.  ``--huge`` asks for 35 million sessions as well: 12 GB of disk and six minutes.
"""

import argparse
import datetime as dt
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import make_row, measure_peak_mb, print_result, run_contender

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.lake.ledger.database import counted_at_end, open_database, transaction
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.look import measure_status
from smallcaps_assets.settings import load_settings

MILLION, HUGE = 1_000_000, 35_000_000
SIZES, SHORT_SIZES = (10_000, 100_000, MILLION), (10_000, 100_000)
FOLDERS, SHORT_FOLDERS = 50_000, 2_000
REPEATS = 5
FIRST, LAST = dt.date(2004, 1, 2), dt.date(2025, 12, 31)
LARGEST_TICKER = 5_000
"""Sessions of a ticker at most; smaller ledgers have 200 tickers."""
TICKERS = 200
GROUP, GROUPS = 50, 20
"""Sessions of a commit, and commits, whose cost per session is measured."""
MAX_MISSING_S, MIN_RATIO, MAX_STATUS_S, MAX_GROWTH = 0.3, 50, 1.0, 2.0
NOW = "2026-01-02T03:04:05.000000+00:00"
MS = 1_000
LARGEST_PLANNED = 1024**3
"""Bytes of a ledger from which on no plan is reconciled with it: plans are far smaller."""

FILL = """
INSERT INTO sessions (ticker, session_date, state, is_planned, rows, bytes, sha256, content_hash,
    pages, requests, repeats_dropped, is_seam_ambiguous, committed_at, attempts, run_id, updated_at)
SELECT ticker, date, CASE (ticker.rowid * 31 + date.rowid * 7) % 10 WHEN 0 THEN 'planned'
    ELSE 'complete' END, 1, 500, 11000, :hash, :hash, 1, 1, 0, 0, :now, 1, :run, :now
FROM temp.tickers AS ticker CROSS JOIN temp.dates AS date
ORDER BY ticker, date
"""
ATTEMPTS = """
INSERT INTO attempts (recorded_at, run_id, ticker, first_session, last_session, sessions,
    requests, pages, rows, bytes, outcome)
SELECT :now, :run, ticker, min(date), max(date), count(*), 1, 1, 500, 11000, 'read'
FROM temp.tickers CROSS JOIN temp.dates GROUP BY ticker, substr(date, 1, 7)
"""


def make_ledger(path: Path, count: int) -> None:
    """Write a ledger of so many planned sessions."""
    path.parent.mkdir(parents=True)
    per_ticker = min(LARGEST_TICKER, count // TICKERS)
    dates = load_calendar().dates(FIRST, LAST)[:per_ticker]
    connection = open_database(path, is_read_only=False)
    for name, column in (("tickers", "ticker"), ("dates", "date")):
        connection.execute(f"CREATE TEMP TABLE {name} ({column} TEXT)")
    tickers = [(f"T{number:05d}",) for number in range(count // per_ticker)]
    values = {"hash": "a" * 64, "now": NOW, "run": "3f0f7c2e-1111-2222-3333-444455556666"}
    with transaction(connection), counted_at_end(connection):
        connection.executemany("INSERT INTO temp.tickers VALUES (?)", tickers)
        rows = [(date.isoformat(),) for date in dates]
        connection.executemany("INSERT INTO temp.dates VALUES (?)", rows)
        connection.execute(FILL, values)
        connection.execute(ATTEMPTS, values)
        connection.execute("INSERT INTO facts VALUES ('indexed_at', :now)", values)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def make_receipts(count: int) -> list[Receipt]:
    """Return receipts of a ticker that comes last."""
    dates = load_calendar().dates(FIRST, LAST)[:count]
    now = dt.datetime.fromisoformat(NOW)
    return [
        Receipt(
            ticker="ZZZZ",
            session_date=date,
            state="complete",
            rows=500,
            bytes=11_000,
            sha256="a" * 64,
            content_hash="b" * 64,
            pages=1,
            requests=1,
            gte_ns=0,
            lt_ns=1,
            vendor_status="OK",
            run_id="bench",
            started_at=now,
            source="bench",
            schema_version=1,
            first_sip_timestamp=None,
            last_sip_timestamp=None,
            rows_by_phase={"regular": 500},
            committed_at=now,
        )
        for date in dates
    ]


def ask(folder: Path) -> dict[str, float]:
    """Ask one ledger everything, and return seconds by question."""
    path = LakeLayout(folder).ledger_file
    taken: dict[str, float] = {"imports_mb": measure_peak_mb()}
    with LedgerReader(path) as reader:
        missing = reader.missing_keys()
        taken["missing"] = missing.height
        taken["missing_s"] = take(reader.missing_keys)
        taken["missing_cpu_s"] = take(reader.missing_keys, clock=time.process_time)
        keys = missing["key"].head(100_000).to_list()
        taken["states_s"] = take(lambda: reader.states(keys), repeats=1)
    taken["status_s"] = take(lambda: measure_status(Lakehouse(load_settings())))
    taken["peak_mb"] = measure_peak_mb()
    with Ledger(path) as ledger:
        receipts = make_receipts(GROUP * GROUPS)
        groups = [receipts[start : start + GROUP] for start in range(0, len(receipts), GROUP)]
        times = [take(lambda g=group: ledger.record_receipts(g), repeats=1) for group in groups]
        taken["record_ms"] = statistics.median(times) / GROUP * MS
        if path.stat().st_size < LARGEST_PLANNED:
            plan = ledger.coverage().select("ticker", "session_date")
            taken["plan_s"] = take(lambda: ledger.record_plan(plan), repeats=1)
    return taken


def take(
    work: Callable[[], object],
    repeats: int = REPEATS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median seconds that some work takes."""
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        times.append(clock() - started)
    return statistics.median(times)


def time_command(folder: Path) -> float:
    """Return the seconds of `smallcaps status` as a command, its start included."""
    environment = os.environ | {"SMALLCAPS_DATA_DIR": str(folder)}
    started = time.perf_counter()
    command = [sys.executable, "-m", "smallcaps_assets.cli", "status"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def time_walks(root: Path, count: int) -> tuple[float, float]:
    """Return the seconds that two walks of so many folders take: ``os.walk`` and ``rglob``."""
    per_ticker = 250
    for number in range(count):
        folder = root / f"ticker=T{number // per_ticker:05d}" / f"date={number % per_ticker:04d}"
        folder.mkdir(parents=True)
        (folder / "_SUCCESS").touch()
    walk = take(lambda: sum("_SUCCESS" in names for _, _, names in os.walk(root)), 3)
    return walk, take(lambda: sum(1 for _ in root.rglob("_SUCCESS")), 3)


def measure_sizes(folder: Path, sizes: tuple[int, ...]) -> Iterator[dict[str, object]]:
    """Yield the rows of the curve."""
    first: dict[str, float] = {}
    for size in sizes:
        data = folder / str(size)
        make_ledger(LakeLayout(data).ledger_file, size)
        os.environ["SMALLCAPS_DATA_DIR"] = str(data)
        taken = run_contender(Path(__file__), "--ask", str(data))
        first = first or taken
        name, is_million = f"{size:,} sessions", size == MILLION
        yield make_row(
            f"{name}, missing set of {taken['missing']:,.0f}",
            [taken["missing_s"]],
            "s",
            at_most=MAX_MISSING_S if is_million else None,
            **({"target": "missing set among 1M planned"} if is_million else {}),
        )
        yield make_row(f"{name}, missing set, CPU", [taken["missing_cpu_s"]], "s")
        yield make_row(f"{name}, what status asks", [taken["status_s"]], "s")
        yield make_row(f"{name}, states of 100,000 keys at most", [taken["states_s"]], "s")
        yield make_row(f"{name}, peak memory", [taken["peak_mb"]], "MB")
        yield make_row(f"{name}, of it imports", [taken["imports_mb"]], "MB")
        growth = taken["record_ms"] / first["record_ms"]
        yield make_row(f"{name}, commit of a session to the ledger", [taken["record_ms"]], "ms")
        yield make_row(
            f"{name}, the same against {sizes[0]:,}", [growth], "times", at_most=MAX_GROWTH
        )
        if "plan_s" in taken:
            measured = f"{name}, a plan of all of them reconciled with the ledger"
            yield make_row(measured, [taken["plan_s"]], "s")
        size_mb = LakeLayout(data).ledger_file.stat().st_size / 1024**2
        yield make_row(f"{name}, size of the ledger", [size_mb], "MB")


def measure_command(folder: Path, size: int) -> Iterator[dict[str, object]]:
    """Yield the rows of `smallcaps status`, beside a Python that does nothing."""
    idle, times, cpu = [], [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        idle.append(time.perf_counter() - started)
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        times.append(time_command(folder / str(size)))
        cpu.append(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before)
    is_million = size == MILLION
    yield make_row(
        f"smallcaps status on {size:,} sessions, as a command",
        times,
        "s",
        at_most=MAX_STATUS_S if is_million else None,
        **({"target": "smallcaps status on a lake of 1M sessions"} if is_million else {}),
    )
    yield make_row("the same, CPU", cpu, "s")
    yield make_row("python that does nothing", idle, "s")


def main() -> None:
    """Measure, or answer for one ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--huge", action="store_true", help="35 million sessions as well")
    parser.add_argument("--ask", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(ask(options.ask)))
        return
    os.environ |= {"SMALLCAPS_SOURCE": "emulator"}
    sizes = SHORT_SIZES if options.short else SIZES
    folders = SHORT_FOLDERS if options.short else FOLDERS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*measure_sizes(folder, sizes + ((HUGE,) if options.huge else ()))]
        rows += measure_command(folder, sizes[-1])
        walk_s, glob_s = time_walks(folder / "tree", folders)
    scale = sizes[-1] / folders
    missing_s = next(
        r["median"] for r in rows if r["measure"].startswith(f"{sizes[-1]:,} sessions, m")
    )
    is_full = not options.short
    rows += [
        make_row(f"os.walk for _SUCCESS, {folders:,} folders", [walk_s], "s"),
        make_row(f"rglob for _SUCCESS, {folders:,} folders", [glob_s], "s"),
        make_row(
            f"os.walk, scaled to {sizes[-1]:,}, over missing set",
            [walk_s * scale / missing_s],
            "times",
            at_least=MIN_RATIO if is_full else None,
            **({"target": "missing set against a walk for _SUCCESS, scaled"} if is_full else {}),
        ),
    ]
    print_result("scale", "ledger and status as the lake grows", rows)


if __name__ == "__main__":
    main()
