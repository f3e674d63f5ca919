"""The shared request rate: three processes, each with four threads that always want another turn.

Real clocks, the limiter alone: no server answers, so that nothing but the rate is measured.
``--minutes 5`` asks for the five minutes of the target; otherwise the slow rate is watched for
75 s, in which every sliding minute is looked at as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path

from measuring import make_row

from smallcaps_assets.polygon.http.limiter import RequestLimiter

PROCESSES, THREADS = 3, 4
MINUTE_S = 60.0
SLOW, FAST = 100, (6_000, 30_000)
"""Requests a minute: the default of the settings, then 100 and 500 a second."""

SLOW_S, FAST_S, SHORT_S = 75.0, 10.0, 2.0
WARM_UP_S = 1.0
"""Time in which the processes start; what they do in it is not looked at."""


def ask(rate: float, folder: Path, until: float) -> list[float]:
    """Return the moments at which the threads of this process were let go."""
    limiter, moments = RequestLimiter(rate, folder, "vendor"), list[float]()

    def work() -> None:
        while time.monotonic() < until:
            limiter.acquire()
            moments.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return moments


def measure(rate: float, seconds: float) -> list[float]:
    """Return the moments of all processes within so many seconds, sorted."""
    with tempfile.TemporaryDirectory() as folder:
        until = time.monotonic() + WARM_UP_S + seconds
        command = [sys.executable, __file__, "--ask", str(rate), folder, str(until)]
        workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
        ]
        answers = [json.loads(worker.communicate()[0]) for worker in workers]
    start = until - seconds
    return sorted(moment for moments in answers for moment in moments if start <= moment < until)


def count_most(moments: list[float], window_s: float) -> int:
    """Return the most moments in any window of that length, half-open."""
    return max(
        bisect_left(moments, moment + window_s) - place for place, moment in enumerate(moments)
    )


def describe(rate: float, moments: list[float], *, least: float) -> list[dict[str, object]]:
    """Return the rows of one rate."""
    name = f"{rate:,}/min" if rate <= SLOW else f"{rate / MINUTE_S:,.0f}/s"
    span_s = moments[-1] - moments[0]
    reached = (len(moments) - 1) / span_s * MINUTE_S / rate
    window_s = min(MINUTE_S, span_s)
    most = count_most(moments, window_s) / (rate * window_s / MINUTE_S)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    shortest = min(gaps) * rate / MINUTE_S
    rows = [
        make_row(
            f"{name}, reached over {span_s:.0f} s",
            [reached],
            "of the rate",
            at_least=least,
            target=f"rate reached of {name}, 3 processes",
        ),
        make_row(
            f"{name}, most in any {window_s:.0f} s",
            [most],
            "of the rate",
            at_most=allowed(window_s, rate),
        ),
        make_row(f"{name}, most in any second", [count_most(moments, 1.0)], "requests"),
    ]
    return [*rows, make_row(f"{name}, shortest pause", [shortest], "of the mean pause")]


def allowed(window_s: float, rate: float) -> float:
    """Return the share of a window's rate that may leave in it: all of it in a minute.

    In a shorter one those may leave besides that were late by a quarter of a second.
    """
    if window_s >= MINUTE_S:
        return 1.0
    return 1.0 + (0.25 / window_s) + MINUTE_S / (rate * window_s)


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--minutes", type=float, default=SLOW_S / MINUTE_S)
    parser.add_argument("--ask", nargs=3, metavar=("RATE", "FOLDER", "UNTIL"))
    options = parser.parse_args()
    if options.ask:
        rate, folder, until = options.ask
        print(json.dumps(ask(float(rate), Path(folder), float(until))))
        return
    rows: list[dict[str, object]] = []
    if not options.short:
        rows += describe(SLOW, measure(SLOW, options.minutes * MINUTE_S), least=0.97)
    for rate in FAST:
        rows += describe(rate, measure(rate, SHORT_S if options.short else FAST_S), least=0.9)
    about = f"one rate for {PROCESSES} processes with {THREADS} threads each"
    json.dump({"bench": "limiter", "about": about, "rows": rows}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
