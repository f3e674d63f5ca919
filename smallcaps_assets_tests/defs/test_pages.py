"""What the pages of the UI read from Dagster: verdicts of today, reasons, nothing stale."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.defs.instance.internals import find_target
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import (
    WATCHLIST_TEXT,
    make_lakehouse,
    write_text,
)


@pytest.fixture
def site(market_server: EmulatorServer, tmp_path: Path) -> Iterator[Site]:
    """Return a site that has downloaded its plan."""
    watchlist = write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    with open_site(lakehouse) as opened:
        assert opened.run("plan_pilot").success
        assert opened.download().success
        yield opened


def read_targets(site: Site) -> set[int | None]:
    """Return the materializations that the newest verdicts are about."""
    keys = [dg.AssetCheckKey(dg.AssetKey("trades"), audit.name) for audit in AUDITS]
    found = site.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = [record.evaluation for record in found.values()]
    targets = [e.target_materialization_data for e in evaluations if e is not None]
    return {target.storage_id if target else None for target in targets}


def test_verdicts_of_a_download_are_about_its_last_materialization(site: Site) -> None:
    (newest,) = site.instance.fetch_materializations(dg.AssetKey("trades"), limit=1).records

    assert read_targets(site) == {newest.storage_id}


def test_before_any_download_there_is_nothing_to_be_about() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert find_target(instance, dg.AssetKey("trades")) is None


def test_checks_executed_by_themselves_open_the_files(site: Site) -> None:
    checks = dg.AssetSelection.checks(
        dg.AssetCheckKey(dg.AssetKey("trades"), "files_are_undamaged"),
        dg.AssetCheckKey(dg.AssetKey("trades"), "size_is_as_planned"),
    )
    job = build_definitions(site.lakehouse).resolve_implicit_global_asset_job_def()
    result = job.get_subset(
        asset_check_selection=checks.resolve_checks(job.asset_layer.asset_graph)
    ).execute_in_process(instance=site.instance)

    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert found.keys() == {"files_are_undamaged", "size_is_as_planned"}
    assert "audit_age_h" not in found["files_are_undamaged"].metadata


def test_a_download_shows_the_catalog_as_built(site: Site) -> None:
    built = site.instance.get_latest_materialization_event(dg.AssetKey("lake_catalog"))

    assert built is not None
    assert built.asset_materialization is not None
    assert built.asset_materialization.metadata["path"].value == str(
        site.lakehouse.layout.catalog_file
    )


def test_the_open_month_says_why_it_is_not_green(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url)
    in_month = replace(lakehouse, clock=lambda: dt.datetime(2024, 2, 20, tzinfo=dt.UTC))
    with open_site(in_month) as site:
        result = site.run_range("refresh_reference", "2024-01-01", "2024-02-01")

        (record,) = site.instance.fetch_observations(dg.AssetKey("daily_bars"), limit=9).records

    observed = record.asset_observation
    assert result.success
    assert observed is not None
    assert (observed.partition, "2024-02 is open" in str(observed.description)) == (
        "2024-02-01",
        True,
    )
