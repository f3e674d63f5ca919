"""The page of a report: one HTML file that needs no other, readable by day and by night.

What belongs here: from the document and its pictures to what the template is filled with.  What
does not: the markup (the template beside it, where every text is escaped, because tickers come
from files and messages from the vendor), the figures (``figures``), the drawings
(``plots.report``).
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smallcaps_assets.core.figures import format_bytes, format_count, format_hours, format_share
from smallcaps_assets.errors import show_controls
from smallcaps_assets.operations.report.document import (
    RealityRow,
    ReportDocument,
    ReportedCheck,
)
from smallcaps_assets.operations.standing.document import UniversePart

SHOWN: Final = 200
"""Rows of a table on the page; the JSON beside it has more."""
MESSAGE_LENGTH: Final = 300
"""Characters of a message on the page."""
PURPOSES: Final = {
    "plan": "for the plan",
    "resume": "to resume",
    "repair": "to repair",
    "again": "asked again",
    "untold": "untold",
}
"""What is said of requests by their purpose."""
REALITY: Final = ("sessions", "trades", "bytes", "requests", "error of bytes")
"""Columns of estimates beside reality, each ``estimate / reality``."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing on the page.

    Attributes:
        title: Heading above it.
        caption: What it shows, in a sentence.
        png: The drawing; ``None``: there is nothing to draw, and the caption says why.
    """

    title: str
    caption: str
    png: bytes | None


def show_text(value: object) -> object:
    """Show control characters in texts of others; the template escapes the markup."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return show_controls(value)
    return value


TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=show_text,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(report: ReportDocument, pictures: Sequence[Picture]) -> str:
    """Fill the template of the page.

    Args:
        report: The figures.
        pictures: Drawings in the order to show.
    """
    is_unknown = not any(one.standing == "not met" for one in report.criteria)
    failures = {
        "attempts that failed, ever": report.failed_attempts,
        "sessions whose last attempt failed": report.failed_sessions,
        "retries inside of requests, ever": report.retries,
        "attempts that failed in the last hour": report.errors_last_hour,
    }
    return TEMPLATES.get_template("page.html").render(
        report=report,
        pictures=pictures,
        tone="good" if report.verdict == "expand" else "open" if is_unknown else "bad",
        numbers=list_numbers(report),
        reality={grain: _list_reality(report, grain) for grain in ("year", "ticker")},
        audit=_describe_audit(report),
        failures=[
            (title, kind, f"{count:,}")
            for title, counts in failures.items()
            for kind, count in counts.items()
        ],
        reality_columns=REALITY,
        message_length=MESSAGE_LENGTH,
        shown=SHOWN,
        describe_age=_describe_age,
        encode=lambda png: base64.b64encode(png).decode(),
        zip=zip,
    )


def list_numbers(report: ReportDocument) -> list[tuple[str, str]]:
    """List the figures of a report in words, for the page and for terminals."""
    states = ", ".join(f"{count:,} {state}" for state, count in report.states.items())
    limit = report.requests_per_minute_limit
    planned = (report.estimated_requests, report.estimated_bytes, report.estimated_bytes_on_disk)
    missing = (report.missing_requests, report.missing_bytes, report.missing_bytes_on_disk)
    left = _describe_cost(*missing, report.missing_hours)
    rate = report.requests_per_minute
    return [
        ("planned sessions", f"{report.planned_sessions:,}"),
        ("of these stored", f"{report.green_sessions:,} ({format_share(report.coverage_ratio)})"),
        ("left", f"{report.left_sessions:,}"),
        ("states", states or "none"),
        ("stored sessions", f"{report.stored_sessions:,}, {report.unplanned_sessions:,} unplanned"),
        ("trades", f"{report.rows:,}"),
        ("bytes", _describe_bytes(report)),
        ("bytes per session with trades", format_bytes(report.bytes_per_session)),
        ("bytes per trade", f"{report.bytes_per_trade:,.1f}"),
        ("disk budget", format_bytes(report.budget_bytes) if report.budget_bytes else "none set"),
        ("requests", f"{report.requests:,}, {report.answered_requests:,} of them answered"),
        ("answered requests by purpose", _list_purposes(report)),
        ("time of download", _or_unknown(report.download_hours, format_hours)),
        ("requests a minute", f"{_or_unknown(rate, '{:,.1f}'.format)} (limit: {limit or 'none'})"),
        ("runs", f"{report.runs:,}"),
        ("estimate of the plan", _describe_cost(*planned, report.estimated_hours)),
        ("estimate of what is missing", left if report.left_sessions else "nothing is missing"),
        ("last deep audit", _describe_audit(report)),
        ("last commit", _or_unknown(report.last_commit_at, "{:%Y-%m-%d %H:%M:%S} UTC".format)),
        ("content hash", report.content_hash),
        *(_list_universe(report.universe) if report.universe else ()),
    ]


