"""Who executes a run, and the end of runs whose process died.

After SIGKILL a run stays STARTED forever: its partitions read "materializing", and runs that
wait for the same pool wait forever.  Such a run is reported as canceled, never as failed: a
failure would turn its finished partitions red.
"""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

import dagster as dg

from smallcaps_assets.defs.instance.internals import RUN_FAILURE_REASON_TAG, RunFailureReason
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.storage.processes import (
    Liveness,
    ProcessIdentity,
    identify_process,
    judge_process,
    parse_identity,
)

logger = logging.getLogger(__name__)

OWNER_TAG = "smallcaps/owner"
"""Tag of a run: the process that executes it."""

LOOKED_AT = 20
"""Runs among which the newest broken ones are looked for."""

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.STARTING,
]

ALIVE = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
"""States of runs that will still do something."""


def claim_tags() -> dict[str, str]:
    """Make the tags of a run that this process executes."""
    return {OWNER_TAG: str(identify_process())}


def claim_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write into the run's tags that this process executes it."""
    instance.add_run_tags(run_id, claim_tags())


@contextmanager
def canceling(
    instance: dg.DagsterInstance,
    run_id: str,
    interrupts: tuple[type[BaseException], ...],
    settle: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """End the run as canceled if it is interrupted in the block, or while Dagster holds the step.

    The latter ends the generator of the step late: wherever its last reference goes, which may be
    inside a transaction of Dagster's.  In this thread another one would wait for that forever.

    Args:
        instance: Where the run is kept.
        run_id: The run.
        interrupts: What ends a step early.
        settle: What else to tell Dagster, before.
    """

    def cancel() -> None:
        settle()
        _cancel_run(instance, run_id)

    try:
        yield
    except interrupts:
        cancel()
        raise
    except GeneratorExit:
        threading.Thread(target=cancel, name=_name_canceler(run_id)).start()
        raise


def settle_run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    """Settle a run that this process has executed to its end; one interrupted is canceled."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_success:
        return run
    # What Dagster still holds of the step stores its work before anybody looks at that.
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == _name_canceler(run_id):
            thread.join()
    run = instance.get_run_by_id(run_id)
    if run is None or not _was_interrupted(run):
        return run
    instance.report_run_canceled(run, message="it was interrupted")
    return instance.get_run_by_id(run_id)


def _name_canceler(run_id: str) -> str:
    return f"cancel-{run_id}"


def _cancel_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """End an interrupted run as canceled, at whatever point Dagster is with it.

    Where nobody asked Dagster to terminate, it ends an interrupted run as failed, and it may
    have done so before this is called.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is dg.DagsterRunStatus.CANCELED:
        return
    if run.is_finished:
        instance.report_run_canceled(run, message="it was interrupted")
    else:
        instance.report_run_canceling(run, message="it was interrupted")


def end_dead_runs(instance: dg.DagsterInstance, lock: LakeLock) -> list[str]:
    """Cancel the runs whose process is dead, and free their pools.

    A run that no process has claimed yet is left alone.  One that was claimed before a reboot,
    in another container or on another machine cannot be judged by its process: it is dead if the
    lock of the lake can be had exclusively, because what writes holds it, alone or shared.

    Returns:
        Ids of the runs that were ended.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        owner = parse_identity(run.tags.get(OWNER_TAG, ""))
        if owner is None or not _is_dead(owner, lock):
            continue
        instance.report_run_canceled(run, message=f"its process {owner.pid} is dead")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        logger.warning("ended dead run run=%s pid=%d", run.run_id, owner.pid)
        ended.append(run.run_id)
    return ended


def limit_pool(instance: dg.DagsterInstance, pool: str, runs: int) -> None:
    """Let so many runs of a pool be at work at once; ``dagster.yaml`` knows one limit for all."""
    storage = instance.event_log_storage
    if {one.name: one.limit for one in storage.get_pool_limits()}.get(pool) != runs:
        storage.set_concurrency_slots(pool, runs)


def find_broken_runs(instance: dg.DagsterInstance, until: str | None = None) -> list[str]:
    """Find the claimed runs that failed or were canceled, of the newest few runs, newest first.

    Args:
        instance: Where runs are kept.
        until: Only those that broke after this one.
    """
    broken = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    records = instance.get_run_records(broken, limit=LOOKED_AT, order_by="update_timestamp")
    claimed = [r.dagster_run.run_id for r in records if OWNER_TAG in r.dagster_run.tags]
    return list(takewhile(lambda run_id: run_id != until, claimed))


def _is_dead(owner: ProcessIdentity, lock: LakeLock) -> bool:
    liveness = judge_process(owner)
    if liveness is Liveness.UNKNOWN:
        return lock.can_be_exclusive()
    return liveness is Liveness.DEAD


def _was_interrupted(run: dg.DagsterRun) -> bool:
    why = run.tags.get(RUN_FAILURE_REASON_TAG)
    is_failed = run.status is dg.DagsterRunStatus.FAILURE
    is_broken_off = is_failed and why == RunFailureReason.UNEXPECTED_TERMINATION.value
    return is_broken_off or run.status is dg.DagsterRunStatus.CANCELING
