"""`python -m campaigns.faults [--short] [--only LANE] [--report FILE]`: every part, as a table.

The parts run in lanes, each a process of its own on a vendor and a ground of its own.  Exit
code 1 when a single case did not hold, or a lane did not come to its end.
"""

import argparse
import datetime as dt
import json
import logging
import multiprocessing as mp
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from campaigns.crashes import run_crash_points, run_power_losses
from campaigns.crowds import run_clock_jumps, run_large, run_readers, run_two_downloads
from campaigns.dagster_kills import run_dagster_kills
from campaigns.damage import run_damage, run_old_copies
from campaigns.disks import (
    run_plan_changes,
    run_quotas,
    run_read_only,
    run_real_disks,
    run_removed_folders,
)
from campaigns.floods import run_floods, run_slow_loris
from campaigns.ground import Ground, Part, build_ground, serve_market, timed
from campaigns.machine import run_machine
from campaigns.refusals import run_disk_refusals, run_vendor_faults, run_vendor_mixtures
from campaigns.segment_damage import run_old_states, run_segment_damages
from campaigns.segment_orders import run_orders
from campaigns.segment_sleepers import run_sleepers
from campaigns.segments import run_segment_ends
from campaigns.universes import run_universe_histories, run_universe_kills

FIGURES_START = "<!-- figures: start -->"
FIGURES_END = "<!-- figures: end -->"
MEMORY = Path("/dev/shm")  # noqa: S108  a disk in memory: kills do not care, SQLite does


def run_crashes(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which a download ends at every step, in every way."""
    yield timed(lambda: run_crash_points(ground, 12 if is_short else 320))
    yield timed(lambda: run_power_losses(ground, 12 if is_short else 1_000))
    yield timed(lambda: run_disk_refusals(ground, 12 if is_short else 1_000))


def run_ends(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which other work ends, or a disk."""
    yield timed(lambda: run_dagster_kills(ground.folder, 1 if is_short else 44))
    yield timed(lambda: run_quotas(ground.folder, is_short=is_short))
    yield timed(lambda: run_real_disks(ground.folder, is_short=is_short))
    yield timed(lambda: run_read_only(ground, is_short=is_short))
    yield timed(lambda: run_removed_folders(ground, is_short=is_short))
    yield timed(lambda: run_floods(ground, is_short=is_short))
    yield timed(lambda: run_slow_loris(ground))


def run_damages(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which files, plans and neighbours are not what they were."""
    yield from run_damage(ground, is_short=is_short)
    yield timed(lambda: run_old_copies(ground))
    yield timed(lambda: run_large(ground.folder, 300 if is_short else 10_000))
    yield timed(lambda: run_two_downloads(ground))
    yield timed(lambda: run_readers(ground))
    yield timed(lambda: run_plan_changes(ground, is_short=is_short))
    yield timed(lambda: run_clock_jumps(ground))


def run_vendors(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which the vendor fails, lies or changes its mind."""
    yield timed(lambda: run_vendor_faults(ground))
    yield timed(lambda: run_vendor_mixtures(ground, 3 if is_short else 300))


def run_any_order(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the part that knows no order."""
    yield timed(lambda: run_machine(ground, 20 if is_short else 1_000))


def run_segments(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which work on segments ends at every step."""
    yield from run_segment_ends(ground.folder, is_short=is_short)


def run_segment_stores(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which segments are damaged, or meet others in any order."""
    yield timed(lambda: run_orders(*((1, 4, 4) if is_short else (2, 600, 200))))
    yield timed(lambda: run_sleepers(3 if is_short else 10_000))
    yield from run_segment_damages(ground.folder, 8 if is_short else 1_000)
    yield timed(lambda: run_old_states(ground.folder))


def run_universes(ground: Ground, *, is_short: bool) -> Iterator[Part]:
    """Yield the parts in which several processes download a universe."""
    yield timed(lambda: run_universe_kills(ground.folder, is_short=is_short))
    yield timed(lambda: run_universe_histories(ground.folder, is_short=is_short))


LANES = {
    "crashes": run_crashes,
    "ends": run_ends,
    "damages": run_damages,
    "vendor": run_vendors,
    "any-order": run_any_order,
    "segments": run_segments,
    "segment-stores": run_segment_stores,
    "universes": run_universes,
}


def run_lane(name: str, answers: Path, *, is_short: bool) -> None:
    """Run the parts of a lane, saying and writing down each when it is over."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    scratch = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        serve_market() as server,
        answers.open("w", encoding="utf-8") as file,
    ):
        for part in LANES[name](build_ground(Path(folder), server), is_short=is_short):
            word = "held" if not part.failures else f"{len(part.failures)} FAILED"
            line = f"{part.cases:>7,}  {word}  {part.name} ({part.seconds:.0f} s)\n"
            sys.stdout.write(line)
            sys.stdout.flush()
            file.write(json.dumps(asdict(part)) + "\n")
            file.flush()


def run_lanes(names: Iterable[str], *, is_short: bool) -> list[Part]:
    """Run lanes side by side; a lane that dies is a failure."""
    parts = []
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        lanes = {}
        for name in names:
            answers = Path(folder) / f"{name}.jsonl"
            lanes[answers] = context.Process(
                target=run_lane, args=(name, answers), kwargs={"is_short": is_short}, name=name
            )
            lanes[answers].start()
        for answers, process in lanes.items():
            process.join()
            lines = answers.read_text(encoding="utf-8").splitlines() if answers.exists() else []
            parts += [Part(**json.loads(line)) for line in lines]
            if process.exitcode:
                words = f"it ended with code {process.exitcode}"
                parts.append(Part(f"lane {process.name}", "an end", 1, [words]))
    return parts


def render(parts: list[Part], minutes: float) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | cases | failures | what must hold | figures |", "|---|---|---|---|---|"]
    lines += [
        f"| {p.name} | {p.cases:,} | {len(p.failures)} | {p.promise} | {p.notes} |" for p in parts
    ]
    cases, failures = sum(p.cases for p in parts), sum(len(p.failures) for p in parts)
    lines.append(f"| all | {cases:,} | {failures} | | |")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    today = dt.datetime.now(dt.UTC).date()
    lines += ["", f"{today}, Python {platform.python_version()}, {machine}, {minutes:.0f} minutes."]
    return "\n".join(lines)


def write_report(page: Path, figures: str) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(FIGURES_START, 1)
    _, tail = rest.split(FIGURES_END, 1)
    page.write_text(f"{head}{FIGURES_START}\n{figures}\n{FIGURES_END}{tail}", encoding="utf-8")


def show(parts: list[Part]) -> None:
    """Print the table, then what did not hold."""
    console = Console()
    table = Table("what", "cases", "failures", "figures", title="fault campaign")
    for part in parts:
        table.add_row(part.name, f"{part.cases:,}", str(len(part.failures)), part.notes)
    console.print(table)
    for part in parts:
        for failure in part.failures[:20]:
            console.print(f"{part.name}: {failure}", style="red", markup=False)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that belongs to the gate")
    parser.add_argument("--report", type=Path, help="page whose figures are replaced")
    parser.add_argument("--only", choices=LANES, metavar="LANE", help=f"one of {', '.join(LANES)}")
    options = parser.parse_args()
    if options.only and options.report:
        parser.error("--only with --report: a part of the figures would replace all of them")
    started = time.monotonic()
    parts = run_lanes([options.only] if options.only else LANES, is_short=options.short)
    show(parts)
    if options.report:
        write_report(options.report, render(parts, (time.monotonic() - started) / 60))
    return 1 if any(part.failures for part in parts) else 0


if __name__ == "__main__":
    sys.exit(main())
