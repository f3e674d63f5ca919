"""Alerts of runs that failed: who is told, and of what.

What belongs here: the sensor, and what of a run goes into an alert.  What does not: the log file
and the webhook (``operations.automation.alerts``).
"""

import dagster as dg

from smallcaps_assets.defs.failures import describe_failure
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.automation.alerts import Alert, send_alert


def build_alert_sensor(lakehouse: Lakehouse) -> dg.SensorDefinition:
    """Build the sensor of alerts; it is on where the settings say whom to tell."""
    settings = lakehouse.settings
    is_wanted = settings.alert_log is not None or settings.alert_webhook is not None
    status = dg.DefaultSensorStatus.RUNNING if is_wanted else dg.DefaultSensorStatus.STOPPED
    return dg.run_failure_sensor(
        name="alert_on_failure",
        default_status=status,
        minimum_interval_seconds=10,
        description="Tells the log file of SMALLCAPS_ALERT_LOG and the webhook of "
        "SMALLCAPS_ALERT_WEBHOOK of each run of the UI and the daemon that failed; it is on when "
        "one of them is set.",
    )(alert_on_failure)


def alert_on_failure(
    context: dg.RunFailureSensorContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SkipReason:
    """Send the alert of one failed run; whatever becomes of it changes nothing else."""
    alert = describe_run(context.instance, context.dagster_run, lakehouse)
    settings = lakehouse.settings
    done = send_alert(
        alert,
        lakehouse.fs,
        settings.alert_log,
        settings.alert_webhook,
        settings.alert_timeout_s,
    )
    return dg.SkipReason("; ".join(done) or "nobody is to be told: no log file, no webhook")


def describe_run(instance: dg.DagsterInstance, run: dg.DagsterRun, lakehouse: Lakehouse) -> Alert:
    """Describe a run as an alert: its failed steps and blocking checks, in our own words."""
    return Alert(
        at=lakehouse.clock(),
        job=run.job_name.strip("_").lower() if run.job_name.startswith("__") else run.job_name,
        run_id=run.run_id,
        status=run.status.value,
        message="; ".join(describe_failure(instance, run)),
    )
