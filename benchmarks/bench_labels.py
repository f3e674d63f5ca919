"""Labels and their weights: walks over prints, uniqueness, draws one by one; in memory.

Prints are a random walk of 2,500 a session, and a barrier that is seldom reached, so that most
walks go over all of them.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from measuring import make_row, print_result

from smallcaps_assets.core.research.events.labels import Decision, Hours, Tape, label_horizon
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.research.events.weights import (
    average_over,
    count_concurrency,
    draw_sequentially,
    invert_concurrency,
)

SESSIONS, SHORT_SESSIONS = 2_000, 300
PRINTS = 2_500
LABELS, MINUTES = 200_000, 2_000_000
DRAWN, SHORT_DRAWN = 5_000, 500
REPEATS = 5
DAY_NS, SECOND_NS = 86_400 * 10**9, 10**9


def time_cpu(work: Callable[[], object]) -> list[float]:
    """Return the CPU seconds of work, each time it is done."""
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return taken


def make_market(sessions: int) -> tuple[Tape, Hours, list[Decision]]:
    """Return prints of some sessions and a decision before each but the last ones."""
    rng = np.random.default_rng(1)
    opens = np.arange(sessions) * DAY_NS + 34_200 * SECOND_NS
    closes = opens + 23_400 * SECOND_NS
    drawn = rng.integers(0, 23_400 * SECOND_NS, (sessions, PRINTS))
    times = np.sort((opens[:, None] + drawn).ravel())
    prices = 5 * np.exp(np.cumsum(rng.normal(0, 2e-4, times.size)))
    factors = dict.fromkeys(range(sessions), (1.0, 0))
    halts = np.empty((0, 2), dtype=np.int64)
    tape = Tape(times, prices, halts, frozenset(range(sessions)), factors)
    decisions = [
        Decision(day, day + 1, int(opens[day + 1] + SECOND_NS), 0.05, 0.001, is_intraday=False)
        for day in range(sessions - 2)
    ]
    return tape, Hours(opens, closes), decisions


def measure(*, is_short: bool) -> list[dict[str, object]]:
    """Return the rows about labels and weights."""
    tape, hours, decisions = make_market(SHORT_SESSIONS if is_short else SESSIONS)
    rules = LabelRules()
    walks = time_cpu(lambda: [label_horizon(d, 1, tape, hours, rules) for d in decisions])
    rng = np.random.default_rng(2)
    first = np.sort(rng.integers(0, MINUTES - 200, LABELS))
    last = first + rng.integers(1, 120, LABELS)

    def weigh() -> object:
        concurrency = count_concurrency(first, last, MINUTES)
        return average_over(invert_concurrency(concurrency), first, last)

    count = SHORT_DRAWN if is_short else DRAWN
    some = np.sort(rng.integers(0, 2 * count, count))
    ends, chances = some + 20, rng.random(count)
    draws = time_cpu(lambda: draw_sequentially(some, ends, 2 * count + 20, chances))
    return [
        make_row(
            "labels of both sides on prints",
            [2 * len(decisions) / seconds for seconds in walks],
            "labels/CPU s",
            at_least=None if is_short else 100_000,
            target="" if is_short else "labels on prints, a CPU second",
        ),
        make_row(
            f"uniqueness of {LABELS:,} labels over {MINUTES:,} minutes",
            time_cpu(weigh),
            "CPU s",
            at_most=0.1,
            target="uniqueness of 200,000 labels, CPU",
        ),
        make_row(
            f"sequential bootstrap, {count:,} of as many",
            draws,
            "CPU s",
            at_most=None if is_short else 0.5,
            target="" if is_short else "sequential bootstrap of 5,000 labels, CPU",
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    print_result("labels", "labels of research", measure(is_short=options.short))


if __name__ == "__main__":
    main()
