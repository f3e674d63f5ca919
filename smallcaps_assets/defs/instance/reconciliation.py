"""Dagster's whole view of a lake, made equal to it: the plan registered, every key aligned.

What does not belong here: the states of some keys (``states``), and a database of Dagster that is
damaged: no run could set aside the one it is kept in (``cli``).
"""

from dataclasses import dataclass

import dagster as dg

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.instance.runs import end_dead_runs
from smallcaps_assets.defs.instance.states import align_changed, align_states
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.sessions import RepairFacts


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was changed in Dagster, or would be.

    Attributes:
        keys: Planned keys.
        registered: New ones.
        removed: No longer planned.
        shown: In the lake, but Dagster did not know it.
        missing: Green in Dagster, but not in the lake.
        ended: Runs whose process was dead; ``None``: it was a dry run, which does not look.
    """

    keys: int
    registered: int
    removed: int
    shown: int
    missing: int
    ended: int | None = None

    def describe(self) -> str:
        """Say it in one line."""
        registered = "would be registered" if self.ended is None else "registered"
        ended = "" if self.ended is None else f", {self.ended:,} dead runs ended"
        return (
            f"{self.keys:,} keys: {self.registered:,} {registered}, {self.removed:,} removed, "
            f"{self.shown:,} shown as stored, {self.missing:,} marked missing{ended}"
        )


def reconcile_partitions(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> Reconciliation:
    """End dead runs, register the published plan and align every key; hold the lock of the lake.

    Raises:
        MissingPartitionError: No plan is published.
    """
    ended = end_dead_runs(instance, lakehouse.lock)
    queue = register_plan(instance, lakehouse)
    aligned = align_states(instance, lakehouse, instance.get_dynamic_partitions(PLANNED_SET))
    return Reconciliation(
        keys=queue.keys,
        registered=queue.added,
        removed=queue.removed,
        shown=queue.marked_green + len(aligned.marked_green),
        missing=queue.marked_missing + len(aligned.marked_missing),
        ended=len(ended),
    )


def preview_reconciliation(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> Reconciliation:
    """Say what :func:`reconcile_partitions` would change, and change nothing.

    Raises:
        MissingPartitionError: No plan is published.
    """
    _, plan = lakehouse.tables.read_plan()
    planned = plan.select(key_expression()).to_series().to_list()
    registered = set(instance.get_dynamic_partitions(PLANNED_SET))
    aligned = align_states(instance, lakehouse, planned, is_dry_run=True)
    return Reconciliation(
        keys=len(planned),
        registered=len(set(planned) - registered),
        removed=len(registered - set(planned)),
        shown=len(aligned.marked_green),
        missing=len(aligned.marked_missing),
    )


def show_repair(instance: dg.DagsterInstance, lakehouse: Lakehouse, facts: RepairFacts) -> None:
    """Turn the partitions of damaged sessions red, so that a backfill holds them."""
    # Else a run that was killed would still show its partitions as under way.
    end_dead_runs(instance, lakehouse.lock)
    align_changed(instance, lakehouse, facts.keys)
