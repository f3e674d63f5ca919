"""The report by itself: made anew after downloads and audits, once it is turned on."""

import dagster as dg

from smallcaps_assets.defs import jobs
from smallcaps_assets.defs.automation.sensors import find_download
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.report.figures import identify_state


@dg.sensor(
    job=jobs.refresh_report,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Makes `download_report` anew when something was stored, failed or audited since "
    "the last one.  It waits while anything downloads.",
)
def report_changes(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a report of each state of the lake once; the cursor is that state."""
    try:
        if busy := find_download(context.instance, lakehouse):
            return dg.SkipReason(f"waits for {busy}")
        state = identify_state(lakehouse)
    except SmallcapsError as error:
        return dg.SkipReason(str(error))
    if state == context.cursor:
        return dg.SkipReason("nothing was stored, failed or audited since the last report")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=state)], cursor=state)
