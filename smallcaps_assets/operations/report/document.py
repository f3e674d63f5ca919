"""What `smallcaps report --json` says and ``report.json`` holds.

What belongs here: members and what they mean.  What does not: where they come from (``figures``).
"""

import datetime as dt
from typing import Literal

from smallcaps_assets.core.documents import Document, Instant, Part
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.operations.standing.document import UniversePart

Standing = Literal["met", "not met", "unknown"]
"""How a criterion or a check stands; unknown is never taken for met."""


class ReportedCriterion(Part, frozen=True, kw_only=True):
    """One criterion of success.

    Attributes:
        name: ``coverage``, ``size``, ``time``, ``undamaged``, ``metrics`` or ``checks``.
        standing: Met, not met, or unknown.
        number: What was found, with its unit.
        threshold: What is demanded, with its unit.
        reason: What was compared, or why nothing could be.
        remedy: What to do where it is not met; empty where it is.
    """

    name: str
    standing: Standing
    number: str
    threshold: str
    reason: str
    remedy: str


class ReportedCheck(Part, frozen=True, kw_only=True):
    """One check of the lake.

    Attributes:
        standing: ``unknown``: never audited, or sessions were stored since.
        passed: The last verdict, however old; false where there is none.
        is_deep: It reads the files; the others read the ledger, now.
        summary: What was found and what was demanded.
        numbers: The numbers behind it.
        offenders: How many rows there are to look at.
        age_h: Hours since it was judged; ``None``: never.
        sessions_since: Sessions stored since.
    """

    standing: Standing
    passed: bool
    is_deep: bool
    summary: str
    numbers: dict[str, Number]
    offenders: int
    age_h: float | None
    sessions_since: int


class ReportedDamage(Part, frozen=True, kw_only=True):
    """Something damaged that the last deep audit found.

    Attributes:
        ticker: Vendor's symbol; null: it is a file of many sessions, which the message names.
        session_date: New York date; null likewise.
        kind: What is wrong.
        message: What was expected and what is there.
    """

    ticker: str | None
    session_date: dt.date | None
    kind: str
    message: str


class MissingSession(Part, frozen=True, kw_only=True):
    """A planned session that is not green.

    Attributes:
        key: ``TICKER_YYYY-MM-DD``.
        state: Its state in the ledger.
        kind: Short word for why the last attempt failed; empty: none did.
        message: What was expected, what came and what to do.
    """

    key: str
    state: str
    kind: str
    message: str


class RealityRow(Part, frozen=True, kw_only=True):
    """Sessions that landed: what was estimated of them before they did, and what they are.

    Attributes:
        sessions: How many.
        estimated_rows: Trades by their daily bars.
        rows: Trades stored.
        estimated_bytes: Bytes by the newest estimate before each landed.
        bytes: Bytes stored.
        estimated_requests: Requests that ranges of the plan were expected to take when they were
            first asked for.
        requests: Requests that these took; resumes, repairs and failures are counted apart.
        bytes_error_ratio: Estimated over real bytes, less 1; ``None``: nothing landed.
        ticker: Of which ticker, in a table by ticker.
        year: Of which year, in a table by year.
    """

    sessions: int
    estimated_rows: int
    rows: int
    estimated_bytes: int
    bytes: int
    estimated_requests: int
    requests: int
    bytes_error_ratio: float | None
    ticker: str | None = None
    year: int | None = None


class EstimateAndReality(Part, frozen=True, kw_only=True):
    """Estimate against reality.

    Attributes:
        total: Everything that landed.
        by_ticker: A row a ticker.
        by_year: A row a year.
    """

    total: RealityRow
    by_ticker: list[RealityRow]
    by_year: list[RealityRow]


