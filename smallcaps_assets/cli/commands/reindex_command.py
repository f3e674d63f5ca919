"""`smallcaps reindex`: the ledger, made again from the receipts."""

import sys

import click

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.operations.repair.upkeep import count_receipts, rebuild_ledger

SHOWN_LOST = 50


@click.command("reindex")
@click.option("--dry-run", is_flag=True, help="Count the receipts and change nothing.")
def command(*, dry_run: bool) -> None:
    """Rebuild the ledger from the receipts and the published plan; nothing is fetched.

    What was proven and is gone is named, and the exit code is 1 then.
    """
    with open_workplace() as work:
        lakehouse = work.lakehouse
        require_lake(lakehouse.home)
        if dry_run:
            click.echo(f"{format_count(count_receipts(lakehouse), 'receipt')} would be indexed")
            return
        with lakehouse.writing("smallcaps reindex", 0.0):
            facts = rebuild_ledger(lakehouse)
        receipts = format_count(facts.receipts, "receipt")
        click.echo(f"{receipts} indexed, {format_count(facts.unproven, 'session')} had none")
    for key in facts.lost[:SHOWN_LOST]:
        click.echo(f"lost its proof, and is asked for again: {key}")
    if facts.lost:
        click.echo(f"{format_count(len(facts.lost), 'session')} lost their proof", err=True)
        sys.exit(1)
