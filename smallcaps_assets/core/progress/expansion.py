"""Success of a download: may the plan be expanded, by criteria with number and threshold.

What belongs here: one pure function per criterion, and the recommendation that follows from all.
What does not: how facts are measured (``operations.report.figures``) and shown. What is not known
is never met: an audit that did not happen, or that has not seen a session, proves nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from smallcaps_assets.core.figures import format_bytes, format_count, format_hours, format_share

LONGEST_AUDIT_AGE_H: Final = 30 * 24.0
"""Disks lose bits without being asked: an older audit proves nothing of today."""
TIME_GRAIN_H: Final = 0.25
"""Hours that a run may take on top of its estimate whatever that is: it starts, waits and ends."""
METRICS: Final = ("trades", "bytes", "requests")
"""What is compared with its estimate."""
NAMED: Final = 10
"""Sessions that a sentence names; tables name more."""


class Standing(StrEnum):
    """How a criterion stands."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion of success.

    Attributes:
        standing: Met, not met, or unknown; unknown counts as not proven.
        number: What was found, with its unit.
        threshold: What is demanded, with its unit.
        reason: One sentence: what was compared, or why nothing could be.
        remedy: What to do where it is not met; empty where it is.
    """

    name: str
    standing: Standing
    number: str
    threshold: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What landed and what is missing, in bytes and hours.

    Attributes:
        stored_bytes: Everything stored, planned or not.
        missing_bytes: Estimate of the planned sessions that are missing.
        budget_bytes: What the lake may take; ``None``: no budget is set.
        hours: Time that the judged runs took; ``None``: the attempts are lost.
        missing_hours: Estimate of what is missing; ``None``: there is none.
        planned_hours: What was promised of the judged runs, and the estimate of what is missing.
    """

    stored_bytes: int
    missing_bytes: int
    budget_bytes: float | None
    hours: float | None
    missing_hours: float | None
    planned_hours: float


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What the last deep audit proves.

    Attributes:
        damaged: Sessions in which it found damage, those that it remembers.
        damages: Damages that it found, several in one session counted each.
        checked: Sessions that it opened.
        unaudited: Stored sessions that it cannot have seen.
    """

    damaged: int
    damages: int
    checked: int
    unaudited: int
    age_h: float

    @property
    def staleness(self) -> str:
        """Say why it no longer speaks for the lake; empty: it does."""
        if self.unaudited:
            return f"{format_count(self.unaudited, 'session')} stored since"
        if self.age_h > LONGEST_AUDIT_AGE_H:
            return f"it is older than {format_hours(LONGEST_AUDIT_AGE_H)}"
        return ""


@dataclass(frozen=True, slots=True)
class Promise:
    """An estimate of what landed, beside what landed."""

    estimated: float
    real: float

    @property
    def deviation(self) -> float:
        """The distance over the estimate; without one, anything is infinitely far."""
        if self.estimated:
            return abs(self.real - self.estimated) / self.estimated
        return float("inf") if self.real else 0.0


@dataclass(frozen=True, slots=True)
class Basis:
    """Which estimate what landed is held against."""

    text: str
    remedy: str


BEFORE: Final = Basis(
    "what landed of what was estimated before it landed",
    "run `smallcaps plan`: it estimates by what landed, and the report holds that against what "
    "lands from then on",
)
"""What landed after the first estimate."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What follows from the criteria.

    Attributes:
        text: One paragraph that begins with ``expand`` or ``do not expand``.
    """

    may_expand: bool
    text: str


def judge_coverage_criterion(
    planned: int, green: int, demanded: float, damaged: int = 0, *, unknown: int = 0
) -> Criterion:
    """Judge the share of planned sessions that are green and whole.

    Damaged ones of the last deep audit count as missing.  Unknown ones, green sessions without
    trades of tickers that no bar knows, are in neither number.
    """
    threshold = f"at least {format_share(demanded)}"
    if not planned:
        why = "no daily bar knows a planned ticker" if unknown else "nothing is planned"
        return _unknown("coverage", threshold, why, "run `smallcaps plan`")
    whole = green - damaged
    is_met = whole >= demanded * planned
    lost = f"; {damaged:,} found damaged do not count" if damaged else ""
    if unknown:
        lost += f"; {unknown:,} of tickers that no daily bar knows are counted apart"
    return Criterion(
        "coverage",
        _stand(is_met=is_met),
        format_share(whole / planned),
        threshold,
        f"{whole:,} of {planned:,} planned sessions are complete or empty{lost}",
        "" if is_met else "run `smallcaps download` for the missing sessions",
    )


def judge_size_criterion(
    cost: Cost, promise: Promise | None, tolerance: float, basis: Basis = BEFORE
) -> Criterion:
    """Judge bytes against the budget; without one, against the estimate of what landed.

    ``promise`` is that of ``basis``; ``None``: there was no estimate, or nothing landed.  The
    tolerance is what may be above the estimate, over the estimate.
    """
    remedy = "raise SMALLCAPS_DISK_BUDGET_GB, or plan fewer sessions"
    if cost.budget_bytes is not None:
        total = cost.stored_bytes + cost.missing_bytes
        is_met = total <= cost.budget_bytes
        return Criterion(
            "size",
            _stand(is_met=is_met),
            format_bytes(total),
            f"at most {format_bytes(cost.budget_bytes)}",
            f"{format_bytes(cost.stored_bytes)} stored and {format_bytes(cost.missing_bytes)} "
            "estimated for what is missing, against the disk budget",
            "" if is_met else remedy,
        )
    threshold = f"at most {format_share(tolerance)} above the estimate"
    if promise is None:
        return _unknown("size", threshold, _NO_PROMISE, _PLAN)
    limit = promise.estimated * (1 + tolerance)
    is_met = promise.real <= limit
    return Criterion(
        "size",
        _stand(is_met=is_met),
        format_bytes(promise.real),
        f"at most {format_bytes(limit)}",
        f"no disk budget is set; {basis.text}: {format_bytes(promise.real)} of "
        f"{format_bytes(promise.estimated)}, {format_share(tolerance)} more is tolerated",
        "" if is_met else basis.remedy,
    )


def judge_time_criterion(cost: Cost, tolerance: float) -> Criterion:
    """Judge the hours spent, and still to be spent, against what was promised of both."""
    limit = max(cost.planned_hours * (1 + tolerance), cost.planned_hours + TIME_GRAIN_H)
    threshold = f"at most {format_hours(limit)}"
    if cost.hours is None:
        reason = "no attempts are on record: nothing was fetched, or the ledger was rebuilt"
        return _unknown("time", threshold, reason, _STEP)
    if cost.missing_hours is None:
        reason = "sessions are missing, and nothing foretells their time"
        return _unknown("time", threshold, reason, "run `smallcaps download`")
    total = cost.hours + cost.missing_hours
    return Criterion(
        "time",
        _stand(is_met=total <= limit),
        format_hours(total),
        threshold,
        f"{format_hours(cost.hours)} spent and {format_hours(cost.missing_hours)} to come; the "
        f"newest estimate promises {format_hours(cost.planned_hours)} for both, "
        f"{format_share(tolerance)} or {format_hours(TIME_GRAIN_H)} more is tolerated",
        "" if total <= limit else "look for retries and failures below before asking for more",
    )


def judge_damage_criterion(audit: AuditFacts | None) -> Criterion:
    """Judge what the last deep audit found; damage counts however old the audit is."""
    threshold, audit_again = "0, every session audited", "run `smallcaps audit --deep`"
    if audit is None:
        return _unknown("undamaged", threshold, "not proven yet: never audited", audit_again)
    seen = f"{format_count(audit.checked, 'session')} opened {format_hours(audit.age_h)} ago"
    number = f"{audit.damaged:,} damaged"
    if audit.damages:
        seen += f", {format_count(audit.damages, 'damage')} found"
        remedy = "run `smallcaps repair`, `smallcaps download`, then `smallcaps audit --deep`"
        return Criterion("undamaged", Standing.NOT_MET, number, threshold, seen, remedy)
    if audit.staleness:
        reason = f"not proven yet: the last deep audit is stale, {audit.staleness} ({seen})"
        return Criterion("undamaged", Standing.UNKNOWN, number, threshold, reason, audit_again)
    return Criterion("undamaged", Standing.MET, number, threshold, seen)


def judge_metrics_criterion(
    promises: Mapping[str, Promise], tolerance: float, basis: Basis = BEFORE
) -> Criterion:
    """Judge how far those of ``METRICS`` that are known are from their estimates.

    Without a promise there was no estimate, or nothing landed.  The tolerance is over the estimate.
    """
    threshold = f"each within {format_share(tolerance)} of its estimate"
    if not promises:
        return _unknown("metrics", threshold, _NO_PROMISE, _PLAN)
    worst = max(promises, key=lambda name: promises[name].deviation)
    is_met = promises[worst].deviation <= tolerance
    lacking = [name for name in METRICS if name not in promises]
    if is_met and lacking:
        reason = f"no record of {', '.join(lacking)}: the ledger was rebuilt, or is an older one"
        return _unknown("metrics", threshold, reason, _STEP)
    compared = ", ".join(
        f"{name} {promise.real:,.0f} of {promise.estimated:,.0f}"
        for name, promise in promises.items()
    )
    return Criterion(
        "metrics",
        _stand(is_met=is_met),
        f"{worst} {format_share(promises[worst].deviation)} off",
        threshold,
        f"{basis.text}: {compared}",
        "" if is_met else basis.remedy,
    )


def judge_checks_criterion(failed: Sequence[str], unproven: Sequence[str], count: int) -> Criterion:
    """Judge ``count`` checks; unproven ones found no fault, but have not seen the lake as it is."""
    number = f"{count - len(failed) - len(unproven)} of {count} passed"
    threshold, remedy = "all passed", "run `smallcaps audit` and look at what it lists"
    if failed:
        reason = f"failed: {', '.join(failed)}"
        return Criterion("checks", Standing.NOT_MET, number, threshold, reason, remedy)
    if unproven:
        reason = f"not proven yet: {', '.join(unproven)}"
        remedy = "run `smallcaps audit --deep`"
        return Criterion("checks", Standing.UNKNOWN, number, threshold, reason, remedy)
    return Criterion("checks", Standing.MET, number, threshold, "nothing was found")


def recommend(
    criteria: Sequence[Criterion], missing: Sequence[str], damaged: Sequence[str]
) -> Recommendation:
    """Recommend expansion only where every criterion, at least one, is met.

    Missing sessions by key, and damaged ones as worded, are named whatever the criteria say.
    """
    broken = [one for one in criteria if one.standing is Standing.NOT_MET]
    unknown = [one for one in criteria if one.standing is Standing.UNKNOWN]
    may_expand = bool(criteria) and not broken and not unknown
    parts = [f"all {len(criteria)} criteria are met"] if may_expand else []
    parts += [f"not met: {_name(broken)}"] if broken else []
    parts += [f"not known, so not met: {_name(unknown)}"] if unknown else []
    parts += [_list("planned sessions missing", missing)] if missing else []
    parts += [_list("damaged", damaged)] if damaged else []
    remedies = list(dict.fromkeys(one.remedy for one in [*broken, *unknown] if one.remedy))
    parts += [f"next: {'; '.join(remedies)}"] if remedies else []
    word = "expand" if may_expand else "do not expand" if broken else "do not expand yet"
    return Recommendation(may_expand, f"{word}: {'. '.join(parts)}.")


_NO_PROMISE: Final = "no estimate was made before sessions landed, or none has landed"
_STEP: Final = (
    "take a small step (`smallcaps plan` with a ticker or a session more, `smallcaps download`): "
    "what it takes is on record from then on"
)
_PLAN: Final = "run `smallcaps plan` before the next download"


def _unknown(name: str, threshold: str, reason: str, remedy: str) -> Criterion:
    return Criterion(name, Standing.UNKNOWN, "unknown", threshold, reason, remedy)


def _stand(*, is_met: bool) -> Standing:
    return Standing.MET if is_met else Standing.NOT_MET


def _name(criteria: Sequence[Criterion]) -> str:
    return ", ".join(f"{one.name} ({one.number}; demanded: {one.threshold})" for one in criteria)


def _list(title: str, names: Sequence[str]) -> str:
    """List the first names, and say how many there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,} {title}: {', '.join(names[:NAMED])}{more}"
