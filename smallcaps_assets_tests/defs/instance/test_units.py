"""Units of a universe in Dagster: registered in order, and shown as what is proven of them."""

import dagster as dg
import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.defs.instance.internals import (
    PARTITION,
    RANGE_END,
    RANGE_START,
)
from smallcaps_assets.defs.instance.reconciliation import (
    align_changed,
    end_dead,
    preview_reconciliation,
    reconcile_partitions,
)
from smallcaps_assets.defs.instance.runs import OWNER_TAG
from smallcaps_assets.defs.instance.units import (
    UNITS_JOB,
    UNITS_KEY,
    align_units,
    find_run_units,
    register_units,
    settle_units,
)
from smallcaps_assets.defs.partitions import UNITS_SET
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets_tests.defs.run_factories import Site
from smallcaps_assets_tests.defs.universe_factories import (
    begin_run,
    frame_plan,
    list_proven,
    publish_universe,
    read_colours,
)

STORED = [
    *(f"BCPC_2024-01-{day:02d}" for day in (9, 10, 11)),
    *(f"BCpC_2024-01-{day:02d}" for day in (8, 9, 10)),
    *(f"CON_2024-01-{day:02d}" for day in (29, 30, 31)),
]
"""The sessions of the small lake, all proven."""
BATCHES = {"BCPC": 1, "BCpC": 1, "CON": 2, "PRN": 2}
NEW = "BCPC_2024-01-12"
LATER = "CON_2024-02-01"
DEAD = "0123456789ab-999999999-1"


def plan(site: Site, *keys: str) -> None:
    """Publish a universe that owes these sessions."""
    publish_universe(site.lakehouse, frame_plan(map(decode_key, keys), BATCHES))


def register(site: Site, *keys: str) -> None:
    plan(site, *keys)
    register_units(site.instance, site.lakehouse)


def quarantine(site: Site, *keys: str) -> None:
    """Take sessions out of the lake, as a repair does."""
    for key in keys:
        site.lakehouse.sessions.quarantine(*decode_key(key), evidence={})
    record_stored(site.lakehouse.ledger, site.lakehouse.sessions)
    failures = [Failure(key, QUARANTINED, "sha256", "damaged") for key in keys]
    site.lakehouse.ledger.record_failures(failures)


def read_reason(site: Site, unit: str) -> str:
    """Return what the page of a unit says last."""
    chosen = dg.AssetRecordsFilter(UNITS_KEY, asset_partitions=[unit])
    event = site.instance.fetch_observations(chosen, limit=1).records[0].asset_observation
    assert event is not None
    return event.description or ""


def read_events(site: Site, unit: str) -> list[dg.AssetMaterialization]:
    chosen = dg.AssetRecordsFilter(UNITS_KEY, asset_partitions=[unit])
    records = site.instance.fetch_materializations(chosen, limit=10).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def test_units_are_registered_in_order_and_shown_as_they_stand(site: Site) -> None:
    plan(site, LATER, *STORED, "PRN_2024-01-30")

    facts = register_units(site.instance, site.lakehouse)

    units = ["b001_2024-01", "b002_2024-01", "b002_2024-02"]
    assert list(site.instance.get_dynamic_partitions(UNITS_SET)) == units
    assert (facts.units, facts.added, facts.marked_green, facts.open) == (3, 3, 1, 2)
    colours = read_colours(site.instance)
    assert colours["MATERIALIZED"] == {"b001_2024-01"} == list_proven(site.lakehouse)
    assert colours["MISSING"] == {"b002_2024-01", "b002_2024-02"}
    (event,) = read_events(site, "b001_2024-01")
    assert event.metadata["reconciled"].value is True
    assert event.metadata["sessions"].value == 6


def test_registering_again_changes_nothing(site: Site) -> None:
    register(site, *STORED)
    runs = site.instance.get_runs_count()

    facts = register_units(site.instance, site.lakehouse)

    assert (facts.added, facts.removed, facts.marked_green, facts.marked_red) == (0, 0, 0, 0)
    assert site.instance.get_runs_count() == runs
    assert len(read_events(site, "b001_2024-01")) == 1


def test_a_unit_that_grows_turns_red_alone_and_says_why(site: Site) -> None:
    register(site, *STORED)
    before = site.instance.get_runs_count()

    register(site, *STORED, NEW)

    colours = read_colours(site.instance)
    assert (colours["FAILED"], colours["MATERIALIZED"]) == ({"b001_2024-01"}, {"b002_2024-01"})
    assert read_reason(site, "b001_2024-01") == "plan grew: BCPC"
    (run,) = site.instance.get_runs(limit=site.instance.get_runs_count() - before)
    assert run.status is dg.DagsterRunStatus.FAILURE
    said = " ".join(str(entry.message) for entry in site.instance.all_logs(run.run_id))
    assert "b001_2024-01: plan grew: BCPC" in said


def test_a_plan_that_shrinks_turns_nothing_and_keeps_the_data(site: Site) -> None:
    register(site, *STORED)

    register(site, *STORED[:2])

    assert list(site.instance.get_dynamic_partitions(UNITS_SET)) == ["b001_2024-01"]
    assert read_colours(site.instance)["MATERIALIZED"] == {"b001_2024-01"}
    assert site.lakehouse.ledger.find_proofs(STORED) == set(STORED)


