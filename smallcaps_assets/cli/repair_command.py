"""`smallcaps repair`: damaged files into quarantine, their sessions missing again."""

import shutil
import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.workplace import Workplace, open_workplace
from smallcaps_assets.ingest.backfill import ensure_indexed, refresh_catalog
from smallcaps_assets.ingest.repair import RepairFacts, repair_lake

SHOWN_ROWS = 50


@click.command("repair")
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and move nothing.")
@click.option("--delete", is_flag=True, help="Delete what lies in quarantine afterwards.")
def command(*, dry_run: bool, delete: bool) -> None:
    """Move damaged files to quarantine/ and mark their sessions missing, here and in Dagster.

    Nothing is fetched: `smallcaps download`, or a backfill of failed and missing partitions,
    then asks for exactly those sessions.  Nothing is deleted without --delete.
    """
    with open_workplace() as work, work.lakehouse.lock.hold("smallcaps repair", 0.0):
        ensure_indexed(work.lakehouse)
        facts = repair_lake(work.lakehouse, is_dry_run=dry_run)
        if not dry_run:
            refresh_catalog(work.lakehouse)
            align_dagster(work, facts)
        print_facts(facts, Console(), is_dry_run=dry_run)
        quarantine = work.lakehouse.layout.quarantine_dir
        if delete and not dry_run and quarantine.exists():
            shutil.rmtree(quarantine)
            click.echo(f"deleted {quarantine}")
    sys.exit(0)


def align_dagster(work: Workplace, facts: RepairFacts) -> None:
    """Turn the partitions of damaged sessions red, so that a backfill holds them."""
    from smallcaps_assets.defs.partitions import PLANNED_SET  # noqa: PLC0415  loads Dagster
    from smallcaps_assets.defs.states import align_states  # noqa: PLC0415

    registered = set(work.instance.get_dynamic_partitions(PLANNED_SET))
    keys = [key for key in facts.keys if key in registered]
    align_states(work.instance, work.lakehouse, keys)


def print_facts(facts: RepairFacts, console: Console, *, is_dry_run: bool) -> None:
    """Print what was found and where it lies now."""
    verb = "would be moved" if is_dry_run else "moved"
    console.print(
        f"{facts.checked:,} sessions checked, {len(facts.damages):,} damaged and "
        f"{len(facts.lost):,} lost, {len(facts.orphans):,} strays; {verb} to quarantine: "
        f"{len(facts.damages) + len(facts.orphans):,}",
        highlight=False,
    )
    table = Table("session", "kind", "what is wrong")
    for key, damages in sorted(facts.damages.items())[:SHOWN_ROWS]:
        table.add_row(key, damages[0].kind.value, escape(damages[0].message))
    for key in facts.lost[:SHOWN_ROWS]:
        table.add_row(key, "missing", "the ledger called it stored, there is no receipt")
    for orphan in facts.orphans[:SHOWN_ROWS]:
        table.add_row(orphan.path.name, orphan.kind.value, escape(str(orphan.path)))
    if table.row_count:
        console.print(table)
