"""The runs behind `smallcaps download`: spans of missing keys, one run after another."""

from collections.abc import Sequence

import dagster as dg
from rich.console import Console

from smallcaps_assets.cli.progress import watch_progress
from smallcaps_assets.cli.workplace import Workplace
from smallcaps_assets.defs.failures import describe_failure
from smallcaps_assets.defs.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.jobs import DOWNLOAD_JOB
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.defs.queue import require_registered_plan
from smallcaps_assets.defs.runs import end_dead_runs
from smallcaps_assets.defs.states import align_states
from smallcaps_assets.defs.tick_assets import ABORTED_TAG, ACCEPT_EMPTY_TAG, NO_WAIT_TAG
from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.ingest.backfill import ensure_indexed
from smallcaps_assets.ingest.selection import select_missing
from smallcaps_assets.lake.export import EVERYTHING, Selection

BRIDGED_KEYS = 100
"""Finished keys between two missing ones that one run passes over: cheaper than a second run."""


def run_download(
    work: Workplace, selection: Selection, console: Console, *, accept_empty: bool = False
) -> bool:
    """Download what is missing; return whether all of it is complete now.

    Raises:
        ConfigError: The vendor's key is not set, or a root of the settings is not there.
        PartitionConflictError: Another download holds the lake, or it belongs to another source.
        LedgerMismatchError: The published plan is not the registered one.
    """
    refuse_if_held(work)
    end_dead_runs(work.instance, work.lakehouse.lock)
    require_registered_plan(work.instance, work.lakehouse)
    ensure_indexed(work.lakehouse)
    ordered = work.instance.get_dynamic_partitions(PLANNED_SET)
    # A run that was killed between a receipt and its event left keys that no span may hold.
    align_states(work.instance, work.lakehouse, ordered)
    missing = select_missing(work.lakehouse, selection)
    if not missing:
        console.print("nothing is missing: every planned session in question is complete")
        return True
    work.settings.require_key()
    with work.lakehouse.writing("smallcaps download", 0.0):
        pass  # a root of the settings that is not there is told before a run begins
    tags = {NO_WAIT_TAG: "true"} | ({ACCEPT_EMPTY_TAG: "true"} if accept_empty else {})
    spans = find_spans(ordered, missing, select_missing(work.lakehouse, EVERYTHING))
    console.print(f"{len(missing):,} sessions are missing; runs: {len(spans)}")
    with watch_progress(work.lakehouse, missing, console):
        for first, last in spans:
            run = work.run_job(DOWNLOAD_JOB, {RANGE_START: first, RANGE_END: last, **tags})
            if run.is_success:
                continue
            if run.status is dg.DagsterRunStatus.CANCELED:
                align_states(work.instance, work.lakehouse, ordered)
                console.print("stopped; what is finished stays: run the same command to go on")
                break
            for line in describe_failure(work.instance, run):
                console.print(line, style="red", highlight=False)
            if ABORTED_TAG in run.tags:
                break
    return not select_missing(work.lakehouse, selection)


def find_spans(
    ordered: Sequence[str], wanted: Sequence[str], missing: Sequence[str]
) -> list[tuple[str, str]]:
    """Return first and last key of the runs that fetch what is wanted, and nothing else.

    Args:
        ordered: Registered keys in partition order.
        wanted: Keys to fetch.
        missing: Every key that is not finished: a span holds none of them that is not wanted,
            while finished keys between two wanted ones are passed over.
    """
    chosen, unfinished = set(wanted), set(missing)
    spans: list[tuple[int, int]] = []
    is_open = False
    for place, key in enumerate(ordered):
        if key in chosen:
            is_open = is_open and place - spans[-1][1] <= BRIDGED_KEYS
            spans.append((spans.pop()[0] if is_open else place, place))
            is_open = True
        elif key in unfinished:
            is_open = False
    return [(ordered[first], ordered[last]) for first, last in spans]


def refuse_if_held(work: Workplace) -> None:
    """Refuse a lake that another download works on.

    Raises:
        PartitionConflictError: It is held; the message names the holder.
    """
    holder = work.lakehouse.lock.holder()
    if holder is not None:
        raise PartitionConflictError(
            f"another download works on this lake: {holder}; wait for it, or stop it"
        )
