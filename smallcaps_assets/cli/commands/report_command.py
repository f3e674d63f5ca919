"""`smallcaps report`: may the plan be expanded, and the figures behind it."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.derived import require_ledger
from smallcaps_assets.operations.report.document import RealityRow, ReportDocument
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets.operations.report.page import REALITY, describe_reality, list_numbers

TONES = {"met": "green", "not met": "red", "unknown": "yellow"}


@click.command("report")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--html", "as_html", is_flag=True, help="Write the page and print where it lies.")
def command(*, as_json: bool, as_html: bool) -> None:
    """Say whether to expand the plan, by criteria with numbers; print what landed and its cost.

    With --html the page, its pictures and report.json are made again below data/reports.
    """
    with open_workplace() as work:
        if as_html:
            require_ledger(work.lakehouse)
            click.echo(write_page(work))
            return
        report = measure_lake(work.lakehouse)
    if as_json:
        click.echo(encode_document(report))
        return
    print_report(report, open_console())


def write_page(work: Workplace) -> Path:
    """Make the report through Dagster, so that its UI shows it too; return where the page is.

    Raises:
        SmallcapsError: It was not made.
    """
    from smallcaps_assets.defs.failures import describe_failure  # noqa: PLC0415  loads Dagster
    from smallcaps_assets.defs.jobs import REPORT_JOB  # noqa: PLC0415

    run = work.run_job(REPORT_JOB)
    if not run.is_success:
        raise SmallcapsError("; ".join(describe_failure(work.instance, run)))
    return work.lakehouse.layout.report_page


def print_report(report: ReportDocument, console: Console) -> None:
    """Print the verdict, its criteria, and the figures behind them."""
    print_verdict(report, console)
    table = Table("figure", "value")
    for name, value in list_numbers(report):
        table.add_row(name, escape(value))
    console.print(table)
    reality = report.estimate_against_reality
    console.print(_list_reality("ticker", [*reality.by_ticker, reality.total]))
    console.print(_list_reality("year", [*reality.by_year, reality.total]))


def print_verdict(report: ReportDocument, console: Console) -> None:
    """Print the recommendation and the criteria that it follows from."""
    tone = "green" if report.verdict == "expand" else "red"
    console.print(escape(report.recommendation), style=tone, highlight=False)
    table = Table("criterion", "", "found", "demanded")
    for one in report.criteria:
        standing = f"[{TONES[one.standing]}]{one.standing}[/]"
        table.add_row(one.name, standing, escape(one.number), escape(one.threshold))
    console.print(table)
    for one in report.criteria:
        console.print(escape(f"{one.name}: {one.reason}"), highlight=False)


def _list_reality(grain: str, rows: Sequence[RealityRow]) -> Table:
    """List estimates beside what landed, a row a ticker or a year, and their sum."""
    table = Table(grain, *REALITY, title=f"estimate / reality by {grain}")
    for row in rows:
        name = getattr(row, grain)
        table.add_row("all" if name is None else str(name), *describe_reality(row))
    return table
