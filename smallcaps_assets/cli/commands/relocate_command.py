"""`smallcaps relocate`: the lake to another disk, and the old one emptied."""

from pathlib import Path

import click
from rich.console import Console

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.progress import watch_bytes
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.figures import format_bytes, format_count
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.moving import MoveFacts, measure_move, move_lake
from smallcaps_assets.operations.repair.upkeep import list_leftovers


@click.command("relocate")
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and change nothing.")
@click.argument("dest", type=click.Path(file_okay=False, path_type=Path))
def command(dest: Path, *, dry_run: bool) -> None:
    """Move the lake to the folder DEST on another disk, and empty the old place.

    Everything is copied and read back before anything changes; then one rename switches to DEST,
    and only then the old files go.  Stop it as you like: the same command continues.
    """
    console = open_console()
    with open_workplace() as work:
        if dry_run:
            _, size = measure_move(work.lakehouse, dest)
            click.echo(
                f"{format_count(size.sessions, 'session')}, {format_bytes(size.bytes)}, would be "
                f"moved; {format_bytes(size.needed_bytes)} are still to be copied, and fit"
            )
            return
        with work.lakehouse.lock.hold("smallcaps relocate", 0.0), watch_bytes(console) as watcher:
            facts = move_lake(work.lakehouse, dest, watcher)
        print_facts(work.lakehouse, facts, console)


def print_facts(lakehouse: Lakehouse, facts: MoveFacts, console: Console) -> None:
    """Print where the sessions are now, and what is still to be done by hand."""
    done = f"moved from {facts.source}" if facts.source else "there already"
    console.print(
        f"{format_count(facts.size.sessions, 'session')}, {format_bytes(facts.size.bytes)}, "
        f"{done}; the lake is in {facts.target}",
        highlight=False,
        soft_wrap=True,
    )
    for line in list_leftovers(lakehouse, facts):
        console.print(line, highlight=False, soft_wrap=True)
