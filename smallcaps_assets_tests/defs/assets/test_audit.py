"""The report in Dagster: what its metadata show, and when it is made by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from msgspec.structs import replace

from smallcaps_assets.defs.assets.audit import describe_report, download_report
from smallcaps_assets.defs.automation.sensors import report_changes
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, make_lakehouse


def materialize(site: Site) -> Mapping[str, Any]:
    """Return the values of the metadata of a report."""
    result = dg.materialize(
        [download_report], instance=site.instance, resources={"lakehouse": site.lakehouse}
    )
    event = result.asset_materializations_for_node("download_report")[0]
    return {name: value.value for name, value in event.metadata.items()}


def evaluate(site: Site, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        instance=site.instance, cursor=cursor, resources={"lakehouse": site.lakehouse}
    )
    found = report_changes(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_the_report_opens_from_its_metadata(site: Site) -> None:
    shown = materialize(site)

    page = site.lakehouse.layout.report_page
    assert shown["page"] == page.as_uri()
    assert shown["page_path"] == str(page)
    assert page.is_file()
    assert Path(shown["figures_path"]).is_file()
    assert shown["stored_sessions"] == SESSIONS
    assert shown["summary"].startswith("**do not expand**: do not expand yet")
    assert "data:image/png;base64," in shown["summary"]


def test_the_summary_holds_no_html_of_others(site: Site) -> None:
    report = measure_lake(site.lakehouse)
    evil = replace(report, recommendation="<img src=x> | `code`")

    summary = describe_report(evil, "")

    assert "&lt;img src=x&gt; \\| \\`code\\`" in summary
    assert "<img" not in summary


def test_report_changes_asks_once_for_each_state(site: Site) -> None:
    first = evaluate(site)
    assert isinstance(first, dg.SensorResult)
    assert len(first.run_requests or []) == 1

    again = evaluate(site, first.cursor)
    audit_lake(site.lakehouse)
    audited = evaluate(site, first.cursor)

    assert isinstance(again, dg.SkipReason)
    assert isinstance(audited, dg.SensorResult)
    assert audited.cursor != first.cursor


def test_report_changes_waits_for_a_download(site: Site) -> None:
    with site.lakehouse.lock.hold("somebody", 0):
        found = evaluate(site)

    assert isinstance(found, dg.SkipReason)
    assert "waits for" in (found.skip_message or "")


def test_report_changes_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    with open_site(make_lakehouse(tmp_path / "data", "http://127.0.0.1:9")) as opened:
        found = evaluate(opened)

    assert isinstance(found, dg.SkipReason)
    assert "smallcaps plan" in (found.skip_message or "")
