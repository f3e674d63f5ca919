"""Freshness of daily bars and of the plan: two checks, and the sensor that keeps them up to date.

What belongs here: their face in Dagster. What does not: the rule
(``operations.automation.freshness``), which follows the exchange calendar. Dagster's own freshness
policies know crons and time windows only:  a holiday would turn them red, and an open month, which
is not materialized, forever.
"""

from collections.abc import Callable
from typing import Final

import dagster as dg

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.instance.internals import find_target
from smallcaps_assets.defs.metadata import show_check, show_verdict
from smallcaps_assets.errors import MissingPartitionError, SmallcapsError
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.automation.freshness import (
    judge_bar_freshness,
    judge_plan_freshness,
)
from smallcaps_assets.schemas import DAILY_BARS, EVENT_WINDOW_PLAN

EVALUATION_INTERVAL_S: Final = 600

Judge = Callable[[Lakehouse, float], Verdict]


@dg.asset_check(
    asset=DAILY_BARS.name,
    description="The newest published session has its bars, a day after publication at the latest; "
    "weekends and holidays make nothing old.  Red: materialize the last month, run `smallcaps "
    "plan`, or turn on the schedule `add_yesterdays_session`.",
)
def daily_bars_are_fresh(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Compare the last session with bars with the exchange calendar."""
    return _judge(judge_bar_freshness, lakehouse)


@dg.asset_check(
    asset=EVENT_WINDOW_PLAN.name,
    description="The plan knows the newest published session, a day after publication at the "
    "latest.  Red: run the job `plan_pilot` or `smallcaps plan`, or turn on the schedule "
    "`add_yesterdays_session`.",
)
def plan_is_fresh(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Compare the sessions that the plan could know with the exchange calendar."""
    return _judge(judge_plan_freshness, lakehouse)


FRESHNESS: Final[dict[str, tuple[str, Judge]]] = {
    "daily_bars_are_fresh": (DAILY_BARS.name, judge_bar_freshness),
    "plan_is_fresh": (EVENT_WINDOW_PLAN.name, judge_plan_freshness),
}
"""Checks of freshness: the asset, and what judges it."""


@dg.sensor(
    minimum_interval_seconds=EVALUATION_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates `daily_bars_are_fresh` and `plan_is_fresh` again when their verdict "
    "changes.  It starts no run and asks nothing of the vendor.",
)
def watch_freshness(
    context: dg.SensorEvaluationContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Evaluate the checks of freshness again when their verdict changes; nothing is run.

    What was never materialized is neither fresh nor old.
    """
    found = [
        evaluation
        for name, (asset, judge) in FRESHNESS.items()
        if (evaluation := _evaluate(context.instance, lakehouse, name, asset, judge))
    ]
    cursor = " | ".join(_describe(evaluation) for evaluation in found)
    if cursor == (context.cursor or ""):
        return dg.SkipReason(cursor or "nothing was materialized yet")
    return dg.SensorResult(
        asset_events=found, cursor=cursor, skip_reason=dg.SkipReason(f"evaluated: {cursor}")
    )


def _evaluate(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, name: str, asset: str, judge: Judge
) -> dg.AssetCheckEvaluation | None:
    """Evaluate a check; ``None``: there is nothing to judge."""
    target = find_target(instance, dg.AssetKey(asset))
    if target is None:
        return None
    try:
        verdict = judge(lakehouse, lakehouse.settings.freshness_grace_h)
    except MissingPartitionError:
        return None
    except SmallcapsError as error:
        verdict = Verdict(False, str(error), {})  # noqa: FBT003  a verdict's first field
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=show_verdict(verdict),
        target_materialization_data=target,
    )


def _describe(evaluation: dg.AssetCheckEvaluation) -> str:
    """Describe an evaluation: what it says, and of which materialization it says it."""
    target = evaluation.target_materialization_data
    about = target.storage_id if target else 0
    return f"{evaluation.check_name} #{about}: {evaluation.metadata['summary'].value}"


def _judge(judge: Judge, lakehouse: Lakehouse) -> dg.AssetCheckResult:
    with dagster_failures():
        return show_check(judge(lakehouse, lakehouse.settings.freshness_grace_h))
