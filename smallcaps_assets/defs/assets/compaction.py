"""Group `ticks`: the trades of closed months in a few files, for fast scans."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from smallcaps_assets.defs.assets.serve import report_catalog
from smallcaps_assets.defs.assets.ticks import GROUP, INTERRUPTS, POOL, lock_wait
from smallcaps_assets.defs.failures import dagster_failures, fail_months
from smallcaps_assets.defs.instance.runs import cancel_run, claim_run
from smallcaps_assets.defs.metadata import column_schema, show_check
from smallcaps_assets.defs.partitions import name_months
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import (
    MonthOutcome,
    judge_months,
    judge_staleness,
)
from smallcaps_assets.operations.compaction.run import Compaction
from smallcaps_assets.schemas import COMPACTED_TRADES, TRADES

Event = dg.AssetMaterialization | dg.AssetObservation


def build_compacted_trades(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """Build the asset ``compacted_trades`` over ``months``."""

    @dg.asset(
        name=COMPACTED_TRADES.name,
        group_name=GROUP,
        deps=[dg.AssetDep(TRADES.name, partition_mapping=dg.AllPartitionMapping())],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        pool=POOL,
        kinds={"parquet", "polars"},
        metadata=column_schema(COMPACTED_TRADES),
        owners=["team:market_data"],
    )
    def compacted_trades(
        context: dg.AssetExecutionContext, lakehouse: dg.ResourceParam[Lakehouse]
    ) -> Iterator[Event]:
        """The trades of closed months in files sorted by ticker, session and tape order.

        - Grain: one print; a partition is a month in a few files.
        - Source: the landing files of `trades`.
        - Cadence: on request, by `smallcaps compact` or the job `compact_closed_months`.

        A month turns green when all of its planned sessions are complete and its files were read
        back and proven against the receipts; until then it stays missing, and its event says what
        it waits for.  A month whose sessions changed is rewritten.

        A lake of segments needs none of it: `smallcaps tidy`, or the job `tidy_lake`, packs it.
        """
        if lakehouse.has_segments:
            yield from map(explain_segments, context.partition_keys)
            return
        compaction = Compaction(lakehouse, run_id=context.run.run_id)
        with dagster_failures(), _canceling(context), compaction.held(wait_s=lock_wait(context)):
            claim_run(context.instance, context.run.run_id)
            for outcome in compaction.run(name_months(context.partition_keys)):
                yield describe_month(outcome)
            report_catalog(context.instance, lakehouse, compaction.catalog)
        if compaction.failed:
            raise fail_months(compaction.failed, "not compacted")

    return compacted_trades


def explain_segments(partition: str) -> dg.AssetObservation:
    """Say of one month of a lake of segments that there is nothing to compact."""
    return dg.AssetObservation(
        COMPACTED_TRADES.name,
        partition=partition,
        description=f"{partition[:7]}: segments need no compaction; `smallcaps tidy`, or the job "
        "`tidy_lake`, packs them",
    )


@contextmanager
def _canceling(context: dg.AssetExecutionContext) -> Iterator[None]:
    """End an interrupted run as canceled: as failed, it would turn finished months red."""
    try:
        yield
    except (*INTERRUPTS, GeneratorExit):
        cancel_run(context.instance, context.run.run_id)
        raise


def describe_month(outcome: MonthOutcome) -> Event:
    """Describe one month as an event: green, or why it is not."""
    key, partition = dg.AssetKey(COMPACTED_TRADES.name), f"{outcome.month}-01"
    if outcome.compacted is None:
        return dg.AssetObservation(
            key,
            partition=partition,
            description=f"{outcome.month}: {outcome.reason}",
            metadata={"done": outcome.done.value, "reason": outcome.reason},
        )
    manifest = outcome.compacted.manifest
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata={
            "dagster/row_count": manifest.rows,
            "bytes": manifest.bytes,
            "files": len(manifest.parts),
            "sessions": manifest.sessions,
            "content_hash": manifest.content_hash,
            "done": outcome.done.value,
        },
    )


@dg.asset_check(
    asset=COMPACTED_TRADES.name,
    description="Month files hold what the lake holds now.  Red: run `compact_closed_months` "
    "again; readers take what changed from the landing files meanwhile.",
)
def compacted_months_are_fresh(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """List the months whose sessions were repaired, replaced or planned since they were compacted.

    Readers are right all the same: they take what changed from the landing files.  A lake of
    segments has nothing to compact.
    """
    with dagster_failures():
        if lakehouse.has_segments:
            return show_check(judge_staleness([]))
        months = judge_months(lakehouse.ledger, lakehouse.store, lakehouse.bounds)
        return show_check(judge_staleness(months))
