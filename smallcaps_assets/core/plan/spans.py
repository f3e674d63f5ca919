"""Spans of partition keys: the runs that fetch what is missing.

What belongs here: which keys one run covers.  What does not: ranges of requests within a run
(``ranges``), and who starts runs (``cli.runs``).
"""

from collections.abc import Collection, Sequence
from typing import Final

import polars as pl

BRIDGED_KEYS: Final = 100
"""Finished keys between two missing ones that one run passes over: cheaper than a second run."""


def find_spans(
    ordered: Sequence[str],
    wanted: Collection[str],
    missing: Collection[str],
    *,
    bridged: int = BRIDGED_KEYS,
    most: int | None = None,
) -> list[tuple[str, str]]:
    """Find first and last key of the runs that fetch what is wanted, and nothing else.

    Args:
        ordered: Registered keys in partition order.
        wanted: Keys to fetch.
        missing: Every key that is not finished: a span holds none of them that is not wanted,
            while finished keys between two wanted ones are passed over.
        bridged: Finished keys between two wanted ones that a span passes over, less one, at most.
        most: Wanted keys of a span, at most; ``None``: as many as there are.
    """
    chosen, unfinished = set(wanted), set(missing)
    spans: list[list[int]] = []
    is_open = False
    for place, key in enumerate(ordered):
        if key in chosen:
            if is_open and place - spans[-1][-1] <= bridged and len(spans[-1]) != most:
                spans[-1].append(place)
            else:
                spans.append([place])
            is_open = True
        elif key in unfinished:
            is_open = False
    return [(ordered[span[0]], ordered[span[-1]]) for span in spans]


def count_spans(is_missing: pl.Series) -> int:
    """Count the runs that fetch all that is missing, as :func:`find_spans` would cut them.

    Args:
        is_missing: One value for each registered key, in partition order.
    """
    places = is_missing.arg_true().cast(pl.Int64)
    return int((places.diff() > BRIDGED_KEYS).sum()) + bool(places.len())
