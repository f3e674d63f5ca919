"""Group `ticks`: every trade of the planned ticker-sessions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dagster as dg

from smallcaps_assets.defs.assets.serve import report_catalog
from smallcaps_assets.defs.checks.trades import report_ledger_checks
from smallcaps_assets.defs.failures import LaunchConfig, dagster_failures
from smallcaps_assets.defs.instance.queue import (
    describe_foreign,
    drop_foreign_keys,
    require_registered_plan,
    split_keys,
)
from smallcaps_assets.defs.instance.reconciliation import align_changed, end_dead
from smallcaps_assets.defs.instance.runs import canceling, claim_run
from smallcaps_assets.defs.metadata import column_schema
from smallcaps_assets.defs.partitions import planned_ticker_sessions
from smallcaps_assets.errors import ConfigError, SmallcapsError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.ticks.outcomes import Outcome
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import TRADES

GROUP = "ticks"
POOL = "trades"
NO_WAIT_TAG = "smallcaps/refuse_when_locked"
"""Tag of runs started from a terminal: they refuse a locked lake, others wait for it."""

ACCEPT_EMPTY_TAG = "smallcaps/accept_empty"
"""Tag of runs that believe "no trades"; the same as the config ``accept_empty``."""
ACCEPT_DISPUTED_TAG = "smallcaps/accept_disputed"
"""Tag of runs that accept what bars dispute; the same as the config ``accept_disputed``."""
AGAIN_TAG = "smallcaps/again"
"""Tag of runs that ask for finished sessions again; the same as the config ``again``."""
ABORTED_TAG = "smallcaps/aborted"
"""Tag of runs that ended before all keys were tried: why."""

INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
"""What ends a step early: Ctrl-C and Terminate in the UI."""

Event = dg.AssetMaterialization | dg.AssetObservation


class AcceptConfig(LaunchConfig):
    """What a run that downloads may be told to believe.

    Attributes:
        accept_empty: Believe "no trades" for sessions whose daily bar shows volume.
        accept_disputed: Take sessions for complete that lack some of their daily bar, after they
            were asked for again.
    """

    accept_empty: bool = False
    accept_disputed: bool = False

    def adopt_tags(self, tags: Mapping[str, str]) -> "AcceptConfig":
        """Adopt what the tags of a run say, which count as much."""
        return AcceptConfig(
            accept_empty=self.accept_empty or ACCEPT_EMPTY_TAG in tags,
            accept_disputed=self.accept_disputed or ACCEPT_DISPUTED_TAG in tags,
        )

    def list_tags(self) -> dict[str, str]:
        """List the tags of a run that say the same."""
        chosen = {ACCEPT_EMPTY_TAG: self.accept_empty, ACCEPT_DISPUTED_TAG: self.accept_disputed}
        return {tag: "true" for tag, is_on in chosen.items() if is_on}


class TradesConfig(AcceptConfig):
    """What a run of `trades` may be told.

    Attributes:
        again: Ask for finished sessions again too; an answer that differs is kept beside the old
            one and listed.
    """

    again: bool = False


@dg.asset(
    name=TRADES.name,
    group_name=GROUP,
    deps=["download_queue"],
    partitions_def=planned_ticker_sessions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    output_required=False,
    pool=POOL,
    kinds={"parquet", "polars"},
    metadata=column_schema(TRADES),
    owners=["team:market_data"],
)
def trades(
    context: dg.AssetExecutionContext,
    config: TradesConfig,
    lakehouse: dg.ResourceParam[Lakehouse],
) -> Iterator[Event]:
    """Every print of the planned ticker-sessions, as the vendor sent it.

    - Grain: one print; a partition is a ticker and session.
    - Source: the vendor's trades endpoint.
    - Cadence: on request, or after each plan by the sensor `download_after_plan`.

    A partition turns green after its trades and what proves them are on disk, and stays green when
    it is asked for again; only missing sessions are requested.
    """
    with ending_run(context):
        # Once: keys that are not planned may be gone from the set later.
        asked = list(context.partition_keys)
        backfill = open_backfill(context, config, lakehouse)
        keys = select_planned(lakehouse, asked)
        with (
            canceling(context.instance, context.run.run_id, INTERRUPTS),
            backfill.held(wait_s=lock_wait(context)),
        ):
            claim_run(context.instance, context.run.run_id)
            for outcome in backfill.run(keys):
                yield describe_outcome(outcome)
        align_changed(context.instance, lakehouse, backfill.changed, beside=keys)
        report_ledger_checks(context.instance, lakehouse)
        report_catalog(context.instance, lakehouse, backfill.catalog)
        drop_foreign_keys(context.instance, lakehouse, context.run.run_id)
    mark_aborted(context, backfill)
    if backfill.summary.failures or backfill.summary.aborted:
        raise backfill_failure(backfill)


def mark_aborted(context: dg.AssetExecutionContext, backfill: Backfill) -> None:
    """Leave in the run's tags why it ended before all was tried, where it did."""
    if aborted := backfill.summary.aborted:
        context.instance.add_run_tags(context.run.run_id, {ABORTED_TAG: aborted})


