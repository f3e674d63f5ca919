"""The published plan as Dagster's dynamic partition set, and the check that both are equal."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

import dagster as dg
import polars as pl

from smallcaps_assets.core.keys import hash_keys, key_expression
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.core.states import NOT_YET_AVAILABLE
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.defs.instance.internals import find_open_backfill
from smallcaps_assets.defs.instance.runs import ALIVE
from smallcaps_assets.defs.instance.states import TRADES_KEY, align_states
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.errors import ConfigError, LedgerMismatchError, PartitionConflictError
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.upkeep.indexing import record_plan
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)

SHOWN_KEYS: Final = 5
"""Keys that a message names."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What registering a plan did.

    Attributes:
        keys: Planned keys, now the partition set.
        added: New ones.
        removed: No longer planned; their data stay in the lake.
        not_yet_available: Wanted, and registered by a later plan once they are published.
        marked_green: In the lake, but Dagster did not know it.
        marked_missing: Green in Dagster, but not in the lake.
        plan_hash: Hash of the keys.
    """

    keys: int
    added: int
    removed: int
    not_yet_available: int
    marked_green: int
    marked_missing: int
    plan_hash: str

    def numbers(self) -> dict[str, Number]:
        """List the facts by name."""
        return asdict(self)


def register_plan(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> QueueFacts:
    """Make the partition set and the ledger equal to the published plan.

    New keys are added in order of ticker and session.  A key that returns keeps its history in
    Dagster, so its state is made equal to the lake's.

    Nobody publishes another plan meanwhile.

    Raises:
        ConfigError: The plan has more keys than Dagster bears; nothing was changed.
        MissingPartitionError: No plan is published.
        PartitionConflictError: Another process publishes or registers a plan for too long.
    """
    _ = lakehouse.tables.read_plan()
    with lakehouse.planning("registering the plan"):
        return _register(instance, lakehouse)


def _register(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> QueueFacts:
    record, plan = lakehouse.tables.read_plan()
    keys = _list_keys(plan)
    if len(keys) > MAX_KEYS:
        raise ConfigError(
            f"the published plan has {len(keys):,} ticker-sessions and one partition set holds at "
            f"most {MAX_KEYS:,}: the keys were left as they are; it was published by an older "
            "version, so plan again: `smallcaps plan` publishes no plan of this size, and "
            "`smallcaps plan --universe` makes one of whole months, which has no such limit"
        )
    existing = instance.get_dynamic_partitions(PLANNED_SET)
    gone, new = set(existing) - set(keys), _without(keys, existing)
    for key in sorted(gone):
        instance.delete_dynamic_partition(PLANNED_SET, key)
    if new:
        instance.add_dynamic_partitions(PLANNED_SET, new)
    waiting = lakehouse.tables.read_not_yet_available()
    record_plan(lakehouse.ledger, lambda: lakehouse.sessions.lake, plan, waiting)
    aligned = align_states(instance, lakehouse, new)
    return QueueFacts(
        keys=len(keys),
        added=len(new),
        removed=len(gone),
        not_yet_available=waiting.height,
        marked_green=len(aligned.marked_green),
        marked_missing=len(aligned.marked_missing),
        plan_hash=record.plan_hash,
    )


def require_registered_plan(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> str:
    """Compare the published plan with the registered keys, and pass on its hash.

    The plan is the truth: keys that were added to the set by hand are told and left out.  What
    does not agree is looked at again when nobody publishes or registers a plan any more.

    Raises:
        LedgerMismatchError: Another plan is the registered one.
        MissingPartitionError: No plan is published.
        PartitionConflictError: Another process registers one for too long.
    """
    try:
        return _compare(instance, lakehouse)
    except LedgerMismatchError:
        with lakehouse.planning("comparing the plan"):
            return _compare(instance, lakehouse)


def _compare(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> str:
    record, plan = lakehouse.tables.read_plan()
    registered = instance.get_dynamic_partitions(PLANNED_SET)
    if hash_keys(registered) == record.plan_hash:
        return record.plan_hash
    if not _is_registered(lakehouse, record, plan, registered):
        raise LedgerMismatchError(
            f"the published plan ({record.sessions} sessions, hash {record.plan_hash[:12]}) is "
            f"not the registered one ({len(registered)} keys): materialize download_queue, or "
            "run `smallcaps plan`, then start the backfill again"
        )
    logger.warning(describe_foreign(_without(registered, _list_keys(plan))))
    return record.plan_hash


def split_keys(lakehouse: Lakehouse, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split ``keys`` into those that the published plan holds and the others, in their order.

    Raises:
        MissingPartitionError: No plan is published.
    """
    planned = set(_list_keys(lakehouse.tables.read_plan()[1]))
    return [key for key in keys if key in planned], [key for key in keys if key not in planned]


def drop_foreign_keys(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, run_id: str = ""
) -> list[str]:
    """Remove keys from the partition set that the plan does not hold; return them.

    Nothing is removed while a backfill or another run is under way: Dagster ends a backfill as
    failed when a key that it was to fetch is gone, and a range without its ends is not one.  While
    another process publishes or registers a plan nothing is removed either: a later call does it.

    Args:
        instance: Where the set is.
        lakehouse: Where the plan is.
        run_id: The run that asks, which is under way itself.

    Raises:
        MissingPartitionError: No plan is published.
    """
    record, _ = lakehouse.tables.read_plan()
    count = len(instance.get_dynamic_partitions(PLANNED_SET))
    if count <= record.sessions or _is_at_work(instance, run_id):
        return []
    with suppress(PartitionConflictError), lakehouse.planning("removing unplanned keys", 0.0):
        return _drop_foreign(instance, lakehouse)
    return []


def _drop_foreign(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> list[str]:
    record, plan = lakehouse.tables.read_plan()
    registered = instance.get_dynamic_partitions(PLANNED_SET)
    if not _is_registered(lakehouse, record, plan, registered):
        return []  # its registration is to come
    _register(instance, lakehouse)
    return _without(registered, _list_keys(plan))


def describe_foreign(keys: Sequence[str]) -> str:
    """Describe the keys that were added to the set and are not planned."""
    shown = ", ".join(map(repr, keys[:SHOWN_KEYS])) + (", ..." if len(keys) > SHOWN_KEYS else "")
    return (
        f"not in the published plan, and left out: {len(keys):,} partition keys, {shown}. What is "
        "added in the UI is not planned by it: `smallcaps plan` plans sessions"
    )


def _is_registered(
    lakehouse: Lakehouse, record: PlanRecord, plan: pl.DataFrame, registered: Sequence[str]
) -> bool:
    """Tell whether a set differs from the plan by nothing but keys added by hand.

    The ledger is told of a plan when it is registered, and never of a key added by hand: while it
    knows more planned sessions than the plan has, an earlier, larger plan is the registered one.
    """
    counts = lakehouse.ledger.counts()
    known = sum(count for state, count in counts.items() if state != NOT_YET_AVAILABLE)
    return known <= record.sessions and not _without(_list_keys(plan), registered)


def _is_at_work(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Tell whether a backfill of `trades`, or a run other than ``run_id``, is under way."""
    if find_open_backfill(instance, TRADES_KEY):
        return True
    alive = instance.get_runs(filters=dg.RunsFilter(statuses=ALIVE))
    return any(run.run_id != run_id for run in alive)


def _list_keys(plan: pl.DataFrame) -> list[str]:
    keys: list[str] = plan.select(key_expression()).to_series().to_list()
    return keys


def _without(keys: Sequence[str], existing: Sequence[str]) -> list[str]:
    known = set(existing)
    return [key for key in keys if key not in known]
