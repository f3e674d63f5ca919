"""`smallcaps import`: archives of other downloaders, judged file by file."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.progress import count_along
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.ingest.archive.document import (
    count_left_out,
    document_import,
    list_lines,
    list_stored,
)
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.archive.outcomes import (
    DESCRIPTIONS,
    Action,
    ImportedSession,
    ImportSummary,
)
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lake.interchange.archives import Stray


@click.command("import")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--accept-unproven",
    is_flag=True,
    help="Store what is readable, agreeing or not; receipts say so.",
)
@click.option("--dry-run", is_flag=True, help="Judge everything and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print every session and finding as JSON.")
def command(archive: Path, *, accept_unproven: bool, dry_run: bool, as_json: bool) -> None:
    """Import ARCHIVE, a folder of folders of tickers, in either layout.

    TICKER/date=YYYY-MM-DD/trades.parquet, or
    TICKER/year=YYYY/month=MM/day=YYYY-MM-DD/{premarket,market,afterhours}.parquet

    Only sessions that agree with their daily bar and with themselves join the lake; other readable
    ones are kept apart, in the view imported_trades, and are still fetched.  The same command again
    does nothing twice.

    Exit code 0: the lake has every session of the archive; 1: it lacks some, which are listed;
    2: wrong usage.
    """
    console = open_console()
    with open_workplace() as work:
        lakehouse = work.lakehouse
        lock = nullcontext() if dry_run else lakehouse.writing("smallcaps import", 0.0)
        with lock:
            run = Import(lakehouse, archive, accept_unproven=accept_unproven, is_dry_run=dry_run)
            found = list(run.run()) if as_json else show_lines(run, console)
            stored = list_stored(found)
            if not dry_run:
                refresh_catalog(lakehouse)
                work.align_dagster(stored)
    if as_json:
        click.echo(encode_document(document_import(found, run.summary)))
    else:
        print_summary(run.summary, console, is_dry_run=dry_run)
    sys.exit(1 if count_left_out(run.summary) else 0)


def show_lines(run: Import, console: Console) -> Iterator[ImportedSession | Stray]:
    """Yield everything in the archive; print each session that the lake does not get."""
    for found in count_along(run.run(), run.count, console):
        for line in list_lines(found):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        yield found


def print_summary(summary: ImportSummary, console: Console, *, is_dry_run: bool) -> None:
    """Print what was done and what was found, in counts."""
    title = "import (dry run: nothing is written)" if is_dry_run else "import"
    table = Table("sessions", "what became of them", title=title)
    for action in Action:
        if count := summary.sessions[action]:
            table.add_row(f"{count:,}", DESCRIPTIONS[action])
    console.print(table)
    if summary.findings:
        kinds = Table("sessions", "finding")
        for kind, count in summary.findings.most_common():
            kinds.add_row(f"{count:,}", kind)
        console.print(kinds)
    verb = "would be stored" if is_dry_run else "stored"
    console.print(
        f"{format_count(summary.files, 'file')} of "
        f"{format_count(summary.sessions.total(), 'session')}; "
        f"{format_count(summary.rows, 'trade')} {verb}; {summary.strays:,} files or folders are no "
        "session",
        highlight=False,
    )
