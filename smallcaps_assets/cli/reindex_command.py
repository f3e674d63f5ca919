"""`smallcaps reindex`: the ledger, made again from the receipts."""

import click

from smallcaps_assets.cli.workplace import open_workplace
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake.ledger import discard_damaged_ledger
from smallcaps_assets.lake.ledger_rows import ReindexFacts


@click.command("reindex")
@click.option("--dry-run", is_flag=True, help="Count the receipts and change nothing.")
def command(*, dry_run: bool) -> None:
    """Rebuild the ledger from the receipts and the published plan; nothing is fetched."""
    with open_workplace() as work:
        lakehouse = work.lakehouse
        if dry_run:
            count = sum(1 for _ in lakehouse.store.iter_receipts())
            click.echo(f"{count} receipts would be indexed")
            return
        with lakehouse.lock.hold("smallcaps reindex", 0.0):
            facts = rebuild_ledger(lakehouse)
        click.echo(f"{facts.receipts} receipts indexed, {facts.unproven} sessions had none")


def rebuild_ledger(lakehouse: Lakehouse) -> ReindexFacts:
    """Index every receipt; a damaged ledger is moved aside first.

    Raises:
        LakeError: A receipt cannot be believed; `smallcaps audit --deep` names it.
    """
    discard_damaged_ledger(lakehouse.layout.ledger_file, lakehouse.fs)
    ledger = lakehouse.ledger
    _, plan = lakehouse.tables.read_plan()
    ledger.record_plan(plan, lakehouse.tables.read_not_yet_available())
    return ledger.reindex(lakehouse.store.iter_receipts(), lakehouse.store.iter_unproven())
