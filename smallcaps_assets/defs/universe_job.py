"""The job of one click that downloads a universe: a backfill of the units that lack something."""

import dagster as dg

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.defs.assets.ticks import AcceptConfig
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.instance.internals import find_open_backfill, start_backfill
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets.defs.instance.runs import claim_run
from smallcaps_assets.defs.instance.units import UNITS_KEY, register_units
from smallcaps_assets.defs.partitions import universe_units
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.universe.standing import find_open_units
from smallcaps_assets.lakehouse import Lakehouse

UNIVERSE_JOB = "download_universe"


@dg.op(out=dg.Out(dg.Nothing))
def request_units(
    context: dg.OpExecutionContext, config: AcceptConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Register the published universe, and ask for a backfill of what lacks and is due.

    Dagster's daemon starts its runs, SMALLCAPS_PROCESSES at once; they wait for one another and
    for a command that downloads the same universe.
    """
    with dagster_failures():
        config.check()
        claim_run(context.instance, context.run_id)
        end_dead(context.instance, lakehouse)
        ensure_indexed(lakehouse)
        register_units(context.instance, lakehouse, context.run_id)
        is_forced = config.accept_empty or config.accept_disputed
        found = find_open_units(lakehouse, is_forced=is_forced)
        busy = find_open_backfill(context.instance, UNITS_KEY)
        backfill = busy or ""
        if found.due and not busy:
            backfill = start_backfill(
                context.instance, UNITS_KEY, universe_units, found.due, config.list_tags()
            )
    context.log.info(
        "%s to download, %s; backfill: %s",
        format_count(len(found.due), "unit"),
        format_count(found.sessions, "session"),
        f"{backfill} is under way already" if busy else backfill or "none",
    )
    context.add_output_metadata(
        {
            "units": found.planned,
            "open": len(found.open),
            "due": len(found.due),
            "sessions": found.sessions,
            "resting_sessions": found.resting,
            "backfill": backfill,
        }
    )


@dg.job(name=UNIVERSE_JOB)
def universe_job() -> None:
    """Download what a universe lacks: a backfill of the units that are missing or failed."""
    request_units()
