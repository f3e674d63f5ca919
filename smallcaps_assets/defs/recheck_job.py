"""The job `recheck_sessions`: a sample of what is stored, asked for again from the launchpad."""

import dagster as dg

from smallcaps_assets.defs.assets.ticks import POOL
from smallcaps_assets.defs.failures import LaunchConfig, dagster_failures
from smallcaps_assets.defs.instance.reconciliation import align_changed
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.plan.selection import parse_tickers
from smallcaps_assets.ingest.ticks.backfill import (
    Backfill,
    RecheckChoice,
    choose_stored,
    parse_share,
    recheck_sessions,
)
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lakehouse import Lakehouse

RECHECK_JOB = "recheck_sessions"


class RecheckConfig(LaunchConfig):
    """What is asked for again.

    Attributes:
        sample: Share of the stored sessions, such as `1%`.
        seed: Another one chooses others.
        older_than_days: Only sessions at least so old.
        tickers: Only these, separated by commas; empty: all.
    """

    sample: str = "1%"
    seed: int = 0
    older_than_days: int = 0
    tickers: str = ""


@dg.op(name="recheck", pool=POOL, out=dg.Out(dg.Nothing))
def recheck(
    context: dg.OpExecutionContext,
    config: RecheckConfig,
    lakehouse: dg.ResourceParam[Lakehouse],
) -> None:
    """Ask the vendor again, list what differs, and show the partitions that changed."""
    with dagster_failures():
        config.check()
        selection = Selection(parse_tickers(config.tickers or None))
        choice = RecheckChoice(
            parse_share(config.sample), config.seed, config.older_than_days, selection
        )
        ensure_indexed(lakehouse)
        facts = choose_stored(lakehouse.ledger, choice, lakehouse.clock().date())
        backfill = Backfill(lakehouse, run_id=context.run_id, asks_again=True)
        recheck_sessions(backfill, facts, wait_s=None)
    align_changed(context.instance, lakehouse, facts.changed)
    context.log.info(
        "%d of %d stored sessions: %d unchanged, %d differ, %d without an answer",
        len(facts.keys),
        facts.stored,
        facts.unchanged,
        len(facts.revisions),
        len(facts.unanswered),
    )
    for revision in facts.revisions:
        context.log.warning(
            "%s: %d trades stored, %d came; %s counts, the other lies in %s",
            revision.old.key,
            revision.old.rows,
            revision.new.rows,
            "what came" if revision.is_replaced else "what was stored",
            revision.folder,
        )


@dg.job(name=RECHECK_JOB)
def recheck_job() -> None:
    """Ask the vendor again for a sample of what is stored, and list what differs."""
    recheck()
