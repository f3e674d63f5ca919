"""`smallcaps repair`: damaged files into quarantine, their sessions missing again."""

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.operations.repair.sessions import RepairFacts
from smallcaps_assets.operations.repair.upkeep import empty_quarantine, repair_and_serve

SHOWN_ROWS = 50


@click.command("repair")
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and move nothing.")
@click.option("--delete", is_flag=True, help="Delete what lies in quarantine afterwards.")
def command(*, dry_run: bool, delete: bool) -> None:
    """Move damaged files to quarantine/ and mark lost sessions missing, here and in Dagster.

    What still proves is copied out of damaged files first.

    Nothing is fetched: `smallcaps download`, or a backfill of failed and missing partitions,
    then asks for exactly those sessions.  Nothing is deleted without --delete.
    """
    with open_workplace() as work:
        require_lake(work.lakehouse.home)
        with work.lakehouse.writing("smallcaps repair", 0.0):
            facts = repair_and_serve(work.lakehouse, is_dry_run=dry_run)
            if not dry_run:
                from smallcaps_assets.defs.instance.reconciliation import show_repair  # noqa: PLC0415  loads Dagster

                show_repair(work.instance, work.lakehouse, facts)
            print_facts(facts, open_console(), is_dry_run=dry_run)
            for folder in empty_quarantine(work.lakehouse) if delete and not dry_run else ():
                click.echo(f"deleted {folder}")


def print_facts(facts: RepairFacts, console: Console, *, is_dry_run: bool) -> None:
    """Print what was found and where it lies now."""
    verb = "would be moved" if is_dry_run else "moved"
    apart = [damages for by_key in facts.apart.values() for damages in by_key.values()]
    count = facts.to_move if is_dry_run else len(facts.moved)
    console.print(
        f"{format_count(facts.checked, 'session')} checked, {len(facts.damages):,} damaged and "
        f"{len(facts.lost):,} lost, {format_count(facts.files.height, 'damaged file')}, "
        f"{format_count(len(facts.orphans), 'stray')}, "
        f"{format_count(len(apart), 'damage')} beside the sessions; {verb} to quarantine: "
        f"{format_count(count, 'file')}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("session", "kind", "what is wrong")
    for key, damages in sorted(facts.damages.items())[:SHOWN_ROWS]:
        table.add_row(key, damages[0].kind.value, escape(damages[0].message))
    for key in facts.lost[:SHOWN_ROWS]:
        table.add_row(key, "missing", "the ledger called it stored, no record tells of it")
    for damages in apart[:SHOWN_ROWS]:
        table.add_row(damages[0].key, damages[0].kind.value, escape(damages[0].message))
    for orphan in facts.orphans[:SHOWN_ROWS]:
        table.add_row(orphan.path.name, orphan.kind.value, escape(str(orphan.path)))
    for kind, message in facts.files.select("kind", "message").head(SHOWN_ROWS).iter_rows():
        table.add_row("file", kind, escape(message))
    if table.row_count:
        console.print(table)
