"""The page of a report: one HTML file that needs no other, readable by day and by night.

What belongs here: from the document and its pictures to HTML; every text is escaped, because
tickers come from files and messages from the vendor.  What does not: the figures (``figures``) and
the drawings (``plots.report``).
"""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from smallcaps_assets.core.figures import format_bytes, format_hours, format_share
from smallcaps_assets.errors import show_controls
from smallcaps_assets.operations.report.document import (
    RealityRow,
    ReportDocument,
    ReportedCheck,
    ReportedCriterion,
)

SHOWN: Final = 200
"""Rows of a table on the page; the JSON beside it has more."""
MESSAGE_LENGTH: Final = 300
"""Characters of a message on the page."""
OPEN_ROWS: Final = 30
"""Rows of a table beyond which the others are folded."""
WORDS: Final = {"met": "passed", "not met": "failed", "unknown": "unknown"}
"""What is said of a check by its standing."""
BADGES: Final = {
    "met": "good",
    "passed": "good",
    "not met": "bad",
    "failed": "bad",
    "unknown": "open",
}
"""Class of a badge by what it says."""
PURPOSES: Final = {
    "plan": "for the plan",
    "resume": "to resume",
    "repair": "to repair",
    "again": "asked again",
    "untold": "untold",
}
"""What is said of requests by their purpose."""
NUMBERS: Final = {"figure": "name", "value": ""}
REALITY: Final = ("sessions", "trades", "bytes", "requests", "error of bytes")
"""Columns of estimates beside reality, each ``estimate / reality``."""

Value = TypeVar("Value")

