"""`smallcaps plan`: reference data, watchlist, plan and estimate, through Dagster."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from smallcaps_assets.cli.planning import run_plan
from smallcaps_assets.cli.summaries import print_estimate
from smallcaps_assets.cli.workplace import open_workplace

FILE = click.Path(exists=True, path_type=Path)


@click.command("plan")
@click.option(
    "--watchlist",
    "watchlists",
    type=FILE,
    multiple=True,
    help="File or folder of a watchlist instead of the rules; several are united.",
)
@click.option(
    "--pilot", type=click.IntRange(min=0), help="Tickers of the pilot; 0 takes all of them."
)
def command(watchlists: tuple[Path, ...], pilot: int | None) -> None:
    """Find events, plan the sessions to fetch, estimate, publish and register them."""
    console = Console()
    with open_workplace(
        needs_source=True, watchlist=join_paths(watchlists), pilot_tickers=pilot
    ) as work:
        is_published = run_plan(work, console)
        if is_published:
            print_estimate(work.lakehouse, console)
    sys.exit(0 if is_published else 1)


def join_paths(paths: Sequence[Path]) -> str | None:
    """Return paths as the setting of a list has them; ``None``: there is none."""
    return os.pathsep.join(str(path.absolute()) for path in paths) or None
