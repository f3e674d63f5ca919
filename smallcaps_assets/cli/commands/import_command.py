"""`smallcaps import`: archives of other downloaders, judged file by file."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.progress import count_along
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.archive.outcomes import (
    DESCRIPTIONS,
    Action,
    ImportedSession,
    ImportSummary,
)
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lake.interchange.archives import Stray

NOT_IN_THE_LAKE = (Action.KEPT_APART, Action.LEFT, Action.UNCHANGED)
SHOWN = (*NOT_IN_THE_LAKE, Action.ACCEPTED)
"""Actions whose sessions are listed with their findings; the others are counted."""


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
            stored = show_json(run) if as_json else show_lines(run, console)
            if not dry_run:
                refresh_catalog(lakehouse)
                align_dagster(work, stored)
    if not as_json:
        print_summary(run.summary, console, is_dry_run=dry_run)
    sys.exit(1 if any(run.summary.sessions[action] for action in NOT_IN_THE_LAKE) else 0)


def show_json(run: Import) -> list[str]:
    """Print the import as one JSON object while it runs; return the keys that the lake has."""
    stored: list[str] = []
    click.echo('{"items": [')
    separator = ""
    for found in run.run():
        click.echo(separator + json.dumps(describe_found(found)), nl=False)
        separator = ",\n"
        stored += list_stored(found)
    click.echo(f'\n], "summary": {json.dumps(describe_summary(run.summary))}}}')
    return stored


def show_lines(run: Import, console: Console) -> list[str]:
    """Print each session that the lake does not get, with its findings; return the others."""
    stored: list[str] = []
    for found in count_along(run.run(), run.count, console):
        for line in list_lines(found):
            console.print(show_text(line), markup=False, highlight=False, soft_wrap=True)
        stored += list_stored(found)
    return stored


def list_stored(found: ImportedSession | Stray) -> list[str]:
    """Return the key of a session that the lake has now."""
    return [found.key] if isinstance(found, ImportedSession) and found.is_stored else []


def list_lines(found: ImportedSession | Stray) -> Iterator[str]:
    """Yield what is printed about something in the archive."""
    if isinstance(found, Stray):
        yield f"{found.name}: no session: {found.message}"
    elif found.action in SHOWN and found.verdict is not None:
        yield f"{found.key}: {found.verdict.word}: {DESCRIPTIONS[found.action]}"
        yield from (f"  {finding}" for finding in found.findings)


def describe_found(found: ImportedSession | Stray) -> dict[str, object]:
    """Return something in the archive as JSON has it."""
    if isinstance(found, Stray):
        return {"stray": found.name, "message": found.message}
    return {
        "key": found.key,
        "action": found.action.value,
        "verdict": found.verdict.value if found.verdict else None,
        "rows": found.rows,
        "files": found.files,
        "findings": found.findings,
    }


def describe_summary(summary: ImportSummary) -> dict[str, object]:
    """Return the counts as JSON has them."""
    return {
        "files": summary.files,
        "sessions": {action.value: summary.sessions[action] for action in Action},
        "rows": summary.rows,
        "findings": dict(sorted(summary.findings.items())),
        "strays": summary.strays,
    }


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
        f"{summary.files:,} files of {summary.sessions.total():,} sessions; {summary.rows:,} "
        f"trades {verb}; {summary.strays:,} files or folders are no session",
        highlight=False,
    )


def show_text(text: str) -> str:
    """Return a text without what a terminal would obey: names of files may hold anything."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def align_dagster(work: Workplace, keys: Iterable[str]) -> None:
    """Turn the partitions of stored sessions green, where Dagster has a plan."""
    if not work.lakehouse.layout.dagster_dir.is_dir():
        return
    from smallcaps_assets.defs.instance.states import align_states  # noqa: PLC0415
    from smallcaps_assets.defs.partitions import PLANNED_SET  # noqa: PLC0415  loads Dagster

    registered = set(work.instance.get_dynamic_partitions(PLANNED_SET))
    align_states(work.instance, work.lakehouse, [key for key in keys if key in registered])
