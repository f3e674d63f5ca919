"""`smallcaps tidy`: months of segments in few files, and what they displaced removed."""

import sys

import click

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.figures import format_bytes, format_count
from smallcaps_assets.operations.tidy.run import tidy_lake


@click.command("tidy")
@click.option("--all", "is_forced", is_flag=True, help="Pack every month, needed or not.")
def command(*, is_forced: bool) -> None:
    """Pack months with many small files, and remove what was displaced a day ago.

    Every session is proven before and after.  Stop it as you like: the same command continues, and
    once all is tidy it writes nothing.

    Exit code 1: a month is damaged and was left as it is.
    """
    console = open_console()
    with open_workplace() as work:
        facts = tidy_lake(work.lakehouse, is_forced=is_forced)
    for month, reason in facts.skipped.items():
        console.print(f"{month} left as it is: {reason}", markup=False, highlight=False)
    console.print(
        f"{format_count(facts.months, 'month')}, {len(facts.packed):,} packed; "
        f"{format_count(facts.removed, 'file')} removed ({format_bytes(facts.removed_bytes)})",
        highlight=False,
    )
    sys.exit(1 if facts.skipped else 0)
