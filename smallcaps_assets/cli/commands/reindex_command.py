"""`smallcaps reindex`: the ledger, made again from the records."""

import sys

import click

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.operations.repair.upkeep import count_stored, rebuild_ledger

SHOWN_LOST = 50


@click.command("reindex")
@click.option("--dry-run", is_flag=True, help="Count the sessions and change nothing.")
def command(*, dry_run: bool) -> None:
    """Rebuild the ledger from the records and the published plan; nothing is fetched.

    What was proven and is gone is named, and the exit code is 1 then.
    """
    with open_workplace() as work:
        lakehouse = work.lakehouse
        require_lake(lakehouse.home)
        if dry_run:
            click.echo(f"{format_count(count_stored(lakehouse), 'session')} would be indexed")
            return
        with lakehouse.writing("smallcaps reindex", 0.0):
            facts = rebuild_ledger(lakehouse)
        sessions, unproven = format_count(facts.sessions, "session"), f"{facts.unproven:,}"
        click.echo(f"{sessions} indexed, {unproven} more that the ledger knew are in no record")
    for key in facts.lost[:SHOWN_LOST]:
        click.echo(f"lost its proof, and is asked for again: {key}")
    if facts.lost:
        click.echo(f"{format_count(len(facts.lost), 'session')} lost their proof", err=True)
        sys.exit(1)
