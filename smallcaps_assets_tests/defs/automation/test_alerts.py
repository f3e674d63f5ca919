"""The sensor of alerts: when it is on, and what it says of a failed run."""

import json
from pathlib import Path

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.defs.automation.alerts import build_alert_sensor
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse


def evaluate(site: Site, result: dg.ExecuteInProcessResult) -> str:
    """Return what the sensor says after a failed run."""
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failure",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=site.instance,
        dagster_run=result.dagster_run,
        resources={"lakehouse": site.lakehouse},
    ).for_run_failure()
    skipped = build_alert_sensor(site.lakehouse)(context)
    assert isinstance(skipped, dg.SkipReason)
    return skipped.skip_message or ""


def make(tmp_path: Path, server: EmulatorServer, **settings: object) -> Lakehouse:
    return make_lakehouse(tmp_path / "data", server.url, **settings)


def test_an_alert_says_why_the_run_failed(tmp_path: Path, market_server: EmulatorServer) -> None:
    log = tmp_path / "alerts.jsonl"
    with open_site(make(tmp_path, market_server, alert_log=log)) as site:
        result = site.run("download_missing", {"dagster/partition": "BCPC_2024-01-10"})

        said = evaluate(site, result)

    alert = json.loads(log.read_text())
    assert said == "log: sent"
    assert (alert["job"], alert["status"]) == ("download_missing", "FAILURE")
    assert alert["message"]


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, dg.DefaultSensorStatus.STOPPED),
        ({"alert_log": "alerts.jsonl"}, dg.DefaultSensorStatus.RUNNING),
        ({"alert_webhook": "http://127.0.0.1:9/"}, dg.DefaultSensorStatus.RUNNING),
    ],
)
def test_the_settings_turn_the_sensor_on(
    tmp_path: Path,
    market_server: EmulatorServer,
    settings: dict[str, object],
    status: dg.DefaultSensorStatus,
) -> None:
    definitions = build_definitions(make(tmp_path, market_server, **settings))

    sensor = definitions.resolve_sensor_def("alert_on_failure")

    assert sensor.default_status is status
