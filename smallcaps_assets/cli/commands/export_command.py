"""`smallcaps export`: the lake, or the watchlist, in the layout of other tools."""

import datetime as dt
import os
import sys
from pathlib import Path

import click

from smallcaps_assets.cli.commands.download_command import DATE
from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.ingest.plan.selection import parse_selection
from smallcaps_assets.lake.interchange.export import (
    ExportFacts,
    export_dates,
    export_session_files,
    export_watchlist,
)
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST

WATCHLISTS = {"watchlist": WATCHLIST, "pilot-watchlist": PILOT_WATCHLIST}


@click.command("export")
@click.option(
    "--layout",
    type=click.Choice(["date", "session-files", *WATCHLISTS]),
    required=True,
    help="TICKER/date=*/trades.parquet; or one file a phase; or daily/date=*/watchlist.parquet.",
)
@click.option("--tickers", help="Only these, separated by commas.")
@click.option("--from", "first", type=DATE, help="Only sessions from this date on.")
@click.option("--to", "last", type=DATE, help="Only sessions up to this date, included.")
@click.option(
    "--portable-names/--plain-names",
    "is_portable",
    default=os.name == "nt",
    help="Name folders of tickers such as CON and PRN so that Windows bears them.",
)
@click.argument("dest", type=click.Path(file_okay=False, path_type=Path))
def command(
    layout: str,
    tickers: str | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
    dest: Path,
    *,
    is_portable: bool,
) -> None:
    """Write files for other tools below DEST; what lies there already is not written again."""
    selection = parse_selection(tickers, first, last)
    with open_workplace() as work:
        facts = run_export(
            work.lakehouse, layout, dest.absolute(), selection, is_portable=is_portable
        )
    click.echo(
        f"{facts.units:,} looked at, {facts.unchanged:,} there already, {facts.files:,} files "
        f"written, {format_bytes(facts.bytes)}"
    )
    for path, why in facts.damages.items():
        click.echo(f"left out: {path}: {why}", err=True)
    sys.exit(1 if facts.damages else 0)


def run_export(
    lakehouse: Lakehouse, layout: str, dest: Path, selection: Selection, *, is_portable: bool
) -> ExportFacts:
    """Export in one layout.

    Raises:
        ConfigError: The destination belongs to the lakehouse.
        LakeError: There is nothing to export, or the disk refuses.
    """
    if layout in WATCHLISTS:
        watchlist = lakehouse.tables.read_table(WATCHLISTS[layout])
        return export_watchlist(lakehouse.layout, lakehouse.fs, dest, watchlist)
    export = export_dates if layout == "date" else export_session_files
    return export(lakehouse.layout, lakehouse.fs, dest, selection, is_portable=is_portable)
