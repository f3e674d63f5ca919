"""The audits of `trades` as asset checks, at two speeds.

Every run of `trades` reports what the ledger can tell within seconds.  Hashing, decoding and
comparing run in the job `audit_lake` and when checks are executed by themselves; elsewhere they
show the last result of that and its age.  All are unpartitioned: the headline of a partitioned
check is its last partition only.
"""

from collections.abc import Iterator

import dagster as dg

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.instance.internals import find_target
from smallcaps_assets.defs.metadata import show_verdict
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake, recall_verdicts
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets.schemas import TRADES

AUDIT_JOB = "audit_lake"


DEEP_AUDITS = frozenset(audit.name for audit in AUDITS if audit.is_deep)
SPECS = [
    dg.AssetCheckSpec(
        name=audit.name,
        asset=TRADES.name,
        description=f"{audit.description}  "
        f"{'Yellow' if audit.is_warning else 'Red'}: {audit.remedy}",
    )
    for audit in AUDITS
]


# Without `can_subset` the UI refuses to execute checks unless `trades` is materialized too.
@dg.multi_asset_check(name="lake_audits", specs=SPECS, can_subset=True)
def lake_audits(
    context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> Iterator[dg.AssetCheckResult]:
    """Audit the lake: deeply when no asset is materialized, from the ledger beside `trades`."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    with dagster_failures():
        is_deep = is_audit(context.run) and not wanted.isdisjoint(DEEP_AUDITS)
        verdicts = audit_lake(lakehouse) if is_deep else recall_verdicts(lakehouse)
    for name in filter(wanted.__contains__, verdicts):
        verdict = verdicts[name]
        yield dg.AssetCheckResult(
            asset_key=TRADES.name,
            check_name=name,
            passed=verdict.passed,
            severity=judge_severity(verdict),
            metadata=show_verdict(verdict),
        )


def is_audit(run: dg.DagsterRun) -> bool:
    """Say whether a run is there for its checks: the job, or "Execute" on a page of checks."""
    return run.job_name == AUDIT_JOB or bool(run.asset_check_selection and not run.asset_selection)


def report_ledger_checks(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> None:
    """Report the quick verdicts from within a run of `trades`.

    A check that Dagster schedules behind `trades` is skipped: that step yields events and no
    output, because an output would make a crash lose every partition of its range.  Each verdict
    names the newest materialization; the UI calls older ones "not evaluated".
    """
    target = find_target(instance, dg.AssetKey(TRADES.name))
    for name, verdict in recall_verdicts(lakehouse).items():
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(TRADES.name),
                check_name=name,
                passed=verdict.passed,
                severity=judge_severity(verdict),
                metadata=show_verdict(verdict),
                target_materialization_data=target,
            )
        )


def judge_severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    """Judge as WARN what was not audited yet or needs a look, as ERROR what is wrong."""
    severity = dg.AssetCheckSeverity
    return severity.WARN if verdict.only_warns else severity.ERROR
