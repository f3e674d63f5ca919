from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.checks.trades import judge_severity
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.defs.run_factories import (
    Site,
    open_site,
    read_checks,
    read_latest_checks,
)
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    WATCHLIST_TEXT,
    make_lakehouse,
    write_text,
)
from smallcaps_assets_tests.stored_rows import damage_rows

NAMES: Final = {audit.name for audit in AUDITS}
DEEP: Final = {audit.name for audit in AUDITS if audit.is_deep}


def offenders(check: dg.AssetCheckEvaluation) -> list[dict[str, object]]:
    """Return the rows of the table that a check shows."""
    table = check.metadata["offenders"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_audit_lake_evaluates_every_audit_with_numbers(site: Site) -> None:
    result = site.run("audit_lake")

    checks = read_checks(result)
    assert result.success
    assert set(checks) == NAMES
    assert all(check.passed for check in checks.values())
    assert checks["files_are_undamaged"].metadata["checked"].value == SESSIONS
    assert checks["volume_matches_the_bar"].metadata["volume_residual_ratio"].value == 0


def test_audit_lake_shows_the_damaged_session_in_a_table(site: Site) -> None:
    """L17: the check of the asset is red, and its table says which session."""
    damage_rows(site.lakehouse, "CON_2024-01-30")

    checks = read_checks(site.run("audit_lake"))

    damaged = checks["files_are_undamaged"]
    assert (damaged.passed, damaged.severity) == (False, dg.AssetCheckSeverity.ERROR)
    # A file of many sessions that is damaged has no ticker of its own.
    named = {(row["ticker"], row["session_date"]) for row in offenders(damaged) if row["ticker"]}
    assert named == {("CON", "2024-01-30")}


def test_checks_after_a_failed_download_show_what_is_missing(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """L1: a partial download is red, and the offenders are the open sessions."""
    watchlist = write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)
    market_server.faults = [Fault("404", ticker="CON", endpoint="trades")]
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    with open_site(lakehouse) as site:
        site.run("plan_pilot")
        site.download()

        covered = read_latest_checks(site.instance)["planned_sessions_are_covered"]

    assert not covered.passed
    assert covered.metadata["green"].value == SESSIONS - 3
    assert {row["ticker"] for row in offenders(covered)} == {"CON"}


@pytest.mark.parametrize(
    ("numbers", "severity"),
    [
        ({"never_audited": 1}, dg.AssetCheckSeverity.WARN),
        ({"damages": 1}, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_judge_severity_tells_the_unknown_from_the_wrong(
    numbers: dict[str, float | int | str], severity: dg.AssetCheckSeverity
) -> None:
    verdict = Verdict(passed=False, summary="", numbers=numbers)

    assert judge_severity(verdict) is severity
