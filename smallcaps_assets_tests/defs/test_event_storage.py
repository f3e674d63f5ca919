"""Dagster's event log on kept connections: the same events in the same files."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetPartitionStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from smallcaps_assets.defs.event_storage import OPEN_SHARDS, KeptEventLogStorage
from smallcaps_assets_tests.defs.run_factories import QUIET, RANGE_END, RANGE_START
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

KEYS = [f"AAA_2024-03-{day}" for day in range(10, 30)]
SPOILT = KEYS[12:]
PARTITIONS = dg.DynamicPartitionsDefinition(name="keys")
BATCH = "DAGSTER_EVENT_BATCH_SIZE"

FORK = """
import os, sys
from smallcaps_assets.defs.event_storage import KeptEventLogStorage
storage = KeptEventLogStorage(sys.argv[1])
runs = storage.get_all_run_ids()
count = lambda: len(storage.get_records_for_run(runs[0]).records)
before = count()
child = os.fork()
if child == 0:
    os._exit(0 if count() == before else 1)
_, status = os.waitpid(child, 0)
sys.exit(status or count() != before)
"""


@dg.asset(
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    output_required=False,
)
def prints(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization]:
    for key in context.partition_keys:
        if key in SPOILT:
            raise dg.Failure("spoilt", allow_retries=False)
        yield dg.AssetMaterialization("prints", partition=key, metadata={"rows": 1})


JOB = dg.Definitions(
    assets=[prints],
    jobs=[dg.define_asset_job("job", selection=[prints])],
    executor=dg.in_process_executor,
).resolve_job_def("job")


@contextmanager
def open_instance(home: Path, *, is_kept: bool) -> Iterator[dg.DagsterInstance]:
    """Open the instance in a folder, its event log by our class or by Dagster's."""
    log = {
        "module": "smallcaps_assets.defs.event_storage",
        "class": "KeptEventLogStorage",
        "config": {"home": str(home)},
    }
    changes = {"telemetry": {"enabled": False}} | ({"event_log_storage": log} if is_kept else {})
    with dg.DagsterInstance.local_temp(str(home), overrides=changes) as instance:
        yield instance


def run_job(instance: dg.DagsterInstance, first: str = KEYS[0], last: str = KEYS[-1]) -> str:
    tags = {RANGE_START: first, RANGE_END: last}
    return JOB.execute_in_process(
        instance=instance, tags=tags, run_config=QUIET, raise_on_error=False
    ).run_id


def read_statuses(instance: dg.DagsterInstance) -> dict[str, AssetPartitionStatus | None]:
    found = instance.get_status_by_partition(dg.AssetKey("prints"), KEYS, PARTITIONS)
    return dict(found or {})


def forget_and_fail(storage: KeptEventLogStorage) -> None:
    with storage.index_connection() as connection:
        connection.exec_driver_sql("DELETE FROM asset_keys")
        raise RuntimeError("broken")


def list_types(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return sorted(entry.get_dagster_event().event_type_value for entry in instance.all_logs(run_id))


@pytest.fixture(scope="module")
def template(memory: Path) -> Path:
    """Return a home in which every key was asked for once."""
    folder = memory / "template"
    folder.mkdir()
    with open_instance(folder, is_kept=True) as instance:
        instance.add_dynamic_partitions("keys", KEYS)
        run_job(instance)
    return folder


@pytest.fixture
def home(template: Path) -> Iterator[Path]:
    """Return a copy of it."""
    folder = template.with_name("home")
    shutil.copytree(template, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def storage(home: Path) -> Iterator[KeptEventLogStorage]:
    storage = KeptEventLogStorage(str(home))
    yield storage
    storage.dispose()


EXPECTED = {
    key: AssetPartitionStatus.FAILED if key in SPOILT else AssetPartitionStatus.MATERIALIZED
    for key in KEYS
}


@pytest.mark.parametrize("is_kept", [True, False])
def test_both_classes_read_what_ours_has_written(home: Path, *, is_kept: bool) -> None:
    with open_instance(home, is_kept=is_kept) as instance:
        assert read_statuses(instance) == EXPECTED
        assert instance.has_asset_key(dg.AssetKey("prints"))


def test_both_classes_write_the_same_events(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned events stored at once are those that Dagster stores one by one."""
    types = []
    for is_kept, batch in ((True, "0"), (True, "7"), (False, "0")):
        monkeypatch.setenv(BATCH, batch)
        with open_instance(home, is_kept=is_kept) as instance:
            types.append(list_types(instance, run_job(instance)))
            assert read_statuses(instance) == EXPECTED

    assert types[0] == types[1] == types[2]
    assert types[0].count("ASSET_MATERIALIZATION_PLANNED") == len(KEYS)


def test_ours_goes_on_where_dagsters_class_has_begun(home: Path) -> None:
    with open_instance(home, is_kept=False) as instance:
        run_job(instance, KEYS[0], KEYS[1])

    with open_instance(home, is_kept=True) as instance:
        run_job(instance, KEYS[2], KEYS[3])
        records = instance.fetch_materializations(dg.AssetKey("prints"), limit=100).records

    assert [record.partition_key for record in records[:4]] == [KEYS[3], KEYS[2], KEYS[1], KEYS[0]]


def test_a_commit_waits_for_no_disk_and_no_database_is_opened_twice(
    storage: KeptEventLogStorage,
) -> None:
    with storage.index_connection() as connection:
        first = connection.connection.dbapi_connection
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    with storage.index_connection() as connection:
        assert connection.connection.dbapi_connection is first


def test_databases_of_old_runs_do_not_stay_open(home: Path, storage: KeptEventLogStorage) -> None:
    for number in range(3 * OPEN_SHARDS):
        assert not storage.get_records_for_run(f"run-{number}").records

    logs = list((home / "history" / "runs").glob("*.db-wal"))
    storage.dispose()
    assert len(logs) <= OPEN_SHARDS
    assert not list((home / "history" / "runs").glob("*.db-wal"))


def test_wipe_forgets_everything(home: Path, storage: KeptEventLogStorage) -> None:
    run_id = storage.get_all_run_ids()[0]
    assert storage.get_records_for_run(run_id).records

    storage.wipe()

    assert not storage.get_records_for_run(run_id).records
    own = SqliteEventLogStorage(str(home / "history" / "runs"))
    assert not own.has_asset_key(dg.AssetKey("prints"))


def test_an_error_within_a_connection_leaves_nothing(storage: KeptEventLogStorage) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        forget_and_fail(storage)

    assert storage.has_asset_key(dg.AssetKey("prints"))


def test_a_forked_process_opens_its_own_connections(home: Path) -> None:
    arguments = [sys.executable, "-W", "ignore", "-c", FORK, str(home)]

    assert subprocess.run(arguments, cwd=REPO_ROOT, check=False, timeout=60).returncode == 0
