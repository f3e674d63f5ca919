"""Plans of universes on the screen: what one holds and costs, what another would change."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.core.figures import format_bytes, format_hours
from smallcaps_assets.ingest.universe.estimates import (
    UniverseEstimate,
    estimate_plan,
    gather_stored,
    judge_room,
)
from smallcaps_assets.ingest.universe.publishing import MadeUniverse
from smallcaps_assets.lake.tables.universe_record import UniverseRecord
from smallcaps_assets.lakehouse import Lakehouse

SHOWN_UNITS = 20
"""Units of a difference that are printed."""


def print_universe(lakehouse: Lakehouse, console: Console) -> None:
    """Print the published plan of a universe and what it costs."""
    record, plan = lakehouse.tables.read_universe_plan()
    console.print(_describe(record), highlight=False)
    estimate = estimate_plan(lakehouse, plan, gather_stored(lakehouse, plan))
    print_costs(estimate, console)
    refused = estimate.refused_until
    if refused is not None and refused >= record.first:
        console.print(
            f"[yellow]the plan of the key does not reach back to {refused}: plan from a later date "
            "(--from), or months before it stay open",
            highlight=False,
        )


def print_costs(estimate: UniverseEstimate, console: Console) -> None:
    """Print what a universe costs, the whole of it and what is missing, and whether that fits."""
    table = Table("", "planned", "still missing", title="estimate")
    sides = (estimate.whole, estimate.missing)
    table.add_row("ticker-sessions", *(f"{side.ticker_sessions:,}" for side in sides))
    table.add_row("trades", *(f"{side.rows:,}" for side in sides))
    table.add_row("requests", *(f"{side.requests:,}" for side in sides))
    table.add_row("on disk", *(format_bytes(side.bytes_on_disk) for side in sides))
    table.add_row("time", *(format_hours(side.hours) for side in sides))
    console.print(table)
    hours = {name: format_hours(value) for name, value in estimate.hours.items()}
    cpu = hours.pop("cpu")
    rates = "; ".join(f"{text} at {name}" for name, text in hours.items())
    console.print(
        f"what is missing takes by requests alone {rates}; by work {cpu} of one processor, which "
        "processes divide: the longer counts",
        highlight=False,
    )
    room = judge_room(estimate)
    word = "[green]fits[/]" if room.passed else "[red]does not fit[/]"
    console.print(f"disk: {word}: {escape(room.summary)}", highlight=False)


def print_universe_change(made: MadeUniverse, console: Console) -> None:
    """Print what a plan would change, and why it would wait, if it would."""
    console.print(_describe(made.record), highlight=False)
    numbers = made.verdict.numbers
    for name in ("new_units", "dropped_units", "dropped_ticker_months", "reopened_units"):
        console.print(f"{name.replace('_', ' ')}: {numbers[name]:,}", highlight=False)
    if made.changes.height:
        table = Table("unit", "sessions before", "after", title="units that differ")
        for unit, before, after in made.changes.head(SHOWN_UNITS).rows():
            table.add_row(unit, *("-" if n is None else f"{n:,}" for n in (before, after)))
        console.print(table)
        if (more := made.changes.height - SHOWN_UNITS) > 0:
            console.print(f"and {more:,} more", highlight=False)
    for unit, reason in made.verdict.offenders.head(SHOWN_UNITS).rows():
        console.print(f"[yellow]{unit} would be open again: {escape(reason)}", highlight=False)
    print_costs(made.estimate, console)
    console.print("nothing was published", highlight=False)
    if not made.is_published:
        summary = escape(made.verdict.summary)
        console.print(f"[red]it would not be published: {summary}", highlight=False)


def _describe(record: UniverseRecord) -> str:
    return (
        f"universe {record.plan_hash[:12]}: {record.units:,} units with "
        f"{record.ticker_months:,} months of {record.tickers:,} tickers from {record.symbols}, "
        f"{record.first} to {record.last}, batches of {record.batch_tickers}"
    )
