"""Figures of the lake: what was wanted, what landed, what it cost, what the checks say.

What belongs here: gathering figures from plan, ledger, estimates and audits.  What does not: what
they mean (``document``), what follows from them (``evidence``), pictures and the page
(``page``).  Nothing here opens a file of trades.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import polars as pl

from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.core.figures import GB
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.ingest.budget.estimate_history import read_estimates
from smallcaps_assets.ingest.budget.estimates import estimate_plan, gather_grounds
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.ingest.derived import require_ledger
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Activity
from smallcaps_assets.lake.segments.names import SEGMENTS
from smallcaps_assets.lake.unlisted import read_unlisted
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import recall_verdicts
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets.operations.report.document import (
    MissingSession,
    ReportDocument,
    ReportedCheck,
)
from smallcaps_assets.operations.report.evidence import (
    Evidence,
    judge_standing,
    judge_success,
    measure_requests,
)
from smallcaps_assets.operations.report.history import gather_history
from smallcaps_assets.operations.report.promises import measure_promises
from smallcaps_assets.operations.report.reality import measure_reality
from smallcaps_assets.operations.standing.universe import measure_universe

LISTED: Final = 1000
"""Missing sessions that a report lists."""
ERROR_WINDOW: Final = dt.timedelta(hours=1)
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DEEP: Final = frozenset(audit.name for audit in AUDITS if audit.is_deep)


def measure_lake(lakehouse: Lakehouse) -> ReportDocument:
    """Gather the figures of the lake, with the verdict that follows from them.

    The ledger is opened once, and what is read from it is passed on.

    Raises:
        LedgerMismatchError: The ledger is lost or damaged; the message says how to rebuild it.
        MissingPartitionError: Nothing is planned yet.
    """
    require_ledger(lakehouse)
    ledger, tables, costs = lakehouse.ledger, lakehouse.tables, lakehouse.default_costs
    record, plan = tables.read_plan()
    history = gather_history(ledger, read_estimates(lakehouse.layout, lakehouse.fs))
    budget_gb = lakehouse.settings.disk_budget_gb
    evidence = Evidence(
        plan=plan,
        history=history,
        estimate=estimate_plan(record, plan, gather_grounds(lakehouse, ledger)),
        promises=measure_promises(history, tables, costs),
        missing=list_missing(ledger, plan, history.receipts),
        verdicts=recall_verdicts(lakehouse),
        thresholds=lakehouse.thresholds,
        budget_bytes=None if budget_gb is None else budget_gb * GB,
    )
    criteria, advice = judge_success(evidence)
    now = lakehouse.clock()
    recent = ledger.activity(now - ERROR_WINDOW)
    segments = lakehouse.home.object_file(SEGMENTS.rstrip("/"))
    figures: dict[str, Any] = {
        "made_at": now,
        "source": str(lakehouse.source),
        "data_dir": str(lakehouse.layout.data_dir),
        "plan_hash": record.plan_hash,
        "states": ledger.counts(),
        "errors_last_hour": recent.errors,
        "last_commit_at": recent.last_commit_at,
        "content_hash": hash_stored(lakehouse, history.receipts),
        "segments_bytes": lakehouse.fs.measure_folder(segments),
        "verdict": "expand" if advice.may_expand else "do not expand",
        "recommendation": advice.text,
        "criteria": [asdict(criterion) for criterion in criteria],
        "requests_per_minute_limit": costs.requests_per_minute,
        "estimate_against_reality": measure_reality(history, plan, tables, costs),
        **_describe_sessions(evidence),
        **_describe_costs(evidence),
        **_describe_failures(evidence.missing, ledger.activity(EPOCH)),
        **_describe_audits(evidence),
        "universe": measure_universe(lakehouse, ledger),
    }
    return convert_fields(figures, ReportDocument)


def identify_state(lakehouse: Lakehouse) -> str:
    """Make a short text that changes when something is planned, stored, failed or audited.

    Raises:
        LedgerMismatchError: The ledger is lost or damaged.
        MissingPartitionError: Nothing is planned yet.
    """
    require_ledger(lakehouse)
    tables, totals = lakehouse.tables, lakehouse.ledger.totals()
    record, _ = tables.read_plan()
    audited = lakehouse.layout.last_audit_file
    parts = (
        record.plan_hash[:12],
        *(totals.sessions, totals.rows, totals.requests),
        audited.stat().st_mtime_ns if audited.is_file() else 0,
        tables.identify_universe_plan() if tables.has_universe_plan() else "",
    )
    return "/".join(map(str, parts))


def list_missing(
    ledger: LedgerReader, plan: pl.DataFrame, receipts: pl.DataFrame
) -> list[MissingSession]:
    """List the planned sessions that are not proven, with why the last attempt failed."""
    failed = ledger.failed_sessions(limit=plan.height).drop("key")
    missing = (
        plan.select(KEY)
        .join(receipts, on=KEY, how="anti")
        .join(ledger.coverage().select(*KEY, "state"), on=KEY, how="left", validate="1:1")
        .join(failed.drop("state"), on=KEY, how="left", validate="1:1")
        .sort(KEY)
        .select(
            key_expression(),
            pl.col("state").fill_null("planned"),
            kind=pl.col("error_kind").fill_null(""),
            message=pl.col("error_message").fill_null(""),
        )
    )
    return [convert_fields(row, MissingSession) for row in missing.to_dicts()]


def _describe_sessions(evidence: Evidence) -> dict[str, Any]:
    """Describe what was planned and what landed."""
    planned, landed = evidence.plan.height, evidence.landed.height
    totals, traded = evidence.history.totals, evidence.history.traded
    rows, size = totals.rows, totals.bytes
    return {
        "planned_sessions": planned,
        "green_sessions": landed,
        "left_sessions": planned - landed,
        "coverage_ratio": _divide(landed, planned),
        "missing": list(evidence.missing[:LISTED]),
        "unplanned_sessions": totals.sessions - landed,
        "stored_sessions": totals.sessions,
        "rows": rows,
        "bytes": size,
        "bytes_per_trade": _divide(size, rows),
        "bytes_per_session": _divide(size, traded),
        "budget_bytes": evidence.budget_bytes,
    }


def _describe_costs(evidence: Evidence) -> dict[str, Any]:
    """Describe requests and time, and what was estimated."""
    planned, missing = evidence.estimate.calibrated, evidence.estimate.remaining
    return {
        **measure_requests(evidence.history),
        "estimated_requests": planned.requests,
        "estimated_bytes": planned.bytes_stored,
        "estimated_bytes_on_disk": planned.bytes_on_disk,
        "estimated_hours": planned.hours,
        "missing_requests": missing.requests,
        "missing_bytes": missing.bytes_stored,
        "missing_bytes_on_disk": missing.bytes_on_disk,
        "missing_hours": missing.hours,
        "missing_runs": missing.runs,
        "run_overhead_s": evidence.estimate.calibration.start_s,
        "estimates_made": len(evidence.history.estimates),
    }


def _describe_failures(missing: Sequence[MissingSession], ever: Activity) -> dict[str, Any]:
    """Describe what failed, ever and still."""
    kinds = Counter(one.kind for one in missing if one.kind)
    return {
        "failed_attempts": ever.errors,
        "failed_sessions": dict(sorted(kinds.items())),
        "retries": ever.counters,
    }


def _describe_audits(evidence: Evidence) -> dict[str, Any]:
    """Describe the checks, how old they are, and what is damaged."""
    audit = evidence.audit
    return {
        "checks": {name: _show_check(name, one) for name, one in evidence.verdicts.items()},
        "audit_age_h": None if audit is None else audit.age_h,
        "audit_is_stale": audit is None or bool(audit.staleness),
        "damaged": evidence.damaged,
    }


def _show_check(name: str, verdict: Verdict) -> ReportedCheck:
    age_h = verdict.numbers.get("audit_age_h")
    is_deep = name in _DEEP
    return ReportedCheck(
        standing=judge_standing(verdict).value,
        passed=verdict.passed,
        is_deep=is_deep,
        summary=verdict.summary,
        numbers=verdict.numbers,
        offenders=verdict.offenders.height,
        age_h=0.0 if not is_deep else None if age_h is None else float(age_h),
        sessions_since=int(verdict.numbers.get("sessions_since", 0)),
    )


def hash_stored(lakehouse: Lakehouse, listed: pl.DataFrame) -> str:
    """Hash all that is proven: what the ledger lists, and what records alone tell of."""
    ledger, hashed = lakehouse.ledger, [key_expression(), "content_hash"]
    told = [
        read_unlisted(ledger, lakehouse.sessions.lake, month).select(hashed)
        for month in ledger.plain_months()
    ]
    return hash_lake(dict(pl.concat([listed.select(hashed), *told]).iter_rows()))


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
