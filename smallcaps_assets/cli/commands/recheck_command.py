"""`smallcaps recheck`: does the vendor still say what is stored?"""

import datetime as dt
import sys

import click
from rich.console import Console

from smallcaps_assets.cli.commands.download_command import DATE
from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.summaries import print_revisions
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.plan.selection import parse_selection
from smallcaps_assets.ingest.ticks.backfill import (
    Backfill,
    RecheckChoice,
    RecheckFacts,
    choose_stored,
    parse_share,
    recheck_sessions,
)


@click.command("recheck")
@click.option("--sample", default="1%", show_default=True, help="Share of the stored sessions.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one, other sessions.")
@click.option(
    "--older-than", type=click.IntRange(min=0), default=0, help="Only sessions so many days old."
)
@click.option("--tickers", help="Only these, separated by commas.")
@click.option("--from", "first", type=DATE, help="Only sessions from this date on.")
@click.option("--to", "last", type=DATE, help="Only sessions up to this date, included.")
def command(
    sample: str,
    seed: int,
    older_than: int,
    tickers: str | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
) -> None:
    """Ask the vendor again for a sample of what is stored, and list what differs.

    Sessions whose daily bar was settled come first. An answer that differs is kept beside the
    stored one, in revisions/; the one that is nearer to its daily bar counts.

    Exit code 0: every answer is what is stored; 1: some differ or failed; 2: wrong usage.
    """
    choice = RecheckChoice(
        parse_share(sample), seed, older_than, parse_selection(tickers, first, last)
    )
    console = open_console()
    with open_workplace(needs_source=True) as work:
        ensure_indexed(work.lakehouse)
        begun = work.lakehouse.clock()
        facts = choose_stored(work.lakehouse.ledger, choice, begun.date())
        run_id = f"recheck {begun:%Y-%m-%dT%H:%M:%S}"
        recheck_sessions(Backfill(work.lakehouse, run_id=run_id, asks_again=True), facts)
        work.align_dagster(facts.changed)
        print_facts(facts, console)
        print_revisions(work.lakehouse.ledger.revisions(begun), console)
    sys.exit(1 if facts.revisions or facts.unanswered or facts.aborted else 0)


def print_facts(facts: RecheckFacts, console: Console) -> None:
    """Print how many were asked for, and what came of them."""
    if not facts.keys:
        console.print("no stored session is within the selection: nothing was asked for")
        return
    console.print(
        f"{len(facts.keys):,} of {facts.stored:,} stored sessions asked for again "
        f"({facts.settled:,} of them settled ones): {facts.unchanged:,} unchanged, "
        f"{len(facts.revisions):,} differ, {len(facts.unanswered):,} without an answer",
        highlight=False,
        soft_wrap=True,
    )
    if facts.aborted:
        console.print(facts.aborted, style="red", highlight=False)
