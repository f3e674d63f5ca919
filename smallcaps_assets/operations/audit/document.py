"""What `smallcaps audit --json` says.

What does not belong here: how checks are made (``audits``) and judged (``core.verdicts``).
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, Literal

from smallcaps_assets.core.documents import Document, Instant, Part
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.operations.audit.last_audit import AUDITS, plain_rows

SHOWN_OFFENDERS: Final = 200
"""Offenders of a check in the document at most; a deep audit remembers as many."""


class AuditedCheck(Part, frozen=True, kw_only=True):
    """One check with what it found.

    Attributes:
        name: Name of the check, as in Dagster's UI.
        description: What it demands.
        is_deep: It reads the files, so that without ``--deep`` it tells the last result.
        passed: Whether what it demands is so.
        severity: ``error``: something is wrong, or would be; ``warning``: it was never looked at,
            or a person should know of it.
        summary: One sentence: what was found, and what was demanded.
        numbers: The numbers behind it, by name.
        offenders: What to look at, worst first: the first 200 rows, each by column.
    """

    name: str
    description: str
    is_deep: bool
    passed: bool
    severity: Literal["error", "warning"]
    summary: str
    numbers: dict[str, Number]
    offenders: list[dict[str, str | int | float | bool | None]]


class AuditDocument(Document, frozen=True, kw_only=True):
    """The verdicts of all checks.

    Attributes:
        schema_version: Version of this document.
        told_at: When it was made.
        passed: No check failed; the exit code is 0 then, else 1.
        failed: Names of the checks that did; one that only warns is not among them.
        checks: Every check, in the order of reports.
    """

    schema_version: Literal[1] = 1
    told_at: Instant
    passed: bool
    failed: list[str]
    checks: list[AuditedCheck]


def document_audit(verdicts: Mapping[str, Verdict], now: dt.datetime) -> AuditDocument:
    """Put verdicts of known checks into a document."""
    checks = [
        AuditedCheck(
            name=audit.name,
            description=audit.description,
            is_deep=audit.is_deep,
            passed=verdict.passed,
            severity="warning" if verdict.only_warns else "error",
            summary=verdict.summary,
            numbers=verdict.numbers,
            offenders=plain_rows(verdict.offenders.head(SHOWN_OFFENDERS)),
        )
        for audit in AUDITS
        if (verdict := verdicts.get(audit.name)) is not None
    ]
    failed = [check.name for check in checks if verdicts[check.name].is_failure]
    return AuditDocument(told_at=now, passed=not failed, failed=failed, checks=checks)
