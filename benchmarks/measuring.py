"""What benchmarks share: contenders in processes of their own, and the rows of a result.

A benchmark is a script ``bench_NAME.py`` beside this module.  Called without arguments it prints
one JSON object on standard output, ``{"bench": NAME, "about": TEXT, "rows": [ROW, ...]}`` with rows
made by :func:`make_row`; ``--short`` asks for a smaller input and fewer repeats.  Anything else it
has to say goes to standard error.  ``run.py`` runs all of them.

A row that is one of the project's targets says so: ``make_row(..., at_least=9, target="CPU per
trade against naive, 400k trades")``.  Those rows are repeated in one table of targets, passed or
short.  A target is a goal: falling short of it is shown and does not fail the run, missing another
limit does.  In the short form a target is measured on less, for orientation only.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MB = 1024**2
THOUSAND = 1_000


def make_row(
    measure: str,
    values: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    target: str = "",
) -> dict[str, object]:
    """Return a row of a result: the median of ``values``, and whether it keeps its limit.

    Args:
        measure: What was measured.
        values: One value per run.
        unit: Their unit; ``times`` for ratios.
        at_most: The limit, if less is better.
        at_least: The limit, if more is better.
        target: Name of the target that the limit is, in the words of the table of targets.
    """
    median = statistics.median(values)
    row: dict[str, object] = {"measure": measure, "median": median, "unit": unit}
    row |= {"runs": len(values), "lowest": min(values), "highest": max(values)}
    if at_most is not None:
        row |= {"limit": f"<= {at_most:g}", "holds": median <= at_most}
    if at_least is not None:
        row |= {"limit": f">= {at_least:g}", "holds": median >= at_least}
    return row | ({"target": target} if target else {})


def time_work(work: Callable[[], dict[str, object]]) -> None:
    """Do the work of a contender and print what it took; the end of its process."""
    started, cpu = time.perf_counter(), time.process_time()
    found = work()
    taken = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": measure_peak_mb(),
    }
    print(json.dumps(taken | found))


def measure_peak_mb() -> float:
    """Return the peak memory of this process, imports and input included.

    Linux keeps ``ru_maxrss`` across exec, so that of a child is at least its parent's: the kernel's
    own record of this program is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def pick(runs: Sequence[dict[str, float]], name: str) -> list[float]:
    """Return one measure of several runs."""
    return [run[name] for run in runs]


def divide(
    slow: Sequence[dict[str, float]], fast: Sequence[dict[str, float]], name: str
) -> list[float]:
    """Return how many times more of a measure the runs of ``slow`` took, run by run."""
    return [a / b for a, b in zip(pick(slow, name), pick(fast, name), strict=True)]


def show(value: float) -> str:
    """Return a number with its thousands, or with four digits."""
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{value:.4g}"


def print_result(name: str, about: str, rows: Sequence[dict[str, object]]) -> None:
    """Print the result of a benchmark; the end of its script."""
    print(json.dumps({"bench": name, "about": about, "rows": [*rows]}))


def run_contender(script: Path, *arguments: str) -> dict[str, float]:
    """Run a script of this folder to its end and return the JSON it prints last."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return found
