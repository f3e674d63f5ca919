"""What happens by itself once it is turned on: backfills after a plan, retries, the next session.

What belongs here: sensors and the schedule, all off by default. What does not: which sessions are
due (``operations.automation.retries``, ``operations.automation.freshness``), and how a backfill
runs (``defs.assets.ticks``): it is Dagster's own, so that "failed and missing" stays what is left.
"""

from dataclasses import replace
from typing import Final

import dagster as dg
import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.states import PLANNED
from smallcaps_assets.defs import jobs
from smallcaps_assets.defs.instance.internals import (
    RANGE_END,
    RANGE_START,
    BulkActionStatus,
    find_open_backfill,
    newest_backfill,
    request_backfill,
)
from smallcaps_assets.defs.instance.queue import require_registered_plan, split_keys
from smallcaps_assets.defs.instance.runs import ALIVE
from smallcaps_assets.defs.instance.states import TRADES_KEY
from smallcaps_assets.defs.partitions import (
    PLANNED_SET,
    month_spans,
    planned_ticker_sessions,
)
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.reference.daily_bars import due_months, wanted_months
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.automation.freshness import (
    judge_bar_freshness,
    judge_plan_freshness,
)
from smallcaps_assets.operations.automation.retries import RETRY_PAUSE, select_due, select_retries
from smallcaps_assets.operations.report.figures import identify_state
from smallcaps_assets.settings import PlanMode

LAUNCHED_BY: Final = "smallcaps/launched_by"
"""Tag of a backfill: the sensor that asked for it."""
THEN_PLAN: Final = "smallcaps/then_plan"
"""Tag of a run of `refresh_reference` that is to be followed by a plan."""
PUBLICATION_MARGIN_H: Final = 0.5
"""Hours after publication at which the schedule looks for a new session."""


