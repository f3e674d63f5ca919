"""Does a calibration hold elsewhere?  Learned on one market, judged on others."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.core.budget.calibration import REPLAY_BYTES_PER_TRADE, Calibration
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.ingest.budget.calibration import learn_sizes, read_holdings
from smallcaps_assets.ingest.budget.estimates import estimate_plan, gather_grounds
from smallcaps_assets.ingest.budget.expectations import STORED
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import (
    count_trade_requests,
    download_plan,
    make_lakehouse,
    refresh_due_bars,
)

TUTOR: Final = MarketConfig(seed=1, tickers=6, busy_trades=0, trades_scale=0.4)
OTHERS: Final = (
    MarketConfig(seed=7, tickers=6, busy_trades=0, trades_scale=1.5),
    MarketConfig(seed=8, tickers=6, busy_trades=20_000, trades_scale=0.8),
)
PILOT: Final = {"pilot_tickers": 3, "page_limit": 5_000, "last_session": dt.date(2023, 12, 29)}


def plan_pilot(folder: Path, server: EmulatorServer) -> Lakehouse:
    """Return a lakehouse that has published the pilot of a market, found by the rules."""
    seed = int(server.source.name.split()[0].removeprefix("seed="))
    lakehouse = make_lakehouse(folder, server.url, emulator_seed=seed, **PILOT)
    refresh_due_bars(lakehouse)
    for make in (make_watchlist, make_pilot, make_plan):
        assert make(lakehouse).verdict.passed
    return lakehouse


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Return what a trade and a file cost on a market of small trades."""
    with EmulatorServer(Market(TUTOR)) as server:
        lakehouse = plan_pilot(tmp_path_factory.mktemp("tutor"), server)
        download_plan(lakehouse)
        return read_holdings(lakehouse.layout.ledger_file, lakehouse.default_costs).costs


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: f"seed={config.seed}")
def test_a_calibration_of_one_market_holds_on_another_with_other_trades(
    learned: Calibration, tmp_path: Path, config: MarketConfig
) -> None:
    """Done when: within 10 % of what lands in bytes, exact in requests."""
    with EmulatorServer(Market(config)) as server:
        lakehouse = plan_pilot(tmp_path, server)
        planned, grounds = lakehouse.tables.read_plan(), gather_grounds(lakehouse)
        taught = replace(grounds, holdings=replace(grounds.holdings, costs=learned))
        estimate = estimate_plan(*planned, taught).calibrated

        summary = download_plan(lakehouse).summary

        assert estimate.requests == summary.requests == count_trade_requests(server)
        assert estimate.ticker_sessions == summary.finished
        assert estimate.bytes_stored == pytest.approx(summary.bytes, rel=0.10)
        default = estimate_plan(*planned, grounds).calibrated
        assert default.bytes_stored == pytest.approx(summary.bytes, rel=0.10)


def test_learn_sizes_learns_from_the_first_file_on(tmp_path: Path) -> None:
    """L49: a lake of ten sessions must not be estimated by another tape forever."""
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")
    default = lakehouse.default_costs
    half = replace(
        default,
        bytes_per_trade=default.bytes_per_trade / 2,
        file_bytes=default.file_bytes / 2,
    )
    dates = lakehouse.calendar.dates(dt.date(2024, 1, 2), dt.date(2024, 2, 29))[:10]
    rows = [10 * 4**place for place in range(10)]
    sizes = [round(half.predict_bytes(count, 1)) for count in rows]
    files = pl.DataFrame(
        {"ticker": "A", "session_date": dates, "rows": rows, "bytes": sizes}, schema=STORED
    )

    assert learn_sizes(default, files.head(0)) == default
    one, all_of_them = (learn_sizes(default, files.head(count)) for count in (1, 10))
    assert one.predict_bytes(rows[0], 1) == pytest.approx(sizes[0])
    assert (one.learned_sessions, all_of_them.learned_sessions) == (1, 10)
    told = sum(all_of_them.predict_bytes(row, 1) for row in rows)
    assert told == pytest.approx(sum(sizes))
    assert all_of_them.bytes_per_trade == pytest.approx(half.bytes_per_trade, rel=0.05)


def test_a_replay_begins_with_the_costs_of_flat_files(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9", emulator_replay=tmp_path)

    assert lakehouse.default_costs.bytes_per_trade == REPLAY_BYTES_PER_TRADE
