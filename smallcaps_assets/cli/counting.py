"""Progress over things that are counted one by one: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0

Item = TypeVar("Item")


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