class RetryCursor(msgspec.Struct, frozen=True):
    """What the sensor of retries remembers.

    Attributes:
        date: UTC date of the count.
        asked: Failed sessions asked for again on it.
    """

    date: str = ""
    asked: int = 0


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(TRADES_KEY),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Launches one backfill of the missing and failed partitions of `trades` after the "
    "registered plan has changed.  It waits while anything else downloads.",
)
def download_after_plan(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Ask Dagster for a backfill once per plan; the cursor is the plan's hash."""
    try:
        plan_hash = require_registered_plan(context.instance, lakehouse)
        if plan_hash == context.cursor:
            return dg.SkipReason(f"the plan {plan_hash[:12]} was seen to")
        if busy := find_download(context.instance, lakehouse):
            return dg.SkipReason(f"waits for {busy}")
        ensure_indexed(lakehouse)
        keys = select_due(lakehouse.ledger, lakehouse.clock())
    except SmallcapsError as error:
        return dg.SkipReason(str(error))
    if not keys:
        return dg.SensorResult(
            skip_reason=dg.SkipReason(f"nothing of the plan {plan_hash[:12]} is missing"),
            cursor=plan_hash,
        )
    return dg.SensorResult(run_requests=[_request(keys, context.sensor_name)], cursor=plan_hash)


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(TRADES_KEY),
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks for failed sessions again, an hour after the last failure at the earliest: "
    "SMALLCAPS_RETRIES_PER_DAY runs a session and SMALLCAPS_RETRY_SESSIONS_PER_DAY sessions a "
    "day at most; disputed empty ones once a day, three times.  A backfill that an outage ended "
    "continues with what it had not asked for.",
)
def retry_failed_sessions(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Ask Dagster for a backfill of what failed, within the quota."""
    try:
        require_registered_plan(context.instance, lakehouse)
        if busy := find_download(context.instance, lakehouse):
            return dg.SkipReason(f"waits for {busy}")
        runs_per_day = lakehouse.settings.retries_per_day
        due = select_retries(lakehouse.ledger, lakehouse.clock(), runs_per_day)
        left_over = find_left_over(context.instance, lakehouse)
    except SmallcapsError as error:
        return dg.SkipReason(str(error))
    now = lakehouse.clock()
    if due.last_failed_at is not None and now - due.last_failed_at < RETRY_PAUSE:
        return dg.SkipReason(f"the last failure, {due.last_failed_at:%H:%M} UTC, is too recent")
    cursor = _read_cursor(context.cursor, f"{now:%Y-%m-%d}")
    left = max(0, lakehouse.settings.retry_sessions_per_day - cursor.asked)
    again = due.keys[:left]
    keys = sorted({*again, *left_over})
    if not keys:
        waiting = len(due.keys) + due.over_quota
        return dg.SkipReason(f"{waiting} failed sessions, none within the quota of the day")
    cursor = RetryCursor(cursor.date, cursor.asked + len(again))
    return dg.SensorResult(
        run_requests=[_request(keys, context.sensor_name)],
        cursor=msgspec.json.encode(cursor).decode(),
    )


def find_download(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> str:
    """Find what downloads now, or is about to; empty: nothing does."""
    if backfill := find_open_backfill(instance, TRADES_KEY):
        return f"the backfill {backfill}"
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=ALIVE)):
        is_download = run.job_name == jobs.DOWNLOAD_JOB
        if is_download or TRADES_KEY in (run.asset_selection or ()):
            return f"the run {run.run_id[:8]}"
    holder = lakehouse.lock.holder()
    return f"{holder}, which holds the lake" if holder else ""


def find_left_over(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> list[str]:
    """Find what the last backfill was to ask for and did not, where it ended as failed.

    One that a person canceled leaves nothing over: it was not to go on.
    """
    last = newest_backfill(instance, TRADES_KEY)
    if last is None or last.status is not BulkActionStatus.COMPLETED_FAILED:
        return []
    planned, _ = split_keys(lakehouse, instance.get_dynamic_partitions(PLANNED_SET))
    states = lakehouse.ledger.states(planned)
    return [key for key, state in states.items() if state == PLANNED]


def build_session_schedule(lakehouse: Lakehouse) -> dg.ScheduleDefinition:
    """Build the schedule that adds the newest session half an hour after its publication."""
    minutes = round((lakehouse.settings.publication_delay_h + PUBLICATION_MARGIN_H) * 60)
    hour, minute = divmod(minutes % (24 * 60), 60)
    schedule: dg.ScheduleDefinition = dg.schedule(
        name="add_yesterdays_session",
        job=jobs.refresh_reference,
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone=NEW_YORK.key,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="After the vendor's publication: fetches the bars of the newest session, then "
        "plans again, so that its keys appear.  It rests while there is no new session.",
    )(add_yesterdays_session)
    return schedule


def add_yesterdays_session(
    context: dg.ScheduleEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for the months of daily bars that lack the newest session; a plan follows."""
    now = context.scheduled_execution_time
    then = replace(lakehouse, clock=lambda: now)
    try:
        verdicts = [judge_bar_freshness(then, 0.0), judge_plan_freshness(then, 0.0)]
        spans = month_spans(due_months(then) or wanted_months(then)[-1:])
    except SmallcapsError as error:
        return dg.SkipReason(str(error))
    if all(verdict.passed for verdict in verdicts) or not spans:
        return dg.SkipReason("; ".join(verdict.summary for verdict in verdicts))
    first, last = spans[-1]  # an older gap is a person's business: it may cost many requests
    tags = {RANGE_START: first, RANGE_END: last, THEN_PLAN: "true"}
    return dg.RunRequest(run_key=f"{now:%Y-%m-%d}", tags=tags)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[jobs.refresh_reference],
    request_jobs=[jobs.plan_new_sessions, jobs.plan_sessions],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Plans after a run that the schedule `add_yesterdays_session` started; other runs "
    "are left alone.",
)
def plan_after_new_session(
    context: dg.RunStatusSensorContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a plan once the bars of the new session are stored."""
    if THEN_PLAN not in context.dagster_run.tags:
        return dg.SkipReason("nobody asked for a plan")
    is_plain = lakehouse.settings.plan_mode is PlanMode.SESSIONS
    job = jobs.plan_sessions if is_plain else jobs.plan_new_sessions
    return dg.RunRequest(run_key=context.dagster_run.run_id, job_name=job.name)


@dg.sensor(
    job=jobs.refresh_report,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Makes `download_report` again when something was stored, failed or audited since "
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


def _request(keys: list[str], sensor: str) -> dg.RunRequest:
    return request_backfill(TRADES_KEY, planned_ticker_sessions, keys, {LAUNCHED_BY: sensor})


def _read_cursor(text: str | None, today: str) -> RetryCursor:
    """Read today's count; yesterday's, or none that can be read, counts as zero."""
    try:
        cursor = decode_json(text or "{}", RetryCursor)
    except DECODER_FAULTS:
        return RetryCursor(today)
    return cursor if cursor.date == today else RetryCursor(today)
