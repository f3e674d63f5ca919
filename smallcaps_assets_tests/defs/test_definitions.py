"""The code location: what is in it, what it hangs on, and what it refuses."""

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.defs.assets.ticks import NO_WAIT_TAG
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.defs.defs_factories import publish
from smallcaps_assets_tests.defs.run_factories import (
    QUIET,
    RANGE_END,
    RANGE_START,
    Site,
    describe_failures,
    find_failures,
    open_site,
)
from smallcaps_assets_tests.lakehouse_factories import (
    REPO_ROOT,
    SmallLake,
    make_lakehouse,
)

LINEAGE: Final = {
    "daily_bars": set(),
    "splits": set(),
    "universe": set(),
    "watchlist": {"daily_bars", "splits", "universe"},
    "pilot_watchlist": {"watchlist"},
    "event_window_plan": {"pilot_watchlist"},
    "download_estimate": {"event_window_plan"},
    "download_queue": {"event_window_plan", "download_estimate"},
    "trades": {"download_queue"},
    "universe_plan": {"universe", "daily_bars"},
    "universe_queue": {"universe_plan"},
    "universe_trades": {"universe_queue"},
    "lake_catalog": {"trades", "daily_bars", "watchlist", "event_window_plan"},
    "download_report": {"trades", "lake_catalog"},
    "minute_bars": {"trades"},
    "information_bars": {"trades", "daily_bars", "splits"},
    "bar_features": {"minute_bars", "daily_bars", "splits"},
    "intraday_events": {"pilot_watchlist", "daily_bars", "splits", "trades", "minute_bars"},
    "event_features": {"intraday_events", "minute_bars", "daily_bars", "splits"},
    "event_outcomes": {"intraday_events", "daily_bars", "splits"},
    "labels": {"intraday_events", "splits", "trades"},
}


@pytest.fixture(scope="module")
def definitions(small_lake: SmallLake) -> dg.Definitions:
    """Return the code location of a lakehouse on the emulated market."""
    return build_definitions(make_lakehouse(small_lake.folder / "data", small_lake.url))


@pytest.fixture
def site(market_server: EmulatorServer, tmp_path: Path) -> Iterator[Site]:
    """Return a site without a plan."""
    lakehouse = make_lakehouse(
        tmp_path / "data",
        market_server.url,
        source="vendor",
        first_session=dt.date(2024, 1, 2),
    )
    with open_site(lakehouse) as opened:
        yield opened


def plan(site: Site, keys: list[str]) -> None:
    """Publish a plan of these keys, and register it."""
    publish(site.lakehouse, keys)
    site.instance.add_dynamic_partitions(PLANNED_SET, keys)


def test_lineage_of_the_assets(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    lineage = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }

    assert lineage == LINEAGE


def test_blocking_checks_guard_what_is_published(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]

    assert {spec.name for spec in specs if spec.blocking} >= {
        "watchlist_is_publishable",
        "pilot_is_publishable",
        "plan_is_publishable",
    }


def test_daily_bars_are_months_from_the_first_one_needed(definitions: dg.Definitions) -> None:
    months = definitions.resolve_assets_def("daily_bars").partitions_def

    assert isinstance(months, dg.MonthlyPartitionsDefinition)
    keys = months.get_partition_keys(current_time=dt.datetime(2024, 3, 5, tzinfo=dt.UTC))
    assert (keys[0], "2024-02-01" in keys) == ("2023-01-01", True)


def test_workspace_names_the_code_location() -> None:
    text = (REPO_ROOT / "workspace.yaml").read_text(encoding="utf-8")

    assert "module_name: smallcaps_assets.definitions\n" in text
    assert "location_name: smallcaps_assets\n" in text


def test_the_code_location_loads_without_key_source_or_folder(tmp_path: Path) -> None:
    code = "from smallcaps_assets.definitions import defs; print(defs.resolve_asset_graph())"

    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPO_ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (finished.returncode, finished.stderr) == (0, "")
    assert not (tmp_path / "data").exists()


def test_trades_refuses_an_ephemeral_instance(small_lake: SmallLake, tmp_path: Path) -> None:
    """What is finished must outlive the process; the message says what to export."""
    lakehouse = small_lake.copy(tmp_path)
    job = build_definitions(lakehouse).resolve_job_def("download_missing")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(PLANNED_SET, ["BCPC_2024-01-10"])

        result = job.execute_in_process(
            instance=instance,
            partition_key="BCPC_2024-01-10",
            raise_on_error=False,
            run_config=QUIET,
        )

    home = lakehouse.layout.dagster_dir
    assert not result.success
    assert f"export DAGSTER_HOME={home}" in describe_failures(result)


def test_trades_refuses_a_range_that_holds_no_key(site: Site) -> None:
    """A reversed range would end well without doing anything."""
    keys = ["BCPC_2024-01-10", "BCPC_2024-01-11"]
    plan(site, keys)

    result = site.run_range("download_missing", keys[1], keys[0])

    assert not result.success
    assert "the partition range holds no key" in describe_failures(result)


def test_a_failing_session_is_red_with_its_reason_and_the_rest_green(
    site: Site, market_server: EmulatorServer
) -> None:
    """L12: a bad session fails alone."""
    keys = ["BCPC_2024-01-10", "CON_2024-01-10"]
    plan(site, keys)
    market_server.faults = [Fault("cut_json", ticker="CON")]

    result = site.download()

    (record,) = site.instance.fetch_observations(dg.AssetKey("trades"), limit=9).records
    observed = record.asset_observation
    assert observed is not None
    (failure,) = find_failures(result)
    assert failure.description == "1 fetched; 0 reused; 1 failed (1 payload)"
    assert failure.metadata["failures_by_kind"].value == {"payload": 1}
    assert observed.partition == "CON_2024-01-10"
    assert observed.metadata["kind"].value == "payload"
    assert site.lakehouse.ledger.states(keys) == {keys[0]: "complete", keys[1]: "failed"}


def test_a_run_of_the_ui_waits_for_the_download_that_holds_the_lake(site: Site) -> None:
    keys = ["BCPC_2024-01-10"]
    plan(site, keys)
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with LakeLock(site.lakehouse.layout.lock_file).hold("run abc"):
            held.set()
            ended.wait(0.5)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        held.wait()
        result = site.download()

    assert result.success
    assert site.lakehouse.ledger.states(keys) == {keys[0]: "complete"}


def test_a_run_of_a_terminal_refuses_a_held_lake_and_names_the_holder(site: Site) -> None:
    keys = ["BCPC_2024-01-10"]
    plan(site, keys)
    tags = {RANGE_START: keys[0], RANGE_END: keys[0], NO_WAIT_TAG: "true"}

    with LakeLock(site.lakehouse.layout.lock_file).hold("run abc"):
        result = site.run("download_missing", tags)

    assert not result.success
    assert f"run abc (pid {os.getpid()}" in describe_failures(result)


def test_a_month_that_lacks_a_session_is_red_with_its_reason(
    site: Site, market_server: EmulatorServer
) -> None:
    body = b'{"status": "OK", "queryCount": 0, "resultsCount": 0, "adjusted": false}'
    lacking = dt.date(2024, 2, 15)
    market_server.faults = [Fault(endpoint="grouped", date=lacking, body=body)]

    result = site.run_range("refresh_reference", "2024-01-01", "2024-02-01")

    months = site.instance.get_materialized_partitions(dg.AssetKey("daily_bars"))
    assert "2024-02: no bars for 1 session, first 2024-02-15" in describe_failures(result)
    assert months == {"2024-01-01"}
