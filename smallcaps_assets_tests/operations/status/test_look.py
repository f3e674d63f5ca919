import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from smallcaps_assets.core.progress.pace import Step, Work
from smallcaps_assets.core.states import STATES
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.ledger.pulse import Pulse, encode_pulse, parse_pulse
from smallcaps_assets.lake.ledger.rows import Attempt, Failure
from smallcaps_assets.lake.storage.processes import identify_process
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.look import count_partitions, cover, measure_status
from smallcaps_assets_tests.lake.ledger_factories import make_attempt
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    NOW,
    SESSIONS,
    SmallLake,
    make_lakehouse,
    publish_plan,
    write_text,
)

ADDED = "BCPC_2024-06-03"
ADDED_SESSIONS = 3


def minutes_later(lakehouse: Lakehouse, minutes: float) -> Lakehouse:
    """Return the lakehouse with a clock that shows some time after its sessions were stored."""
    return dataclasses.replace(lakehouse, clock=lambda: NOW + dt.timedelta(minutes=minutes))


@pytest.fixture
def open_lake(small_lake: SmallLake, tmp_path: Path) -> Iterator[Lakehouse]:
    """Return a lake whose plan wants three more sessions than it has."""
    lakehouse = small_lake.copy(tmp_path)
    text = (tmp_path / "watchlist.csv").read_text(encoding="utf-8")
    write_text(tmp_path / "watchlist.csv", f"{text}BCPC,2024-06-04,E6\n")
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)
    yield lakehouse
    lakehouse.ledger.close()


def beat(lakehouse: Lakehouse, **changes: object) -> Pulse:
    """Let this process say that it downloads what is missing, and return what it says."""
    process = identify_process()
    said = Pulse(
        process=str(process),
        pid=process.pid,
        host="host",
        run_id="abc",
        started_at=NOW,
        run_started_at=NOW,
        beat_at=NOW + dt.timedelta(minutes=2),
        stage="fetches",
        planned=Work(ADDED_SESSIONS, 1, 600),
        expected=Work(SESSIONS, 3, 1451),
        found=Work(SESSIONS, 3, 1451),
    )
    pulse = msgspec.structs.replace(said, **changes)
    lakehouse.ledger.record_pulse(pulse, Step(60.0, Work(SESSIONS, 3, 1451)))
    return pulse


