"""Where the CPU of a download goes: one page from the wire to its committed files, step by step.

Each step is done again and again on the same input, so its data lie nearer to the processor than
in a download: the sum is less than what ``bench_download`` finds.  It is for comparing steps.
"""

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import requests
from contenders import KEY, LIMIT
from measuring import make_row, print_result
from sample_lake import make_facts
from stores import open_store
from vendor import serve

from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.conditions import VolumeMeter
from smallcaps_assets.core.ticks.content_hash import TapeHasher
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.tape import locate_sessions, read_instants
from smallcaps_assets.lake.segments.parts import encode_parts
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.polygon.http.transport import Answer
from smallcaps_assets.polygon.wire.chain import TradesChain
from smallcaps_assets.polygon.wire.envelopes import decode_page
from smallcaps_assets.polygon.wire.trades import TradeRow, decode_trades_page
from smallcaps_assets.polygon.wire.trail import CursorTrail

FIRST = dt.date(2024, 3, 4)
SESSIONS = {"500": 10, "20k": 2, "400k": 1}
"""Sessions of the page, by the words for their size; of the last, the page is a part."""
TICKERS = {"500": "N500", "20k": "N20000", "400k": "N400000"}
REPEATS, SHORT_REPEATS = 9, 3
MAX_BYTES = 64 * 1024**2
MICRO = 1e6
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came, and what was asked for."""

    ticker: str
    dates: list[dt.date]
    answer: Answer


def fetch_page(url: str, ticker: str, dates: list[dt.date]) -> Page:
    """Return the first page of some sessions, packed."""
    gte_ns, lt_ns = day_bounds_ns(dates[0], dates[-1])
    response = requests.get(
        f"{url}/v3/trades/{ticker}",
        params={
            "timestamp.gte": gte_ns,
            "timestamp.lt": lt_ns,
            "order": "asc",
            "sort": "timestamp",
            "limit": LIMIT,
        },
        headers={"Authorization": f"Bearer {KEY}", "Accept-Encoding": "gzip"},
        timeout=60,
        stream=True,
    )
    return Page(ticker, dates, Answer(response.raw.read(), "gzip", url, MAX_BYTES))


def time_step(work: Callable[[], object], repeats: int) -> list[float]:
    """Return the CPU seconds of a step, each time it is done."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        made = work()
        taken.append(time.process_time() - started)
        del made
    return taken


class Steps:
    """The steps of one page; what one makes is the input of the next."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.calendar = load_calendar()
        self.body = page.answer.inflate()
        self.trades = label_trades(self.check(), self.calendar)
        instants = read_instants(self.trades, "sip_timestamp")
        self.places = locate_sessions(instants, page.dates[0], page.dates[-1])
        self.store = open_store(folder)
        self.tape = self.store.open_tape(self.trades)
        self.hasher = TapeHasher(self.trades)

    def check(self) -> pl.DataFrame:
        """Decode, and prove order, bounds and seams."""
        gte_ns, lt_ns = day_bounds_ns(self.page.dates[0], self.page.dates[-1])
        path = f"/v3/trades/{self.page.ticker}"
        chain = TradesChain(self.page.ticker, gte_ns, lt_ns, CursorTrail(path, "", path))
        chain.accept(chain.check(self.decode()))
        return chain.collect()

    def decode(self) -> object:
        """Decode into columns."""
        return decode_trades_page(self.body, self.page.ticker, url="")

    def make_ready(self) -> object:
        """Make what every session of the page shares."""
        return self.store.open_tape(self.trades), VolumeMeter(self.trades)

    def prepare(self) -> list[PreparedSession]:
        """Hash and describe all sessions."""
        facts = make_facts()
        return [
            self.tape.prepare(self.page.ticker, date, facts, rows=rows)
            for date, rows in self.places.items()
        ]

    def measure(self, words: str, repeats: int) -> list[Row]:
        """Return a row for each step, in microseconds per trade."""
        places = [(rows.start, rows.stop) for rows in self.places.values()]
        ends, ready = [last for _, last in places], self.prepare()
        steps: dict[str, Callable[[], object]] = {
            "inflate": self.page.answer.inflate,
            "decode into columns": self.decode,
            "of it, msgspec alone": lambda: decode_page(self.body, TradeRow, url=""),
            "decode, order, bounds, seams": self.check,
            "labels": lambda: label_trades(self.trades, self.calendar),
            "ready for slices, volume": self.make_ready,
            "hash, describe": self.prepare,
            "of it, content hash": lambda: [self.hasher.hash(*place) for place in places],
            "commit": lambda: self.store.commit(ready),
            "of it, Parquet": lambda: [*encode_parts(self.trades, ends)],
        }
        return [
            make_row(
                f"{words}: {name}",
                [MICRO * taken / self.trades.height for taken in time_step(work, repeats)],
                "us a trade",
            )
            for name, work in steps.items()
        ]


def main() -> None:
    """Measure every step at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    with serve() as url, tempfile.TemporaryDirectory() as folder:
        for words, count in SESSIONS.items():
            dates = load_calendar().dates(FIRST, FIRST + dt.timedelta(days=60))[:count]
            steps = Steps(fetch_page(url, TICKERS[words], dates), Path(folder) / words)
            rows += steps.measure(words, SHORT_REPEATS if options.short else REPEATS)
    print_result("steps", "CPU of each step from the wire to the disk, one thread", rows)


if __name__ == "__main__":
    main()
