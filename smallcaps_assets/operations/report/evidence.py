"""Evidence of success: what a lake shows for its criteria, gathered once.

What belongs here: from ledger, estimates and audits to the criteria of
``core.progress.expansion``. What does not: which figures a report shows (``figures``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import polars as pl

from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.core.progress.expansion import (
    AuditFacts,
    Cost,
    Criterion,
    Recommendation,
    Standing,
    judge_checks_criterion,
    judge_coverage_criterion,
    judge_damage_criterion,
    judge_metrics_criterion,
    judge_size_criterion,
    judge_time_criterion,
    recommend,
)
from smallcaps_assets.core.verdicts import Thresholds, Verdict
from smallcaps_assets.ingest.budget.estimates import PlanEstimate
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.lake.sessions.damages import DamageKind
from smallcaps_assets.operations.report.document import MissingSession, ReportedDamage
from smallcaps_assets.operations.report.history import History, Spendings
from smallcaps_assets.operations.report.promises import Promises

COVERAGE_AUDIT: Final = "planned_sessions_are_covered"
DAMAGE_AUDIT: Final = "files_are_undamaged"
_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Evidence:
    """What the figures of one report are made of, gathered once.

    Attributes:
        plan: The published plan.
        history: What was stored, asked for and estimated.
        estimate: What the plan costs.
        promises: What was promised of what landed.
        missing: Planned sessions that are not proven.
        verdicts: Verdicts of the audits.
        thresholds: What is demanded.
        budget_bytes: What the lake may take; ``None``: no budget is set.
    """

    plan: pl.DataFrame
    history: History
    estimate: PlanEstimate
    promises: Promises
    missing: Sequence[MissingSession]
    verdicts: Mapping[str, Verdict]
    thresholds: Thresholds
    budget_bytes: float | None

    @cached_property
    def landed(self) -> pl.DataFrame:
        """The receipts of planned sessions."""
        return self.history.receipts.join(self.plan, on=KEY, how="semi")

    @cached_property
    def damaged(self) -> list[ReportedDamage]:
        """The first damages that the last deep audit found."""
        offenders = self.verdicts[DAMAGE_AUDIT].offenders
        return convert_fields(offenders.to_dicts(), list[ReportedDamage])

    @cached_property
    def audit(self) -> AuditFacts | None:
        """What the last deep audit proves; ``None``: there was none."""
        numbers = self.verdicts[DAMAGE_AUDIT].numbers
        if "never_audited" in numbers:
            return None
        kinds = [str(kind) for kind in DamageKind]
        return AuditFacts(
            damaged=len(name_damages([one for one in self.damaged if one.ticker])),
            damages=sum(int(numbers.get(kind, 0)) for kind in kinds),
            checked=int(numbers["checked"]),
            unaudited=int(numbers["sessions_since"]),
            age_h=float(numbers["audit_age_h"]),
        )


def judge_success(evidence: Evidence) -> tuple[list[Criterion], Recommendation]:
    """Judge the criteria, and recommend what follows from them."""
    demanded = evidence.thresholds.coverage
    coverage = evidence.verdicts[COVERAGE_AUDIT].numbers
    unknown = int(coverage.get("unknown_ticker_sessions", 0))
    planned, landed = evidence.plan.height - unknown, evidence.landed.height - unknown
    lost = {(one.ticker, one.session_date) for one in evidence.damaged}
    damaged = sum(key in lost for key in evidence.landed.select(KEY).iter_rows())
    criteria = [
        judge_coverage_criterion(planned, landed, demanded, damaged, unknown=unknown),
        *_judge_costs(evidence),
        judge_damage_criterion(evidence.audit),
        _judge_checks(evidence.verdicts),
    ]
    missing = [session.key for session in evidence.missing]
    return criteria, recommend(criteria, missing, name_damages(evidence.damaged))


def measure_requests(history: History) -> dict[str, Any]:
    """Count requests, and time them by each run; pauses between runs do not count."""
    runs = history.runs
    timed = runs.filter(pl.col("seconds") > 0)
    seconds = float(timed["seconds"].sum() or 0.0)
    return {
        "runs": runs.height,
        "requests": int(runs["requests"].sum()),
        "answered_requests": int(runs["answered_requests"].sum()),
        "requests_by_purpose": _count_purposes(history.spending),
        "download_hours": seconds / _HOUR_S if seconds > 0 and not history.untimed else None,
        "requests_per_minute": int(timed["requests"].sum()) / seconds * 60 if seconds > 0 else None,
    }


def _count_purposes(spending: Spendings) -> dict[str, int]:
    """Count answered requests by purpose; those that none was noted of are untold."""
    counts = dict.fromkeys(map(str, Purpose), 0)
    for purpose, halves in spending.items():
        counts[purpose or "untold"] = sum(half.requests for half in halves)
    return counts


def name_damages(damaged: Sequence[ReportedDamage]) -> list[str]:
    """Name each damaged session or file once, with all that is wrong with it."""
    kinds: dict[str, list[str]] = {}
    for one in damaged:
        file, _, _ = one.message.partition(":")
        name = f"{one.ticker}_{one.session_date}" if one.ticker else file
        kinds.setdefault(name, []).append(one.kind)
    return [f"{key} ({', '.join(dict.fromkeys(found))})" for key, found in kinds.items()]


def judge_standing(verdict: Verdict) -> Standing:
    """Judge how a check stands; one that passed on less than all of the lake proves nothing."""
    if "never_audited" in verdict.numbers:
        return Standing.UNKNOWN
    if verdict.is_failure:
        return Standing.NOT_MET
    return Standing.UNKNOWN if verdict.numbers.get("sessions_since") else Standing.MET


def _judge_costs(evidence: Evidence) -> list[Criterion]:
    """Judge the criteria of size, time and metrics."""
    remaining = evidence.estimate.remaining
    missing_hours = remaining.hours if evidence.missing else 0.0
    promised = evidence.promises
    hours = promised.hours
    cost = Cost(
        stored_bytes=evidence.history.totals.bytes,
        missing_bytes=remaining.bytes_stored if evidence.missing else 0,
        budget_bytes=evidence.budget_bytes,
        hours=None if hours is None else hours.real,
        missing_hours=missing_hours,
        planned_hours=missing_hours + (0.0 if hours is None else hours.estimated),
    )
    tolerance, basis = evidence.thresholds.size_tolerance, promised.basis
    return [
        judge_size_criterion(cost, promised.metrics.get("bytes"), tolerance, basis),
        judge_time_criterion(cost, tolerance),
        judge_metrics_criterion(promised.metrics, tolerance, basis),
    ]


def _judge_checks(verdicts: Mapping[str, Verdict]) -> Criterion:
    standings = {name: judge_standing(verdict) for name, verdict in verdicts.items()}
    failed = [name for name, standing in standings.items() if standing is Standing.NOT_MET]
    unproven = [name for name, standing in standings.items() if standing is Standing.UNKNOWN]
    return judge_checks_criterion(failed, unproven, len(standings))
