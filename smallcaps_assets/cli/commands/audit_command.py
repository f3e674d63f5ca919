"""`smallcaps audit`: all checks from the terminal."""

import sys

import click

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.cli.screens.summaries import print_verdicts
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.operations.audit.audits import recall_verdicts
from smallcaps_assets.operations.audit.document import document_audit


@click.command("audit")
@click.option("--deep", is_flag=True, help="Hash, decode and compare every file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(*, deep: bool, as_json: bool) -> None:
    """Check everything stored; exit code 1 when a check fails.

    Without --deep the files are not opened: those checks show the last deep result.
    """
    with open_workplace() as work:
        require_lake(work.lakehouse.layout)
        verdicts = run_audit(work, deep=deep)
        if as_json:
            click.echo(encode_document(document_audit(verdicts, work.lakehouse.clock())))
        else:
            print_verdicts(verdicts, open_console())
    sys.exit(1 if any(verdict.is_failure for verdict in verdicts.values()) else 0)


def run_audit(work: Workplace, *, deep: bool) -> dict[str, Verdict]:
    """Collect the verdicts; a deep audit runs through Dagster, so that its UI shows it too.

    Raises:
        SmallcapsError: The audit itself failed.
    """
    if not deep:
        return recall_verdicts(work.lakehouse)
    from smallcaps_assets.defs.checks.trades import AUDIT_JOB  # noqa: PLC0415
    from smallcaps_assets.defs.failures import describe_failure  # noqa: PLC0415  loads Dagster

    run = work.run_job(AUDIT_JOB)
    if not run.is_success:
        raise SmallcapsError("; ".join(describe_failure(work.instance, run)))
    return recall_verdicts(work.lakehouse)
