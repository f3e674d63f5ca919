"""The universe and the audits of daily bars, as Dagster runs and shows them."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.schemas import UNIVERSE
from smallcaps_assets_tests.defs.run_factories import (
    Site,
    open_site,
    read_checks,
)
from smallcaps_assets_tests.lakehouse_factories import (
    make_lakehouse,
    refresh_due_bars,
    write_bars,
    write_text,
)

JOB: Final = "refresh_universe"
CHECK: Final = "universe_holds_delisted_listings"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a site on a market of twelve companies, and 300 that never trade."""
    market = Market(MarketConfig(tickers=12, busy_trades=0, trades_scale=0.1, listings=300))
    with (
        EmulatorServer(market) as server,
        open_site(make_lakehouse(tmp_path, server.url)) as opened,
    ):
        yield opened


def read_metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return what a run shows of the universe that it published."""
    (shown,) = result.asset_materializations_for_node(UNIVERSE.name)
    return {name: value.value for name, value in shown.metadata.items()}


def test_refresh_universe_shows_what_it_loaded(site: Site) -> None:
    """L22: the active and the delisted, and a ticker that two companies used."""
    result = site.run(JOB)

    assert result.success
    shown = read_metadata(result)
    universe = site.lakehouse.tables.read_table(UNIVERSE)
    assert shown["dagster/row_count"] == universe.height > 90
    assert shown["tickers_used_again"] == 6
    check = read_checks(result)[CHECK]
    assert check.passed
    assert check.metadata["delisted"].value == universe.filter(~universe["is_active"]).height


def test_plan_pilot_warns_of_jumps_and_gaps_and_goes_on(tmp_path: Path) -> None:
    """L21, L22: what looks like a split is listed; what a listing owes is counted."""
    closes = {"JUMP": [1.0] * 30 + [10.0] * 30, "GAPS": [5.0] * 20, "FULL": [5.0] * 60}
    bars = write_bars(tmp_path / "bars.csv", closes, dt.date(2024, 1, 22))
    listings = write_text(tmp_path / "listings.csv", "ticker,delisted_date\nGAPS,\nX,2020-01-02\n")
    lakehouse = make_lakehouse(
        tmp_path / "data",
        "http://127.0.0.1:9",
        daily_bars=bars,
        universe=listings,
        pilot_min_events=1,
    )
    refresh_due_bars(lakehouse)

    with open_site(lakehouse) as site:
        site.run(JOB)
        result = site.run("plan_pilot")

    checks = read_checks(result)
    names = ("daily_bars_have_no_unrecorded_splits", "daily_bars_cover_listing_lives")
    assert result.success
    assert [checks[name].passed for name in names] == [False, False]
    assert {checks[name].severity for name in names} == {dg.AssetCheckSeverity.WARN}
    assert "outside the universe and were kept" in str(
        checks["watchlist_is_publishable"].metadata["summary"].value
    )