def test_measure_status_without_a_plan_says_what_to_do(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")

    with pytest.raises(MissingPartitionError, match="run `smallcaps plan`"):
        measure_status(lakehouse)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made_by", ["nobody", "a plan"])
def test_measure_status_of_a_lake_that_lost_its_ledger_says_how_to_make_it(
    lakehouse: Lakehouse, made_by: str
) -> None:
    for file in lakehouse.layout.lake_dir.glob("ledger.sqlite*"):
        file.unlink()
    if made_by == "a plan":
        lakehouse.ledger.record_plan(lakehouse.tables.read_plan()[1])

    with pytest.raises(LedgerMismatchError, match=r"was lost.*`smallcaps reindex`"):
        measure_status(lakehouse)


def test_measure_status_of_a_finished_lake(lakehouse: Lakehouse) -> None:
    status = measure_status(lakehouse)

    with_trades = {file.key: file.rows > 0 for file in status.recent}
    assert len(with_trades) == 5
    assert all(rows or key == EMPTY_KEY for key, rows in with_trades.items())
    assert (status.partitions.done, status.partitions.left) == (SESSIONS, 0)
    assert (status.partitions.complete, status.partitions.empty) == (SESSIONS - 1, 1)
    assert (status.stored.rows, status.stored.requests) == (1451, 3)
    assert (status.download.state, status.download.is_running) == ("finished", False)
    assert status.disk.needed_bytes == 0
    assert status.disk.segments_bytes > status.stored.bytes
    assert status.forecast.plan_seconds == 0


def test_measure_status_covers_years_and_tickers(open_lake: Lakehouse) -> None:
    coverage = measure_status(open_lake).coverage

    assert [(year.year, year.planned, year.done) for year in coverage.years] == [(2024, 12, 9)]
    assert [ticker.ticker for ticker in coverage.tickers] == ["BCPC", "BCpC", "CON"]
    assert (coverage.tickers_planned, coverage.tickers_done) == (3, 2)


def test_measure_status_tells_rates_and_time_left(open_lake: Lakehouse) -> None:
    beat(open_lake)

    with open_lake.lock.hold("run abc", run_id="abc"):
        status = measure_status(minutes_later(open_lake, 2))

    assert (status.partitions.done, status.partitions.left) == (SESSIONS, ADDED_SESSIONS)
    assert status.rates.sessions_per_min == pytest.approx(SESSIONS / 2)
    assert status.rates.rows_per_min == pytest.approx(1451 / 2)
    assert (status.forecast.left_rows, status.forecast.basis) == (600, "pace")
    assert 0 < (status.forecast.run_seconds or 0) < 60


def test_measure_status_tells_no_rate_above_the_limit_of_the_run(open_lake: Lakehouse) -> None:
    """L53: a range that ended was counted with the requests of the minutes before."""
    open_lake.ledger.record_attempt(make_attempt("BCPC", requests=480))
    beat(open_lake, requests_per_minute=60.0)

    with open_lake.lock.hold("run abc", run_id="abc"):
        status = measure_status(minutes_later(open_lake, 2))

    assert status.rates.requests_limit_per_min == 60
    assert 0 < status.rates.requests_per_min <= 60


def test_measure_status_forgets_rates_after_some_minutes(open_lake: Lakehouse) -> None:
    status = measure_status(minutes_later(open_lake, 30))

    assert (status.rates.rows_per_min, status.rates.requests_per_min) == (0, 0)
    assert status.forecast.run_seconds is None


def test_measure_status_never_promises_more_than_the_limit_of_the_run_allows(
    open_lake: Lakehouse,
) -> None:
    beat(open_lake, planned=Work(ADDED_SESSIONS, 300, 600), requests_per_minute=3.0)

    with open_lake.lock.hold("run abc", run_id="abc"):
        status = measure_status(open_lake)

    assert status.forecast.run_seconds == 6_000
    assert status.rates.requests_limit_per_min == 3.0


def test_measure_status_counts_failures_by_kind(open_lake: Lakehouse) -> None:
    """L1: what failed is counted as failed."""
    date = dt.date(2024, 6, 3)
    open_lake.ledger.record_failures([Failure(ADDED, "failed", "payload", "cut", run_id="r")])
    open_lake.ledger.record_attempt(
        Attempt("BCPC", date, date, requests=4, run_id="r", kind="payload", message="cut body")
    )
    open_lake.ledger.record_counters("r", {"retry_rate_limited": 7})

    status = measure_status(minutes_later(open_lake, 2))

    assert (status.partitions.failed, status.partitions.left) == (1, ADDED_SESSIONS)
    assert (status.errors.failures, status.errors.retries) == ({"payload": 1}, {"rate_limited": 7})
    (error,) = status.errors.last
    assert (error.ticker, error.first_session, error.message) == ("BCPC", date, "cut body")


def test_measure_status_names_who_downloads(open_lake: Lakehouse) -> None:
    beat(open_lake)

    with open_lake.lock.hold("run abc", run_id="abc"):
        download = measure_status(minutes_later(open_lake, 2)).download

    assert (download.state, download.is_running, download.since) == ("running", True, NOW)
    assert download.holder.startswith("run abc (pid ")


def test_measure_status_of_a_lake_that_another_command_holds(open_lake: Lakehouse) -> None:
    with open_lake.lock.hold("smallcaps relocate"):
        download = measure_status(open_lake).download

    assert (download.state, download.is_running) == ("busy", False)
    assert "smallcaps relocate" in download.reason


def test_measure_status_does_not_take_a_killed_process_for_a_running_one(
    open_lake: Lakehouse,
) -> None:
    beat(open_lake, process="0123456789ab-7-7")

    download = measure_status(minutes_later(open_lake, 9)).download

    assert (download.state, download.is_running, download.is_well) == ("killed", False, False)
    assert "without a word 7 min 0 s ago" in download.reason


def test_measure_status_says_that_a_run_is_stuck_and_why(open_lake: Lakehouse) -> None:
    beat(
        open_lake,
        threads={"pause": 2},
        last_fault="unavailable",
        last_fault_text="503",
        beat_at=NOW + dt.timedelta(minutes=20),
    )

    with open_lake.lock.hold("run abc", run_id="abc"):
        download = measure_status(minutes_later(open_lake, 20)).download

    assert (download.state, download.is_well) == ("stuck", False)
    assert "the vendor fails: 2 threads pause" in download.reason


def test_measure_status_says_that_the_rest_does_not_fit(open_lake: Lakehouse) -> None:
    beat(open_lake, planned=Work(ADDED_SESSIONS, 1, 10**15))

    disk = measure_status(open_lake).disk

    assert disk.fits is False
    assert disk.margin_bytes == disk.free_bytes - disk.reserve_bytes - (disk.needed_bytes or 0)
    assert (disk.needed_bytes or 0) > 10**15


def test_a_pulse_of_an_earlier_version_is_read(open_lake: Lakehouse) -> None:
    """It had the costs that were fitted."""
    pulse = beat(open_lake)
    text = encode_pulse(pulse).removesuffix("}")

    assert parse_pulse(f'{text},"costs":{{"request_s":0.6,"row_s":2e-06}}}}') == pulse


@pytest.mark.parametrize("state", STATES)
def test_count_partitions_counts_every_state_once(state: str) -> None:
    parts = count_partitions({state: 7})

    assert parts.planned == parts.done + parts.left
    assert parts.planned + parts.not_yet_available == 7
    assert parts.complete + parts.empty == parts.done
    assert parts.failed <= parts.left


def test_cover_lists_the_tickers_with_most_left_first() -> None:
    cells = [("A", 2023, 4, 4), ("A", 2024, 4, 4), ("B", 2024, 9, 8), ("C", 2024, 2, 0)]

    coverage = cover(cells)

    assert [ticker.ticker for ticker in coverage.tickers] == ["C", "B", "A"]
    assert [(year.year, year.planned, year.done) for year in coverage.years] == [
        (2023, 4, 4),
        (2024, 15, 12),
    ]


def test_cover_of_many_tickers_is_bounded() -> None:
    cells = [(f"T{number:05d}", 2024, 5, number % 6) for number in range(6_405)]

    coverage = cover(cells)

    assert (len(coverage.tickers), coverage.tickers_planned) == (200, 6_405)
