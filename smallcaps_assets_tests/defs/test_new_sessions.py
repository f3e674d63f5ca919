"""The schedule that adds the newest session, freshness, and the calendar both follow."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from msgspec import structs

from smallcaps_assets.defs.automation.sensors import (
    THEN_PLAN,
    build_session_schedule,
    plan_after_new_session,
)
from smallcaps_assets.defs.checks.freshness import watch_freshness
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.automation.freshness import (
    judge_bar_freshness,
    judge_plan_freshness,
)
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.defs.defs_factories import publish
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse

NEW_YORK: Final = ZoneInfo("America/New_York")
SATURDAY: Final = dt.datetime(2024, 1, 13, 12, tzinfo=NEW_YORK)
"""The bars of Friday are published; Monday is a holiday."""
BEFORE_DST: Final = dt.datetime(2024, 3, 9, 12, tzinfo=NEW_YORK)
"""The clocks change in the night that follows."""


def move(lakehouse: Lakehouse, now: dt.datetime) -> Lakehouse:
    return replace(lakehouse, clock=lambda: now)


def hold(lakehouse: Lakehouse, now: dt.datetime) -> Lakehouse:
    """Store the bars and publish a plan as they are at an instant."""
    then = move(lakehouse, now)
    newest = then.last_available
    covered = then.calendar.dates(newest.replace(day=1), newest)
    then.tables.write_daily_bars(
        f"{newest:%Y-%m}", DAILY_BARS.empty(), covered=covered, is_closed=False
    )
    publish(then, ["BCPC_2024-01-10"])
    return then


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    """Return a lakehouse on a vendor that nobody asks."""
    return make(tmp_path)


def make(folder: Path, **changes: object) -> Lakehouse:
    values = {"source": "vendor", "first_session": dt.date(2024, 1, 2)} | changes
    return make_lakehouse(folder / "data", "http://127.0.0.1:9", **values)


def tick(lakehouse: Lakehouse, now: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    """Return what the schedule does at an instant."""
    context = dg.build_schedule_context(
        scheduled_execution_time=now, resources={"lakehouse": lakehouse}
    )
    found = build_session_schedule(lakehouse)(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def at(month: int, day: int, hour: int = 11, minute: int = 30) -> dt.datetime:
    return dt.datetime(2024, month, day, hour, minute, tzinfo=NEW_YORK)


def test_the_schedule_runs_half_an_hour_after_publication_and_is_off(lakehouse: Lakehouse) -> None:
    schedule = build_session_schedule(lakehouse)

    assert (schedule.cron_schedule, schedule.execution_timezone) == (
        "30 11 * * *",
        "America/New_York",
    )
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize(
    ("held", "now", "is_due"),
    [
        (SATURDAY, at(1, 14), False),  # Sunday
        (SATURDAY, at(1, 15), False),  # Monday, a holiday
        (SATURDAY, at(1, 16), False),  # Tuesday: nothing was traded on Monday
        (SATURDAY, at(1, 17, 10), False),  # Wednesday, before the publication
        (SATURDAY, at(1, 17), True),
        (BEFORE_DST, at(3, 10), False),  # the day of 23 hours
        (BEFORE_DST, at(3, 11), False),
        (BEFORE_DST, at(3, 12, 10), False),
        (BEFORE_DST, at(3, 12), True),
    ],
)
def test_the_schedule_follows_the_exchange_calendar(
    lakehouse: Lakehouse, held: dt.datetime, now: dt.datetime, *, is_due: bool
) -> None:
    hold(lakehouse, held)

    assert isinstance(tick(lakehouse, now), dg.RunRequest) == is_due


@pytest.mark.parametrize(("now", "last"), [(at(1, 17), "2024-01-01"), (at(3, 12), "2024-03-01")])
def test_a_tick_asks_for_the_months_since_and_then_for_a_plan(
    lakehouse: Lakehouse, now: dt.datetime, last: str
) -> None:
    hold(lakehouse, SATURDAY)

    request = tick(lakehouse, now)

    assert isinstance(request, dg.RunRequest)
    assert request.tags[RANGE_START] <= "2024-01-01"
    assert request.tags[RANGE_END] == last
    assert THEN_PLAN in request.tags


def test_without_a_plan_the_schedule_fetches_nothing(lakehouse: Lakehouse) -> None:
    """Years of bars are not fetched because somebody turned on a schedule."""
    found = tick(lakehouse, at(1, 17))

    assert isinstance(found, dg.SkipReason)
    assert "plan" in (found.skip_message or "")


def test_on_an_emulated_market_that_has_ended_nothing_is_due(tmp_path: Path) -> None:
    emulated = make_lakehouse(tmp_path / "data", "http://127.0.0.1:9")
    hold(emulated, dt.datetime(2025, 1, 15, tzinfo=NEW_YORK))

    assert isinstance(
        tick(emulated, dt.datetime(2026, 5, 5, 11, 30, tzinfo=NEW_YORK)), dg.SkipReason
    )


@pytest.mark.parametrize(
    ("mode", "job"),
    [
        ({}, "plan_new_sessions"),
        ({"plan_mode": "sessions", "plan_tickers": "BCPC"}, "plan_sessions"),
    ],
)
def test_a_plan_follows_the_run_of_the_schedule_alone(
    tmp_path: Path, mode: dict[str, object], job: str
) -> None:
    with open_site(make(tmp_path, **mode)) as site:
        asked = follow(site, {THEN_PLAN: "true"})
        unasked = follow(site, {})

    assert isinstance(asked, dg.RunRequest)
    assert asked.job_name == job
    assert isinstance(unasked, dg.SkipReason)


def follow(site: Site, tags: dict[str, str]) -> dg.RunRequest | dg.SkipReason:
    """Return what the sensor does about a successful run with these tags."""
    run = site.instance.add_run(
        dg.DagsterRun(job_name="refresh_reference", status=dg.DagsterRunStatus.SUCCESS, tags=tags)
    )
    event = dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
    context = dg.build_run_status_sensor_context(
        sensor_name="plan_after_new_session",
        dagster_event=event,
        dagster_instance=site.instance,
        dagster_run=run,
        resources={"lakehouse": site.lakehouse},
    )
    found = plan_after_new_session(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


# -- freshness ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "is_fresh"),
    [
        (at(1, 16), True),  # after a weekend and a holiday
        (at(1, 17), True),  # published half an hour ago
        (at(1, 18, 10), True),
        (at(1, 18), False),  # a day after the publication
    ],
)
def test_bars_and_plan_grow_old_by_sessions_alone(
    lakehouse: Lakehouse, now: dt.datetime, *, is_fresh: bool
) -> None:
    then = move(hold(lakehouse, SATURDAY), now)

    verdicts = [judge(then, 24.0) for judge in (judge_bar_freshness, judge_plan_freshness)]

    assert [verdict.passed for verdict in verdicts] == [is_fresh, is_fresh]
    assert all(verdict.offenders.height == (not is_fresh) for verdict in verdicts)


def test_keys_that_became_available_make_a_plan_old(lakehouse: Lakehouse) -> None:
    hold(lakehouse, SATURDAY)
    record, plan = lakehouse.tables.read_plan()
    waiting = structs.replace(record, not_yet_available=("BCPC_2024-01-12", "BCPC_2024-01-17"))
    lakehouse.tables.write_plan(plan, waiting, is_published=True)

    verdict = judge_plan_freshness(move(lakehouse, SATURDAY), 0.0)

    assert not verdict.passed
    assert verdict.offenders.rows() == [("BCPC_2024-01-12",)]


def test_bars_that_no_rule_reads_are_never_old(tmp_path: Path) -> None:
    lakehouse = make(tmp_path, plan_mode="sessions", plan_tickers="BCPC")

    assert judge_bar_freshness(lakehouse, 0.0).passed


@pytest.fixture
def site(lakehouse: Lakehouse) -> Iterator[Site]:
    with open_site(hold(lakehouse, SATURDAY)) as opened:
        for asset in ("daily_bars", "event_window_plan"):
            opened.instance.report_runless_asset_event(dg.AssetMaterialization(asset))
        yield opened


def watch(site: Site, now: dt.datetime, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        instance=site.instance,
        cursor=cursor,
        resources={"lakehouse": move(site.lakehouse, now)},
    )
    found = watch_freshness(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def read_verdicts(result: dg.SensorResult) -> list[bool]:
    """Return the verdicts that a sensor reports."""
    events = result.asset_events
    return [event.passed for event in events if isinstance(event, dg.AssetCheckEvaluation)]


def test_the_sensor_evaluates_freshness_when_it_changes(site: Site) -> None:
    first = watch(site, at(1, 16), None)
    assert isinstance(first, dg.SensorResult)
    again = watch(site, at(1, 16, 15), first.cursor)
    later = watch(site, at(1, 18), first.cursor)
    assert isinstance(later, dg.SensorResult)

    assert isinstance(again, dg.SkipReason)
    assert read_verdicts(first) == [True, True]
    assert read_verdicts(later) == [False, False]


def test_what_was_never_made_is_not_called_old(lakehouse: Lakehouse) -> None:
    with open_site(lakehouse) as site:
        assert isinstance(watch(site, at(1, 18), None), dg.SkipReason)
