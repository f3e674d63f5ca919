"""L49: estimates that hold, requests that pieces and repairs do not spoil, and the way to green."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.progress.expansion import Standing
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.budget.estimate_history import read_estimates, record_estimate
from smallcaps_assets.ingest.budget.estimates import PlanEstimate, estimate_lake, estimate_numbers
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets.operations.report.document import ReportDocument
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets.operations.status.look import measure_status
from smallcaps_assets_tests.lakehouse_factories import (
    make_settings,
    planned_keys,
    refresh_due_bars,
)
from smallcaps_assets_tests.stored_rows import damage_rows

TICKERS: Final = "BCPC,BRK.A,CON"
PIECES: Final = 8


def plan(folder: Path, url: str, last: str = "2024-02-29") -> Lakehouse:
    """Plan every session of some tickers, and keep the estimate, as `smallcaps plan` does."""
    folder.mkdir(exist_ok=True)
    settings = make_settings(
        folder,
        url,
        plan_mode="sessions",
        plan_tickers=TICKERS,
        first_session="2024-01-02",
        last_session=last,
    )
    lakehouse = Lakehouse(settings)
    refresh_due_bars(lakehouse)
    assert make_plan(lakehouse).verdict.passed
    ensure_indexed(lakehouse)
    lakehouse.ledger.record_plan(lakehouse.tables.read_plan()[1])
    record_estimate(lakehouse.tables, estimate_lake(lakehouse), lakehouse.clock())
    return lakehouse


def download(lakehouse: Lakehouse, *pieces: list[str]) -> None:
    """Download keys in runs of their own."""
    for number, keys in enumerate(pieces):
        backfill = Backfill(lakehouse, run_id=f"{keys[0]}/{number}")
        with backfill.held(wait_s=0):
            list(backfill.run(keys))


def cut(keys: list[str]) -> list[list[str]]:
    """Cut keys by date in pieces, as `download --to` does."""
    ordered = sorted(keys, key=lambda key: key.rpartition("_")[2])
    size = -(-len(ordered) // PIECES)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def find(report: ReportDocument, name: str) -> tuple[str, str]:
    """Return standing and reason of a criterion."""
    return next((one.standing, one.reason) for one in report.criteria if one.name == name)


def exaggerate(lakehouse: Lakehouse) -> PlanEstimate:
    """Return an estimate by three times what a trade and a file cost."""
    found = estimate_lake(lakehouse)
    costs = found.calibration
    wrong = dataclasses.replace(
        costs, bytes_per_trade=3 * costs.bytes_per_trade, file_bytes=3 * costs.file_bytes
    )
    return dataclasses.replace(found, calibration=wrong)


def test_eight_pieces_spoil_no_estimate(market_server: EmulatorServer, tmp_path: Path) -> None:
    """L49: eight small backfills were called 80 % off in requests, forever."""
    lakehouse = plan(tmp_path, market_server.url)
    download(lakehouse, *cut(planned_keys(lakehouse)))

    report = measure_lake(lakehouse)

    first = read_estimates(lakehouse.layout, lakehouse.fs)[0]
    assert report.bytes == pytest.approx(first.bytes_stored, rel=0.10)
    assert report.requests_by_purpose["plan"] == first.requests == 3
    assert report.requests_by_purpose["resume"] == report.answered_requests - 3 > 3
    assert find(report, "metrics")[0] == Standing.MET
    total = report.estimate_against_reality.total
    assert (total.requests, total.estimated_requests) == (3, 3)


def test_a_repair_and_a_plan_that_grew_are_counted_apart(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """L49: what is asked for damage, or to go on, is none of the plan's requests."""
    lakehouse = plan(tmp_path, market_server.url, "2024-01-31")
    keys = planned_keys(lakehouse)
    download(lakehouse, keys)
    damage_rows(lakehouse, keys[3])
    with lakehouse.writing("repair", 0.0):
        assert repair_lake(lakehouse).keys == [keys[3]]
    download(lakehouse, [keys[3]])

    grown = plan(tmp_path, market_server.url, "2024-02-29")
    download(grown, planned_keys(grown))

    report = measure_lake(grown)
    assert report.requests_by_purpose == {"plan": 3, "resume": 3, "repair": 1, "again": 0}
    assert find(report, "metrics")[0] == Standing.MET


def test_a_wrong_estimate_is_red_and_a_new_one_lifts_it(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """L49: "run plan for an estimate by what landed" changed nothing."""
    lakehouse = plan(tmp_path, market_server.url)
    record_estimate(lakehouse.tables, exaggerate(lakehouse), lakehouse.clock())
    download(lakehouse, planned_keys(lakehouse))
    before = measure_lake(lakehouse)

    record_estimate(lakehouse.tables, estimate_lake(lakehouse), lakehouse.clock())
    after = measure_lake(lakehouse)

    standing, reason = find(before, "metrics")
    assert standing == Standing.NOT_MET
    assert reason.startswith("what landed of what was estimated before it landed")
    assert "`smallcaps plan`" in before.recommendation
    standing, reason = find(after, "metrics")
    assert standing == Standing.MET
    assert "was made by what landed, so each half of" in reason
    assert estimate_lake(lakehouse).calibrated.bytes_stored == pytest.approx(
        lakehouse.ledger.totals().bytes, rel=0.02
    )


def test_a_new_estimate_lifts_nothing_where_it_is_no_better(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """L49: a verdict that any new plan lifts would be none."""
    lakehouse = plan(tmp_path, market_server.url, "2024-02-15")
    keys = planned_keys(lakehouse)
    download(lakehouse, keys[: len(keys) // 2])
    record_estimate(lakehouse.tables, exaggerate(lakehouse), lakehouse.clock())
    download(lakehouse, keys[len(keys) // 2 :])

    standing, reason = find(measure_lake(lakehouse), "metrics")

    assert standing == Standing.NOT_MET
    assert "that landed after the newest estimate" in reason


def test_one_number_for_one_thing(market_server: EmulatorServer, tmp_path: Path) -> None:
    """L49: plan, metadata, report and status tell the same of the same plan."""
    lakehouse = plan(tmp_path, market_server.url)
    keys = planned_keys(lakehouse)
    download(lakehouse, keys[: len(keys) // 3])
    record_estimate(lakehouse.tables, estimate_lake(lakehouse), lakehouse.clock())

    estimate, report = estimate_lake(lakehouse), measure_lake(lakehouse)
    status = measure_status(lakehouse)

    missing: Estimate = estimate.remaining
    numbers: Mapping[str, object] = estimate_numbers(estimate)
    assert (report.missing_bytes, report.missing_bytes_on_disk, report.missing_requests) == (
        missing.bytes_stored,
        missing.bytes_on_disk,
        missing.requests,
    )
    assert numbers["missing_bytes_on_disk"] == missing.bytes_on_disk == status.disk.needed_bytes
    assert report.estimated_bytes == numbers["bytes_stored"] == estimate.calibrated.bytes_stored
    assert status.forecast.left_requests == missing.requests
    assert status.forecast.plan_seconds == pytest.approx(3_600 * missing.hours, rel=0.01)
    assert report.missing_hours == pytest.approx(missing.hours)
