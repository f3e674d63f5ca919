"""The `smallcaps` command: thin, and lazy, so that `status` never waits for Dagster to load.

What belongs here and in the modules beside: arguments, words on the screen, exit codes.  What
does not: anything Dagster's UI could not do as well.

Exit codes: 0 all is well; 1 the work ended with failures, listed; 2 wrong usage or settings, or
what was handed in is refused; 130 Ctrl-C ended it.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from smallcaps_assets.cli.endings import point_to, run_to_end
from smallcaps_assets.cli.logs import set_up_logs

COMMANDS: Final = {
    "audit": "Check everything stored: coverage, size, damage; exit 1 on a failure.",
    "catalog": "Rebuild the DuckDB catalog.",
    "demo": "Run the whole pipeline on the emulated market.",
    "docs": "Show the documents: a page, or a section of it.",
    "download": "Fetch every missing planned session; run again to resume.",
    "emulator": "Serve the vendor's API from a synthetic market or a replay.",
    "export": "Write the lake in the layout of other tools.",
    "import": "Judge an archive of other files; import what agrees with its bars.",
    "plan": "Find events, plan the sessions to fetch, estimate and publish.",
    "recheck": "Ask the vendor again for a sample of what is stored.",
    "reconcile": "Make Dagster's partition states equal to the lake's.",
    "reindex": "Rebuild the ledger from the records.",
    "relocate": "Move the lake to another disk.",
    "repair": "Move damaged files to quarantine; their sessions are missing again.",
    "report": "Print figures of the lake.",
    "research": "Make bars, labels and win rates of what is stored.",
    "status": "Show how far the download is.",
    "tidy": "Pack segments into few files, and remove what they displaced.",
    "ui": "Start Dagster's UI and daemon on this lakehouse.",
    "universe": "Load the listings, active and delisted; run again to resume.",
}
"""Every command with its short help; its code is in the module of the same name."""

REMOVED: Final = {"compact": "there are no month files any more: run `smallcaps tidy` instead"}
"""What is said of commands that an earlier version had, by name."""

PAGES: Final = {
    "audit": "operations#checks-and-what-to-do",
    "catalog": "cookbook",
    "demo": "tutorial",
    "docs": "operations",
    "download": "operations#backfill-and-resume",
    "emulator": "operations#vendor-outage",
    "export": "operations#commands",
    "import": "import",
    "plan": "operations#what-to-plan",
    "recheck": "operations#what-daily-bars-dispute",
    "reconcile": "operations#something-is-lost-or-damaged",
    "reindex": "operations#something-is-lost-or-damaged",
    "relocate": "operations#moving-house",
    "repair": "operations#something-is-lost-or-damaged",
    "report": "report",
    "research": "research",
    "status": "operations#stuck",
    "tidy": "operations#segments",
    "ui": "ui",
    "universe": "research-choices#survivorship",
}
"""The page, and the section of it, that each command's help leads to."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """List the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, now that it is asked for."""
        if cmd_name in REMOVED:
            raise click.UsageError(f"no command {cmd_name}: {REMOVED[cmd_name]}", ctx)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"smallcaps_assets.cli.commands.{cmd_name}_command")
        command: click.Command = module.command
        command.short_help = COMMANDS[cmd_name]
        command.epilog = point_to(PAGES[cmd_name])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Pages: smallcaps docs. First steps: smallcaps docs tutorial. Something is wrong: "
    "smallcaps docs operations.",
)
@click.version_option(package_name="smallcaps-assets")
def group() -> None:
    """A lakehouse of US small-cap ticks that proves what it calls complete.

    Settings are environment variables behind SMALLCAPS_, or lines of .env; smallcaps docs
    settings lists them.  Try it without a key: smallcaps demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of ours is a line on stderr and one more, never a trace.

    Args:
        arguments: What follows the name of the command; those of the process by default.
    """
    set_up_logs()
    sys.exit(run_to_end(group, sys.argv[1:] if arguments is None else arguments))
