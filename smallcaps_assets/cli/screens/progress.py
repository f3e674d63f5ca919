"""Progress of a download or of a count: a bar on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from smallcaps_assets.core.figures import MB, format_duration
from smallcaps_assets.core.states import DISPUTED, EMPTY_DISPUTED, FAILED, GREEN
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.forecast import forecast

POLL_S = 1.0
LINE_EVERY_S = 5.0

Item = TypeVar("Item")


@dataclass(slots=True)
class ProgressMeter:
    """What has happened since the start, from two looks at the ledger.

    Attributes:
        green: Planned sessions that were green at the start.
        rows: Trades stored at the start.
        size: Bytes stored at the start.
        started: Monotonic seconds.
        limit: Limit of requests a minute; 0: there is none.
    """

    green: int
    rows: int
    size: int
    started: float
    limit: float

    def describe(self, ledger: LedgerReader, total: int) -> tuple[int, str]:
        """Return sessions done since the start of ``total``, the rates reached, and the time left.

        The time left is that of `smallcaps status`: by the trades that are expected, not by the
        number of sessions.
        """
        elapsed_s = max(time.monotonic() - self.started, 1e-3)
        counts, totals = ledger.counts(), ledger.totals()
        done = sum(count for state, count in counts.items() if state in GREEN) - self.green
        failed = counts.get(FAILED, 0) + counts.get(EMPTY_DISPUTED, 0)
        disputed = counts.get(DISPUTED, 0)
        rows, size = totals.rows - self.rows, totals.bytes - self.size
        text = (
            f"{done / elapsed_s:.1f} sessions/s, {rows / elapsed_s:,.0f} trades/s, "
            f"{60 * size / MB / elapsed_s:.1f} MB/min"
        )
        text += f", {failed} failed" if failed else ""
        text += f", {disputed} disputed" if disputed else ""
        outlook = forecast(ledger, total - done, is_running=True, requests_per_minute=self.limit)
        if outlook.basis != "pace" or outlook.plan_s is None or done >= total:
            return done, text
        return done, f"{text}, ETA {format_duration(outlook.plan_s)}"


@contextmanager
def watch_progress(
    lakehouse: Lakehouse, missing: Sequence[str], console: Console
) -> Iterator[None]:
    """Show how far a download is while the block runs."""
    stop = threading.Event()
    show = _show_bar if console.is_terminal else _show_lines
    with LedgerReader(lakehouse.layout.ledger_file) as ledger:
        totals, counts = ledger.totals(), ledger.counts()
        green = sum(count for state, count in counts.items() if state in GREEN)
        limit = lakehouse.settings.requests_per_minute
        meter = ProgressMeter(green, totals.rows, totals.bytes, time.monotonic(), limit)
        arguments = (meter, ledger, len(missing), console, stop)
        thread = threading.Thread(target=show, args=arguments, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def count_along(
    items: Iterable[Item],
    count: Callable[[], int],
    console: Console,
    line_every_s: float = LINE_EVERY_S,
) -> Iterator[Item]:
    """Yield the items while a bar, or now and then a line, shows how far it is.

    Args:
        items: What is counted.
        count: Tells how many there will be.
        console: Where it is shown.
        line_every_s: Pause between two lines where there is no bar.
    """
    total = count()
    if console.is_terminal:
        columns = (TextColumn("sessions"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=console) as bar:
            yield from bar.track(items, total=total)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= line_every_s:
            last = now
            left_s = (total - done) * (now - started) / done
            console.print(f"{done:,}/{total:,}, ETA {left_s:,.0f} s", highlight=False)


def _show_bar(
    meter: ProgressMeter, ledger: LedgerReader, total: int, console: Console, stop: threading.Event
) -> None:
    columns = (
        TextColumn("sessions"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("", total=total)
        is_over = False
        while not is_over:
            is_over = stop.wait(POLL_S)
            done, text = meter.describe(ledger, total)
            progress.update(task, completed=done, description=text)


def _show_lines(
    meter: ProgressMeter, ledger: LedgerReader, total: int, console: Console, stop: threading.Event
) -> None:
    is_over = False
    while not is_over:
        is_over = stop.wait(LINE_EVERY_S)
        done, text = meter.describe(ledger, total)
        console.print(f"{done:,}/{total:,} sessions, {text}", highlight=False)
