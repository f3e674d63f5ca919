"""`smallcaps report`: figures of the lake, as a table or as JSON."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.workplace import open_workplace
from smallcaps_assets.core.figures import format_bytes, format_share
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
    console, reality = Console(), figures.pop("estimate_against_reality")
    table = Table("figure", "value")
    for name, value in figures.items():
        text = json.dumps(value, default=str) if isinstance(value, dict) else _format(value)
        table.add_row(name, text)
    console.print(table)
    for grain in ("ticker", "year"):
        console.print(_list_reality(grain, [*reality[f"by_{grain}"], reality["total"]]))


def _list_reality(grain: str, rows: list[dict[str, Any]]) -> Table:
    """Return estimates beside what landed, a row a ticker or a year, and their sum."""
    columns = ("sessions", "trades", "bytes", "requests")
    table = Table(grain, *columns, "error of bytes", title=f"estimate / reality by {grain}")
    for row in rows:
        error = row["bytes_error_ratio"]
        table.add_row(
            str(row.get(grain, "all")),
            f"{row['sessions']:,}",
            f"{row['estimated_rows']:,} / {row['rows']:,}",
            f"{format_bytes(row['estimated_bytes'])} / {format_bytes(row['bytes'])}",
            f"{row['estimated_requests']:,} / {row['requests']:,}",
            "" if error is None else format_share(error),
        )
    return table


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
