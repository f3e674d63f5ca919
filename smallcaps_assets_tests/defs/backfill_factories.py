"""Backfills as Dagster's daemon keeps them, and what a sensor asks it for."""

from collections.abc import Sequence

import dagster as dg
from dagster._time import get_current_timestamp

from smallcaps_assets.defs.instance.internals import (
    BulkActionStatus,
    PartitionBackfill,
    request_backfill,
)
from smallcaps_assets.defs.instance.states import TRADES_KEY
from smallcaps_assets.defs.partitions import planned_ticker_sessions


def add_backfill(
    instance: dg.DagsterInstance,
    keys: Sequence[str],
    status: BulkActionStatus = BulkActionStatus.REQUESTED,
) -> None:
    """Store a backfill of `trades` in a state, as the daemon does."""
    request = request_backfill(TRADES_KEY, planned_ticker_sessions, keys, {})
    assert request.asset_graph_subset is not None
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id="backfill",
        backfill_timestamp=get_current_timestamp(),
        tags={},
        dynamic_partitions_store=instance,
        asset_graph_subset=request.asset_graph_subset,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    instance.update_backfill(backfill.with_status(status))


def requested_keys(result: dg.SensorResult) -> set[str]:
    """Return the partitions of the one backfill that a sensor asks for; empty: it asks for none."""
    (request,) = result.run_requests or ()
    assert request.requires_backfill_daemon()
    assert request.asset_graph_subset is not None
    subset = request.asset_graph_subset.get_partitions_subset(TRADES_KEY)
    return set(subset.get_partition_keys())