class ReportDocument(Document, frozen=True, kw_only=True):
    """Figures of a lake: what was wanted, what landed, what it cost, what the checks say.

    Attributes:
        schema_version: Version of this document.
        made_at: When the figures were gathered.
        source: Vendor, or emulator, that the lake is bound to.
        data_dir: The data folder.
        plan_hash: Hash of the published plan.
        verdict: ``expand`` where every criterion is met, else ``do not expand``.
        recommendation: What follows, with missing and damaged sessions by name.
        criteria: Criteria of success.
        planned_sessions: Sessions of the published plan.
        green_sessions: Those that are proven, complete or empty.
        left_sessions: Those without.
        coverage_ratio: Green over planned; 0 where nothing is planned.
        states: Planned sessions by state.
        missing: Planned sessions that are not proven, the first thousand.
        unplanned_sessions: Stored sessions that the plan no longer asks for.
        stored_sessions: Proven sessions, planned or not.
        rows: Trades stored.
        bytes: Bytes stored.
        segments_bytes: Bytes of all files of segments: beside these their records, answers that do
            not count, and what `smallcaps tidy` removes; 0: there is none.
        bytes_per_trade: Over all files.
        bytes_per_session: Over sessions with trades.
        budget_bytes: What the lake may take; ``None``: no budget is set.
        requests: Requests ever spent on trades.
        answered_requests: Those of ranges that were read to their end.
        requests_by_purpose: Answered ones of the ``plan``; to ``resume`` what was begun or had
            failed; to ``repair`` damage; ``again`` where an answer was disputed; ``untold``: an
            earlier version did not note it.
        download_hours: Time that runs were at work, pauses between them left out; ``None``: the
            attempts of some sessions are lost.
        requests_per_minute: Reached in that time.
        requests_per_minute_limit: Set limit; 0: none.
        runs: Runs that asked for anything.
        estimated_requests: Estimate of the whole plan.
        estimated_bytes: The same, in bytes of files.
        estimated_bytes_on_disk: The same, with what the file system and the indices add.
        estimated_hours: The same, in hours: of work, or at the request limit where that is slower.
        missing_requests: Estimate of what is missing.
        missing_bytes: The same, in bytes of files.
        missing_bytes_on_disk: The same, with what the file system and the indices add.
        missing_hours: The same, in hours.
        missing_runs: Runs that fetch it: what is missing may lie apart.
        run_overhead_s: Seconds that each run takes besides its work, as the last ones showed.
        estimate_against_reality: What was estimated of what landed.
        estimates_made: Estimates on record.
        failed_attempts: Attempts that failed, ever, by kind.
        failed_sessions: Planned sessions whose last attempt failed, by kind.
        retries: Retries inside of requests, ever, by kind.
        errors_last_hour: Failed attempts of the last hour by kind.
        content_hash: Hash of everything stored, whatever wrote it.
        last_commit_at: When something was last stored; ``None``: never.
        checks: Verdicts by check.
        audit_age_h: Hours since the last deep audit; ``None``: never.
        audit_is_stale: It never happened, is old, or sessions were stored since.
        damaged: What the last deep audit found damaged, the first ones.
        universe: How far the universe is; ``null``: none is planned.
    """

    schema_version: Literal[1] = 1
    made_at: Instant
    source: str
    data_dir: str
    plan_hash: str
    verdict: Literal["expand", "do not expand"]
    recommendation: str
    criteria: list[ReportedCriterion]
    planned_sessions: int
    green_sessions: int
    left_sessions: int
    coverage_ratio: float
    states: dict[str, int]
    missing: list[MissingSession]
    unplanned_sessions: int
    stored_sessions: int
    rows: int
    bytes: int
    segments_bytes: int
    bytes_per_trade: float
    bytes_per_session: float
    budget_bytes: float | None
    requests: int
    answered_requests: int
    requests_by_purpose: dict[str, int]
    download_hours: float | None
    requests_per_minute: float | None
    requests_per_minute_limit: float
    runs: int
    estimated_requests: int
    estimated_bytes: int
    estimated_bytes_on_disk: int
    estimated_hours: float
    missing_requests: int
    missing_bytes: int
    missing_bytes_on_disk: int
    missing_hours: float
    missing_runs: int
    run_overhead_s: float
    estimate_against_reality: EstimateAndReality
    estimates_made: int
    failed_attempts: dict[str, int]
    failed_sessions: dict[str, int]
    retries: dict[str, int]
    errors_last_hour: dict[str, int]
    content_hash: str
    last_commit_at: Instant | None
    checks: dict[str, ReportedCheck]
    audit_age_h: float | None
    audit_is_stale: bool
    damaged: list[ReportedDamage]
    universe: UniversePart | None
