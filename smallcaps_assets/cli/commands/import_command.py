"""`smallcaps import`: archives of other downloaders, judged file by file."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.progress import count_along, show_progress
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
from smallcaps_assets.lake.adoption.months import MonthFacts
from smallcaps_assets.lake.adoption.takeover import TakeoverFacts, take_over
from smallcaps_assets.lake.home.market import adopt_source
from smallcaps_assets.lake.home.place import put_lake, recall_home
from smallcaps_assets.lake.interchange.archives import Stray
from smallcaps_assets.lake.paths.layout import LakeLayout


@click.command("import")
@click.argument("archive", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--lake",
    "takes_lake",
    is_flag=True,
    help="Take over a lake of receipts into segments; ARCHIVE is its data folder then.",
)
@click.option(
    "--remove", is_flag=True, help="With --lake: remove each month as soon as it is proven."
)
@click.option(
    "--accept-unproven",
    is_flag=True,
    help="Store what is readable, agreeing or not; its record says so.",
)
@click.option("--dry-run", is_flag=True, help="Judge everything and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print every session and finding as JSON.")
def command(
    archive: Path | None,
    *,
    takes_lake: bool,
    remove: bool,
    accept_unproven: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import ARCHIVE, a folder of folders of tickers, in either layout.

    TICKER/date=YYYY-MM-DD/trades.parquet, or
    TICKER/year=YYYY/month=MM/day=YYYY-MM-DD/{premarket,market,afterhours}.parquet

    Only sessions that agree with their daily bar and with themselves join the lake; other readable
    ones are kept apart, in the view imported_trades, and are still fetched.  The same command again
    does nothing twice.

    With --lake the lake of ARCHIVE, another data folder, by default of this one, if each of its
    sessions is a file with a receipt, becomes one of segments: month by month, proven, and nothing
    is asked of the vendor.  It begins in SMALLCAPS_LAKE, where that is set.  The old lake stays
    where it was as lake.format1 unless --remove is given.

    Exit code 0: the lake has every session of the archive; 1: it lacks some, which are listed;
    2: wrong usage.
    """
    console = open_console()
    if takes_lake:
        if accept_unproven or dry_run or as_json:
            raise click.UsageError("--lake goes with --remove alone: it takes over a whole lake")
        with open_workplace() as work:
            sys.exit(take_lake(work, archive, console, removes=remove))
    if archive is None or remove:
        raise click.UsageError("expected the folder of an archive, or --lake")
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


def take_lake(work: Workplace, old_dir: Path | None, console: Console, *, removes: bool) -> int:
    """Take over a lake of receipts, say what became of it, and return the exit code."""
    settings, fs = work.settings, work.lakehouse.fs
    data_dir = settings.data_dir.absolute()
    home = put_lake(data_dir, settings.lake) if settings.lake else recall_home(data_dir, fs)
    with show_progress(console) as show:

        def report(told: MonthFacts, number: int, count: int) -> None:
            stored = f"{format_count(told.sessions, 'session')}, {format_count(told.rows, 'trade')}"
            months = format_count(count, "month")
            show(f"{number:,} of {months}, {told.month}: {stored}", number, count)

        old = LakeLayout(old_dir.absolute()) if old_dir else None
        facts = take_over(home, fs, work.lakehouse.calendar, old, removes=removes, report=report)
    # The source may be known only now.
    taken = Workplace(adopt_source(settings))
    refresh_catalog(taken.lakehouse)
    taken.align_dagster(facts.lost)
    print_takeover(facts, console, removes=removes)
    return 1 if facts.damaged else 0


def print_takeover(facts: TakeoverFacts, console: Console, *, removes: bool) -> None:
    """Print what was taken over, what was not, and what is left to be done by hand."""
    for key, reason in facts.damaged:
        console.print(f"{key}: {reason}", markup=False, highlight=False, soft_wrap=True)
    sessions = sum(month.sessions for month in facts.months)
    rows = sum(month.rows for month in facts.months)
    known = sum(month.known for month in facts.months)
    lines = [
        f"{format_count(sessions, 'session')} with {format_count(rows, 'trade')} in "
        f"{format_count(len(facts.months), 'month')} taken over"
        + (f", {known:,} were before" if known else "")
        + (f"; {len(facts.lost):,} are damaged and missing now" if facts.lost else ""),
    ]
    lines += [f"left, because it belongs to nothing: {path}" for path in facts.strays]
    lines += [f"left, evidence of damage: {path}" for path in facts.quarantine]
    kept = f"; {facts.kept:,} damaged folders stay in it" if facts.kept else ""
    if removes:
        lines.append(f"the old lake is removed{kept}: {facts.old_folder}")
    else:
        lines.append(
            f"the old lake is {facts.old_folder}: remove it once `smallcaps audit --deep` is clean"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
