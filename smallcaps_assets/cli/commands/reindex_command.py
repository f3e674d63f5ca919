"""`smallcaps reindex`: the ledger, made again from the receipts."""

from pathlib import Path

import click

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.lake.ledger.rows import ReindexFacts
from smallcaps_assets.lake.ledger.writer import discard_damaged_ledger
from smallcaps_assets.lake.roots.markers import forget_root
from smallcaps_assets.lakehouse import Lakehouse


@click.command("reindex")
@click.option("--dry-run", is_flag=True, help="Count the receipts and change nothing.")
@click.option(
    "--forget-root",
    "lost_root",
    type=click.Path(path_type=Path),
    help="Give up a disk of the lake that is lost; its sessions are missing then.",
)
def command(*, dry_run: bool, lost_root: Path | None) -> None:
    """Rebuild the ledger from the receipts and the published plan; nothing is fetched.

    The roots in SMALLCAPS_LAKE_ROOTS are registered first, wherever they are mounted now.
    """
    with open_workplace() as work:
        lakehouse = work.lakehouse
        if dry_run:
            count = sum(1 for _ in lakehouse.store.iter_receipts())
            click.echo(f"{count} receipts would be indexed")
            return
        with lakehouse.writing("smallcaps reindex", 0.0, recovers=True):
            if lost_root is not None:
                forget_root(lakehouse.home, lakehouse.fs, lost_root)
                lakehouse.forget_roots()
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
