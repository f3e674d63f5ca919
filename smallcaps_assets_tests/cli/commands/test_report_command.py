"""`smallcaps report`: what it says of a lake as it is, from the terminal."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.cli.cli_factories import User, check_refusal
from smallcaps_assets_tests.cli.homes import find_file
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    WATCHLIST_TEXT,
    open_memory,
    write_text,
)

GAP, DAMAGED = "CON_2024-01-30", "BCPC_2024-01-10"
CRITERIA = ("coverage", "size", "time", "metrics", "undamaged", "checks")


def read_report(user: User) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(user.run("report", "--json").out)
    return report


def standings(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["standing"] for one in report["criteria"]}


@pytest.fixture(scope="module")
def broken_lake(small_market: Market) -> Iterator[Path]:
    """Return a data folder with a gap, and with a file that was damaged after its download."""
    with open_memory() as folder, EmulatorServer(small_market) as server:
        write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
        server.faults = [Fault("cut_json", ticker="CON", endpoint="trades")]
        user = User(folder, {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_BASE_URL": server.url})
        assert user.run("download", "--watchlist", "watchlist.csv").code == 1
        os.truncate(find_file(user, DAMAGED)[0], 1_000)
        assert user.run("audit", "--deep").code == 1
        yield user.data_dir


@pytest.fixture
def broken(user: User, broken_lake: Path) -> User:
    """Return a user whose download left a gap, and on whose disk a file was damaged after it."""
    shutil.copytree(broken_lake, user.data_dir)
    return user


def test_report_of_a_gap_and_a_damaged_file_names_both(broken: User) -> None:
    """L1, L17."""
    shown, report = broken.run("report"), read_report(broken)

    for text in (shown.text, report["recommendation"]):
        assert "do not expand" in text
        assert GAP in text
        assert DAMAGED in text
    assert report["verdict"] == "do not expand"
    assert standings(report)["coverage"] == standings(report)["undamaged"] == "not met"
    assert {one["key"] for one in report["missing"]} >= {GAP}
    assert {one["kind"] for one in report["missing"]} == {"payload"}
    sessions = [one for one in report["damaged"] if one["ticker"]]
    damaged = {f"{one['ticker']}_{one['session_date']}" for one in sessions}
    assert damaged == find_file(broken, DAMAGED)[1]


def test_page_of_a_gap_and_a_damaged_file_names_both(broken: User) -> None:
    finished = broken.run("report", "--html")

    page = Path(finished.out.strip()).read_text(encoding="utf-8")
    assert (finished.code, finished.err) == (0, "")
    assert "do not expand" in page
    assert min(page.count(GAP), page.count(DAMAGED)) >= 2


def test_report_of_a_clean_run_says_what_is_met_with_numbers(filled: User) -> None:
    filled.run("audit", "--deep")

    shown, report = filled.run("report"), read_report(filled)

    assert shown.code == 0
    assert tuple(standings(report)) == CRITERIA
    assert standings(report)["coverage"] == standings(report)["undamaged"] == "met"
    assert "100.0 %" in shown.text
    assert f"{SESSIONS} of {SESSIONS} planned sessions are complete or empty" in shown.text
    assert "0 damaged" in shown.text
    assert report["verdict"] == ("expand" if set(standings(report).values()) == {"met"} else "")


def test_report_before_an_audit_is_not_proven_yet(filled: User) -> None:
    """L17: unknown is never met."""
    report = read_report(filled)

    assert report["verdict"] == "do not expand"
    assert standings(report)["undamaged"] == "unknown"
    assert "not proven yet" in filled.run("report").text


def test_report_html_is_seen_by_dagster(filled: User) -> None:
    filled.run("report", "--html")

    reports = {path.name for path in (filled.data_dir / "reports").iterdir()}
    written = json.loads((filled.data_dir / "reports" / "report.json").read_bytes())
    assert reports >= {"report.html", "report.json", "intraday_trades.parquet"}
    assert written["content_hash"] == read_report(filled)["content_hash"]


def test_report_of_nothing_says_what_to_do_and_makes_nothing(user: User) -> None:
    for option in ("--json", "--html"):
        check_refusal(user.run("report", option), 1, "smallcaps plan")

    assert not user.data_dir.exists()


def test_report_of_a_lost_ledger_asks_for_reindex(filled: User) -> None:
    for file in (filled.data_dir / "lake").glob("ledger.sqlite*"):
        file.unlink()

    for option in ("--json", "--html"):
        check_refusal(filled.run("report", option), 1, "smallcaps reindex")
    assert filled.run("reindex").code == 0
    assert filled.run("report").code == 0


def test_report_takes_the_budget_as_its_limit(filled: User) -> None:
    tight = filled.run("report", "--json", SMALLCAPS_DISK_BUDGET_GB="0.000001")

    criteria = {one["name"]: one for one in json.loads(tight.out)["criteria"]}
    assert criteria["size"]["standing"] == "not met"
    assert "SMALLCAPS_DISK_BUDGET_GB" in criteria["size"]["remedy"]


def test_report_survives_a_lake_whose_files_are_gone(filled: User) -> None:
    find_file(filled, DAMAGED)[0].unlink()
    filled.run("audit", "--deep")

    finished = filled.run("report", "--html")

    page = Path(finished.out.strip()).read_text(encoding="utf-8")
    assert finished.code == 0
    assert "missing_file" in page
    assert "do not expand" in page
