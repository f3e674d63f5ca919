"""Group `audit`: the report of a download."""

from typing import Any

import dagster as dg

from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import show_numbers
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.report.document import ReportDocument
from smallcaps_assets.schemas import TRADES

REPORT = "download_report"


@dg.asset(
    name=REPORT,
    group_name="audit",
    deps=[TRADES.name, "lake_catalog"],
    kinds={"html", "json"},
    owners=["team:market_data"],
)
def download_report(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """What landed, what it cost and whether to expand: figures as JSON, and a page with pictures.

    - Grain: one report of the whole lake, in place of the last one.
    - Source: the ledger, the last deep audit, and the times of trades that no report has read.
    - Cadence: on request, by `smallcaps report` or the job `refresh_report`.
    """
    # Drawing takes seconds to load, which every other run would wait for.
    from smallcaps_assets.operations.report.publishing import publish_report  # noqa: PLC0415

    with dagster_failures():
        published = publish_report(lakehouse)
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.url(published.page.as_uri()),
            "page_path": dg.MetadataValue.path(str(published.page)),
            "figures_path": dg.MetadataValue.path(str(published.file)),
            "summary": dg.MetadataValue.md(describe_report(published.report, published.coverage)),
            **show_report(published.report),
        }
    )


def describe_report(report: ReportDocument, picture: str) -> str:
    """Describe verdict, criteria and the map of coverage as Markdown."""
    head = f"**{report.verdict}**: {_escape(report.recommendation)}"
    lines = [
        f"| {one.name} | {one.standing} | {_escape(one.number)} | {_escape(one.threshold)} |"
        for one in report.criteria
    ]
    table = "\n".join(["| criterion | | found | demanded |", "|---|---|---|---|", *lines])
    return "\n\n".join(part for part in (head, table, picture) if part)


def show_report(report: ReportDocument) -> dict[str, Any]:
    """Show the figures that Dagster plots from report to report."""
    numbers: dict[str, Number | None] = {
        "coverage_ratio": report.coverage_ratio,
        "left_sessions": report.left_sessions,
        "stored_sessions": report.stored_sessions,
        "trades": report.rows,
        "bytes": report.bytes,
        "requests": report.requests,
        "download_hours": report.download_hours,
        "requests_per_minute": report.requests_per_minute,
        "criteria_met": sum(one.standing == "met" for one in report.criteria),
        "damaged": len(report.damaged),
    }
    known = {name: value for name, value in numbers.items() if value is not None}
    return show_numbers(known)


def _escape(text: str) -> str:
    """Escape a text so that Markdown and HTML leave it as it is."""
    for mark in "\\`*_{}[]<>|":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else f"&{'lg'[mark == '>']}t;")
    return " ".join(text.split())
