import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.status import measure_status
from smallcaps_assets.lake.ledger import Attempt, Failure
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SESSIONS,
    SmallLake,
    make_lakehouse,
    publish_plan,
    write_text,
)

ADDED = "BCPC_2024-06-03"


def minutes_later(lakehouse: Lakehouse, minutes: float) -> Lakehouse:
    """Return the lakehouse with a clock that shows some time after its sessions were stored."""
    return dataclasses.replace(lakehouse, clock=lambda: NOW + dt.timedelta(minutes=minutes))


def plan_more(lakehouse: Lakehouse, folder: Path) -> None:
    """Add three sessions of June to the plan."""
    text = (folder / "watchlist.csv").read_text(encoding="utf-8")
    write_text(folder / "watchlist.csv", f"{text}BCPC,2024-06-04,E6\n")
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)


def test_measure_status_without_a_plan_says_what_to_do(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")

    with pytest.raises(MissingPartitionError, match="run `smallcaps plan`"):
        measure_status(lakehouse)

    assert list(tmp_path.iterdir()) == []


def test_measure_status_of_a_finished_lake(small_lake: SmallLake, tmp_path: Path) -> None:
    status = measure_status(small_lake.copy(tmp_path))

    assert (status.done, status.left, status.holder) == (SESSIONS, 0, "")
    assert status.counts == {"complete": SESSIONS - 1, "empty": 1}
    assert (status.rows, status.requests, status.eta_h) == (1451, 3, None)
    assert status.coverage == [("BCPC", 2024, 3, 3), ("BCpC", 2024, 3, 3), ("CON", 2024, 3, 3)]


def test_measure_status_tells_rates_and_time_left(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path)
    plan_more(lakehouse, tmp_path)

    status = measure_status(minutes_later(lakehouse, 2))

    assert (status.done, status.left) == (SESSIONS, 3)
    assert status.sessions_per_min == pytest.approx(SESSIONS / 2, rel=1e-9)
    assert status.rows_per_min == pytest.approx(1451 / 2, rel=1e-9)
    assert status.eta_h == pytest.approx(3 / status.sessions_per_min / 60)


def test_measure_status_forgets_rates_after_some_minutes(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    plan_more(lakehouse, tmp_path)

    status = measure_status(minutes_later(lakehouse, 30))

    assert (status.rows_per_min, status.requests_per_min, status.eta_h) == (0, 0, None)


def test_measure_status_counts_failures_by_kind(small_lake: SmallLake, tmp_path: Path) -> None:
    """L1: what failed is counted as failed."""
    lakehouse = small_lake.copy(tmp_path)
    plan_more(lakehouse, tmp_path)
    date = dt.date(2024, 6, 3)
    lakehouse.ledger.record_failures([Failure(ADDED, "failed", "payload", "cut", run_id="r")])
    lakehouse.ledger.record_attempt(
        Attempt("BCPC", date, date, requests=4, run_id="r", kind="payload", message="cut body")
    )

    status = measure_status(minutes_later(lakehouse, 2))

    assert (status.counts["failed"], status.left) == (1, 3)
    assert status.errors == {"payload": 1}
    assert status.last_errors == ["BCPC 2024-06-03: payload: cut body"]


def test_measure_status_names_who_downloads(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path)

    with lakehouse.lock.hold("run abc"):
        holder = measure_status(lakehouse).holder

    assert holder.startswith("run abc (pid ")


def test_status_plain_is_ready_for_json(small_lake: SmallLake, tmp_path: Path) -> None:
    plain = measure_status(small_lake.copy(tmp_path)).plain()

    assert json.loads(json.dumps(plain, default=str))["window"] == 300
