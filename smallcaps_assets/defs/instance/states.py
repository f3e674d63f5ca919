"""Dagster's partition states, made equal to the lake's.

The lake is the truth and Dagster its face: after a key returned to the plan, a disk was
restored or a file was moved to quarantine, what Dagster remembers may be wrong in both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import AssetPartitionStatus

from smallcaps_assets.core.states import GREEN
from smallcaps_assets.defs.instance.internals import AssetMaterializationPlannedData
from smallcaps_assets.defs.partitions import planned_ticker_sessions
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import TRADES

TRADES_KEY = dg.AssetKey(TRADES.name)
MARK_JOB = "mark_missing"
MARK_TAG = "smallcaps/marks"

GREEN_OR_SOON = {AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.IN_PROGRESS}


@dg.op
def note_missing() -> None:
    """Do nothing: the run around it only carries events."""


@dg.job(name=MARK_JOB)
def _mark_missing() -> None:
    note_missing()


@dataclass(frozen=True, slots=True)
class AlignedStates:
    """What was changed in Dagster.

    Attributes:
        marked_green: Keys that the lake has and Dagster did not show.
        marked_missing: Keys that Dagster showed as materialized and the lake does not have.
    """

    marked_green: tuple[str, ...]
    marked_missing: tuple[str, ...]


def align_states(
    instance: dg.DagsterInstance,
    lakehouse: Lakehouse,
    keys: Sequence[str],
    *,
    is_dry_run: bool = False,
) -> AlignedStates:
    """Make Dagster's states of ``keys`` equal to the ledger's.

    Keys of a living run are left alone: it shows what is stored by itself.

    Args:
        instance: A persistent instance.
        lakehouse: Its ledger is the index of the truth.
        keys: Registered partition keys.
        is_dry_run: Say what would be done, and do nothing.
    """
    if not keys:
        return AlignedStates((), ())
    shown = instance.get_status_by_partition(TRADES_KEY, list(keys), planned_ticker_sessions) or {}
    states = lakehouse.ledger.states(keys)
    is_stored = {key: states.get(key) in GREEN for key in keys}
    aligned = AlignedStates(
        tuple(key for key in keys if is_stored[key] and shown.get(key) not in GREEN_OR_SOON),
        tuple(
            key
            for key in keys
            if shown.get(key) is AssetPartitionStatus.MATERIALIZED and not is_stored[key]
        ),
    )
    if not is_dry_run:
        _mark_green(instance, aligned.marked_green, states)
        mark_missing(instance, aligned.marked_missing)
    return aligned


def align_anew(
    instance: dg.DagsterInstance, lakehouse: Lakehouse, keys: Sequence[str]
) -> AlignedStates:
    """Align as :func:`align_states` does, after runs were canceled or died."""
    forget_colours(instance, TRADES_KEY)
    return align_states(instance, lakehouse, keys)


def forget_colours(instance: dg.DagsterInstance, asset: dg.AssetKey) -> None:
    """Let Dagster compute anew how the partitions of an asset stand, after a run was canceled.

    What it keeps shows a partition that was red before such a run as red.  What it computes, as
    soon as a key is added or removed, shows the last materialization: green, whatever lacks.  Who
    aligns after this marks it red for good.
    """
    instance.wipe_asset_cached_status([asset])


def mark_missing(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Turn materialized partitions of `trades` red, so that "failed and missing" holds them."""
    mark_failed(instance, TRADES_KEY, keys, f"{len(keys)} sessions are not in the lake")


def mark_failed(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Sequence[str], message: str
) -> None:
    """Turn partitions of an asset red, by one run that says why.

    Dagster cannot forget single partitions on SQLite.  A run that planned them and failed says
    the same, and the next materialization turns them green again.
    """
    if not keys:
        return
    run = instance.create_run_for_job(_mark_missing, tags={MARK_TAG: "missing"})
    for key in keys:
        planned = AssetMaterializationPlannedData(asset, partition=key)
        instance.report_dagster_event(
            dg.DagsterEvent.build_asset_materialization_planned_event(
                MARK_JOB, asset.to_user_string(), planned
            ),
            run.run_id,
        )
    instance.report_run_failed(run, message=message)


def _mark_green(instance: dg.DagsterInstance, keys: Sequence[str], states: dict[str, str]) -> None:
    for key in keys:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                TRADES_KEY, partition=key, metadata={"state": states[key], "reconciled": True}
            )
        )
