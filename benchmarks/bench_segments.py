"""Sessions stored in segments and, each with a receipt, in files of their own.

A month of many tickers, session by session of one size.  Each run is a process of its own: the
tapes are made before the clock starts, then measured, hashed, encoded and committed with all
syncs; where memory is measured, each is made when its turn comes, as a download gets them.
Receipts come in ranges of ten sessions and groups of fifty, as a download of event windows makes
them; segments in ranges of a month, committed when a segment is full.
"""

import argparse
import datetime as dt
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from format1.lake import ReceiptLake
from measuring import divide, make_row, pick, print_result, run_contender, time_work
from sample_lake import SEED, cut_session, make_facts, make_pool
from stores import open_store

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.parts import SHAPE

FIRST, LAST = dt.date(2024, 3, 1), dt.date(2024, 3, 28)
TICKERS, SHORT_TICKERS = 60, 12
REPEATS, SHORT_REPEATS = 5, 1
RANGE, GROUP = 10, 50
SIZES = {"500": (2.2, 0.28), "50": (4.5, 0.75)}
"""Trades of a session: how many times less CPU, and how much smaller."""
LARGE, MOST_MB = 5_000, 500
FEWER_INODES = 500
SOURCE = "emulator:bench"
Store = SegmentStore | ReceiptLake


def iter_tapes(tickers: int, rows: int) -> Iterator[pl.DataFrame]:
    """Yield the tape of a month of each ticker."""
    dates = load_calendar().dates(FIRST, LAST)
    random = np.random.default_rng(SEED)
    pool = make_pool(random, 4 * rows + 20_000)
    for number in range(tickers):
        ticker = f"T{number:03d}"
        starts = random.integers(0, pool.height - rows, len(dates)).tolist()
        days = zip(dates, starts, strict=True)
        yield pl.concat(
            [cut_session(pool.slice(start, rows), ticker, date) for date, start in days]
        )


def prepare(store: Store, tape: pl.DataFrame, rows: int, length: int) -> Iterator[Any]:
    """Yield the sessions of a tape, which comes in ranges of so many."""
    ticker = tape["ticker"][0]
    for start in range(0, tape.height, rows * length):
        part = tape.slice(start, rows * length)
        storable = store.open_tape(part)
        for first in range(0, part.height, rows):
            date = part["session_date"][first]
            yield storable.prepare(ticker, date, make_facts(), rows=slice(first, first + rows))


def store_all(
    store: Store, tapes: Iterable[pl.DataFrame], rows: int, length: int, group: float
) -> None:
    """Store all sessions in groups of so many."""
    batch: list[Any] = []
    for tape in tapes:
        for session in prepare(store, tape, rows, length):
            batch.append(session)
            if len(batch) >= group:
                store.commit(batch)
                batch = []
    store.commit(batch)


def store_receipts(folder: Path, tapes: Iterable[pl.DataFrame], rows: int) -> None:
    """Store sessions with a receipt each."""
    store_all(ReceiptLake(folder, SOURCE), tapes, rows, RANGE, GROUP)


def store_segments(folder: Path, tapes: Iterable[pl.DataFrame], rows: int) -> None:
    """Store sessions in segments."""
    days = len(load_calendar().dates(FIRST, LAST))
    store_all(open_store(folder, SOURCE), tapes, rows, days, SHAPE.chunk_rows / rows)


CONTENDERS: dict[str, Callable[[Path, Iterable[pl.DataFrame], int], None]] = {
    "receipts": store_receipts,
    "segments": store_segments,
}


def store_once(name: str, tickers: int, rows: int) -> None:
    """Store a month once in a new folder, and print what it took and takes there."""
    made = iter_tapes(tickers, rows)
    tapes = made if rows == LARGE else list(made)
    sessions = tickers * len(load_calendar().dates(FIRST, LAST))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "lake").mkdir()

        def work() -> dict[str, object]:
            CONTENDERS[name](folder, tapes, rows)
            paths = list((folder / "lake").rglob("*"))
            size = sum(path.stat().st_size for path in paths if path.is_file())
            return {"inodes": len(paths), "bytes": size, "sessions": sessions}

        time_work(work)


def measure(*, is_short: bool) -> list[dict[str, object]]:
    """Store the same sessions in both ways and return the rows of the result."""
    tickers = SHORT_TICKERS if is_short else TICKERS
    repeats = SHORT_REPEATS if is_short else REPEATS
    found = []
    for size, (faster, smaller) in SIZES.items():
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(repeats):
            for name in CONTENDERS:
                arguments = ("--store", name, "--tickers", str(tickers), "--rows", size)
                runs[name].append(run_contender(Path(__file__), *arguments))
        found += compare(size, runs, faster, smaller)
    large = [
        run_contender(
            Path(__file__), "--store", "segments", "--tickers", str(tickers), "--rows", str(LARGE)
        )
        for _ in range(repeats)
    ]
    peak = f"peak memory, {tickers} tickers of {LARGE:,} trades a session"
    found.append(
        make_row(f"segments: {peak}", pick(large, "peak_mb"), "MB", at_most=MOST_MB, target=peak)
    )
    return found


def compare(
    size: str, runs: dict[str, list[dict[str, float]]], faster: float, smaller: float
) -> list[dict[str, object]]:
    """Return the rows of sessions of one size."""
    receipts, segments = runs["receipts"], runs["segments"]
    sessions = receipts[0]["sessions"]
    trades = sessions * int(size)
    return [
        *(
            make_row(
                f"{size}: CPU a session, {name}",
                [run["cpu_s"] / sessions * 1_000 for run in told],
                "ms",
            )
            for name, told in runs.items()
        ),
        make_row(
            f"{size}: CPU a session, receipts over segments",
            divide(receipts, segments, "cpu_s"),
            "times",
            at_least=faster,
            target=f"segments: CPU a session against receipts, {size} trades",
        ),
        *(
            make_row(
                f"{size}: bytes a trade, {name}", [run["bytes"] / trades for run in told], "bytes"
            )
            for name, told in runs.items()
        ),
        make_row(
            f"{size}: share of bytes that segments save",
            [1 - share for share in divide(segments, receipts, "bytes")],
            "share",
            at_least=smaller,
            target=f"segments: bytes a trade against receipts, {size} trades",
        ),
        make_row(
            f"{size}: inodes, receipts over segments",
            divide(receipts, segments, "inodes"),
            "times",
            at_least=FEWER_INODES,
            target=f"segments: inodes a session against receipts, {size} trades",
        ),
        make_row(f"{size}: peak memory, segments", pick(segments, "peak_mb"), "MB"),
    ]


def main() -> None:
    """Measure, or be one of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--store", choices=CONTENDERS)
    parser.add_argument("--tickers", type=int, default=TICKERS)
    parser.add_argument("--rows", type=int, default=LARGE)
    options = parser.parse_args()
    if options.store:
        store_once(options.store, options.tickers, options.rows)
        return
    about = "a month of sessions in segments, and each in a file with a receipt"
    print_result("segments", about, measure(is_short=options.short))


if __name__ == "__main__":
    main()
