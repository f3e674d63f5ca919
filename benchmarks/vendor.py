"""The emulator with sessions of chosen sizes, as a process of its own.

The name of a ticker says how many trades its sessions have: ``N500``, ``N20000``, ``N400000``;
those of ``M500`` are mixed, log-normal with that median.  Rows are drawn as the synthetic market
draws its own: venues, conditions, corrections, late reports, fractions of shares.
"""

import argparse
import contextlib
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import requests

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.cache import ByteCache
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.dressing import Hours, dress_prints
from smallcaps_assets.emulator.market.history import Day
from smallcaps_assets.emulator.market.prints import build_bar, draw_prints
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import Span, Tape, WireRow

KEY = "bench"
SIGMA = 1.4
"""Spread of mixed sizes: one session in twenty has ten times the median."""
MAX_MIXED = 60_000
CACHE_BYTES = 512 * 1024**2
_DAY = Day(open=40_000, high=52_000, low=36_000, close=47_500, trades=1, mean_size=180.0)


class SizedMarket(StaticSource):
    """Sessions whose number of trades is in the name of their ticker."""

    def __init__(self) -> None:
        super().__init__()
        self._calendar = load_calendar()
        self._tapes: ByteCache[tuple[str, dt.date], Tape] = ByteCache(
            CACHE_BYTES, lambda tape: tape.size_bytes
        )

    @property
    def is_immutable(self) -> bool:
        """Return true: answers may be kept."""
        return True

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield one tape per session of the span."""
        first, last = (
            dt.datetime.fromtimestamp(ns // 10**9, dt.UTC).date()
            for ns in (span.gte_ns, span.lt_ns - 1)
        )
        for date in self._calendar.dates(first - dt.timedelta(days=1), last):
            tape = self._tapes.get_or_make((ticker, date), lambda d=date: draw_tape(ticker, d))
            low, high = tape.locate(span)
            if high > low:
                yield tape

    def read_ticker_bars(
        self, ticker: str, first: dt.date, last: dt.date
    ) -> Sequence[tuple[dt.date, WireRow]]:
        """Return the bars that the sessions make."""
        found = []
        for date in self._calendar.dates(first, last):
            bar = build_bar(draw_prints(*choose_day(ticker, date)))
            found.append((date, {"T": ticker, **bar}))
        return found


def count_trades(ticker: str, date: dt.date) -> int:
    """Return about how many trades a session has."""
    size = int(ticker[1:].partition(".")[0])
    if ticker[0] == "N":
        return size
    drawn = size * np.exp(SIGMA * _seed(ticker, date, 2).standard_normal())
    return int(np.clip(drawn, 1, MAX_MIXED))


def choose_day(ticker: str, date: dt.date) -> tuple[Day, np.random.Generator]:
    """Return a session as decided beforehand, and what draws its prints."""
    return replace(_DAY, trades=count_trades(ticker, date)), _seed(ticker, date, 0)


def draw_tape(ticker: str, date: dt.date) -> Tape:
    """Return the rendered trades of a session."""
    names = ("pre_market_open", "regular_open", "regular_close", "after_hours_close")
    frame = load_calendar().frame
    row = frame.row(load_calendar().index_of(date))
    instants = dict(zip(frame.columns, row, strict=True))
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    hours = Hours(*((instants[name] - epoch) // dt.timedelta(seconds=1) * 10**9 for name in names))
    prints = draw_prints(*choose_day(ticker, date))
    return Tape.from_frame(dress_prints(prints, hours, _seed(ticker, date, 1), tape=3))


def _seed(ticker: str, date: dt.date, stream: int) -> np.random.Generator:
    return np.random.default_rng((*ticker.encode(), date.toordinal(), stream))


@contextlib.contextmanager
def serve(*, latency_ms: float = 0) -> Iterator[str]:
    """Yield the address of an emulator in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def count_requests(url: str) -> int:
    """Return the requests for trades that an emulator has answered."""
    return int(
        msgspec.json.decode(requests.get(f"{url}/_emulator/stats", timeout=60).content)["requests"]
    )


def main() -> None:
    """Serve until stopped; the first line is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("latency_ms", type=float)
    options = parser.parse_args()
    with EmulatorServer(SizedMarket(), latency_s=options.latency_ms / 1_000) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                server._acceptor.join(60)  # noqa: SLF001


if __name__ == "__main__":
    main()
