"""The published plan as Dagster's dynamic partition set, and the check that both are equal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import dagster as dg

from smallcaps_assets.core.keys import hash_keys, key_expression
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.defs.partitions import MAX_KEYS, PLANNED_SET
from smallcaps_assets.defs.states import align_states
from smallcaps_assets.errors import ConfigError, LedgerMismatchError
from smallcaps_assets.ingest.lakehouse import Lakehouse


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
        """Return the facts by name."""
        return asdict(self)


def register_plan(instance: dg.DagsterInstance, lakehouse: Lakehouse) -> QueueFacts:
    """Make the partition set and the ledger equal to the published plan.

    New keys are added in order of ticker and session.  A key that returns keeps its history in
    Dagster, so its state is made equal to the lake's.

    Raises:
        ConfigError: The plan has more keys than Dagster bears; nothing was changed.
        MissingPartitionError: No plan is published.
    """
    record, plan = lakehouse.tables.read_plan()
    keys = plan.select(key_expression()).to_series().to_list()
    if len(keys) > MAX_KEYS:
        raise ConfigError(
            f"the plan has {len(keys):,} ticker-sessions and one partition set holds at most "
            f"{MAX_KEYS:,}: the keys were left as they are.  Choose a smaller pilot "
            "(SMALLCAPS_PILOT_TICKERS, SMALLCAPS_PILOT_MIN_EVENTS) or a shorter range "
            "(SMALLCAPS_FIRST_SESSION, SMALLCAPS_LAST_SESSION); whole markets belong to the "
            "whole-universe assets (month x batch partitions), which this version does not have"
        )
    existing = instance.get_dynamic_partitions(PLANNED_SET)
    gone, new = set(existing) - set(keys), _without(keys, existing)
    for key in sorted(gone):
        instance.delete_dynamic_partition(PLANNED_SET, key)
    if new:
        instance.add_dynamic_partitions(PLANNED_SET, new)
    waiting = lakehouse.tables.read_not_yet_available()
    lakehouse.ledger.record_plan(plan, waiting)
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
    """Return the hash of the published plan after comparing it with the registered keys.

    Raises:
        LedgerMismatchError: Plan and partition set differ.
        MissingPartitionError: No plan is published.
    """
    record, _ = lakehouse.tables.read_plan()
    registered = instance.get_dynamic_partitions(PLANNED_SET)
    if hash_keys(registered) != record.plan_hash:
        raise LedgerMismatchError(
            f"the published plan ({record.sessions} sessions, hash {record.plan_hash[:12]}) is "
            f"not the registered one ({len(registered)} keys): materialize download_queue, or "
            "run `smallcaps plan`, then start the backfill again"
        )
    return record.plan_hash


def _without(keys: Sequence[str], existing: Sequence[str]) -> list[str]:
    known = set(existing)
    return [key for key in keys if key not in known]
