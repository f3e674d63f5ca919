"""`smallcaps report`: figures of the lake, as a table or as JSON."""

import json

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.workplace import open_workplace
from smallcaps_assets.ingest.report import measure_lake


@click.command("report")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(*, as_json: bool) -> None:
    """Print coverage, rows, bytes, requests, estimate against reality, and the checks."""
    with open_workplace() as work:
        figures = measure_lake(work.lakehouse)
    if as_json:
        click.echo(json.dumps(figures, indent=1, default=str))
        return
    table = Table("figure", "value")
    for name, value in figures.items():
        text = json.dumps(value, default=str) if isinstance(value, dict) else _format(value)
        table.add_row(name, text)
    Console().print(table)


def _format(value: object) -> str:
    return (
        f"{value:,.6g}"
        if isinstance(value, float)
        else f"{value:,}"
        if _is_count(value)
        else str(value)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