def test_keys_stay_while_a_run_is_under_way(site: Site) -> None:
    register(site, *STORED)
    begin_run(site.instance, ["b002_2024-01"])

    register(site, *STORED[:2])
    assert "b002_2024-01" in site.instance.get_dynamic_partitions(UNITS_SET)

    for run in site.instance.get_runs(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    ):
        site.instance.report_run_canceled(run)
    assert register_units(site.instance, site.lakehouse).removed == 1


def test_what_lost_its_proof_turns_red_and_green_again(site: Site) -> None:
    register(site, *STORED)
    quarantine(site, *STORED[:2])

    align_changed(site.instance, site.lakehouse, STORED[:2])

    assert read_colours(site.instance)["FAILED"] == {"b001_2024-01"}
    assert read_reason(site, "b001_2024-01") == "quarantined: 2 sessions"

    register(site, *STORED[2:])  # owes nothing of it any more
    assert read_colours(site.instance)["FAILED"] == set()
    assert read_events(site, "b001_2024-01")[0].metadata["reconciled"].value is True


def test_a_preview_says_the_same_and_does_nothing(site: Site) -> None:
    register(site, *STORED)
    quarantine(site, STORED[0])
    plan(site, *STORED[:6], LATER)

    told = preview_reconciliation(site.instance, site.lakehouse)

    assert (told.units, told.units_registered, told.units_removed) == (2, 1, 1)
    assert (told.units_shown, told.units_missing) == (0, 1)
    assert "2 units: 1 would be registered, 1 removed, 0 shown as finished" in told.describe()
    assert read_colours(site.instance)["FAILED"] == set()
    done = reconcile_partitions(site.instance, site.lakehouse)
    assert (done.units_registered, done.units_removed, done.units_missing) == (1, 1, 1)


def test_a_killed_run_is_ended_and_its_units_are_shown(site: Site) -> None:
    """Whatever it had done: one was finished and not told, one was red before it began."""
    site.instance.add_dynamic_partitions(UNITS_SET, ["b001_2024-01", "b002_2024-01"])
    plan(site, *STORED)
    align_units(site.instance, site.lakehouse, ["b001_2024-01"])
    quarantine(site, STORED[0])
    align_units(site.instance, site.lakehouse, ["b001_2024-01"])
    both = {RANGE_START: "b001_2024-01", RANGE_END: "b002_2024-01"}
    run = begin_run(site.instance, ["b001_2024-01", "b002_2024-01"], **both, **{OWNER_TAG: DEAD})

    assert end_dead(site.instance, site.lakehouse) == [run.run_id]

    colours = read_colours(site.instance)
    assert colours["FAILED"] == {"b001_2024-01"}
    assert colours["MATERIALIZED"] == {"b002_2024-01"} == list_proven(site.lakehouse)


def test_units_of_a_living_run_are_left_alone_until_it_settles_them(site: Site) -> None:
    register(site, *STORED, LATER)
    quarantine(site, STORED[0])
    units = ["b001_2024-01", "b002_2024-01", "b002_2024-02"]
    run = begin_run(site.instance, units)
    align_units(site.instance, site.lakehouse, units)
    assert read_colours(site.instance)["IN_PROGRESS"] == set(units)

    settle_units(site.instance, site.lakehouse, units)
    site.instance.report_run_canceled(run)

    colours = read_colours(site.instance)
    assert colours["FAILED"] == {"b001_2024-01"}
    assert colours["MATERIALIZED"] == {"b002_2024-01"}
    assert colours["MISSING"] == {"b002_2024-02"}


@pytest.mark.parametrize(
    ("tags", "units"),
    [
        ({RANGE_START: "b", RANGE_END: "c"}, {"b", "c"}),
        ({PARTITION: "a"}, {"a"}),
        ({PARTITION: "gone"}, set()),
        ({RANGE_START: "b", RANGE_END: "gone"}, set()),
        ({}, set()),
    ],
)
def test_the_units_of_a_run_are_those_of_its_tags(
    site: Site, tags: dict[str, str], units: set[str]
) -> None:
    site.instance.add_dynamic_partitions(UNITS_SET, ["a", "b", "c"])

    assert find_run_units(site.instance, dg.DagsterRun(UNITS_JOB, tags=tags)) == units
    assert find_run_units(site.instance, dg.DagsterRun("download_missing", tags=tags)) == set()


def test_without_a_universe_nothing_is_registered_or_aligned(site: Site) -> None:
    with pytest.raises(MissingPartitionError):
        register_units(site.instance, site.lakehouse)

    align_changed(site.instance, site.lakehouse, STORED)

    assert list(site.instance.get_dynamic_partitions(UNITS_SET)) == []
    assert preview_reconciliation(site.instance, site.lakehouse).units == 0


def test_a_red_unit_of_a_canceled_run_stays_red_when_keys_change(site: Site) -> None:
    """Dagster shows it as before the run until a key is added, and then its last green event."""
    unit = "b001_2024-01"
    register(site, *STORED)
    quarantine(site, STORED[0])
    register_units(site.instance, site.lakehouse)
    assert unit in read_colours(site.instance)["FAILED"]
    begin_run(site.instance, [unit], **{RANGE_START: unit, RANGE_END: unit, OWNER_TAG: DEAD})

    end_dead(site.instance, site.lakehouse)
    site.instance.add_dynamic_partitions(UNITS_SET, ["b009_2024-01"])

    assert unit in read_colours(site.instance)["FAILED"]
