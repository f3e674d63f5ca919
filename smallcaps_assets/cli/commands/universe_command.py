"""`smallcaps universe`: the listings, loaded or gone on with, through Dagster."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from smallcaps_assets.cli.runs.workplace import Workplace, apply_options, open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.ingest.reference import universe_load
from smallcaps_assets.settings import load_settings

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("universe")
@click.option("--file", type=FILE, help="Parquet or CSV of listings instead of the vendor.")
def command(file: Path | None) -> None:
    """Load the listings, active and delisted; an interrupted load continues where it stopped."""
    console = open_console()
    apply_options({"universe": file and file.absolute()})
    is_vendor = load_settings().universe is None
    with open_workplace(needs_source=is_vendor) as work, showing_progress(console):
        is_published = run_universe(work, console)
    sys.exit(0 if is_published else 1)


def run_universe(work: Workplace, console: Console) -> bool:
    """Materialize the universe and print what it holds; return whether it was published."""
    from smallcaps_assets.cli.runs.plan import report_failure  # noqa: PLC0415  loads Dagster
    from smallcaps_assets.defs.jobs import UNIVERSE_JOB  # noqa: PLC0415

    run = work.run_job(UNIVERSE_JOB)
    if not run.is_success:
        report_failure(work, run, console)
        if any(work.lakehouse.layout.universe_parts_dir.glob("*")):
            console.print("what came is kept: run `smallcaps universe` again to go on")
        return False
    found = work.lakehouse.tables.read_universe()
    if found is None:
        return False
    listings, _ = found
    active = int(listings["is_active"].sum())
    tickers = listings["ticker"].n_unique()
    console.print(
        f"universe: {listings.height:,} listings of {tickers:,} tickers, {active:,} active and "
        f"{listings.height - active:,} delisted",
        highlight=False,
    )
    return True


@contextmanager
def showing_progress(console: Console) -> Iterator[None]:
    """Print the lines in which a load says how far it is."""

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(record.getMessage(), highlight=False)

    loader, handler = logging.getLogger(universe_load.__name__), Printer(logging.INFO)
    loader.addHandler(handler)
    loader.setLevel(logging.INFO)
    loader.propagate = False
    try:
        yield
    finally:
        loader.propagate = True
        loader.setLevel(logging.NOTSET)
        loader.removeHandler(handler)
