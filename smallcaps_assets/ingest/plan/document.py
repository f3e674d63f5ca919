"""What `smallcaps plan --diff --json` says.

What does not belong here: the difference itself (``difference``).
"""

from typing import Literal

from smallcaps_assets.core.documents import Document, Part
from smallcaps_assets.ingest.plan.difference import PlanChange, Side


class ChangedSessions(Part, frozen=True, kw_only=True):
    """Ticker-sessions on one side of the difference.

    Attributes:
        ticker_sessions: All of them.
        tickers: Their tickers.
        stored_sessions: Those that the lake has: they cost nothing, and stay where they are.
        stored_bytes: Bytes of their files.
        requests: Requests that the others cost, estimated.
        bytes: Bytes of their files, estimated.
        hours: Time that they take, estimated.
        arithmetic: The estimate in words and numbers.
    """

    ticker_sessions: int
    tickers: int
    stored_sessions: int
    stored_bytes: int
    requests: int
    bytes: int
    hours: float
    arithmetic: str


class PlanChangeDocument(Document, frozen=True, kw_only=True):
    """What planning with the settings and options in force would change.

    Attributes:
        schema_version: Version of this document.
        added: What the new plan adds.
        removed: What it drops; files that the lake has stay.
        kept_sessions: Ticker-sessions of both plans.
        problems: Why the new plan would not be published; empty: it would.
        unread_months: Months of daily bars that are due and were not read, since nothing is
            fetched; the new plan may find more in them.
    """

    schema_version: Literal[1] = 1
    added: ChangedSessions
    removed: ChangedSessions
    kept_sessions: int
    problems: tuple[str, ...]
    unread_months: int


def document_change(change: PlanChange) -> PlanChangeDocument:
    """Tell sessions, requests and bytes of both sides."""
    return PlanChangeDocument(
        added=_tell(change.added),
        removed=_tell(change.removed),
        kept_sessions=change.kept,
        problems=change.problems,
        unread_months=change.unread_months,
    )


def _tell(side: Side) -> ChangedSessions:
    return ChangedSessions(
        ticker_sessions=side.ticker_sessions,
        tickers=side.tickers,
        stored_sessions=side.stored_sessions,
        stored_bytes=side.stored_bytes,
        requests=side.cost.requests,
        bytes=side.cost.bytes_stored,
        hours=side.cost.hours,
        arithmetic=side.cost.arithmetic,
    )
