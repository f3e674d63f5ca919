"""Ticker-sessions per second over a slow line, and the requests they take.

Mixed sessions with a median of 500 trades, in runs of neighbouring sessions as event windows make
them; the vendor answers each request after a pause.  Contenders, each a process of its own:

* ``ours``: request ranges over neighbouring sessions, worker threads, commits in groups.
* ``single``: the same with one range per session.
* ``naive``: one request per session, json, a frame of dicts, plain Parquet; as many threads.
* ``busy``: ours, with one session of 400,000 trades among the others; for the peak memory.
"""

import argparse
import datetime as dt
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from contenders import KEY, fetch_naive
from measuring import divide, make_row, pick, print_result, run_contender, time_work
from stores import open_store, store_groups
from vendor import count_requests, serve

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.ingest.ticks.fetching import RangeFetcher
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.limiter import RequestLimiter

TICKERS, RUN, FIRST = 64, 10, dt.date(2024, 3, 4)
SHORT_TICKERS, FEW_TICKERS = 8, 40
LATENCIES_MS, WORKERS = (0, 20, 80, 200), (8, 16, 32)
TARGET_MS, TARGET_WORKERS, MIN_RATIO = 80, 32, 8
BUSY, BUSY_WORKERS, MAX_PEAK_MIB = "N400000", 8, 600
Run = tuple[str, list[dt.date]]

FILES = tempfile.TemporaryDirectory()


def list_runs(tickers: range) -> list[Run]:
    """Return runs of neighbouring sessions, one of each ticker."""
    dates = load_calendar().dates(FIRST, FIRST + dt.timedelta(days=60))[:RUN]
    return [(f"M500.{number}", dates) for number in tickers]


def fetch_ranges(url: str, runs: list[Run], dest: Path, workers: int) -> int:
    """Do what a download does with its ranges."""
    store = open_store(dest)
    client = PolygonClient(ClientConfig(base_url=url, api_key=KEY), RequestLimiter(0, dest, url))
    fetcher = RangeFetcher(client, store, load_calendar(), BarJudge(), "bench")
    spans = [RequestRange(ticker, dates[0], dates[-1], None) for ticker, dates in runs]
    with client, ThreadPoolExecutor(workers) as pool:
        return store_groups(store, (one.sessions for one in pool.map(fetcher.fetch, spans)))


def fetch_single(url: str, runs: list[Run], dest: Path, workers: int) -> int:
    """Ask for every session by itself."""
    return fetch_ranges(url, [(t, [date]) for t, dates in runs for date in dates], dest, workers)


def fetch_naively(url: str, runs: list[Run], dest: Path, workers: int) -> int:
    """Give every thread sessions of its own, and a connection that is kept."""
    shares: list[list[tuple[str, dt.date]]] = [[] for _ in range(workers)]
    for number, cell in enumerate((ticker, date) for ticker, dates in runs for date in dates):
        shares[number % workers].append(cell)

    def work(share: list[tuple[str, dt.date]]) -> int:
        with requests.Session() as session:
            for ticker, date in share:
                fetch_naive(url, ticker, [date], dest, session)
        return len(share)

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(work, shares))


def fetch_busy(url: str, runs: list[Run], dest: Path, workers: int) -> int:
    """Fetch one very busy session among the others."""
    return fetch_ranges(url, [(BUSY, [FIRST]), *runs], dest, workers)


CONTENDERS: dict[str, Callable[[str, list[Run], Path, int], int]] = {
    "ours": fetch_ranges,
    "single": fetch_single,
    "naive": fetch_naively,
    "busy": fetch_busy,
}
COMPARED = ("ours", "single", "naive")


def contend(name: str, url: str, tickers: int, workers: int, folder: Path) -> None:
    """Be one of the contenders."""
    runs = list_runs(range(tickers))
    warm_up = list_runs(range(tickers, tickers + min(tickers, workers)))
    CONTENDERS[name](url, warm_up, folder / "warm_up", workers)
    before = count_requests(url)

    def work() -> dict[str, object]:
        return {"sessions": CONTENDERS[name](url, runs, folder / name, workers)}

    time_work(lambda: work() | {"requests": count_requests(url) - before})