def _list_universe(universe: UniversePart) -> Iterator[tuple[str, str]]:
    """List in words how far a universe is: units, tickers, sessions, years."""
    share = format_share(universe.share)
    yield "units of the universe", f"{universe.units_done:,} of {universe.units:,} done"
    counts = f"{universe.complete:,} complete, {universe.partial:,} partial, {universe.none:,} none"
    yield "its tickers", counts
    yield "its sessions", f"{universe.proven:,} of {universe.owed:,} proven ({share})"
    for year in universe.years:
        tickers = f"{year.complete:,} complete, {year.partial:,} partial, {year.none:,} none"
        yield f"its sessions of {year.year}", f"{year.proven:,} of {year.owed:,}; {tickers}"


def _list_reality(report: ReportDocument, grain: str) -> list[tuple[str, ...]]:
    """Put what was estimated beside what landed, the sum first."""
    reality = report.estimate_against_reality
    rows = reality.by_ticker if grain == "ticker" else reality.by_year
    listed = [(str(getattr(row, grain)), *describe_reality(row)) for row in rows]
    return [("all", *describe_reality(reality.total)), *listed]


def describe_reality(row: RealityRow) -> tuple[str, ...]:
    """Write the cells of ``REALITY`` for one row."""
    error = row.bytes_error_ratio
    return (
        f"{row.sessions:,}",
        f"{row.estimated_rows:,} / {row.rows:,}",
        f"{format_bytes(row.estimated_bytes)} / {format_bytes(row.bytes)}",
        f"{row.estimated_requests:,} / {row.requests:,}",
        "" if error is None else format_share(error),
    )


def _describe_bytes(report: ReportDocument) -> str:
    stored, segments = format_bytes(report.bytes), format_bytes(report.segments_bytes)
    return f"{stored}; {segments} in all files of segments" if report.segments_bytes else stored


def _describe_cost(requests: int, stored: int, on_disk: int, hours: float) -> str:
    return (
        f"{format_count(requests, 'request')}, {format_bytes(stored)} stored "
        f"({format_bytes(on_disk)} on disk), {format_hours(hours)}"
    )


def _list_purposes(report: ReportDocument) -> str:
    """List requests by purpose: only those of the plan are held against its estimate."""
    counts = report.requests_by_purpose
    return ", ".join(f"{count:,} {PURPOSES[name]}" for name, count in counts.items())


def _describe_audit(report: ReportDocument) -> str:
    """Tell how old the last deep audit is, and plainly whether it still speaks for the lake."""
    if report.audit_age_h is None:
        return "never audited: what deep checks would find is not known"
    since = max(check.sessions_since for check in report.checks.values())
    stale = f"STALE, {format_count(since, 'session')} stored since"
    state = stale if report.audit_is_stale else "up to date"
    return f"{format_hours(report.audit_age_h)} ago, {state}"


def _describe_age(check: ReportedCheck) -> str:
    if not check.is_deep:
        return "now"
    return "never" if check.age_h is None else format_hours(check.age_h)


def _or_unknown(value: Value | None, words: Callable[[Value], str]) -> str:
    return "unknown" if value is None else words(value)
