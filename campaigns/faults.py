"""`python -m campaigns.faults [--short] [--report FILE]`: every part, as a table.

Exit code 1 when a single case did not hold.
"""

import argparse
import datetime as dt
import json
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from campaigns.crashes import run_crash_points, run_power_losses
from campaigns.crowds import run_clock_jumps, run_large, run_readers, run_two_downloads
from campaigns.dagster_kills import run_dagster_kills
from campaigns.damage import run_damage
from campaigns.ground import Ground, Part, build_ground, serve_market, timed
from campaigns.machine import run_machine
from campaigns.refusals import run_disk_refusals, run_vendor_faults, run_vendor_mixtures

FIGURES_START = "<!-- figures: start -->"
FIGURES_END = "<!-- figures: end -->"
MEMORY = Path("/dev/shm")  # noqa: S108  a disk in memory: kills do not care, SQLite does


def run_parts(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield each part when it is over."""
    yield timed(lambda: run_crash_points(ground, 24 if is_short else 320))
    yield timed(lambda: run_power_losses(ground, 12 if is_short else 320))
    yield timed(lambda: run_disk_refusals(ground, 12 if is_short else 320))
    yield from run_damage(ground, is_short=is_short)
    yield timed(lambda: run_vendor_faults(ground))
    yield timed(lambda: run_vendor_mixtures(ground, 3 if is_short else 100))
    yield timed(lambda: run_two_downloads(ground))
    yield timed(lambda: run_readers(ground))
    yield timed(lambda: run_clock_jumps(ground))
    yield timed(lambda: run_machine(ground, 15 if is_short else 1_000))
    yield timed(lambda: run_large(ground.folder, 300 if is_short else 10_000))
    yield timed(lambda: run_dagster_kills(ground.folder, 1 if is_short else 44))


def render(parts: list[Part]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | cases | failures | what must hold | figures |", "|---|---|---|---|---|"]
    lines += [
        f"| {p.name} | {p.cases:,} | {len(p.failures)} | {p.promise} | {p.notes} |" for p in parts
    ]
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    today = dt.datetime.now(dt.UTC).date()
    minutes = sum(part.seconds for part in parts) / 60
    lines += ["", f"{today}, Python {platform.python_version()}, {machine}, {minutes:.0f} minutes."]
    return "\n".join(lines)


def write_report(page: Path, parts: list[Part]) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(FIGURES_START, 1)
    _, tail = rest.split(FIGURES_END, 1)
    page.write_text(
        f"{head}{FIGURES_START}\n{render(parts)}\n{FIGURES_END}{tail}", encoding="utf-8"
    )


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that belongs to the gate")
    parser.add_argument("--report", type=Path, help="page whose figures are replaced")
    parser.add_argument("--json", type=Path, help="write the parts here")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    console, parts = Console(), []
    scratch = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder, serve_market() as server:
        for part in run_parts(build_ground(Path(folder), server), is_short=options.short):
            parts.append(part)
            word = "[green]held[/]" if not part.failures else f"[red]{len(part.failures)} FAILED[/]"
            console.print(f"{part.cases:>7,}  {word}  {part.name} ({part.seconds:.0f} s)")
    table = Table("what", "cases", "failures", "figures", title="fault campaign")
    for part in parts:
        table.add_row(part.name, f"{part.cases:,}", str(len(part.failures)), part.notes)
    console.print(table)
    for part in parts:
        for failure in part.failures[:20]:
            console.print(f"{part.name}: {failure}", style="red", markup=False)
    if options.json:
        text = json.dumps([asdict(part) for part in parts], indent=1)
        options.json.write_text(text, encoding="utf-8")
    if options.report:
        write_report(options.report, parts)
    return 1 if any(part.failures for part in parts) else 0


if __name__ == "__main__":
    sys.exit(main())
