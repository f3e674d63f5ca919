"""The audits of `trades` as asset checks, at two speeds.

Every run of `trades` reports what the ledger can tell within seconds.  Hashing, decoding and
comparing run in the job `audit_lake`; elsewhere those checks show that job's last result and
its age.  All are unpartitioned: the headline of a partitioned check is its last partition only.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import show_verdict
from smallcaps_assets.ingest.audit import audit_lake, audit_ledger
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.last_audit import AUDITS, read_last_audit
from smallcaps_assets.schemas import TRADES

AUDIT_JOB = "audit_lake"

SPECS = [
    dg.AssetCheckSpec(name=audit.name, asset=TRADES.name, description=audit.description)
    for audit in AUDITS
]


@dg.multi_asset_check(name="lake_audits", specs=SPECS)
def lake_audits(
    context: dg.AssetCheckExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
) -> Iterator[dg.AssetCheckResult]:
    """Audit the lake: deeply in the job `audit_lake`, from the ledger elsewhere."""
    with dagster_failures():
        is_deep = context.run.job_name == AUDIT_JOB
        verdicts = audit_lake(lakehouse) if is_deep else judge_quickly(lakehouse)
    for name, verdict in verdicts.items():
        yield dg.AssetCheckResult(
            asset_key=TRADES.name,
            check_name=name,
            passed=verdict.passed,
            severity=judge_severity(verdict),
            metadata=show_verdict(verdict),
        )


def judge_quickly(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Return the ledger's verdicts, and the last ones of the deep audit."""
    return audit_ledger(lakehouse) | read_last_audit(lakehouse)


def report_ledger_checks(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> None:
    """Report the quick verdicts from within a run of `trades`.

    A check that Dagster schedules behind `trades` is skipped: that step yields events and no
    output, because an output would make a crash lose every partition of its range.
    """
    for name, verdict in judge_quickly(lakehouse).items():
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(TRADES.name),
                check_name=name,
                passed=verdict.passed,
                severity=judge_severity(verdict),
                metadata=show_verdict(verdict),
            )
        )


def judge_severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    """Return WARN for what was not audited yet, ERROR for what is wrong."""
    is_unknown = bool(verdict.numbers.get("never_audited"))
    return dg.AssetCheckSeverity.WARN if is_unknown else dg.AssetCheckSeverity.ERROR


def count_failures(verdicts: Mapping[str, Verdict]) -> int:
    """Return how many audits failed."""
    return sum(not verdict.passed for verdict in verdicts.values())
