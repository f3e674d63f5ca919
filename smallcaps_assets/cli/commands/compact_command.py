"""`smallcaps compact`: closed and complete months as month files."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.operations.compaction.months import MonthFacts, MonthState, judge_months


@click.command("compact")
@click.option(
    "--month", "months", multiple=True, metavar="YYYY-MM", help="This month; may be repeated."
)
@click.option("--list", "is_list", is_flag=True, help="Say where months stand and change nothing.")
def command(months: tuple[str, ...], *, is_list: bool) -> None:
    """Write closed months whose planned sessions are all complete as month files, through Dagster.

    Months that changed since are rewritten; those that are open or incomplete are left alone
    and listed with the reason.  Stop it as you like: the same command continues.

    Exit code 1: a month could not be written, or one of --month was not.
    """
    console = open_console()
    with open_workplace() as work:
        wanted = sorted(set(months)) or None
        if not is_list:
            ensure_indexed(work.lakehouse)
        lakehouse = work.lakehouse
        facts = judge_months(lakehouse.ledger, lakehouse.store, lakehouse.bounds, wanted)
        problems = [] if is_list else run_compaction(work, facts)
        if not is_list:
            facts = judge_months(lakehouse.ledger, lakehouse.store, lakehouse.bounds, wanted)
        print_months(facts, console)
        for problem in problems:
            console.print(problem, style="red", highlight=False, soft_wrap=True)
    left = [month for month in facts if month.state is not MonthState.COMPACTED]
    sys.exit(bool(problems or (wanted and left and not is_list)))


def run_compaction(work: Workplace, facts: Sequence[MonthFacts]) -> list[str]:
    """Run the job over the months that are due; return why it failed, a line each.

    Raises:
        ConfigError: A month is no partition.
        PartitionConflictError: Another process works on the lake.
    """
    from smallcaps_assets.defs.assets.ticks import NO_WAIT_TAG  # noqa: PLC0415
    from smallcaps_assets.defs.failures import describe_failure  # noqa: PLC0415  loads Dagster
    from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START  # noqa: PLC0415
    from smallcaps_assets.defs.instance.runs import end_dead_runs  # noqa: PLC0415
    from smallcaps_assets.defs.jobs import COMPACT_JOB  # noqa: PLC0415

    ready = (MonthState.DUE, MonthState.COMPACTED)
    keys = [f"{month.month}-01" for month in facts if month.state in ready]
    if not keys:
        return []
    check_partitions(work, keys)
    end_dead_runs(work.instance, work.lakehouse.lock)
    with work.lakehouse.writing("smallcaps compact", 0.0):
        pass  # another writer is told before a run begins
    tags = {RANGE_START: keys[0], RANGE_END: keys[-1], NO_WAIT_TAG: "true"}
    run = work.run_job(COMPACT_JOB, tags)
    return [] if run.is_success else describe_failure(work.instance, run)


def check_partitions(work: Workplace, keys: Sequence[str]) -> None:
    """Refuse months that are no partition of `compacted_trades`.

    Raises:
        ConfigError: One is not; the message says which there are.
    """
    import dagster as dg  # noqa: PLC0415  half a second

    from smallcaps_assets.schemas import COMPACTED_TRADES  # noqa: PLC0415

    graph = work.definitions.resolve_asset_graph()
    partitions = graph.get(dg.AssetKey(COMPACTED_TRADES.name)).partitions_def
    known = partitions.get_partition_keys() if partitions else []
    if foreign := [key for key in keys if key not in known]:
        raise ConfigError(
            f"{foreign[0][:7]} is no month of compacted_trades: expected {known[0][:7]} to "
            f"{known[-1][:7]}; see SMALLCAPS_FIRST_SESSION"
        )


def print_months(facts: Sequence[MonthFacts], console: Console) -> None:
    """Print where months stand."""
    table = Table("month", "state", "sessions", "rows", "size", "files", "why")
    for month in facts:
        manifest = month.compacted.manifest if month.compacted else None
        state = f"{month.state}, stale" if month.is_stale else month.state.value
        sizes = (
            (f"{manifest.rows:,}", format_bytes(manifest.bytes), str(len(manifest.parts)))
            if manifest
            else ("", "", "")
        )
        table.add_row(
            month.month, state, f"{month.sessions.height:,}", *sizes, escape(month.reason)
        )
    if table.row_count:
        console.print(table)
    done = sum(month.state is MonthState.COMPACTED for month in facts)
    console.print(f"{done} of {len(facts)} months are compacted", highlight=False)
