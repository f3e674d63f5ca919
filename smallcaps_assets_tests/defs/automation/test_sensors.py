"""Backfills that nobody asked for: one per plan, and retries within their quota."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from smallcaps_assets.defs.automation.sensors import download_after_plan, retry_failed_sessions
from smallcaps_assets.defs.instance.internals import BulkActionStatus
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.lake.ledger.rows import Attempt, Failure
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.defs.backfill_factories import add_backfill, requested_keys
from smallcaps_assets_tests.defs.defs_factories import publish
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import NOW, make_lakehouse

KEYS: Final = ["BCPC_2024-01-10", "BCPC_2024-01-11", "CON_2024-01-10"]
HOUR: Final = dt.timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a site whose plan is registered, with nothing downloaded; no vendor answers."""
    with open_site(make_lakehouse(tmp_path / "data", "http://127.0.0.1:9")) as opened:
        publish(opened.lakehouse, KEYS)
        register_plan(opened.instance, opened.lakehouse)
        yield opened


def evaluate(
    sensor: dg.SensorDefinition, site: Site, cursor: str | None = None, after: dt.timedelta = HOUR
) -> dg.SensorResult | dg.SkipReason:
    """Return what a sensor says some time after `NOW`."""
    lakehouse = replace(site.lakehouse, clock=lambda: NOW + after)
    context = dg.build_sensor_context(
        instance=site.instance,
        cursor=cursor,
        resources={"lakehouse": lakehouse},
        sensor_name=sensor.name,
    )
    found = sensor(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def skipped(found: dg.SensorResult | dg.SkipReason) -> str:
    """Return why nothing was asked for."""
    reason = found if isinstance(found, dg.SkipReason) else found.skip_reason
    assert reason is not None
    return reason.skip_message or ""


def fail(site: Site, *keys: str, runs: int = 1, state: str = "failed") -> None:
    """Record that so many runs asked for sessions in vain, now."""
    for key in keys:
        ticker, text = key.split("_")
        date = dt.date.fromisoformat(text)
        site.lakehouse.ledger.record_failures([Failure(key, state, "timeout", "no answer")])
        for run in range(runs):
            attempt = Attempt(ticker, date, date, 1, kind="timeout", run_id=f"run-{run}")
            site.lakehouse.ledger.record_attempt(attempt)


def test_a_new_plan_is_followed_by_one_backfill_of_what_is_missing(site: Site) -> None:
    found = evaluate(download_after_plan, site)

    assert isinstance(found, dg.SensorResult)
    assert requested_keys(found) == set(KEYS)
    assert skipped(evaluate(download_after_plan, site, found.cursor)).endswith("was seen to")


def test_a_changed_plan_asks_for_the_difference(site: Site) -> None:
    """L10: what is green is not asked for again."""
    first = evaluate(download_after_plan, site)
    assert isinstance(first, dg.SensorResult)
    fail(site, KEYS[0])
    publish(site.lakehouse, KEYS[:2])
    register_plan(site.instance, site.lakehouse)

    found = evaluate(download_after_plan, site, first.cursor)

    assert isinstance(found, dg.SensorResult)
    assert requested_keys(found) == set(KEYS[:2])


def test_a_plan_that_is_not_registered_is_waited_for(site: Site) -> None:
    publish(site.lakehouse, KEYS[:1])

    assert "materialize download_queue" in skipped(evaluate(download_after_plan, site))


@pytest.mark.parametrize("sensor", [download_after_plan, retry_failed_sessions])
def test_backfills_never_stack(site: Site, sensor: dg.SensorDefinition) -> None:
    fail(site, *KEYS)
    add_backfill(site.instance, KEYS)

    assert "waits for the backfill" in skipped(evaluate(sensor, site, after=2 * HOUR))


@pytest.mark.parametrize("sensor", [download_after_plan, retry_failed_sessions])
def test_a_waiting_run_and_a_terminal_are_waited_for(
    site: Site, sensor: dg.SensorDefinition
) -> None:
    with LakeLock(site.lakehouse.layout.lock_file).hold("smallcaps download"):
        assert "smallcaps download" in skipped(evaluate(sensor, site))
    waiting = dg.DagsterRun(job_name="download_missing", status=dg.DagsterRunStatus.NOT_STARTED)
    site.instance.add_run(waiting)

    assert f"the run {waiting.run_id[:8]}" in skipped(evaluate(sensor, site))


def test_a_disputed_session_is_not_due_twice_a_day(site: Site) -> None:
    fail(site, KEYS[0], state="empty_disputed")

    found = evaluate(download_after_plan, site)
    tomorrow = evaluate(download_after_plan, site, after=24 * HOUR)

    assert isinstance(found, dg.SensorResult)
    assert isinstance(tomorrow, dg.SensorResult)
    assert requested_keys(found) == set(KEYS[1:])
    assert requested_keys(tomorrow) == set(KEYS)


def test_a_failed_session_is_asked_for_again_an_hour_later(site: Site) -> None:
    fail(site, KEYS[0])

    early = evaluate(retry_failed_sessions, site, after=HOUR / 2)
    later = evaluate(retry_failed_sessions, site)

    assert "too recent" in skipped(early)
    assert isinstance(later, dg.SensorResult)
    assert requested_keys(later) == {KEYS[0]}


def test_a_session_that_failed_three_times_today_rests_until_tomorrow(site: Site) -> None:
    fail(site, KEYS[0], runs=3)
    fail(site, KEYS[1], runs=2)

    today = evaluate(retry_failed_sessions, site)
    tomorrow = evaluate(retry_failed_sessions, site, after=25 * HOUR)

    assert isinstance(today, dg.SensorResult)
    assert isinstance(tomorrow, dg.SensorResult)
    assert requested_keys(today) == {KEYS[1]}
    assert requested_keys(tomorrow) == {KEYS[0], KEYS[1]}


def test_the_quota_of_sessions_is_one_for_the_whole_day(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9", retry_sessions_per_day=2)
    with open_site(lakehouse) as site:
        publish(site.lakehouse, KEYS)
        register_plan(site.instance, site.lakehouse)
        fail(site, *KEYS)

        first = evaluate(retry_failed_sessions, site)
        assert isinstance(first, dg.SensorResult)
        second = evaluate(retry_failed_sessions, site, first.cursor, after=2 * HOUR)
        next_day = evaluate(retry_failed_sessions, site, first.cursor, after=12 * HOUR)

    assert len(requested_keys(first)) == 2
    assert "none within the quota" in skipped(second)
    assert isinstance(next_day, dg.SensorResult)


def test_what_the_key_is_not_entitled_to_is_left_to_a_person(site: Site) -> None:
    fail(site, KEYS[0], state="not_entitled")

    assert "0 failed sessions" in skipped(evaluate(retry_failed_sessions, site))


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (BulkActionStatus.COMPLETED_FAILED, set(KEYS)),
        (BulkActionStatus.CANCELED, {KEYS[0]}),
        (BulkActionStatus.COMPLETED_SUCCESS, {KEYS[0]}),
    ],
)
def test_what_an_outage_left_over_goes_on_and_what_a_person_stopped_does_not(
    site: Site, status: BulkActionStatus, wanted: set[str]
) -> None:
    fail(site, KEYS[0])
    add_backfill(site.instance, KEYS, status)

    found = evaluate(retry_failed_sessions, site)

    assert isinstance(found, dg.SensorResult)
    assert requested_keys(found) == wanted


def test_a_cursor_that_cannot_be_read_counts_from_zero(site: Site) -> None:
    fail(site, KEYS[0])

    assert isinstance(evaluate(retry_failed_sessions, site, "{"), dg.SensorResult)
