"""What benchmarks share: contenders in processes of their own, and the rows of a result.

A benchmark is a script ``bench_NAME.py`` beside this module.  Called without arguments it prints
one JSON object on standard output, ``{"bench": NAME, "about": TEXT, "rows": [ROW, ...]}`` with rows
made by :func:`make_row`; ``--short`` asks for a smaller input and fewer repeats.  Anything else it
has to say goes to standard error.  ``run.py`` runs all of them.
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


def make_row(
    measure: str,
    values: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> dict[str, object]:
    """Return a row of a result: the median of ``values``, and whether it keeps its limit."""
    median = statistics.median(values)
    row: dict[str, object] = {"measure": measure, "median": median, "unit": unit}
    row |= {"runs": len(values), "lowest": min(values), "highest": max(values)}
    if at_most is not None:
        row |= {"limit": f"<= {at_most:g}", "holds": median <= at_most}
    if at_least is not None:
        row |= {"limit": f">= {at_least:g}", "holds": median >= at_least}
    return row


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