STYLE: Final = """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --soft: #59636e;
  --line: #d1d9e0; --card: #f6f8fa; --good: #1a7f37; --bad: #cf222e; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --text: #e6edf3;
  --soft: #9198a1; --line: #3d444d; --card: #151b23; --good: #3fb950; --bad: #f85149;
  --open: #d29922; } img { filter: invert(1) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 1.5rem; background: var(--ground);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; } h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
.verdict { margin: 1rem 0; padding: .8rem 1rem; border-left: 6px solid; background: var(--card);
  overflow-wrap: anywhere; }
.verdict strong { font-size: 1.25rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.verdict.good, .verdict.bad, .verdict.open { border-color: currentColor; }
.verdict p { color: var(--text); }
span.standing { font-weight: 600; white-space: nowrap; }
span.standing::before { content: "\\25CF\\00A0"; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th.number { text-align: right; } td.name { white-space: nowrap; }
td.short { min-width: 9rem; }
figure { margin: .5rem 0 1.5rem; } img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""


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


def render_page(report: ReportDocument, pictures: Sequence[Picture]) -> str:
    """Return the page.

    Args:
        report: The figures.
        pictures: Drawings in the order to show.
    """
    parts = [
        _render_head(report),
        _section("Criteria", _render_criteria(report)),
        _section("In numbers", _table(NUMBERS, list_numbers(report))),
        *(_section(picture.title, _render_picture(picture)) for picture in pictures),
        _section("Estimate against reality, by year", _render_reality(report, "year")),
        _section("Estimate against reality, by ticker", _render_reality(report, "ticker")),
        _section("Checks", _render_checks(report)),
        _section("Missing sessions", _render_missing(report)),
        _section("Damaged sessions", _render_damages(report)),
        _section("Failures by kind", _render_failures(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>smallcaps_assets: report of the download</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def list_numbers(report: ReportDocument) -> list[tuple[str, str]]:
    """Return the figures of a report in words, for the page and for terminals."""
    states = ", ".join(f"{count:,} {state}" for state, count in report.states.items())
    limit = report.requests_per_minute_limit
    rate = report.requests_per_minute
    return [
        ("planned sessions", f"{report.planned_sessions:,}"),
        ("of these stored", f"{report.green_sessions:,} ({format_share(report.coverage_ratio)})"),
        ("left", f"{report.left_sessions:,}"),
        ("states", states or "none"),
        ("stored sessions", f"{report.stored_sessions:,}, {report.unplanned_sessions:,} unplanned"),
        ("trades", f"{report.rows:,}"),
        ("bytes", format_bytes(report.bytes)),
        ("bytes per session with trades", format_bytes(report.bytes_per_session)),
        ("bytes per trade", f"{report.bytes_per_trade:,.1f}"),
        ("disk budget", format_bytes(report.budget_bytes) if report.budget_bytes else "none set"),
        ("requests", f"{report.requests:,}, {report.answered_requests:,} of them answered"),
        ("answered requests by purpose", _list_purposes(report)),
        ("time of download", _or_unknown(report.download_hours, format_hours)),
        ("requests a minute", f"{_or_unknown(rate, '{:,.1f}'.format)} (limit: {limit or 'none'})"),
        ("runs", f"{report.runs:,}"),
        ("estimate of the plan", _describe_estimate(report)),
        ("estimate of what is missing", _describe_missing(report)),
        ("last deep audit", _describe_audit(report)),
        ("last commit", _or_unknown(report.last_commit_at, "{:%Y-%m-%d %H:%M:%S} UTC".format)),
        ("content hash", report.content_hash),
    ]


def _render_head(report: ReportDocument) -> str:
    """Return title, verdict and recommendation."""
    is_unknown = not any(one.standing == "not met" for one in report.criteria)
    tone = "good" if report.verdict == "expand" else "open" if is_unknown else "bad"
    return (
        "<h1>Report of the download</h1>\n"
        f'<p class="soft">{escape(report.source)} in {escape(report.data_dir)}, plan '
        f"{escape(report.plan_hash[:12])}, made {report.made_at:%Y-%m-%d %H:%M:%S} UTC</p>\n"
        f'<div class="verdict {tone}"><strong>{escape(report.verdict)}</strong>'
        f"<p>{escape(report.recommendation)}</p></div>"
    )


def _render_criteria(report: ReportDocument) -> str:
    return _table(
        {"criterion": "name", "": "standing", "found": "short", "demanded": "short", "why": ""},
        [
            (one.name, one.standing, one.number, one.threshold, _explain(one))
            for one in report.criteria
        ],
    )


def _explain(criterion: ReportedCriterion) -> str:
    """Return why a criterion stands as it does, and what to do about it."""
    return f"{criterion.reason}; {criterion.remedy}" if criterion.remedy else criterion.reason


def _render_picture(picture: Picture) -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    if picture.png is None:
        return f"<figure>{caption}</figure>"
    content = base64.b64encode(picture.png).decode("ascii")
    title = escape(picture.title)
    return f'<figure><img alt="{title}" src="data:image/png;base64,{content}">{caption}</figure>'


def _render_reality(report: ReportDocument, grain: Literal["ticker", "year"]) -> str:
    """Return what was estimated beside what landed, the sum first."""
    reality = report.estimate_against_reality
    rows = reality.by_ticker if grain == "ticker" else reality.by_year
    total = ("all", *describe_reality(reality.total))
    listed = [(str(getattr(row, grain)), *describe_reality(row)) for row in rows]
    columns = {grain: "name", **dict.fromkeys(REALITY, "number")}
    return _table(columns, [total, *listed])


def describe_reality(row: RealityRow) -> tuple[str, ...]:
    """Return the cells of ``REALITY``."""
    error = row.bytes_error_ratio
    return (
        f"{row.sessions:,}",
        f"{row.estimated_rows:,} / {row.rows:,}",
        f"{format_bytes(row.estimated_bytes)} / {format_bytes(row.bytes)}",
        f"{row.estimated_requests:,} / {row.requests:,}",
        "" if error is None else format_share(error),
    )


def _render_checks(report: ReportDocument) -> str:
    stale = f'<p class="soft">last deep audit: {escape(_describe_audit(report))}</p>'
    return stale + _table(
        {"check": "name", "": "standing", "what was found": "", "age": "number"},
        [
            (name, WORDS[check.standing], check.summary, _describe_age(check))
            for name, check in report.checks.items()
        ],
    )


def _render_missing(report: ReportDocument) -> str:
    rows = [(one.key, one.state, one.kind, one.message) for one in report.missing]
    columns = {"session": "name", "state": "name", "kind": "name", "why": ""}
    return _table(columns, rows, "no planned session is missing", report.left_sessions)


def _render_damages(report: ReportDocument) -> str:
    rows = [(f"{one.ticker}_{one.session_date}", one.kind, one.message) for one in report.damaged]
    never = report.audit_age_h is None
    nothing = "never audited: not known" if never else "the last deep audit found none"
    return _table({"session": "name", "kind": "name", "what is wrong": ""}, rows, nothing)


def _render_failures(report: ReportDocument) -> str:
    """Return failed attempts, failed sessions and retries by kind, in one table."""
    kinds = {
        "attempts that failed, ever": report.failed_attempts,
        "sessions whose last attempt failed": report.failed_sessions,
        "retries inside of requests, ever": report.retries,
        "attempts that failed in the last hour": report.errors_last_hour,
    }
    rows = [
        (title, kind, f"{count:,}")
        for title, counts in kinds.items()
        for kind, count in counts.items()
    ]
    return _table({"what": "", "kind": "name", "count": "number"}, rows, "nothing ever failed")


def _table(
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str]],
    nothing: str = "nothing",
    count: int | None = None,
) -> str:
    """Return a table of escaped texts, cut to what a page can show.

    Args:
        columns: Class of the cells by title; those of ``standing`` have a badge.
        rows: Their texts.
        nothing: What stands in its place where there is no row.
        count: How many rows there are where ``rows`` are only the first.
    """
    if not rows:
        return f'<p class="soft">{escape(nothing)}</p>'
    shown, folded = rows[:OPEN_ROWS], rows[OPEN_ROWS:SHOWN]
    parts = [_rows(columns, shown)]
    if folded:
        parts.append(
            f"<details><summary>{len(folded):,} more rows</summary>"
            f"{_rows(columns, folded)}</details>"
        )
    if (rest := max(len(rows), count or 0) - SHOWN) > 0:
        parts.append(f'<p class="soft">and {rest:,} more; report.json lists more of them</p>')
    return "\n".join(parts)


def _rows(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of escaped texts."""
    head = "".join(f'<th class="{kind}">{escape(title)}</th>' for title, kind in columns.items())
    lines = [
        "".join(_cell(kind, text) for kind, text in zip(columns.values(), row, strict=True))
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _cell(kind: str, text: str) -> str:
    """Return one cell; a long message is cut."""
    cut = text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]} …"
    if kind == "standing":
        return f'<td><span class="standing {BADGES[text]}">{escape(text)}</span></td>'
    return f'<td class="{kind}">{escape(cut)}</td>'


