import dagster as dg
import pytest
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

from smallcaps_assets.defs.automation.dead_runs import end_runs_of_dead_processes
from smallcaps_assets.defs.instance.runs import OWNER_TAG, end_dead_runs
from smallcaps_assets.defs.instance.states import TRADES_KEY
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.defs.defs_factories import read_statuses
from smallcaps_assets_tests.defs.run_factories import Site
from smallcaps_assets_tests.lakehouse_factories import planned_keys

DEAD = "0123456789ab-999999999-1"


@pytest.fixture
def site(site: Site) -> Site:
    """Return a site whose lake is finished, and whose Dagster knows the keys alone."""
    site.instance.add_dynamic_partitions(PLANNED_SET, planned_keys(site.lakehouse))
    return site


def add_run(site: Site, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    return site.instance.add_run(dg.DagsterRun(job_name="any", status=status, tags=tags))


def plan_key(site: Site, run: dg.DagsterRun, key: str) -> None:
    """Tell Dagster that a run is to materialize a key."""
    planned = AssetMaterializationPlannedData(TRADES_KEY, partition=key)
    event = DagsterEvent.build_asset_materialization_planned_event("any", "trades", planned)
    site.instance.report_dagster_event(event, run.run_id)


def evaluate(site: Site, cursor: str | None = None) -> tuple[str, str | None]:
    """Return what the sensor says, and its cursor."""
    context = dg.build_sensor_context(
        instance=site.instance, cursor=cursor, resources={"lakehouse": site.lakehouse}
    )
    skipped = end_runs_of_dead_processes(context)
    assert isinstance(skipped, dg.SkipReason)
    return skipped.skip_message or "", context.cursor


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_after_a_broken_run_what_it_stored_is_shown_once(
    site: Site, status: dg.DagsterRunStatus
) -> None:
    run = add_run(site, status, **{OWNER_TAG: DEAD})
    plan_key(site, run, site.keys[0])  # red after a failure, although the lake has it

    said, cursor = evaluate(site)

    assert said.endswith(f"showed {len(site.keys)} sessions")
    assert cursor == run.run_id
    assert read_statuses(site.instance)["MATERIALIZED"] == set(site.keys)
    assert evaluate(site, cursor)[0].endswith("showed 0 sessions")


def test_runs_that_never_held_the_lake_are_no_reason_to_look_at_it(site: Site) -> None:
    add_run(site, dg.DagsterRunStatus.FAILURE)
    add_run(site, dg.DagsterRunStatus.SUCCESS, **{OWNER_TAG: DEAD})

    said, cursor = evaluate(site)

    assert (said.endswith("showed 0 sessions"), cursor) == (True, None)
    assert read_statuses(site.instance)["MISSING"] == set(site.keys)


def test_keys_of_a_living_run_are_left_to_it(site: Site) -> None:
    add_run(site, dg.DagsterRunStatus.CANCELED, **{OWNER_TAG: DEAD})
    living = add_run(site, dg.DagsterRunStatus.STARTED)
    plan_key(site, living, site.keys[0])

    evaluate(site)

    statuses = read_statuses(site.instance)
    assert statuses["IN_PROGRESS"] == {site.keys[0]}
    assert statuses["MATERIALIZED"] == set(site.keys[1:])


def test_a_run_whose_process_is_dead_is_ended_as_canceled(site: Site) -> None:
    run = add_run(site, dg.DagsterRunStatus.STARTED, **{OWNER_TAG: DEAD})

    said, _ = evaluate(site)

    assert said.startswith("ended 1 run of")
    ended = site.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_that_cannot_be_judged_lives_while_anybody_writes(
    site: Site, *, shared: bool
) -> None:
    add_run(site, dg.DagsterRunStatus.STARTED, **{OWNER_TAG: DEAD})

    with LakeLock(site.lakehouse.layout.lock_file).hold("a download", shared=shared):
        said, _ = evaluate(site)

    assert said.startswith("ended 0 runs")


@pytest.mark.parametrize("shared", [True, False])
def test_who_writes_alone_knows_that_such_a_run_is_dead(site: Site, *, shared: bool) -> None:
    """After a reboot `smallcaps reconcile` left it for another process to find."""
    run = add_run(site, dg.DagsterRunStatus.STARTED, **{OWNER_TAG: DEAD})

    with site.lakehouse.writing("smallcaps reconcile", 0.0, shared=shared):
        ended = end_dead_runs(site.instance, site.lakehouse.lock)

    assert ended == ([] if shared else [run.run_id])


@pytest.mark.parametrize("broken", [True, False])
def test_keys_added_by_hand_are_told_and_removed(site: Site, *, broken: bool) -> None:
    """L48: a key that is none ended every evaluation in an error."""
    if broken:
        add_run(site, dg.DagsterRunStatus.FAILURE, **{OWNER_TAG: DEAD})
    site.instance.add_dynamic_partitions(PLANNED_SET, ["no key"])

    said, _ = evaluate(site)

    assert "left out: 1 partition keys, 'no key'" in said
    assert site.keys == planned_keys(site.lakehouse)
