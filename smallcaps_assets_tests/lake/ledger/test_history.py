"""What the ledger tells of all the time it knows: runs, hours, commits."""

import datetime as dt

import pytest

from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.operations.report.evidence import measure_requests
from smallcaps_assets.operations.report.history import gather_history
from smallcaps_assets_tests.lake.ledger_factories import (
    NOON,
    Clock,
    make_attempt,
    make_plan,
    make_receipt,
)

A1, A2 = "AAA_2024-03-14", "AAA_2024-03-15"


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    ledger.record_plan(make_plan(A1, A2))
    return ledger


def record_run(ledger: Ledger, clock: Clock, run_id: str, failures: int = 0) -> None:
    """Record a run of three attempts, half an hour between two of them."""
    for place in range(3):
        kind = "unavailable" if place < failures else ""
        ledger.record_attempt(make_attempt(run_id=run_id, kind=kind))
        clock.pass_time(minutes=30)


def test_runs_tell_their_times_and_what_was_answered(ledger: Ledger, clock: Clock) -> None:
    record_run(ledger, clock, "one", failures=1)
    clock.pass_time(days=1)
    record_run(ledger, clock, "two")

    runs = ledger.runs()

    assert runs["run_id"].to_list() == ["one", "two"]
    assert runs["requests"].to_list() == [6, 6]
    assert runs["answered_requests"].to_list() == [4, 6]
    assert (runs["last_at"] - runs["first_at"]).to_list() == [dt.timedelta(hours=1)] * 2


def test_attempts_by_hour_tell_failures_from_answers(ledger: Ledger, clock: Clock) -> None:
    record_run(ledger, clock, "one", failures=1)

    hours = ledger.attempts_by_hour()

    noon = NOON.replace(tzinfo=None)
    assert hours.rows() == [
        (noon, "", 1),
        (noon, "unavailable", 1),
        (noon + dt.timedelta(hours=1), "", 1),
    ]


def test_count_committed_since_counts_what_came_later(ledger: Ledger) -> None:
    before = ledger.newest_commit()
    ledger.record_receipts([make_receipt(A1), make_receipt(A2, committed_at=NOON.replace(hour=13))])

    assert (before, ledger.newest_commit()) == (None, NOON.replace(hour=13))
    assert [ledger.count_committed_since(NOON.replace(hour=hour)) for hour in (11, 12, 13)] == [
        2,
        1,
        0,
    ]


def test_count_untimed_counts_sessions_whose_attempts_are_lost(
    ledger: Ledger, clock: Clock
) -> None:
    record_run(ledger, clock, "run")
    ledger.record_receipts([make_receipt(A1), make_receipt(A2, run_id="lost")])

    assert ledger.count_untimed() == 1
    assert measure_requests(gather_history(ledger))["download_hours"] is None


def test_measure_pace_counts_no_pause_between_runs(ledger: Ledger, clock: Clock) -> None:
    record_run(ledger, clock, "one", failures=1)
    clock.pass_time(days=9)
    record_run(ledger, clock, "two")

    found = measure_requests(gather_history(ledger))

    names = ("runs", "requests", "answered_requests", "download_hours")
    assert [found[name] for name in names] == [2, 12, 10, 3.0]
    assert found["requests_per_minute"] == pytest.approx(12 / 180)


def test_measure_pace_of_nothing_is_unknown(ledger: Ledger) -> None:
    found = measure_requests(gather_history(ledger))

    names = ("runs", "requests", "download_hours", "requests_per_minute")
    assert [found[name] for name in names] == [0, 0, None, None]
