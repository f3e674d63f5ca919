"""Plans on the screen: what one holds and costs, what other sizes cost, what would change."""

from collections.abc import Mapping, Sequence

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.budget.pilot import Rung
from smallcaps_assets.core.figures import format_bytes, format_hours, format_share
from smallcaps_assets.ingest.budget.estimates import (
    estimate_by_constants,
    estimate_plan,
    gather_grounds,
    judge_estimate,
)
from smallcaps_assets.ingest.events.watchlist import take_pilot
from smallcaps_assets.ingest.plan.difference import PlanChange, Side
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets.settings import PlanMode


def print_estimate(
    lakehouse: Lakehouse,
    console: Console,
    planned: tuple[PlanRecord, pl.DataFrame] | None = None,
    *,
    by_constants: bool = False,
) -> None:
    """Print the published plan, or one that was refused, why it is smaller than naive, its cost."""
    record, plan = planned or lakehouse.tables.read_plan()
    estimate = estimate_plan(record, plan, gather_grounds(lakehouse))
    console.print(_describe_plan(lakehouse, record), highlight=False)
    if record.mode != PlanMode.SESSIONS:
        watchlist = lakehouse.tables.read_table(WATCHLIST)
        _print_ladder(take_pilot(lakehouse, watchlist).ladder, console)
    _print_costs(
        {
            "naive": estimate.comparison.naive,
            "planned": estimate.calibrated,
            "still missing": estimate.remaining,
            "by constants": estimate_by_constants(record) if by_constants else None,
            "by what landed": estimate.measured,
        },
        console,
    )
    naive = estimate.comparison.naive.arithmetic.partition(" = ")[0]
    console.print(
        f"{format_share(estimate.comparison.saved_ratio)} fewer sessions than naive ({naive}): "
        "overlaps are merged, and neighbouring sessions share requests",
        highlight=False,
    )
    verdict = judge_estimate(estimate, lakehouse.settings.disk_budget_gb)
    word = "[green]fits[/]" if verdict.passed else "[red]does not fit[/]"
    console.print(f"disk: {word}: {escape(verdict.summary)}", highlight=False)
    if planned is None:
        console.print(f"pictures: {lakehouse.layout.reports_dir}", highlight=False, soft_wrap=True)


def print_change(change: PlanChange, console: Console) -> None:
    """Print what a plan would add to the published one and remove from it."""
    table = Table("", "added", "removed", title="difference to the published plan")
    sides = (change.added, change.removed)
    for name, values in _list_changes(sides).items():
        table.add_row(name, *values)
    console.print(table)
    console.print(f"{change.kept:,} ticker-sessions stay; nothing was published", highlight=False)
    if change.unread_months:
        console.print(
            f"[yellow]{change.unread_months} months of daily bars are due and were not fetched: "
            "smallcaps plan would fetch them and may find more",
            highlight=False,
        )
    for problem in change.problems:
        console.print(f"[red]it would not be published: {escape(problem)}", highlight=False)


def print_choice(lakehouse: Lakehouse, console: Console) -> None:
    """Print which events were planned alone, and what that choice was made on."""
    record, _ = lakehouse.tables.read_plan()
    if record.events:
        console.print(f"planned alone: {', '.join(record.events)}", highlight=False)
    if record.chosen_on:
        first, last = record.chosen_on[0], record.chosen_on[-1]
        console.print(
            f"[yellow]chosen on these data: {len(record.chosen_on):,} sessions from {first} to "
            f"{last}; a study of these events has to leave those sessions out",
            highlight=False,
        )


def _describe_plan(lakehouse: Lakehouse, record: PlanRecord) -> str:
    """Describe in one line where the plan comes from."""
    plan = f"plan {record.plan_hash[:12]}, {record.mode}" + (
        f", batch {record.batch}" if record.batch else ""
    )
    if record.mode == PlanMode.SESSIONS:
        return f"{record.tickers:,} tickers without a watchlist; {plan}"
    watchlist = lakehouse.tables.read_table(WATCHLIST)
    pilot = lakehouse.tables.read_table(PILOT_WATCHLIST)
    return (
        f"watchlist {watchlist.height:,} rows of {watchlist['ticker'].n_unique():,} tickers; "
        f"pilot {pilot.height:,} rows of {pilot['ticker'].n_unique():,} tickers; {plan}"
    )


def _print_ladder(ladder: Sequence[Rung], console: Console) -> None:
    """Print what the pilot and other sizes of it cost as a whole."""
    columns = ("tickers", "asked for", "sessions", "requests", "stored", "time", "disk")
    table = Table(*columns, title="sizes of the pilot")
    for rung in ladder:
        table.add_row(
            f"{rung.tickers:,}",
            f"{rung.ticker_sessions:,}",
            f"{rung.unique_ticker_sessions:,}",
            f"{rung.requests:,}",
            format_bytes(rung.bytes_stored),
            format_hours(rung.hours),
            "[green]fits[/]" if rung.verdict.fits else "[red]does not fit[/]",
        )
    console.print(table)


def _print_costs(sides: Mapping[str, Estimate | None], console: Console) -> None:
    """Print the plan by each method, and naive beside it."""
    shown = {name: side for name, side in sides.items() if side is not None}
    table = Table("", *shown, title="estimate")
    table.add_row("ticker-sessions", *(f"{side.ticker_sessions:,}" for side in shown.values()))
    table.add_row("requests", *(f"{side.requests:,}" for side in shown.values()))
    table.add_row("stored", *(format_bytes(side.bytes_stored) for side in shown.values()))
    table.add_row("on disk", *(format_bytes(side.bytes_on_disk) for side in shown.values()))
    table.add_row("time", *(format_hours(side.hours) for side in shown.values()))
    console.print(table)


def _list_changes(sides: Sequence[Side]) -> dict[str, list[str]]:
    """List the rows of a difference, a column a side."""
    return {
        "ticker-sessions": [f"{side.ticker_sessions:,}" for side in sides],
        "tickers": [f"{side.tickers:,}" for side in sides],
        "of them stored already": [f"{side.stored_sessions:,}" for side in sides],
        "their bytes, which stay": [format_bytes(side.stored_bytes) for side in sides],
        "requests for the others": [f"{side.cost.requests:,}" for side in sides],
        "bytes of the others": [format_bytes(side.cost.bytes_stored) for side in sides],
        "time": [format_hours(side.cost.hours) for side in sides],
    }
