import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    SmallLake,
    download_plan,
    plan_small_lake,
    publish_plan,
    write_text,
)
from smallcaps_assets_tests.stored_rows import list_data_files

KEY = "BCPC_2024-01-10"


def test_measure_lake_counts_what_lies_on_the_disk(lakehouse: Lakehouse) -> None:
    """L1: the summary counts files and receipts, not attempts."""
    figures = measure_lake(lakehouse)

    receipts = list(lakehouse.sessions.iter_receipts())
    files = list_data_files(lakehouse)
    assert figures.green_sessions == len(receipts) == SESSIONS
    assert figures.rows == sum(receipt.rows for receipt in receipts)
    # The share of a session in the bytes of its file is a whole number.
    size = sum(file.stat().st_size for file in files)
    assert figures.bytes == pytest.approx(size, abs=SESSIONS)
    segments = lakehouse.home.object_file("segments").rglob("*.parquet")
    assert figures.segments_bytes == sum(file.stat().st_size for file in segments)
    assert figures.content_hash == hash_lake(
        {receipt.key: receipt.content_hash for receipt in receipts}
    )


def test_measure_lake_sets_the_estimate_beside_what_landed(lakehouse: Lakehouse) -> None:
    figures = measure_lake(lakehouse)

    assert (figures.estimated_requests, figures.requests) == (3, 3)
    assert figures.bytes == pytest.approx(figures.estimated_bytes, rel=0.2)
    assert figures.coverage_ratio == 1
    assert figures.source == "emulator:seed=1"


def test_measure_lake_opens_the_ledger_once(small_lake: SmallLake, tmp_path: Path) -> None:
    """Whatever a report is made of, it reads it from one connection and passes it on."""
    small_lake.copy(tmp_path)
    program = f"""
import sys
from pathlib import Path
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse
opened = []
sys.addaudithook(lambda event, args: event == "sqlite3.connect" and opened.append(args))
measure_lake(make_lakehouse(Path({str(tmp_path / "data")!r}), "http://127.0.0.1:9"))
print(len(opened))
"""
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True)

    assert told.stdout == "1\n"


def test_measure_lake_tells_planned_from_unplanned_sessions(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """L10, L18: coverage is of the plan, whatever else lies in the lake."""
    write_text(tmp_path / "watchlist.csv", "ticker,date,events\nBCPC,2024-01-11,E6\n")
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)

    figures = measure_lake(lakehouse)

    assert (figures.planned_sessions, figures.green_sessions) == (3, 2)
    assert figures.unplanned_sessions == SESSIONS - 2
    assert figures.checks["planned_sessions_are_covered"].standing == "not met"


def test_measure_lake_shows_every_check(lakehouse: Lakehouse) -> None:
    before = measure_lake(lakehouse)
    audit_lake(lakehouse)

    after = measure_lake(dataclasses.replace(lakehouse))

    assert set(before.checks) == {audit.name for audit in AUDITS}
    assert before.checks["no_orphans"].standing == "unknown"
    assert (before.audit_age_h, before.audit_is_stale) == (None, True)
    assert {check.standing for check in after.checks.values()} == {"met"}
    assert (after.audit_age_h, after.audit_is_stale) == (0, False)


def test_measure_lake_of_a_plan_alone_proves_nothing(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = plan_small_lake(tmp_path, market_server.url)

    report = measure_lake(lakehouse)

    standings = {one.name: one.standing for one in report.criteria}
    assert standings.pop("coverage") == standings.pop("checks") == "not met"
    assert set(standings.values()) == {"unknown"}
    assert report.verdict == "do not expand"
    assert all(one.key in report.recommendation for one in report.missing)


def test_measure_lake_without_an_estimate_does_not_judge_by_one(lakehouse: Lakehouse) -> None:
    report = measure_lake(lakehouse)

    standings = {one.name: one.standing for one in report.criteria}
    assert report.estimates_made == 0
    assert (standings["size"], standings["metrics"]) == ("unknown", "unknown")


def test_measure_lake_calls_an_audit_stale_after_repair_and_download(
    small_lake: SmallLake, market_server: EmulatorServer, tmp_path: Path
) -> None:
    """The number of sessions is as before, and one of them nobody has looked at."""
    lakehouse = small_lake.copy(tmp_path, base_url=market_server.url)
    audit_lake(lakehouse)
    ticker, session_date = decode_key(KEY)
    lakehouse.sessions.quarantine(ticker, session_date, evidence={})
    lakehouse.ledger.record_failures([Failure(KEY, QUARANTINED, "sha256", "planted")])
    download_plan(lakehouse)

    report = measure_lake(lakehouse)

    damaged = next(one for one in report.criteria if one.name == "undamaged")
    assert report.stored_sessions == SESSIONS
    assert report.audit_is_stale
    assert (damaged.standing, report.damaged) == ("unknown", [])
    assert "1 session stored since" in damaged.reason


def test_measure_lake_does_not_know_hours_when_attempts_are_lost(lakehouse: Lakehouse) -> None:
    for file in lakehouse.layout.lake_dir.glob("ledger.sqlite*"):
        file.unlink()
    ensure_indexed(lakehouse)

    report = measure_lake(lakehouse)

    times = next(one for one in report.criteria if one.name == "time")
    assert (report.download_hours, times.standing) == (None, "unknown")