@contextmanager
def ending_run(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn our errors into Dagster's, and leave in the run's tags that it was aborted."""
    with dagster_failures():
        try:
            yield
        except SmallcapsError as error:
            context.instance.add_run_tags(context.run.run_id, {ABORTED_TAG: error.kind})
            raise


def open_backfill(
    context: dg.AssetExecutionContext, config: TradesConfig, lakehouse: Lakehouse
) -> Backfill:
    """Open the backfill of this run, after refusing what could lose data.

    Raises:
        ConfigError: The config is unknown, the instance ephemeral, or the range empty.
        LedgerMismatchError: The published plan is not the registered one.
    """
    check_launch(context, config, lakehouse)
    end_dead(context.instance, lakehouse)
    require_registered_plan(context.instance, lakehouse)
    ensure_indexed(lakehouse)
    accepted = config.adopt_tags(context.run.tags)
    return Backfill(
        lakehouse,
        run_id=context.run.run_id,
        interrupts=INTERRUPTS,
        accept_empty=accepted.accept_empty,
        accept_disputed=accepted.accept_disputed,
        asks_again=config.again or AGAIN_TAG in context.run.tags,
    )


def check_launch(
    context: dg.AssetExecutionContext, config: LaunchConfig, lakehouse: Lakehouse
) -> None:
    """Refuse a run that could lose data, or that has nothing to do.

    Raises:
        ConfigError: The config is unknown, the instance ephemeral, or the range empty.
    """
    config.check()
    if context.instance.is_ephemeral:
        raise ConfigError(
            "this Dagster instance is ephemeral and would forget what is finished: run "
            f"`export DAGSTER_HOME={lakehouse.layout.dagster_dir}` first, or use `smallcaps`"
        )
    if not context.partition_keys:
        raise ConfigError(
            "the partition range holds no key: expected FIRST...LAST in the order of the "
            "partition set, both registered"
        )


def select_planned(lakehouse: Lakehouse, keys: Sequence[str]) -> list[str]:
    """Select those of the keys of a run that are planned.

    Raises:
        ConfigError: None of them is.
    """
    planned, foreign = split_keys(lakehouse, keys)
    if not planned:
        raise ConfigError(f"this run has nothing to fetch: {describe_foreign(foreign)}")
    return planned


def describe_outcome(outcome: Outcome) -> Event:
    """Describe one ticker-session as an event: green, or why it is not.

    Metadata are small, because each event is a row in SQLite.
    """
    if not outcome.is_green:
        return dg.AssetObservation(
            asset_key=TRADES.name,
            partition=outcome.key,
            description=outcome.message,
            metadata={"state": outcome.state, "kind": outcome.kind, "message": outcome.message},
        )
    return dg.AssetMaterialization(
        asset_key=TRADES.name,
        partition=outcome.key,
        metadata={
            "dagster/row_count": outcome.rows,
            "bytes": outcome.bytes,
            "state": outcome.state,
            "content_hash": outcome.content_hash,
            "reused": outcome.is_reused,
            **({"marks": ", ".join(outcome.marks)} if outcome.marks else {}),
        },
    )


def backfill_failure(backfill: Backfill) -> dg.Failure:
    """Make the one failure that ends a step with open sessions."""
    summary = backfill.summary
    return dg.Failure(
        description=summary.describe(),
        metadata={
            "failures_by_kind": dg.MetadataValue.json(dict(summary.failures)),
            "aborted": summary.aborted or "no",
            "finished": summary.finished,
            "reused": summary.reused,
        },
        allow_retries=False,
    )


def lock_wait(context: dg.AssetExecutionContext) -> float | None:
    """Choose how long to wait for the lake: not at all from a terminal, forever from the UI."""
    return 0.0 if context.run.tags.get(NO_WAIT_TAG) else None
