"""Progress of what takes long: one bar on a terminal, a plain line now and then elsewhere."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from smallcaps_assets.core.figures import MB, format_bytes, format_duration, format_share
from smallcaps_assets.core.states import DISPUTED, EMPTY_DISPUTED, FAILED, GREEN
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Totals
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.forecast import forecast

POLL_S = 1.0
LINE_EVERY_S = 5.0

Item = TypeVar("Item")
Show = Callable[[str, int, int | None], None]
"""Shows a text, how much is done, and of how much; ``None``: nobody knows."""


@contextmanager
def show_progress(console: Console, line_every_s: float = LINE_EVERY_S) -> Iterator[Show]:
    """Yield what shows how far something is, as often as it likes.

    Args:
        console: A terminal gets a bar.
        line_every_s: Pause between two lines where there is none, and before the first.
    """
    if console.is_terminal:
        columns = BarColumn(), TextColumn("{task.description}", markup=False)
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=None)
            yield lambda text, done, total: bar.update(
                task, description=text, completed=done, total=total
            )
        return
    last = time.monotonic()

    def write(text: str, _done: int, _total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= line_every_s:
            last = time.monotonic()
            console.print(text, markup=False, highlight=False)

    yield write


def count_along(
    items: Iterable[Item], count: Callable[[], int], console: Console
) -> Iterator[Item]:
    """Yield sessions and show how many of those that ``count`` tells came."""
    total, started = count(), time.monotonic()
    with show_progress(console) as show:
        for done, item in enumerate(items, start=1):
            yield item
            left_s = (total - done) * (time.monotonic() - started) / done
            show(f"{done:,}/{total:,} sessions, ETA {format_duration(left_s)}", done, total)


@contextmanager
def watch_bytes(console: Console) -> Iterator[Callable[[str, int], None]]:
    """Yield what adds bytes to a kind of work, such as "copied", and shows their sum."""
    sizes: Counter[str] = Counter()
    with show_progress(console) as show:

        def watch(what: str, size: int) -> None:
            sizes[what] += size
            show(f"{what} {format_bytes(sizes[what])}" if size else what, sizes[what], None)

        yield watch


@contextmanager
def watch_progress(
    lakehouse: Lakehouse, missing: Sequence[str], console: Console
) -> Iterator[None]:
    """Show how far a download is while the block runs, and how far it came."""
    limit, total = lakehouse.settings.requests_per_minute, len(missing)
    with LedgerReader(lakehouse.layout.ledger_file) as ledger:
        meter = DownloadMeter(
            total, limit, _count_green(ledger.counts()), ledger.totals(), time.monotonic()
        )
        with _watching(meter, ledger, console):
            yield


@contextmanager
def watch_units(lakehouse: Lakehouse, sessions: int, console: Console) -> Iterator[None]:
    """Show while the block runs how far processes are that download so many sessions of units."""
    with LedgerReader(lakehouse.layout.ledger_file) as ledger:
        meter = UnitsMeter(sessions, ledger.totals(), time.monotonic())
        with _watching(meter, ledger, console):
            yield


@contextmanager
def _watching(
    meter: "DownloadMeter | UnitsMeter", ledger: LedgerReader, console: Console
) -> Iterator[None]:
    """Show what a meter says, from another thread, and once more at the end."""
    stop, pause_s = threading.Event(), POLL_S if console.is_terminal else LINE_EVERY_S
    with show_progress(console, line_every_s=0) as show:

        def watch() -> None:
            is_over = False
            while not is_over:
                is_over = stop.wait(pause_s)
                done, text = meter.describe(ledger)
                show(text, done, meter.total)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass(frozen=True, slots=True)
class DownloadMeter:
    """What has happened since a download began, from two looks at the ledger.

    Attributes:
        total: Sessions that it wants.
        limit: Limit of requests a minute; 0: there is none.
        green: Planned sessions that were green at the start.
        stored: What was stored at the start.
        started: Monotonic seconds.
    """

    total: int
    limit: float
    green: int
    stored: Totals
    started: float

    def describe(self, ledger: LedgerReader) -> tuple[int, str]:
        """Look again: sessions done since the start, the rates reached, and the time left.

        The time left is that of `smallcaps status`: by the trades that are expected, not by the
        number of sessions.
        """
        elapsed_s = max(time.monotonic() - self.started, 1e-3)
        counts, totals = ledger.counts(), ledger.totals()
        done = _count_green(counts) - self.green
        failed = counts.get(FAILED, 0) + counts.get(EMPTY_DISPUTED, 0)
        disputed = counts.get(DISPUTED, 0)
        rows, size = totals.rows - self.stored.rows, totals.bytes - self.stored.bytes
        text = (
            f"{done:,}/{self.total:,} sessions, {format_share(done / self.total)}, "
            f"{done / elapsed_s:.1f} sessions/s, {rows / elapsed_s:,.0f} trades/s, "
            f"{60 * size / MB / elapsed_s:.1f} MB/min"
        )
        text += f", {failed} failed" if failed else ""
        text += f", {disputed} disputed" if disputed else ""
        left = self.total - done
        outlook = forecast(ledger, left, is_running=True, requests_per_minute=self.limit)
        if outlook.basis != "pace" or outlook.plan_s is None or left <= 0:
            return done, text
        return done, f"{text}, ETA {format_duration(outlook.plan_s)}"


@dataclass(frozen=True, slots=True)
class UnitsMeter:
    """What several processes have done since they began, from two looks at the ledger.

    Attributes:
        total: Sessions that lack.
        stored: What was stored at the start.
        started: Monotonic seconds.
    """

    total: int
    stored: Totals
    started: float

    def describe(self, ledger: LedgerReader) -> tuple[int, str]:
        """Look again: sessions stored since the start, the rates reached, and the time left."""
        elapsed_s = max(time.monotonic() - self.started, 1e-3)
        now = ledger.totals()
        done, size = now.sessions - self.stored.sessions, now.bytes - self.stored.bytes
        text = (
            f"{done:,}/{self.total:,} sessions, {format_share(done / self.total)}, "
            f"{done / elapsed_s:.1f} sessions/s, "
            f"{(now.requests - self.stored.requests) / elapsed_s:.1f} requests/s, "
            f"{60 * size / MB / elapsed_s:.1f} MB/min"
        )
        if not 0 < done < self.total:
            return done, text
        return done, f"{text}, ETA {format_duration((self.total - done) * elapsed_s / done)}"


def _count_green(counts: Mapping[str, int]) -> int:
    return sum(count for state, count in counts.items() if state in GREEN)
