"""`smallcaps download`: every missing planned session, through Dagster; again is resume."""

import datetime as dt
import sys
from pathlib import Path

import click

from smallcaps_assets.cli.commands.plan_command import FILE, join_paths
from smallcaps_assets.cli.runs.download import RunOptions, run_download
from smallcaps_assets.cli.runs.plan import run_plan
from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.summaries import print_failures, print_landed
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.plan.selection import parse_selection
from smallcaps_assets.lake.reading.sources import EVERYTHING

DATE = click.DateTime(["%Y-%m-%d"])


@click.command("download")
@click.option(
    "--watchlist", "watchlists", type=FILE, multiple=True, help="Plan these first, then download."
)
@click.option("--tickers", help="Only these, separated by commas.")
@click.option("--from", "first", type=DATE, help="Only sessions from this date on.")
@click.option("--to", "last", type=DATE, help="Only sessions up to this date, included.")
@click.option(
    "--accept-empty", is_flag=True, help="Believe `no trades` against the daily bar's volume."
)
@click.option(
    "--accept-disputed",
    is_flag=True,
    help="Accept sessions that lack some of their daily bar, after asking again.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Ask for finished sessions of --tickers, --from, --to again too; list what changed.",
)
def command(
    watchlists: tuple[Path, ...],
    tickers: str | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
    **accepts: bool,
) -> None:
    """Fetch every missing planned session; finished ones are not asked for again.

    Exit code 0: all complete; 1: some failed, and are listed; 2: wrong usage.
    """
    console = open_console()
    selection = parse_selection(tickers, first, last)
    options = RunOptions(**accepts)
    if options.again and selection == EVERYTHING:
        raise ConfigError(
            "--again: expected --tickers, --from or --to, so that not the whole lake is paid for "
            "twice; `smallcaps recheck` asks for a sample of it"
        )
    with open_workplace(needs_source=True, watchlist=join_paths(watchlists)) as work:
        if watchlists and not run_plan(work, console):
            sys.exit(1)
        is_complete = run_download(work, selection, console, options)
        print_landed(work.lakehouse, console)
        if not is_complete:
            print_failures(work.lakehouse, console)
    sys.exit(0 if is_complete else 1)
