"""`smallcaps ui`: Dagster's web UI and daemon, with the source running where it is ours."""

import os
import signal
import subprocess
import sys
from types import FrameType

import click

from smallcaps_assets.cli.workplace import Workplace, open_workplace

STOP_TIMEOUT_S = 30.0
LOCALHOST = "127.0.0.1"


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option(
    "--host",
    default=LOCALHOST,
    show_default=True,
    help="Address to listen on; whoever reaches it may do everything: there is no password.",
)
def command(port: int, host: str) -> None:
    """Serve Dagster's UI on localhost with a running daemon, until Ctrl-C.

    It listens on this machine alone, because the UI has no password.
    """
    with open_workplace(needs_source=True) as work:
        # The storage is migrated here: webserver and daemon started on a fresh home would race.
        home = work.instance.root_directory
        click.echo(f"Dagster's UI: http://{host}:{port} (home: {home}); stop with Ctrl-C")
        sys.exit(serve(work, host, port))


def serve(work: Workplace, host: str, port: int) -> int:
    """Run `dagster dev` until it ends or this process is told to stop."""
    os.environ["SMALLCAPS_DATA_DIR"] = str(work.settings.data_dir.absolute())
    arguments = ["dev", "-m", "smallcaps_assets.definitions", "-h", host, "-p", str(port)]
    process = subprocess.Popen(  # noqa: S603  our own interpreter and validated arguments
        [sys.executable, "-m", "dagster", *arguments]
    )

    def pass_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to both; Dagster ends its servers in order.
        return process.wait(STOP_TIMEOUT_S)
