"""What a download says of itself while it works, and when it ends in each way."""

import dataclasses
import datetime as dt
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from smallcaps_assets.core.progress.pace import Work
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.heartbeat import Heartbeat
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.ingest.ticks.workload import Workload
from smallcaps_assets.lake.ledger.pulse import Pulse
from smallcaps_assets.lake.ledger.writer import tell_time
from smallcaps_assets.lake.storage.processes import identify_process
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    plan_small_lake,
    planned_keys,
)

MONDAY, TUESDAY, FRIDAY = (dt.date(2024, 6, day) for day in (3, 4, 7))


@pytest.fixture
def planned(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lake whose plan is published, and that has nothing yet."""
    lakehouse = plan_small_lake(tmp_path, market_server.url)
    ensure_indexed(lakehouse)
    return dataclasses.replace(lakehouse, clock=tell_time)


def read_pulse(lakehouse: Lakehouse) -> Pulse:
    pulse = lakehouse.ledger.pulse()
    assert pulse is not None
    return pulse


def test_a_finished_download_says_what_came(planned: Lakehouse) -> None:
    backfill = Backfill(planned, run_id="abc")

    with backfill.held(wait_s=0):
        list(backfill.run(planned_keys(planned)))

    pulse = read_pulse(planned)
    assert (pulse.outcome, pulse.run_id, pulse.planned) == ("finished", "abc", Work())
    assert pulse.found == Work(SESSIONS, 3, 1451)
    assert (pulse.process, pulse.requests) == (str(identify_process()), 3)
    assert sum((step.work for step in planned.ledger.recent_steps()), Work()) == pulse.found


def test_a_download_says_how_far_it_is_before_it_ends(planned: Lakehouse) -> None:
    backfill = Backfill(planned, run_id="abc")
    outcomes = backfill.run(planned_keys(planned)[:3])

    next(outcomes)
    begun = read_pulse(planned)
    assert isinstance(outcomes, Generator)
    outcomes.close()

    stopped = read_pulse(planned)
    assert (begun.outcome, begun.ended_at) == ("", None)
    assert (stopped.outcome, stopped.others.sessions) == ("stopped", SESSIONS - 3)


def test_an_aborted_download_says_why(planned: Lakehouse, market_server: EmulatorServer) -> None:
    market_server.faults = [Fault("401", endpoint="trades")]
    backfill = Backfill(planned, run_id="abc")

    list(backfill.run(planned_keys(planned)))

    pulse = read_pulse(planned)
    assert pulse.outcome == "aborted"
    assert "key" in pulse.reason


def test_a_download_that_fails_says_why(planned: Lakehouse) -> None:
    heart = make_heart(planned)

    with pytest.raises(OSError, match="gone"), heart:
        raise OSError("the disk is gone")

    pulse = read_pulse(planned)
    assert (pulse.outcome, pulse.reason) == ("failed", "the disk is gone")


def test_what_a_run_takes_besides_its_ranges_is_no_part_of_the_pace(planned: Lakehouse) -> None:
    """L56: a pace learnt over many small runs held their beginnings, and foretold threefold."""
    heart = make_heart(planned)

    with heart:
        time.sleep(0.3)
        heart.workload.start(WEEK)
        time.sleep(0.1)
        heart.workload.end()
        time.sleep(0.3)

    (step,) = planned.ledger.recent_steps()
    (overhead,) = planned.ledger.recent_overheads()
    assert 0.1 <= step.seconds < overhead
    assert overhead >= 0.6
    assert not planned.ledger.activity(dt.datetime(2000, 1, 1, tzinfo=dt.UTC)).counters


def test_runs_of_one_process_have_one_start(planned: Lakehouse) -> None:
    with make_heart(planned):
        pass
    first = read_pulse(planned)

    with make_heart(planned):
        pass

    second = read_pulse(planned)
    assert second.started_at == first.started_at
    assert second.run_started_at > first.run_started_at


def make_heart(lakehouse: Lakehouse) -> Heartbeat:
    workload = Workload(lakehouse.calendar, lakehouse.settings.page_limit)
    return Heartbeat(lakehouse.ledger, "abc", workload, DownloadSummary(), lambda: None)


# -- the workload ----------------------------------------------------------------------


WEEK = RequestRange("A", MONDAY, FRIDAY, 950)
UNKNOWN = RequestRange("B", MONDAY, TUESDAY, None)


@pytest.fixture
def workload() -> Workload:
    workload = Workload(load_calendar(), page_limit=100)
    workload.add([WEEK, UNKNOWN])
    return workload


def test_a_workload_moves_what_came(workload: Workload) -> None:
    """What the bars promise of a range, until it came."""
    planned = workload.read()
    workload.start(WEEK)
    running = workload.read()
    workload.finish(RangeResult(WEEK, requests=12, pages=11, rows=1_010))
    facts = workload.read()

    assert planned.planned == Work(5, 10, 950) + Work(2, 54, 5_400)
    assert (planned.ranges_waiting, planned.ranges_running) == (2, 0)
    assert (running.running, running.ranges_running) == (Work(5, 10, 950), 1)
    assert (facts.planned, facts.expected) == (Work(2, 54, 5_400), Work(5, 10, 950))
    assert facts.found == Work(5, 11, 1_010)


def test_a_workload_without_its_ranges_is_nothing(workload: Workload) -> None:
    for span in (WEEK, UNKNOWN):
        workload.start(span)
        workload.drop(span)

    facts = workload.read()
    assert (facts.planned, facts.running, facts.ranges_waiting) == (Work(), Work(), 0)
