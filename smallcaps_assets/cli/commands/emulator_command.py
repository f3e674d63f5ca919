"""`smallcaps emulator`: the vendor's API on localhost."""

import os
import sys
from pathlib import Path

import click


@click.command("emulator")
@click.option(
    "--replay",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve the flat files of this folder (.../trades_v1).",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--scenarios", is_flag=True, help="Plant spikes, halts, late and withdrawn prints.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option(
    "--fault", "faults", multiple=True, help="For example 429:page=2,times=1; may be repeated."
)
def command(
    *, replay: Path | None, seed: int, scenarios: bool, port: int, faults: tuple[str, ...]
) -> None:
    """Serve the vendor's API until stopped; the first line of stdout is the address.

    Without --replay it serves a synthetic market of small caps over 2023 and 2024.

    A fault is KIND[:name=value,...], for example short_page:by=row,rows=7,ticker=CON; the kinds
    and names are listed by `python -m smallcaps_assets.emulator serve --help`.
    """
    market = ["--seed", str(seed), *(["--scenarios"] if scenarios else [])]
    source = ["--replay", str(replay.absolute())] if replay else market
    fault_arguments = [part for fault in faults for part in ("--fault", fault)]
    # The product never imports the emulator, so this process becomes it: same pid, same signals.
    arguments = [sys.executable, "-m", "smallcaps_assets.emulator", "serve", "--port", str(port)]
    os.execv(sys.executable, [*arguments, *source, *fault_arguments])  # noqa: S606  no shell wanted
