"""`smallcaps research`: from what is stored to bars, labels, and which events pay."""

import sys
from collections.abc import Mapping

import click
from rich.console import Console
from rich.table import Table

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.research.kernels import HOW_TO_INSTALL, is_installed
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.research.document import ResearchDocument, WinRate, document_research

_HEADS = ("event", "side", "n / days", "wins", "95 %", "net", "p")


@click.command("research")
@click.option("--show", "is_show", is_flag=True, help="Print what was made last; make nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made last as JSON.")
def command(*, is_show: bool, as_json: bool) -> None:
    """Make bars, decisions, labels and win rates of what is stored, and print which events pay.

    What did not change since the last run is not made again.  No vendor is asked.

    Exit code 1: something was not made, because a check failed.
    """
    from smallcaps_assets.defs.assets.research_events import open_ground  # noqa: PLC0415  loads Dagster

    console = open_console()
    with open_workplace() as work:
        problems = [] if is_show or as_json else run_research(work, console)
        document = None if problems else document_research(open_ground(work.lakehouse))
    if document and as_json:
        click.echo(encode_document(document))
    elif document and document.is_made:
        print_research(document, console)
    elif document:
        console.print("nothing was labelled yet: run `smallcaps research`", highlight=False)
    sys.exit(bool(problems))


def run_research(work: Workplace, console: Console) -> list[str]:
    """Make everything that is due through Dagster; print and return what went wrong."""
    from smallcaps_assets.defs.assets.research_months import open_months  # noqa: PLC0415  loads Dagster
    from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START  # noqa: PLC0415
    from smallcaps_assets.defs.jobs import BARS_JOB, STUDY_JOB  # noqa: PLC0415

    keys = [f"{month}-01" for month in open_months(work.lakehouse).list_months()]
    problems: list[str] = []
    if keys:
        console.print("bars and features", highlight=False)
        tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
        problems += run_step(work, BARS_JOB, tags)
    if not problems:
        console.print("events, labels and win rates", highlight=False)
        problems += run_step(work, STUDY_JOB, {})
    for problem in problems:
        console.print(problem, style="red", highlight=False, soft_wrap=True)
    return problems


def run_step(work: Workplace, job: str, tags: Mapping[str, str]) -> list[str]:
    """Run a job; return why it failed, a line each.

    Raises:
        ConfigError: numba is not installed.
    """
    from smallcaps_assets.defs.failures import describe_failure  # noqa: PLC0415  loads Dagster

    if not is_installed():
        raise ConfigError(f"research needs numba, not found: {HOW_TO_INSTALL}")
    run = work.run_job(job, tags)
    return [] if run.is_success else describe_failure(work.instance, run)


def print_research(document: ResearchDocument, console: Console) -> None:
    """Print win rates and what they rest on."""
    table = Table(*_HEADS, title="which events pay, after costs", padding=(0, 0))
    for row in document.win_rates:
        table.add_row(*_describe(row))
    console.print(table)
    console.print(
        f"{format_count(document.decisions, 'decision')} from {document.first_session} to "
        f"{document.last_session}; n counts those with a return, days their sessions of entry; "
        "the interval draws whole days, p is that of a mean net return above 0, by Holm",
        highlight=False,
    )
    if not document.is_selection_point_in_time:
        console.print(
            "[yellow]tickers were chosen with hindsight, by a ranking over sessions studied here: "
            "plan with --rank-until for a study without",
            highlight=False,
        )
    if document.chosen_on_sessions:
        console.print(
            f"[yellow]{', '.join(document.planned_events)} were chosen by win rates of "
            f"{document.chosen_on_sessions:,} sessions: those prove nothing about them",
            highlight=False,
        )


def _describe(row: WinRate) -> tuple[str, ...]:
    """Name the cells of a row."""
    ends = (row.clustered_low, row.clustered_high)
    return (
        row.event,
        "buy" if row.side > 0 else "sell",
        f"{row.decisions:,} / {row.sessions:,}",
        _show(row.win_rate),
        "" if ends[0] is None or ends[1] is None else f"{ends[0]:.0%} to {ends[1]:.0%}",
        _show(row.mean_net_return),
        "" if row.p_holm is None else f"{row.p_holm:.3f}",
    )


def _show(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1%}".replace("%", " %")
