"""A download that sends itself a signal at a chosen moment of a commit.

What belongs here: `smallcaps download` as a program of its own, whose disk and ledger know the
moment.  What does not: what has to hold afterwards (the tests).  Run with a moment, how the name of
its file ends or its kind is called, and the number of the signal.
"""

import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import click
from rich.console import Console

from smallcaps_assets.cli.endings import run_to_end
from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.settings import load_settings
from smallcaps_assets_tests.cli.cli_factories import QUICK, User
from smallcaps_assets_tests.defs.kills import FatalWorkplace, Fuse
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT


@dataclass(slots=True)
class SignalFuse(Fuse):
    """Sends a signal to its process when it first meets a moment, and goes on if it lives.

    Attributes:
        number: The signal.
    """

    number: int = 0

    def meet(self, moment: str, name: str = "") -> None:
        if moment == self.moment and name.endswith(tuple(self.name.split(","))):
            self.moment = ""
            os.kill(os.getpid(), self.number)


def start_signalled(user: User, moment: str, name: str, number: int) -> "subprocess.Popen[str]":
    """Start a download of what a user has planned."""
    own = {"SMALLCAPS_DATA_DIR": str(user.data_dir), "PYTHONPATH": str(REPO_ROOT)}
    home = {"DAGSTER_HOME": str(user.data_dir / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "1"}
    program = [sys.executable, "-m", __spec__.name, moment, name, str(number)]
    return subprocess.Popen(
        program,
        cwd=user.folder,
        env={**os.environ, **QUICK, **user.environment, **own, **home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(moment: str, name: str, number: str) -> int:
    """Download, and meet the moment."""
    warnings.simplefilter("ignore")

    @click.command
    def command() -> None:
        fuse = SignalFuse(moment, name, number=int(number))
        run_download(FatalWorkplace(load_settings(), fuse), Selection(), Console())

    return run_to_end(command, [])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
