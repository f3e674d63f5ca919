"""What is used of Dagster and is not part of its public interface, in one place.

What belongs here: imports from `dagster._core`, each with the reason, and the few calls that need
them.  What does not: any rule of ours, and the web server of `smallcaps ui`, whose are listed in
`cli/runs/ui_server.py`.  Dagster is pinned to one version (`constraints.txt`); to
change it, look at this module first.

- `AssetCheckEvaluationTargetMaterializationData`: a verdict reported outside a step has to name
  the materialization it is about, else the UI calls it "not evaluated".
- `AssetMaterializationPlannedData`: on SQLite Dagster cannot forget a single partition
  (`wipe_asset_partitions` is not implemented there); a run that planned it and failed says it.
- `RunFailureReason`, `RUN_FAILURE_REASON_TAG`: they tell a run that broke off from one that failed.
- `AssetGraphSubset`: the only way for a sensor to request a backfill; its constructor is private
  "until a public one exists", and the request itself is handled by the daemon as the UI's is.  A
  job requests one by `PartitionBackfill`, with an id and a time of Dagster's own.
- `BulkActionStatus`: states of a backfill; the instance returns them and does not export them.
- `DagsterAssetCheckFailedError`: a step that only a blocking check ended has nothing to say itself.
- `CheckError`, `PostProcessingError`: what an instance raises on a wrong `dagster.yaml`, besides
  public errors; the user is told which entry is wrong, without them.
- `StepFailureData`: what a failed step said, to print it in our own words.
"""

from collections.abc import Iterable, Mapping

import dagster as dg
from dagster._config.errors import PostProcessingError
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.events import AssetMaterializationPlannedData, RunFailureReason
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    RUN_FAILURE_REASON_TAG,
)
from dagster._core.utils import make_new_backfill_id
from dagster._time import get_current_timestamp
from dagster_shared.check import CheckError

__all__ = [
    "PARTITION",
    "RANGE_END",
    "RANGE_START",
    "RUN_FAILURE_REASON_TAG",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetMaterializationPlannedData",
    "BulkActionStatus",
    "CheckError",
    "DagsterAssetCheckFailedError",
    "PartitionBackfill",
    "PostProcessingError",
    "RunFailureReason",
    "StepFailureData",
    "find_open_backfill",
    "find_target",
    "newest_backfill",
    "request_backfill",
    "start_backfill",
]

RANGE_START = ASSET_PARTITION_RANGE_START_TAG
RANGE_END = ASSET_PARTITION_RANGE_END_TAG
"""Tags of a run: the first and the last partition of its range."""
PARTITION = PARTITION_NAME_TAG
"""Tag of a run of one partition."""

OPEN_BACKFILLS = (
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
)


def request_backfill(
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition,
    keys: Iterable[str],
    tags: Mapping[str, str],
) -> dg.RunRequest:
    """Make what a sensor has to yield for Dagster's daemon to launch a backfill of ``keys``."""
    subset = partitions.subset_with_partition_keys(list(keys))
    nothing = AssetGraphSubset.create_empty_subset()
    targets = nothing._replace(partitions_subsets_by_asset_key={asset: subset})
    return dg.RunRequest.for_asset_graph_subset(targets, tags)


def start_backfill(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition,
    keys: Iterable[str],
    tags: Mapping[str, str],
) -> str:
    """Ask Dagster's daemon for a backfill of ``keys``, as the UI does; return its id."""
    subset = partitions.subset_with_partition_keys(list(keys))
    nothing = AssetGraphSubset.create_empty_subset()
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=get_current_timestamp(),
        tags=tags,
        dynamic_partitions_store=instance,
        asset_graph_subset=nothing._replace(partitions_subsets_by_asset_key={asset: subset}),
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return str(backfill.backfill_id)


def find_open_backfill(instance: dg.DagsterInstance, asset: dg.AssetKey) -> str | None:
    """Find the id of a backfill of an asset that is not over; ``None``: there is none."""
    for status in OPEN_BACKFILLS:
        for backfill in instance.get_backfills(status=status):
            if asset in (backfill.asset_selection or ()):
                return str(backfill.backfill_id)
    return None


def newest_backfill(instance: dg.DagsterInstance, asset: dg.AssetKey) -> PartitionBackfill | None:
    """Find the backfill of an asset that was requested last, of the newest few of all assets."""
    found = instance.get_backfills(limit=20)
    return next((b for b in found if asset in (b.asset_selection or ())), None)


def find_target(
    instance: dg.DagsterInstance, asset: dg.AssetKey
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """Find the newest materialization of an asset, ``None`` before the first."""
    found = instance.fetch_materializations(asset, limit=1).records
    if not found:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=found[0].storage_id, run_id=found[0].run_id, timestamp=found[0].timestamp
    )
