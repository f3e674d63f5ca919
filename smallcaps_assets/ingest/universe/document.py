"""What `smallcaps plan --universe --diff --json` says.

What does not belong here: the plan and what it changes (``publishing``).
"""

import datetime as dt
from typing import Literal

from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.documents import Document, Part
from smallcaps_assets.ingest.universe.publishing import MadeUniverse


class UniverseCost(Part, frozen=True, kw_only=True):
    """What ticker-sessions cost, estimated.

    Attributes:
        ticker_sessions: How many they are.
        rows: Their trades.
        requests: Requests for them.
        bytes: Bytes that the disk must have.
        hours: Time that they take.
    """

    ticker_sessions: int
    rows: int
    requests: int
    bytes: int
    hours: float


class ChangedUnit(Part, frozen=True, kw_only=True):
    """A unit that owes something else.

    Attributes:
        unit: Its key.
        before: Ticker-sessions that it owes by the plan in force; `null`: it is not in it.
        after: Those that it would owe; `null`: it would go.
    """

    unit: str
    before: int | None
    after: int | None


class ReopenedUnit(Part, frozen=True, kw_only=True):
    """A finished unit that would be open again.

    Attributes:
        unit: Its key.
        reason: Why.
    """

    unit: str
    reason: str


class UniverseChangeDocument(Document, frozen=True, kw_only=True):
    """What planning a universe with the settings and options in force would change.

    Attributes:
        schema_version: Version of this document.
        is_publishable: Whether the plan would be published without `--yes`.
        summary: What was judged, in words.
        plan_hash: Hash of its units and what each owes.
        symbols: Where its symbols come from.
        first: First date that it may plan.
        last: Last date that it may plan.
        tickers: Tickers that owe something.
        units: Months of batches.
        ticker_months: Months of tickers.
        dropped_ticker_months: Months of tickers of the plan in force that it lacks.
        changed: Units that differ.
        reopened: Finished units that would be open again.
        planned: All that it owes.
        missing: What of it is not proven.
        hours_alone: Hours of what is missing by requests alone, by their rate, and by work of one
            processor (`cpu`).
        needed_bytes: Bytes that what is missing needs.
        allowed_bytes: Bytes that the disk may give.
        fits: Whether they do.
    """

    schema_version: Literal[1] = 1
    is_publishable: bool
    summary: str
    plan_hash: str
    symbols: str
    first: dt.date
    last: dt.date
    tickers: int
    units: int
    ticker_months: int
    dropped_ticker_months: int
    changed: tuple[ChangedUnit, ...]
    reopened: tuple[ReopenedUnit, ...]
    planned: UniverseCost
    missing: UniverseCost
    hours_alone: dict[str, float]
    needed_bytes: int
    allowed_bytes: int
    fits: bool


def document_universe_change(made: MadeUniverse) -> UniverseChangeDocument:
    """Tell a plan that was made and not published, and what it would change."""
    record, estimate = made.record, made.estimate
    changed = made.changes.select("unit", "before", "after").iter_rows()
    reopened = made.verdict.offenders.select("unit", "reason").iter_rows()
    return UniverseChangeDocument(
        is_publishable=made.is_published,
        summary=made.verdict.summary,
        plan_hash=record.plan_hash,
        symbols=record.symbols,
        first=record.first,
        last=record.last,
        tickers=record.tickers,
        units=record.units,
        ticker_months=record.ticker_months,
        dropped_ticker_months=int(made.verdict.numbers["dropped_ticker_months"]),
        changed=tuple(ChangedUnit(unit=u, before=b, after=a) for u, b, a in changed),
        reopened=tuple(ReopenedUnit(unit=unit, reason=reason) for unit, reason in reopened),
        planned=_tell(estimate.whole),
        missing=_tell(estimate.missing),
        hours_alone=estimate.hours,
        needed_bytes=round(estimate.disk.needed_bytes),
        allowed_bytes=round(estimate.disk.allowed_bytes),
        fits=estimate.disk.fits,
    )


def _tell(estimate: Estimate) -> UniverseCost:
    return UniverseCost(
        ticker_sessions=estimate.ticker_sessions,
        rows=estimate.rows,
        requests=estimate.requests,
        bytes=estimate.bytes_on_disk,
        hours=estimate.hours,
    )
