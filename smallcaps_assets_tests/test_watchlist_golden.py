"""The event rules on real bars, through the job, against counts that the code did not make."""

import json
from collections.abc import Iterator

import polars as pl
import pytest

from smallcaps_assets.ingest.reference.daily_bars import bar_months
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets_tests.defs.run_factories import Site, open_site, read_checks
from smallcaps_assets_tests.lakehouse_factories import find_shared, make_lakehouse

ADDRESS = "http://127.0.0.1:9"
"""Nothing listens here: bars come from a file."""


@pytest.fixture(scope="module", params=["vendor", "emulator"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return a site in which the real bars are stored and the pilot is planned."""
    bars = find_shared("daily_bars.parquet")
    folder = tmp_path_factory.mktemp("golden")
    lakehouse = make_lakehouse(folder, ADDRESS, source=request.param, daily_bars=bars)
    with open_site(lakehouse) as opened:
        months = bar_months(lakehouse)
        reference = opened.run_range("refresh_reference", f"{months[0]}-01", f"{months[-1]}-01")
        planned = opened.run("plan_pilot")
        assert (reference.success, planned.success) == (True, True)
        assert read_checks(planned)["watchlist_is_publishable"].passed
        yield opened


def read_expected() -> dict[str, int]:
    counts: dict[str, int] = json.loads(
        find_shared("expected_counts.json").read_text(encoding="utf-8")
    )["rows_per_event"]
    return counts


def test_the_published_watchlist_has_the_expected_rows_per_event(site: Site) -> None:
    watchlist = site.lakehouse.tables.read_table(WATCHLIST)
    counts = watchlist.explode("events")["events"].value_counts()

    assert dict(counts.iter_rows()) == read_expected()
    assert watchlist["event_count"].sum() == sum(read_expected().values())


def test_the_pilot_and_its_plan_follow_from_the_watchlist(site: Site) -> None:
    tables = site.lakehouse.tables
    pilot, (record, plan) = tables.read_table(PILOT_WATCHLIST), tables.read_plan()

    assert pilot["ticker"].n_unique() == 15
    assert pilot["event_count"].min() == 3
    assert record.plan_hash
    assert plan.select(EVENT_WINDOW_PLAN.key).is_unique().all()
    assert len(site.keys) == plan.height
    windows = plan.select("ticker", pl.col("event_dates")).explode("event_dates").unique()
    chosen = pilot.select("ticker", event_dates="session_date")
    assert windows.join(chosen, on=["ticker", "event_dates"], how="anti").is_empty()
