"""Run every benchmark beside this file, one after another; print tables, write JSON and a page.

``python benchmarks/run.py [--short] [--json FILE] [--page FILE] [NAME ...]``; see ``measuring`` for
what a benchmark is.  The page is written by a full run of everything, between its markers.  Exit
code 1: a benchmark failed or, in the full form, a limit that is no target is not kept.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from measuring import ROOT, show
from pages import write_page
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent
PREFIX = "bench_"
PIPE_WIDTH = 140


def main() -> int:
    """Run what is asked for and return the exit code."""
    scripts = {path.stem.removeprefix(PREFIX): path for path in FOLDER.glob(f"{PREFIX}*.py")}
    parser = argparse.ArgumentParser(description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(sorted(scripts))}")
    parser.add_argument("--short", action="store_true", help="Smaller inputs, fewer repeats.")
    parser.add_argument("--json", type=Path, default=ROOT / "data" / "reports" / "benchmarks.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - scripts.keys()):
        parser.error(f"no benchmark {', '.join(unknown)}")
    results = [
        run_bench(name, path, is_short=options.short)
        for name, path in sorted(scripts.items())
        if not options.names or name in options.names
    ]
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for result in results:
        console.print(make_table(result))
    console.print(make_targets(results))
    report = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": describe_machine()}
    report |= {"short": options.short, "benches": results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {options.json}")
    if not options.short and not options.names:
        write_page(options.page, report)
        print(f"written: {options.page}")
    return 0 if all(is_kept(result, is_short=options.short) for result in results) else 1


def run_bench(name: str, path: Path, *, is_short: bool) -> dict[str, object]:
    """Run one benchmark to its end and return its result; a failed one has an ``error``."""
    print(f"running {name} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    command = [sys.executable, "-W", "ignore", str(path), *(["--short"] if is_short else [])]
    path_list = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path_list},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if finished.returncode:
        return {"bench": name, "error": f"exit code {finished.returncode}", "rows": []}
    result: dict[str, object] = json.loads(finished.stdout.splitlines()[-1])
    return result | {"seconds": round(time.monotonic() - started)}


def is_kept(result: dict[str, object], *, is_short: bool) -> bool:
    """Say whether a benchmark ran and every limit of it that is no target is kept.

    The short form looks at too little to judge a limit; that it ran is all it says.
    """
    if "error" in result:
        return False
    limits = [row for row in result["rows"] if "target" not in row]
    return is_short or all(row.get("holds", True) for row in limits)


def make_table(result: dict[str, object]) -> Table:
    """Return a result as a table."""
    title = f"{result['bench']}: {result.get('error') or result.get('about', '')}"
    table = Table("measure", "median", "lowest", "highest", "runs", "limit", title=title)
    for row in result["rows"]:
        words = row.get("limit", "")
        if words:
            words = f"[green]{words} kept[/]" if row["holds"] else f"[red]{words} MISSED[/]"
        sides = (show(row[name]) for name in ("lowest", "highest"))
        median = f"{show(row['median'])} {row['unit']}"
        table.add_row(row["measure"], median, *sides, str(row["runs"]), words)
    return table


def make_targets(results: list[dict[str, object]]) -> Table:
    """Return the rows that are targets, with the verdict on each."""
    table = Table("target", "wanted", "measured", "", title="targets")
    for row in (row for result in results for row in result["rows"] if "target" in row):
        verdict = "[green]pass[/]" if row["holds"] else "[red]short[/]"
        table.add_row(row["target"], row["limit"], f"{show(row['median'])} {row['unit']}", verdict)
    return table


def describe_machine() -> dict[str, object]:
    """Return what numbers depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(main())
