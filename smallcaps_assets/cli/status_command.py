"""`smallcaps status`: how far the download is, from the ledger alone."""

import datetime as dt
import json
import time

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.workplace import open_workplace
from smallcaps_assets.core.figures import format_bytes, format_hours
from smallcaps_assets.ingest.status import Status, measure_status

REFRESH_S = 2.0
SHOWN_TICKERS = 30


@click.command("status")
@click.option("--watch", is_flag=True, help="Stay and refresh until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON once.")
def command(*, watch: bool, as_json: bool) -> None:
    """Show partitions done and left, rates, ETA, errors and the years covered per ticker."""
    console = Console()
    with open_workplace() as work:
        if as_json:
            click.echo(json.dumps(measure_status(work.lakehouse).plain(), indent=1, default=str))
            return
        if not watch:
            console.print(render_status(measure_status(work.lakehouse)))
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(render_status(measure_status(work.lakehouse)), refresh=True)
                time.sleep(REFRESH_S)


def render_status(status: Status) -> RenderableType:
    """Return one screen."""
    facts = Table.grid(padding=(0, 2))
    for label, text in describe(status):
        facts.add_row(f"[bold]{label}[/]", escape(text))
    years = sorted({year for _, year, _, _ in status.coverage})
    matrix = Table("ticker", *map(str, years), title="done / planned")
    by_ticker: dict[str, dict[int, str]] = {}
    for ticker, year, planned, done in status.coverage:
        by_ticker.setdefault(ticker, {})[year] = f"{done}/{planned}"
    for ticker, cells in list(by_ticker.items())[:SHOWN_TICKERS]:
        matrix.add_row(ticker, *(cells.get(year, "") for year in years))
    parts: list[RenderableType] = [facts]
    if by_ticker:
        parts.append(matrix)
    if len(by_ticker) > SHOWN_TICKERS:
        parts.append(f"and {len(by_ticker) - SHOWN_TICKERS:,} more tickers")
    return Group(*parts)


def describe(status: Status) -> list[tuple[str, str]]:
    """Return label and text of each line."""
    states = ", ".join(f"{count:,} {state}" for state, count in status.counts.items())
    commit = f"{status.last_commit_at:%Y-%m-%d %H:%M:%S} UTC" if status.last_commit_at else "never"
    lines = [
        ("download", status.holder or "not running"),
        ("partitions", f"{status.done:,} done, {status.left:,} left ({states or 'no plan'})"),
        ("stored", f"{status.rows:,} trades, {format_bytes(status.bytes)}"),
        ("disk", f"{format_bytes(status.free_bytes)} free"),
        ("rates", describe_rates(status)),
        ("last commit", commit),
        ("requests", f"{status.requests:,} in total"),
    ]
    if status.eta_h is not None:
        lines.append(("ETA", format_hours(status.eta_h)))
    if status.errors:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in status.errors.items())
        lines.append(("errors, last hour", kinds))
    if status.retries:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in status.retries.items())
        lines.append(("retries, last hour", kinds))
    lines += [("last error", error) for error in status.last_errors[:3]]
    return lines


def describe_rates(status: Status) -> str:
    """Return the rates of the last minutes."""
    minutes = status.window / dt.timedelta(minutes=1)
    return (
        f"{status.requests_per_min / 60:.2f} requests/s, {status.mb_per_min:.2f} MB/min, "
        f"{status.rows_per_min / 60:,.0f} trades/s (last {minutes:.0f} min)"
    )
