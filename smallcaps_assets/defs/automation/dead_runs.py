"""Sensors: what must happen without anybody asking."""

from contextlib import suppress

import dagster as dg

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.defs.instance.queue import describe_foreign, drop_foreign_keys, split_keys
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets.defs.instance.runs import find_broken_runs
from smallcaps_assets.defs.instance.states import align_anew
from smallcaps_assets.defs.instance.units import align_runs
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.errors import MissingPartitionError, SmallcapsError
from smallcaps_assets.lakehouse import Lakehouse


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process was killed, so that waiting ones can start, and shows "
    "what they had stored.  Leave it on.",
)
def end_runs_of_dead_processes(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SkipReason:
    """End runs of `trades` whose process was killed, so that waiting ones can start.

    A run that was killed or terminated between a commit and its event leaves sessions that the
    lake has and Dagster does not show: after each such run they are made equal, once, and the
    units of the run likewise.  Keys that
    were added by hand and are not planned are removed while nothing is under way.
    """
    dead = end_dead(context.instance, lakehouse)
    ended = f"ended {format_count(len(dead), 'run')} of dead processes"
    broken = find_broken_runs(context.instance, context.cursor)
    shown, foreign = 0, []
    try:
        if broken:
            with suppress(MissingPartitionError):
                align_runs(context.instance, lakehouse, broken)
            shown = _show_stored(context.instance, lakehouse)
            context.update_cursor(broken[0])
        with suppress(MissingPartitionError):
            foreign = drop_foreign_keys(context.instance, lakehouse)
    except SmallcapsError as error:
        return dg.SkipReason(f"{ended}; {error}")
    return dg.SkipReason(
        f"{ended}; showed {format_count(shown, 'session')}"
        + (f"; {describe_foreign(foreign)}" if foreign else "")
    )


def _show_stored(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> int:
    """Show what is stored of event windows, as far as any are planned; count what was not shown."""
    try:
        keys, _ = split_keys(lakehouse, instance.get_dynamic_partitions(PLANNED_SET))
    except MissingPartitionError:
        return 0
    return len(align_anew(instance, lakehouse, keys).marked_green)