def escape(text: str) -> str:
    """Return a text of others as HTML that shows it: markup and control characters alike."""
    return html.escape(show_controls(text))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>"


def _describe_estimate(report: ReportDocument) -> str:
    return (
        f"{report.estimated_requests:,} requests, {format_bytes(report.estimated_bytes)} stored "
        f"({format_bytes(report.estimated_bytes_on_disk)} on disk), "
        f"{format_hours(report.estimated_hours)}"
    )


def _describe_missing(report: ReportDocument) -> str:
    if not report.left_sessions:
        return "nothing is missing"
    return (
        f"{report.missing_requests:,} requests, {format_bytes(report.missing_bytes)} stored "
        f"({format_bytes(report.missing_bytes_on_disk)} on disk), "
        f"{format_hours(report.missing_hours)}"
    )


def _list_purposes(report: ReportDocument) -> str:
    """Return requests by purpose: only those of the plan are held against its estimate."""
    counts = report.requests_by_purpose
    return ", ".join(f"{count:,} {PURPOSES[name]}" for name, count in counts.items())


def _describe_audit(report: ReportDocument) -> str:
    """Return how old the last deep audit is, and plainly whether it still speaks for the lake."""
    if report.audit_age_h is None:
        return "never audited: what deep checks would find is not known"
    since = max(check.sessions_since for check in report.checks.values())
    state = f"STALE, {since:,} sessions stored since" if report.audit_is_stale else "up to date"
    return f"{format_hours(report.audit_age_h)} ago, {state}"


def _describe_age(check: ReportedCheck) -> str:
    if not check.is_deep:
        return "now"
    return "never" if check.age_h is None else format_hours(check.age_h)


def _or_unknown(value: Value | None, words: Callable[[Value], str]) -> str:
    return "unknown" if value is None else words(value)
