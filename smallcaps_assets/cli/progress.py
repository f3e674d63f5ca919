"""Progress of a download, read from the ledger: a bar on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from smallcaps_assets.core.figures import MB
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake.ledger_reader import LedgerReader
from smallcaps_assets.lake.states import GREEN

POLL_S = 0.5
LINE_EVERY_S = 5.0


@dataclass(slots=True)
class Meter:
    """What has happened since the start, from two looks at the ledger.

    Attributes:
        green: Planned sessions that were green at the start.
        rows: Trades stored at the start.
        size: Bytes stored at the start.
        started: Monotonic seconds.
    """

    green: int
    rows: int
    size: int
    started: float

    def describe(self, ledger: LedgerReader) -> tuple[int, str]:
        """Return sessions done since the start, and the rates reached."""
        elapsed_s = max(time.monotonic() - self.started, 1e-3)
        counts, totals = ledger.counts(), ledger.totals()
        done = sum(count for state, count in counts.items() if state in GREEN) - self.green
        failed = counts.get("failed", 0) + counts.get("empty_disputed", 0)
        rows, size = totals.rows - self.rows, totals.bytes - self.size
        text = (
            f"{done / elapsed_s:.1f} sessions/s, {rows / elapsed_s:,.0f} trades/s, "
            f"{60 * size / MB / elapsed_s:.1f} MB/min"
        )
        return done, text + (f", {failed} failed" if failed else "")


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
        meter = Meter(green, totals.rows, totals.bytes, time.monotonic())
        arguments = (meter, ledger, len(missing), console, stop)
        thread = threading.Thread(target=show, args=arguments, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _show_bar(
    meter: Meter, ledger: LedgerReader, total: int, console: Console, stop: threading.Event
) -> None:
    columns = (
        TextColumn("sessions"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("", total=total)
        is_over = False
        while not is_over:
            is_over = stop.wait(POLL_S)
            done, text = meter.describe(ledger)
            progress.update(task, completed=done, description=text)


def _show_lines(
    meter: Meter, ledger: LedgerReader, total: int, console: Console, stop: threading.Event
) -> None:
    is_over = False
    while not is_over:
        is_over = stop.wait(LINE_EVERY_S)
        done, text = meter.describe(ledger)
        elapsed_s = time.monotonic() - meter.started
        eta = f", ETA {(total - done) * elapsed_s / done:,.0f} s" if 0 < done < total else ""
        console.print(f"{done:,}/{total:,} sessions, {text}{eta}", highlight=False)
