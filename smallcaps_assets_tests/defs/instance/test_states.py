"""Dagster's partition states follow the lake in both directions."""

import dagster as dg
import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import FAILED, QUARANTINED
from smallcaps_assets.defs.instance.internals import AssetMaterializationPlannedData
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets.defs.instance.runs import OWNER_TAG
from smallcaps_assets.defs.instance.states import TRADES_KEY, align_anew, align_states, mark_missing
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets_tests.defs.defs_factories import read_statuses
from smallcaps_assets_tests.defs.run_factories import Site
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    planned_keys,
)

KEY = "BCPC_2024-01-10"
OTHER = "CON_2024-01-31"
DEAD = {OWNER_TAG: "0123456789ab-999999999-1"}


@pytest.fixture
def site(site: Site) -> Site:
    """Return a site whose lake is finished, and whose Dagster knows the keys alone."""
    site.instance.add_dynamic_partitions(PLANNED_SET, planned_keys(site.lakehouse))
    return site


def quarantine(site: Site, *keys: str) -> None:
    """Take sessions out of the lake, as a repair does."""
    for key in keys:
        site.lakehouse.sessions.quarantine(*decode_key(key), evidence={})
    failures = [Failure(key, QUARANTINED, "sha256", "damaged") for key in keys]
    site.lakehouse.ledger.record_failures(failures)


def test_states_follow_the_lake_and_then_are_left_alone(site: Site) -> None:
    stored = align_states(site.instance, site.lakehouse, site.keys)
    assert (stored.marked_green, stored.marked_missing) == (tuple(site.keys), ())
    assert read_statuses(site.instance)["MATERIALIZED"] == set(site.keys)
    assert len(site.keys) == SESSIONS

    quarantine(site, KEY, OTHER)
    moved = align_states(site.instance, site.lakehouse, site.keys)
    statuses, runs = read_statuses(site.instance), site.instance.get_runs_count()
    assert (moved.marked_green, moved.marked_missing) == ((), (KEY, OTHER))
    assert statuses["FAILED"] == {KEY, OTHER}
    assert statuses["MATERIALIZED"] == set(site.keys) - {KEY, OTHER}

    again = align_states(site.instance, site.lakehouse, site.keys)
    assert (again.marked_green, again.marked_missing) == ((), ())
    assert site.instance.get_runs_count() == runs


def test_a_red_session_of_a_canceled_run_stays_red_when_keys_change(site: Site) -> None:
    """L58: until a key is added Dagster shows it as before, and then its last green event."""
    align_states(site.instance, site.lakehouse, site.keys)
    quarantine(site, KEY)
    align_states(site.instance, site.lakehouse, site.keys)
    assert read_statuses(site.instance)["FAILED"] == {KEY}
    run = site.instance.add_run(
        dg.DagsterRun(job_name="download", status=dg.DagsterRunStatus.STARTED, tags=DEAD)
    )
    planned = AssetMaterializationPlannedData(TRADES_KEY, partition=KEY)
    event = dg.DagsterEvent.build_asset_materialization_planned_event("download", "trades", planned)
    site.instance.report_dagster_event(event, run.run_id)

    assert end_dead(site.instance, site.lakehouse) == [run.run_id]
    align_anew(site.instance, site.lakehouse, site.keys)
    site.instance.add_dynamic_partitions(PLANNED_SET, ["CON_2024-02-01"])

    assert read_statuses(site.instance)["FAILED"] == {KEY}


def test_a_dry_run_says_the_same_and_does_nothing(site: Site) -> None:
    align_states(site.instance, site.lakehouse, [KEY])
    quarantine(site, KEY)

    aligned = align_states(site.instance, site.lakehouse, site.keys, is_dry_run=True)

    assert aligned.marked_missing == (KEY,)
    assert len(aligned.marked_green) == SESSIONS - 1
    assert read_statuses(site.instance)["MATERIALIZED"] == {KEY}


def test_a_session_that_failed_and_was_never_green_is_not_marked(site: Site) -> None:
    quarantine(site, KEY)
    site.lakehouse.ledger.record_failures([Failure(KEY, FAILED, "payload", "cut")])

    aligned = align_states(site.instance, site.lakehouse, [KEY])

    assert (aligned.marked_green, aligned.marked_missing) == ((), ())
    assert read_statuses(site.instance)["MISSING"] == set(site.keys)


def test_a_key_that_the_ledger_does_not_know_is_not_green(site: Site) -> None:
    """A restored Dagster home may know more than the lake."""
    unknown = "ZZZZ_2024-01-10"
    site.instance.add_dynamic_partitions(PLANNED_SET, [unknown])
    site.instance.report_runless_asset_event(dg.AssetMaterialization(TRADES_KEY, partition=unknown))

    aligned = align_states(site.instance, site.lakehouse, [unknown])

    assert aligned.marked_missing == (unknown,)
    assert read_statuses(site.instance)["FAILED"] == {unknown}


def test_nothing_is_done_for_no_keys(site: Site) -> None:
    aligned = align_states(site.instance, site.lakehouse, [])
    mark_missing(site.instance, [])

    assert (aligned.marked_green, aligned.marked_missing) == ((), ())
    assert site.instance.get_runs_count() == 0