def measure(name: str, url: str, tickers: int, workers: int) -> dict[str, float]:
    """Run a contender and add its sessions per second.

    Its files stay until all are done: see ``contenders``.
    """
    folder = tempfile.mkdtemp(dir=FILES.name)
    found = run_contender(
        Path(__file__), "--contender", name, url, str(tickers), str(workers), folder
    )
    return found | {"pace": found["sessions"] / found["wall_s"]}


def compare_at_target(tickers: int, repeats: int) -> list[dict[str, object]]:
    """Return the target and what belongs to it."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in COMPARED}
    with serve(latency_ms=TARGET_MS) as url:
        measure("single", url, tickers, TARGET_WORKERS)
        for _ in range(repeats):
            for name, found in runs.items():
                found.append(measure(name, url, tickers, TARGET_WORKERS))
    rows = []
    for name, found in runs.items():
        rows.append(make_row(f"{name}: pace", pick(found, "pace"), "sessions/s"))
        rows.append(make_row(f"{name}: requests", pick(found, "requests"), "requests"))
        rows.append(make_row(f"{name}: CPU", pick(found, "cpu_s"), "s"))
        rows.append(make_row(f"{name}: peak memory", pick(found, "peak_mb"), "MiB"))
    fewer = divide(runs["single"], runs["ours"], "requests")
    rows.append(make_row("requests, one per session over merged ranges", fewer, "times"))
    ratio = divide(runs["ours"], runs["naive"], "pace")
    target = "ticker-sessions per second at 80 ms, 32 in flight, against naive"
    rows.append(
        make_row("pace, ours over naive", ratio, "times", at_least=MIN_RATIO, target=target)
    )
    return rows


def measure_memory(tickers: int, repeats: int) -> dict[str, object]:
    """Return the peak memory while a session of 400,000 trades is fetched among mixed ones."""
    with serve() as url:
        found = [measure("busy", url, tickers, BUSY_WORKERS) for _ in range(repeats)]
    return make_row(
        f"peak memory, a session of 400k trades among others, {BUSY_WORKERS} workers",
        pick(found, "peak_mb"),
        "MiB",
        at_most=MAX_PEAK_MIB,
        target=f"peak memory, a 400k-trade day, {BUSY_WORKERS} workers",
    )


def compare_workers(tickers: int, repeats: int) -> list[dict[str, object]]:
    """Return the pace of ours by latency and number of workers."""
    rows = []
    for latency_ms in LATENCIES_MS:
        with serve(latency_ms=latency_ms) as url:
            measure("ours", url, tickers, WORKERS[-1])
            for workers in WORKERS:
                paces = [measure("ours", url, tickers, workers)["pace"] for _ in range(repeats)]
                measured = f"ours at {latency_ms} ms, {workers} workers"
                rows.append(make_row(measured, paces, "sessions/s"))
    return rows


def main() -> None:
    """Compare, or be one of the contenders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    names = ("NAME", "URL", "TICKERS", "WORKERS", "FOLDER")
    parser.add_argument("--contender", nargs=len(names), metavar=names)
    options = parser.parse_args()
    if options.contender:
        name, url, tickers, workers, folder = options.contender
        contend(name, url, int(tickers), int(workers), Path(folder))
        return
    rows = compare_at_target(SHORT_TICKERS if options.short else TICKERS, 1 if options.short else 5)
    if not options.short:
        rows.append(measure_memory(TICKERS, 5))
        rows += compare_workers(FEW_TICKERS, 2)
    about = f"mixed sessions, median 500 trades, {TARGET_MS} ms a request, {TARGET_WORKERS} threads"
    print_result("throughput", about, rows)


if __name__ == "__main__":
    main()
