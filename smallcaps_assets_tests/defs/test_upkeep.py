"""The jobs that look after a lake do what the commands of their names do, and refuse the same."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.instance.runs import OWNER_TAG
from smallcaps_assets.lake.interchange.export import export_dates
from smallcaps_assets.operations.repair.upkeep import rebuild_ledger
from smallcaps_assets_tests.defs.defs_factories import read_statuses
from smallcaps_assets_tests.defs.run_factories import Site, describe_failures, open_site
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, make_lakehouse
from smallcaps_assets_tests.stored_rows import damage_rows, lose_session

KEY: Final = "BCPC_2024-01-10"
JOBS: Final = {
    "repair_lake": "repair",
    "reconcile_partitions": "reconcile",
    "reindex_ledger": "reindex",
    "import_archive": "import_files",
    "relocate_lake": "relocate",
}
OTHERS: Final = {"recheck_sessions": "recheck", "tidy_lake": "tidy"}
"""Each job with its op, whose config it takes."""


def run(site: Site, job: str, **config: object) -> dg.ExecuteInProcessResult:
    """Run a job with the config that a person gives it in the launchpad."""
    return site.run(job, ops={(JOBS | OTHERS)[job]: {"config": config}})


def read_facts(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """Return what a run shows as the metadata of its result."""
    assert result.success, describe_failures(result)
    (output,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_reconcile_registers_the_plan_and_shows_what_is_stored(site: Site) -> None:
    told = read_facts(run(site, "reconcile_partitions", dry_run=True))
    untouched = site.keys
    done = read_facts(run(site, "reconcile_partitions"))

    assert (told["registered"], untouched) == (SESSIONS, [])
    assert (done["registered"], done["shown"], done["missing"]) == (SESSIONS, SESSIONS, 0)
    assert len(read_statuses(site.instance)["MATERIALIZED"]) == SESSIONS


def test_a_home_that_knows_an_asset_of_earlier_is_made_equal_to_the_lake(site: Site) -> None:
    old = dg.AssetKey("compacted_trades")
    event = dg.AssetMaterialization(old, partition="2024-01-01")
    site.instance.report_runless_asset_event(event)

    done = read_facts(run(site, "reconcile_partitions"))

    assert done["shown"] == SESSIONS
    assert site.instance.get_materialized_partitions(old) == {"2024-01-01"}


def test_repair_moves_damage_aside_and_turns_its_partition_red(site: Site) -> None:
    register_plan(site.instance, site.lakehouse)
    damage_rows(site.lakehouse, KEY)

    told = read_facts(run(site, "repair_lake", dry_run=True, delete=True))
    kept = not list(site.lakehouse.home.data_dir.rglob("quarantine"))
    done = read_facts(run(site, "repair_lake"))
    deleted = read_facts(run(site, "repair_lake", delete=True))

    assert (told["damaged"], told["moved"], kept) == (1, 0, True)
    assert (done["checked"], done["damaged"], done["moved"]) == (SESSIONS, 1, 1)
    assert done["damages"].records[0].data["session"] == KEY
    assert read_statuses(site.instance)["FAILED"] == {KEY}
    assert [Path(folder).name for folder in deleted["deleted"]] == ["quarantine"]
    assert not list(site.lakehouse.home.data_dir.rglob("quarantine"))


def test_reindex_takes_what_the_receipts_say(site: Site) -> None:
    lose_session(site.lakehouse, KEY)

    told = read_facts(run(site, "reindex_ledger", dry_run=True))
    done = read_facts(run(site, "reindex_ledger"))

    assert told["sessions"] == done["sessions"] == SESSIONS - 1
    assert site.lakehouse.ledger.missing_keys()["key"].to_list() == [KEY]


def test_import_stores_what_the_lake_lacks_and_shows_it(site: Site, tmp_path: Path) -> None:
    lakehouse, archive = site.lakehouse, tmp_path / "archive"
    export_dates(lakehouse.layout, lakehouse.fs, archive)
    (archive / "NOTES").write_text("no ticker")
    lose_session(lakehouse, KEY)
    rebuild_ledger(lakehouse)
    register_plan(site.instance, lakehouse)

    told = read_facts(run(site, "import_archive", archive=str(archive), dry_run=True))
    done = read_facts(run(site, "import_archive", archive=str(archive)))

    assert (told["stored"], done["stored"], done["known"]) == (1, 1, SESSIONS - 2)
    assert (done["strays"], done["not_in_the_lake"]) == (1, 0)
    assert "NOTES: no session" in done["what_was_found"].records[0].data["line"]
    assert len(read_statuses(site.instance)["MATERIALIZED"]) == SESSIONS


def test_relocate_moves_the_lake(site: Site, tmp_path: Path) -> None:
    old, dest = site.lakehouse.layout.lake_dir, tmp_path / "disk"
    told = read_facts(run(site, "relocate_lake", dest=str(dest), dry_run=True))
    untouched = not dest.exists()
    done = read_facts(run(site, "relocate_lake", dest=str(dest)))

    assert (told["sessions"], untouched) == (SESSIONS, True)
    assert (done["sessions"], done["lake"], done["left_to_do"]) == (SESSIONS, str(dest), [])
    assert done["moved_from"] == str(old)
    assert list(dest.rglob("*.record.parquet"))
    assert not list(old.rglob("*.parquet"))


def test_tidy_packs_segments_and_again_does_nothing(site: Site) -> None:
    packed = read_facts(run(site, "tidy_lake", every_month=True))
    again = read_facts(run(site, "tidy_lake"))

    assert (packed["months"], packed["packed"]) == (1, ["2024-01"])
    assert (again["packed"], again["removed"]) == ([], 0)


def test_tidy_ends_as_failed_where_a_month_is_damaged(site: Site) -> None:
    damage_rows(site.lakehouse, KEY)

    described = describe_failures(run(site, "tidy_lake", every_month=True))

    assert "1 month not packed: 2024-01: " in described


@pytest.mark.parametrize("job", JOBS)
def test_a_job_while_another_process_writes_is_refused(
    site: Site, job: str, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    config = {"import_archive": {"archive": str(archive)}, "relocate_lake": {"dest": "/mnt/none"}}

    with site.lakehouse.lock.hold("a download", 0.0):
        refused = run(site, job, **config.get(job, {}))

    assert not refused.success
    assert "in use by a download" in describe_failures(refused)


@pytest.mark.parametrize(
    ("job", "config", "words"),
    [
        (
            "repair_lake",
            {"dryrun": True},
            "unknown config 'dryrun': expected any of delete",
        ),
        ("relocate_lake", {"to": "/mnt"}, "unknown config 'to': expected any of dest, dry_run"),
        ("tidy_lake", {"all": True}, "unknown config 'all': expected any of every_month"),
        ("recheck_sessions", {"share": "1%"}, "unknown config 'share': expected any of older"),
        ("import_archive", {}, "archive='': expected the absolute path of a folder"),
        ("import_archive", {"archive": "~nobody-here/x"}, "expected the home of a user"),
        ("import_archive", {"archive": "/no/such/archive"}, "expected a folder of an archive"),
        ("relocate_lake", {"dest": "disk"}, "dest='disk': expected the absolute path"),
        ("relocate_lake", {"dest": "/mnt/\0"}, "expected the absolute path"),
    ],
)
def test_bad_config_is_refused_in_words_of_ours(
    site: Site, job: str, config: dict[str, object], words: str
) -> None:
    described = describe_failures(run(site, job, **config))

    assert words in described
    assert "dagster" not in described.lower()


def test_a_job_without_a_plan_says_what_to_do(site: Site) -> None:
    shutil.rmtree(site.lakehouse.layout.data_dir / "plan")

    assert "smallcaps plan" in describe_failures(run(site, "reconcile_partitions"))


@pytest.mark.parametrize("job", ["repair_lake", "reconcile_partitions", "reindex_ledger"])
def test_a_job_without_a_lake_begins_none(job: str, tmp_path: Path) -> None:
    with open_site(make_lakehouse(tmp_path / "data", "http://127.0.0.1:9")) as site:
        described = describe_failures(run(site, job))

    assert "there is no lake in" in described
    assert list((tmp_path / "data").iterdir()) == []


def test_a_run_at_work_is_claimed_so_that_its_death_is_noticed(site: Site) -> None:
    result = run(site, "reconcile_partitions")

    found = site.instance.get_run_by_id(result.run_id)
    assert found is not None
    assert OWNER_TAG in found.tags
