"""`smallcaps reconcile`: Dagster's partition states, made equal to the lake's."""

import click

from smallcaps_assets.cli.runs.workplace import (
    Workplace,
    find_damaged_databases,
    open_workplace,
    set_aside,
)
from smallcaps_assets.ingest.derived import ensure_indexed


@click.command("reconcile")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def command(*, dry_run: bool) -> None:
    """Make Dagster agree with the lake: after a restored disk, an import, a lost Dagster home.

    Sessions of the lake that Dagster does not show are added as materializations; partitions
    that are green without a receipt turn red.  Nothing is fetched.  A damaged database of Dagster
    is moved aside and made anew: what it knew of runs is lost, and nothing else.
    """
    with open_workplace() as work:
        ensure_indexed(work.lakehouse)
        damaged = find_damaged_databases(work.settings)
        for path, reason in damaged.items():
            verb = "would be moved" if dry_run else "moved"
            click.echo(f"{path} is damaged ({reason}): {verb} to {path.name}.damaged, made anew")
        if dry_run:
            if not damaged:
                click.echo(preview(work))
            return
        with work.lakehouse.writing("smallcaps reconcile", 0.0):
            for path in damaged:
                set_aside(path)
            click.echo(reconcile(work))


def reconcile(work: Workplace) -> str:
    """Register the published plan and align every key; return what was done."""
    from smallcaps_assets.defs.instance.queue import register_plan  # noqa: PLC0415
    from smallcaps_assets.defs.instance.runs import end_dead_runs  # noqa: PLC0415
    from smallcaps_assets.defs.instance.states import align_states  # noqa: PLC0415
    from smallcaps_assets.defs.partitions import PLANNED_SET  # noqa: PLC0415  loads Dagster

    ended = end_dead_runs(work.instance, work.lakehouse.lock)
    queue = register_plan(work.instance, work.lakehouse)
    keys = work.instance.get_dynamic_partitions(PLANNED_SET)
    aligned = align_states(work.instance, work.lakehouse, keys)
    green = queue.marked_green + len(aligned.marked_green)
    missing = queue.marked_missing + len(aligned.marked_missing)
    return (
        f"{len(keys):,} keys: {queue.added:,} registered, {queue.removed:,} removed, "
        f"{green:,} shown as stored, {missing:,} marked missing, {len(ended):,} dead runs ended"
    )


def preview(work: Workplace) -> str:
    """Return what a reconciliation would do."""
    from smallcaps_assets.core.keys import key_expression  # noqa: PLC0415
    from smallcaps_assets.defs.instance.states import align_states  # noqa: PLC0415
    from smallcaps_assets.defs.partitions import PLANNED_SET  # noqa: PLC0415

    _, plan = work.lakehouse.tables.read_plan()
    planned = plan.select(key_expression()).to_series().to_list()
    registered = set(work.instance.get_dynamic_partitions(PLANNED_SET))
    aligned = align_states(work.instance, work.lakehouse, planned, is_dry_run=True)
    return (
        f"{len(planned):,} keys: {len(set(planned) - registered):,} would be registered, "
        f"{len(registered - set(planned)):,} removed, {len(aligned.marked_green):,} shown as "
        f"stored, {len(aligned.marked_missing):,} marked missing"
    )
