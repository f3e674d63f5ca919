"""`smallcaps repair`: damaged files into quarantine, their sessions missing again."""

import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.ingest.derived import ensure_indexed, refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.sessions import RepairFacts, repair_lake

SHOWN_ROWS = 50


@click.command("repair")
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and move nothing.")
@click.option("--delete", is_flag=True, help="Delete what lies in quarantine afterwards.")
def command(*, dry_run: bool, delete: bool) -> None:
    """Move damaged files to quarantine/ and mark their sessions missing, here and in Dagster.

    Damaged month files are written anew from what is proven, and copied to quarantine/ first.

    Nothing is fetched: `smallcaps download`, or a backfill of failed and missing partitions,
    then asks for exactly those sessions.  Nothing is deleted without --delete.
    """
    with open_workplace() as work, work.lakehouse.writing("smallcaps repair", 0.0):
        ensure_indexed(work.lakehouse)
        facts = repair_lake(work.lakehouse, is_dry_run=dry_run)
        if not dry_run:
            refresh_catalog(work.lakehouse)
            align_dagster(work, facts)
        print_facts(facts, open_console(), is_dry_run=dry_run)
        if delete and not dry_run:
            delete_quarantine(work.lakehouse)
    sys.exit(0)


def delete_quarantine(lakehouse: Lakehouse) -> None:
    """Delete what lies in the quarantine of each root."""
    for folder in lakehouse.layout.quarantine_dirs:
        if folder.exists():
            lakehouse.fs.remove_tree(folder)
            click.echo(f"deleted {folder}")


def align_dagster(work: Workplace, facts: RepairFacts) -> None:
    """Turn the partitions of damaged sessions red, so that a backfill holds them."""
    from smallcaps_assets.defs.instance.runs import end_dead_runs  # noqa: PLC0415
    from smallcaps_assets.defs.instance.states import align_states  # noqa: PLC0415
    from smallcaps_assets.defs.partitions import PLANNED_SET  # noqa: PLC0415  loads Dagster

    # Else a run that was killed would still show its partitions as under way.
    end_dead_runs(work.instance, work.lakehouse.lock)
    registered = set(work.instance.get_dynamic_partitions(PLANNED_SET))
    keys = [key for key in facts.keys if key in registered]
    align_states(work.instance, work.lakehouse, keys)


def print_facts(facts: RepairFacts, console: Console, *, is_dry_run: bool) -> None:
    """Print what was found and where it lies now."""
    verb = "would be moved" if is_dry_run else "moved"
    apart = [damages for by_key in facts.apart.values() for damages in by_key.values()]
    console.print(
        f"{facts.checked:,} sessions checked, {len(facts.damages):,} damaged and "
        f"{len(facts.lost):,} lost, {len(facts.orphans):,} strays, {len(apart):,} damages beside "
        f"the sessions; {verb} to quarantine: "
        f"{len(facts.damages) + len(facts.orphans) + len(apart):,}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("session", "kind", "what is wrong")
    for key, damages in sorted(facts.damages.items())[:SHOWN_ROWS]:
        table.add_row(key, damages[0].kind.value, escape(damages[0].message))
    for key in facts.lost[:SHOWN_ROWS]:
        table.add_row(key, "missing", "the ledger called it stored, there is no receipt")
    for damages in apart[:SHOWN_ROWS]:
        table.add_row(damages[0].key, damages[0].kind.value, escape(damages[0].message))
    for orphan in facts.orphans[:SHOWN_ROWS]:
        table.add_row(orphan.path.name, orphan.kind.value, escape(str(orphan.path)))
    for damage in facts.months[:SHOWN_ROWS]:
        what = f"{damage.message}; {len(damage.sessions)} of its sessions do not prove"
        table.add_row(f"month {damage.month}", damage.kind.value, escape(what))
    if table.row_count:
        console.print(table)
