"""`smallcaps status`: how far the download is, from the ledger alone.

Exit codes: 0 the status could be told, whatever it is; with ``--check``, 1 where a person should
look.  Without a plan or a ledger nothing can be told: 1, and the message says what to do.
"""

import contextlib
import sys
import time

import click
from rich.live import Live

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.status import render_status
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.document import StatusDocument
from smallcaps_assets.operations.status.look import measure_status

REFRESH_S = 2.0
PRINTED_LINES = 60
"""Lines where no terminal limits them."""


@click.command("status")
@click.option("--watch", is_flag=True, help="Stay and refresh until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON once.")
@click.option("--ticker", metavar="SYMBOL", help="Tell everything of one ticker.")
@click.option("--check", is_flag=True, help="Exit with 1 where a person should look.")
@click.option(
    "--stuck-after",
    "stuck_after_min",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Minutes without a commit after which a run counts as stuck.",
)
def command(
    *,
    watch: bool,
    as_json: bool,
    ticker: str | None,
    check: bool,
    stuck_after_min: float | None,
) -> None:
    """Show whether a download runs, how far, how fast, what failed, and when it is done.

    --check exits with 1 when a download is stuck, gave up, or was killed: for cron and scripts.
    """
    if watch and as_json:
        raise click.UsageError("--watch shows a screen, --json prints once: give one of them")
    with open_workplace(stuck_after_min=stuck_after_min) as work:
        lakehouse = work.lakehouse
        status = _watch(lakehouse, ticker) if watch else measure_status(lakehouse, ticker)
    if as_json:
        click.echo(encode_document(status))
    else:
        console = open_console()
        height = console.height - 1 if console.is_terminal else PRINTED_LINES
        console.print(render_status(status, console.width, height))
    sys.exit(1 if check and not status.download.is_well else 0)


def _watch(lakehouse: Lakehouse, ticker: str | None) -> StatusDocument:
    """Refresh a screen of its own until Ctrl-C, and return the last status."""
    console = open_console()
    status = measure_status(lakehouse, ticker)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, auto_refresh=False, screen=console.is_terminal) as live,
    ):
        while True:
            live.update(render_status(status, console.width, console.height - 1), refresh=True)
            time.sleep(REFRESH_S)
            status = measure_status(lakehouse, ticker)
    return status
