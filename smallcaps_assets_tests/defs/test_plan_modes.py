"""Modes and sizes of plans as Dagster runs them."""

import datetime as dt
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl
import pytest

from smallcaps_assets.core.plan.batches import assign_batches
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.defs.instance.queue import require_registered_plan
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.plan.choosing import count_batches, weigh_tickers
from smallcaps_assets_tests.defs.run_factories import Site, open_site, read_checks
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse, planned_keys, write_text

WATCHLIST: Final = "ticker,date,events\nBCPC,2024-03-06,E6\nCON,2024-03-06,E6\n"
PLAIN: Final = {"plan_mode": "sessions", "plan_tickers": "BCPC,CON"}
WEEK: Final = {"first_session": dt.date(2024, 3, 4), "last_session": dt.date(2024, 3, 8)}
MANY: Final = {
    "source": "vendor",
    "plan_mode": "sessions",
    "plan_tickers": ",".join(f"T{number}" for number in range(51)),
    "first_session": dt.date(2010, 1, 4),
    "last_session": dt.date(2017, 12, 29),
}
"""More sessions than keys are allowed."""


def read_metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Return the metadata of an asset that a run materialized."""
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_text(tmp_path / "watchlist.csv", WATCHLIST)
    return tmp_path


def open_mode(folder: Path, url: str, **changes: object) -> AbstractContextManager[Site]:
    values = {"watchlist": folder / "watchlist.csv"} | changes
    return open_site(make_lakehouse(folder / "data", url, **values))


def test_plan_pilot_shows_ladder_pictures_and_arithmetic(
    folder: Path, market_server: EmulatorServer
) -> None:
    with open_mode(folder, market_server.url) as site:
        result = site.run("plan_pilot")

        pilot = read_metadata(result, "pilot_watchlist")
        plan = read_metadata(result, "event_window_plan")
        estimate = read_metadata(result, "download_estimate")
    assert pilot["pilot_ladder"].records[0].data["tickers"] == 2
    assert plan["mode"] == "event_windows"
    for name, found in {
        "sessions_by_event": plan,
        "planned_sessions": plan,
        "naive_against_optimised": estimate,
        "pilot_ladder": estimate,
    }.items():
        assert found[name].startswith("![")
    assert "calibrated" in estimate["arithmetic"]


@pytest.mark.parametrize(
    ("job", "changes", "sessions"),
    [
        ("plan_pilot", {"plan_mode": "event_windows"}, 6),
        ("plan_pilot", {"plan_mode": "event_months"}, 40),
        ("plan_pilot", {"batch": "2/2"}, 3),
        ("plan_sessions", PLAIN | WEEK, 10),
    ],
    ids=["event_windows", "event_months", "batch", "sessions"],
)
def test_every_mode_ends_in_the_same_partition_set(
    folder: Path, market_server: EmulatorServer, job: str, changes: dict[str, Any], sessions: int
) -> None:
    with open_mode(folder, market_server.url, **changes) as site:
        result = site.run(job)

        assert result.success
        assert site.keys == planned_keys(site.lakehouse)
        assert len(site.keys) == sessions


def test_too_large_a_plan_is_estimated_and_not_published(folder: Path) -> None:
    """L47: it was published before it was refused, and blocked every command."""
    nowhere = "http://127.0.0.1:9"
    with open_mode(folder, nowhere, **PLAIN | WEEK | {"source": "vendor"}) as site:
        assert site.run("plan_sessions").success
        before = site.keys
    with open_mode(folder, nowhere, **MANY) as site:
        site.instance.add_dynamic_partitions(PLANNED_SET, before)

        result = site.run("plan_sessions")

        estimate = read_metadata(result, "event_window_plan")
        why = read_checks(result)["plan_is_publishable"].metadata["summary"].value
        assert not result.success
        assert estimate["ticker_sessions"] > MAX_KEYS
        assert estimate["request_ranges"] > 1_000
        assert "the plan in force stays" in str(why)
        assert "--batch 1/2" in str(why)
        assert site.keys == before == planned_keys(site.lakehouse)
        assert require_registered_plan(site.instance, site.lakehouse)


def test_the_batches_that_are_advised_are_small_enough(folder: Path) -> None:
    """L47: whole tickers of unequal size, none of them above the limit alone."""
    with open_mode(folder, "http://127.0.0.1:9", **MANY) as site:
        dates = site.lakehouse.calendar.dates(dt.date(2020, 1, 2), dt.date(2020, 12, 31))
        keys = [(f"T{n}", date) for n in range(100, 130) for date in dates[: 7 * (n - 99)]]
        plan = pl.DataFrame(keys, ["ticker", "session_date"], orient="row")

        for most in (plan.height, 1_500, 400, 210):
            count = count_batches(site.lakehouse, plan, most)
            weights = weigh_tickers(site.lakehouse, plan)
            dealt = assign_batches(plan, count, weights)
            sizes = plan["ticker"].replace_strict(dealt).value_counts()["count"]
            assert sizes.filter(sizes > most).is_empty()


@pytest.mark.slow
def test_a_batch_after_another_keeps_what_was_fetched(
    folder: Path, market_server: EmulatorServer
) -> None:
    with open_mode(folder, market_server.url, batch="1/2") as site:
        site.run("plan_pilot")
        assert site.download().success
        second = make_lakehouse(
            folder / "data", market_server.url, watchlist=folder / "watchlist.csv", batch="2/2"
        )
        other = Site(second, site.instance)
        other.run("plan_pilot")

        assert other.download().success
        assert other.keys == [f"CON_2024-03-{day:02}" for day in (5, 6, 7)]
        assert second.ledger.totals().sessions == 6
