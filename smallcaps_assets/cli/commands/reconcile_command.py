"""`smallcaps reconcile`: Dagster's partition states, made equal to the lake's."""

import click

from smallcaps_assets.cli.runs.workplace import find_damaged_databases, open_workplace, set_aside
from smallcaps_assets.ingest.derived import ensure_indexed, require_lake


@click.command("reconcile")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def command(*, dry_run: bool) -> None:
    """Make Dagster agree with the lake: after a restored disk, an import, a lost Dagster home.

    Sessions of the lake that Dagster does not show are added as materializations; partitions
    that are green without a proof turn red.  Nothing is fetched.  A damaged database of Dagster
    is moved aside and made again: what it knew of runs is lost, and nothing else.
    """
    with open_workplace() as work:
        require_lake(work.lakehouse.home)
        from smallcaps_assets.defs.instance.reconciliation import (  # noqa: PLC0415  loads Dagster
            preview_reconciliation,
            reconcile_partitions,
        )

        ensure_indexed(work.lakehouse)
        damaged = find_damaged_databases(work.settings)
        for path, reason in damaged.items():
            verb = "would be moved" if dry_run else "moved"
            click.echo(f"{path} is damaged ({reason}): {verb} to {path.name}.damaged, made again")
        if dry_run:
            if not damaged:
                click.echo(preview_reconciliation(work.instance, work.lakehouse).describe())
            return
        with work.lakehouse.writing("smallcaps reconcile", 0.0):
            for path in damaged:
                set_aside(path)
            click.echo(reconcile_partitions(work.instance, work.lakehouse).describe())
