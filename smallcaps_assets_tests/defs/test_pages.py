"""What the pages of the UI read from Dagster: verdicts of today, reasons, nothing stale."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.defs.run_factories import Site, open_site, read_latest_checks
from smallcaps_assets_tests.lakehouse_factories import (
    WATCHLIST_TEXT,
    make_lakehouse,
    write_text,
)


@pytest.fixture(scope="module")
def site(small_market: Market, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a site that has downloaded its plan."""
    folder = tmp_path_factory.mktemp("pages")
    watchlist = write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
    with EmulatorServer(small_market) as server:
        lakehouse = make_lakehouse(folder / "data", server.url, watchlist=watchlist)
        with open_site(lakehouse) as opened:
            assert opened.run("plan_pilot").success
            assert opened.download().success
            yield opened


def test_checks_beside_a_download_open_no_file_and_are_about_its_last_materialization(
    site: Site,
) -> None:
    """Checks of a backfill run read the ledger, and say that no file was opened yet.

    L27: nothing was compared with a bar either, because none is stored: that is yellow.
    """
    (newest,) = site.instance.fetch_materializations(dg.AssetKey("trades"), limit=1).records

    checks = read_latest_checks(site.instance)

    open_ones = {audit.name for audit in AUDITS if audit.is_deep} | {"bars_prove_sessions"}
    assert {name for name, check in checks.items() if not check.passed} == open_ones
    assert {checks[name].severity for name in open_ones} == {dg.AssetCheckSeverity.WARN}
    targets = [check.target_materialization_data for check in checks.values()]
    assert {target and target.storage_id for target in targets} == {newest.storage_id}
    assert len(checks) == len(AUDITS)


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
    assert site.run("refresh_catalog").success


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
