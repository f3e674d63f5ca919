"""`smallcaps demo`: the whole pipeline on the emulated market, with an outage in the middle."""

import sys
from pathlib import Path

import click
from rich.console import Console

from smallcaps_assets.cli.commands.audit_command import run_audit
from smallcaps_assets.cli.commands.report_command import print_verdict, write_page
from smallcaps_assets.cli.commands.research_command import print_research, run_research
from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.cli.runs.emulator_process import emulator_outage, has_own_address
from smallcaps_assets.cli.runs.plan import run_plan
from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.plan import print_estimate
from smallcaps_assets.cli.screens.summaries import (
    print_landed,
    print_places,
    print_verdicts,
    shorten,
)
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.research.kernels import HOW_TO_INSTALL, is_installed
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lake.home.place import recall_home
from smallcaps_assets.lake.reading.sources import EVERYTHING
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets.research.document import document_research
from smallcaps_assets.settings import load_settings

OUTAGE_AFTER_REQUESTS = 25
"""Requests that the demo's vendor answers before it fails."""

PACE: dict[str, object] = {
    "requests_per_minute": 0,
    "retries": 2,
    "backoff_base_s": 0.05,
    "outage_after": 5,
    "workers": 4,
}
"""Settings of the demo: no rate limit, and little patience, so that the outage is short."""


@click.command("demo")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/demo"),
    show_default=True,
)
def command(data_dir: Path) -> None:
    """Plan, download, survive an outage, resume, audit: on synthetic data, without a key."""
    console = open_console()
    home = recall_home(data_dir.absolute(), FileSystem())
    has_lake = home.identity_file.exists()
    # A lake that is there stays bound to its market, and an emulator that runs serves its own.
    is_free = not has_lake and not has_own_address(load_settings())
    market: dict[str, object] = {"emulator_scenarios": "true"} if is_free else {}
    with open_workplace(
        needs_source=True,
        source="emulator",
        data_dir=home.data_dir,
        lake=home.lake_dir,
        **PACE,
        **market,
    ) as work:
        is_well = run_demo(work, console)
    sys.exit(0 if is_well else 1)


def run_demo(work: Workplace, console: Console) -> bool:
    """Run every step and return whether all ended well."""
    console.rule("1. plan")
    if not run_plan(work, console):
        return False
    print_estimate(work.lakehouse, console)
    console.rule("2. download, with an outage of the vendor in the middle")
    before = work.lakehouse.ledger.totals()
    with emulator_outage(work.settings, after=OUTAGE_AFTER_REQUESTS):
        is_complete = run_download(work, EVERYTHING, console)
    print_landed(work.lakehouse, console)
    console.rule("3. the vendor is back: the same command again asks for what is missing")
    if not is_complete:
        is_complete = run_download(work, EVERYTHING, console)
    print_landed(work.lakehouse, console)
    after = work.lakehouse.ledger.totals()
    console.print(
        f"fetched now: {format_count(after.rows - before.rows, 'trade')} with "
        f"{format_count(after.requests - before.requests, 'request')}",
        highlight=False,
    )
    console.rule("4. checks: every file hashed, decoded and compared with its daily bar")
    verdicts = run_audit(work, deep=True)
    print_verdicts(verdicts, console)
    refresh_catalog(work.lakehouse)
    console.rule("5. the report: may the plan be expanded?")
    page = write_page(work)
    print_verdict(measure_lake(work.lakehouse), console)
    is_studied = study(work, console)
    console.rule("7. where things are")
    console.print(f"report   {shorten(page)}", highlight=False, soft_wrap=True)
    print_places(work.lakehouse, console)
    is_sound = not any(verdict.is_failure for verdict in verdicts.values())
    return is_complete and is_sound and is_studied


def study(work: Workplace, console: Console) -> bool:
    """Make the tables of research and print which events pay; without numba, say how to get it."""
    from smallcaps_assets.defs.assets.research_events import open_ground  # noqa: PLC0415  loads Dagster

    console.rule(
        "6. research: which events pay (episodes are scripted: an edge here means nothing)"
    )
    if not is_installed():
        console.print(f"left out, because numba is missing: {HOW_TO_INSTALL}", markup=False)
        return True
    problems = run_research(work, console)
    if not problems:
        print_research(document_research(open_ground(work.lakehouse)), console)
    return not problems
