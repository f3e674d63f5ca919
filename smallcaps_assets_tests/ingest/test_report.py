import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from smallcaps_assets.core.tape import hash_lake
from smallcaps_assets.emulator import EmulatorServer
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.audit import audit_lake
from smallcaps_assets.ingest.last_audit import AUDITS
from smallcaps_assets.ingest.report import measure_lake
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    SmallLake,
    build_small_lake,
    make_lakehouse,
    publish_plan,
    write_text,
)


def test_measure_lake_counts_what_lies_on_the_disk(small_lake: SmallLake, tmp_path: Path) -> None:
    """L1: the summary counts files and receipts, not attempts."""
    lakehouse = small_lake.copy(tmp_path)

    figures = measure_lake(lakehouse)

    receipts = list(lakehouse.store.iter_receipts())
    files = lakehouse.layout.lake_dir.rglob("trades.parquet")
    assert figures["green_sessions"] == len(receipts) == SESSIONS
    assert figures["rows"] == sum(receipt.rows for receipt in receipts)
    assert figures["bytes"] == sum(file.stat().st_size for file in files)
    assert figures["content_hash"] == hash_lake(
        {receipt.key: receipt.content_hash for receipt in receipts}
    )


def test_measure_lake_sets_the_estimate_beside_what_landed(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    figures = measure_lake(small_lake.copy(tmp_path))

    assert (figures["estimated_requests"], figures["requests"]) == (3, 3)
    assert figures["bytes"] == pytest.approx(figures["estimated_bytes"], rel=0.2)
    assert figures["coverage_ratio"] == 1
    assert figures["source"] == "emulator:seed=1"


def test_measure_lake_gives_equal_content_an_equal_hash(
    small_lake: SmallLake, market_server: EmulatorServer, tmp_path: Path
) -> None:
    other = build_small_lake(tmp_path, market_server.url)

    first = measure_lake(small_lake.copy(tmp_path / "copy"))["content_hash"]

    assert measure_lake(other)["content_hash"] == first


def test_measure_lake_tells_planned_from_unplanned_sessions(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    """L10, L18: coverage is of the plan, whatever else lies in the lake."""
    lakehouse = small_lake.copy(tmp_path)
    write_text(tmp_path / "watchlist.csv", "ticker,date,events\nBCPC,2024-01-11,E6\n")
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)

    figures = measure_lake(lakehouse)

    assert (figures["planned_sessions"], figures["green_sessions"]) == (3, 2)
    assert figures["unplanned_sessions"] == SESSIONS - 2
    assert not figures["checks"]["planned_sessions_are_covered"]


def test_measure_lake_shows_every_check(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path)
    before = measure_lake(lakehouse)["checks"]
    audit_lake(lakehouse)

    after = measure_lake(dataclasses.replace(lakehouse))["checks"]

    assert set(before) == {audit.name for audit in AUDITS}
    assert not before["no_orphans"]
    assert all(after.values())


def test_measure_lake_is_ready_for_json(small_lake: SmallLake, tmp_path: Path) -> None:
    figures = measure_lake(small_lake.copy(tmp_path))

    text = json.loads(json.dumps(figures, default=str))["last_commit_at"]
    assert dt.datetime.fromisoformat(text).tzinfo is not None


def test_measure_lake_needs_a_plan(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="smallcaps plan"):
        measure_lake(make_lakehouse(tmp_path, "http://127.0.0.1:9"))
