"""Sensors: what must happen without anybody asking."""

import dagster as dg

from smallcaps_assets.defs.runs import end_dead_runs
from smallcaps_assets.ingest.lakehouse import Lakehouse


@dg.sensor(minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def end_runs_of_dead_processes(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SkipReason:
    """End runs of `trades` whose process was killed, so that waiting ones can start."""
    ended = end_dead_runs(context.instance, lakehouse.lock)
    return dg.SkipReason(f"ended {len(ended)} runs of dead processes: {', '.join(ended) or '-'}")
