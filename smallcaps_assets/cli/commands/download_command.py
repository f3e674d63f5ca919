"""`smallcaps download`: every missing planned session, through Dagster; again is resume."""

import datetime as dt
import sys
from pathlib import Path

import click
from rich.console import Console

from smallcaps_assets.cli.commands.plan_command import FILE, join_paths
from smallcaps_assets.cli.runs.download import RunOptions, run_download
from smallcaps_assets.cli.runs.plan import run_plan
from smallcaps_assets.cli.runs.universe import run_universe
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
    "--universe", "is_universe", is_flag=True, help="Fetch what the planned universe lacks."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Processes that fetch a universe at once; SMALLCAPS_PROCESSES if not given.",
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
    *,
    is_universe: bool,
    processes: int | None,
    **accepts: bool,
) -> None:
    """Fetch every missing planned session; finished ones are not asked for again.

    Exit code 0: all complete; 1: some failed, and are listed; 2: wrong usage.
    """
    console = open_console()
    selection = parse_selection(tickers, first, last)
    options = RunOptions(**accepts)
    if is_universe:
        check_universe(bool(watchlists) or options.again or selection != EVERYTHING)
        sys.exit(download_universe(options, processes, console))
    if processes is not None:
        raise ConfigError("--processes: expected --universe with it; event windows take one")
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


def check_universe(is_narrowed: bool) -> None:  # noqa: FBT001  one question
    """Refuse options that choose among event windows.

    Raises:
        ConfigError: There is one.
    """
    if is_narrowed:
        raise ConfigError(
            "--universe: expected none of --watchlist, --tickers, --from, --to and --again; a "
            "universe is narrowed where it is planned: smallcaps plan --universe"
        )


def download_universe(options: RunOptions, processes: int | None, console: Console) -> int:
    """Download what the planned universe lacks; return the exit code."""
    with open_workplace(needs_source=True) as work:
        is_complete = run_universe(work, console, options, processes)
        print_landed(work.lakehouse, console)
    return 0 if is_complete else 1
