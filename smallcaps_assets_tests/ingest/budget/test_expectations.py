import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.core.plan import spans
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.budget.calibration import OWED, Holdings
from smallcaps_assets.ingest.budget.estimates import estimate_lake, estimate_plan, gather_grounds
from smallcaps_assets.ingest.budget.expectations import STORED, label_sessions
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import (
    count_trade_requests,
    download_plan,
    make_lakehouse,
    refresh_due_bars,
)

DAYS: Final = {"first_session": dt.date(2024, 3, 4), "last_session": dt.date(2024, 3, 28)}


def write_volumes(path: Path, market_server: EmulatorServer) -> Path:
    """Write the bars of a market without trade counts, as most files of daily bars are."""
    source = make_lakehouse(path.parent / "source", market_server.url, **_plain())
    refresh_due_bars(source)
    bars = source.tables.read_daily_bars().drop("vwap", "trade_count").collect()
    bars.rename({"session_date": "date"}).write_parquet(path)
    return path


def _plain() -> dict[str, object]:
    return {"plan_mode": "sessions", "plan_tickers": "BCPC,CON", **DAYS}


@pytest.fixture
def lakehouse(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lakehouse whose bars count shares and no trades, with a plan."""
    bars = write_volumes(tmp_path / "bars.parquet", market_server)
    found = make_lakehouse(
        tmp_path / "data",
        market_server.url,
        daily_bars=bars,
        range_max_rows=300,
        page_limit=10_000,
        **_plain(),
    )
    refresh_due_bars(found)
    make_plan(found)
    market_server.reset()
    return found


def test_an_estimate_without_trade_counts_asks_for_the_ranges_of_the_download(
    lakehouse: Lakehouse, market_server: EmulatorServer
) -> None:
    estimate = estimate_lake(lakehouse)

    download_plan(lakehouse)

    assert estimate.ranges.height > 2
    assert estimate.remaining.requests == count_trade_requests(market_server)
    assert "38 by its volume" in estimate.remaining.arithmetic


def test_what_landed_teaches_how_many_trades_a_share_stands_for(lakehouse: Lakehouse) -> None:
    download_plan(lakehouse)
    stored = lakehouse.ledger.stored_sessions().select(STORED.names())
    sessions = stored.filter(pl.col("session_date") < dt.date(2024, 3, 18)).select(
        STORED.names()[:2]
    )
    taught = stored.join(sessions, on=["ticker", "session_date"], how="anti")

    before, after = (
        label_sessions(lakehouse.tables, sessions, landed) for landed in (STORED.to_frame(), taught)
    )

    real = int(sessions.join(stored, on=["ticker", "session_date"])["rows"].sum())
    errors = [abs(int(found["estimated_rows"].sum()) - real) / real for found in (before, after)]
    assert errors[1] < errors[0] / 2
    assert before["expected_rows"].null_count() == after["expected_rows"].null_count() == 20


def test_sessions_that_are_new_to_a_plan_are_fetched_in_one_run(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their keys are registered behind those that are there, wherever their tickers stand."""
    monkeypatch.setattr(spans, "BRIDGED_KEYS", 1)
    planned, grounds = lakehouse.tables.read_plan(), gather_grounds(lakehouse)
    plan = planned[1].select("ticker", "session_date").with_row_index()
    is_stored = pl.col("index") % 2 == 0
    stored = plan.filter(is_stored).select(*STORED.names()[:2], rows=200, bytes=9_000).cast(STORED)
    owed = plan.filter(~is_stored).select("ticker", "session_date", state=pl.lit("missing"))

    grown, known = (
        estimate_plan(
            *planned, replace(grounds, holdings=Holdings(grounds.holdings.costs, stored, rest))
        ).remaining
        for rest in (OWED.to_frame(), owed)
    )

    assert (grown.runs, known.runs) == (1, owed.height)
    assert grown.ticker_sessions == known.ticker_sessions == owed.height


def test_sessions_of_which_all_that_traded_are_known_hold_none(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = make_lakehouse(tmp_path, market_server.url, **_plain())
    refresh_due_bars(lakehouse)
    sessions = pl.DataFrame({"ticker": ["NONE"], "session_date": [dt.date(2024, 3, 4)]})

    labelled = label_sessions(lakehouse.tables, sessions, STORED.to_frame())

    assert labelled.row(0)[2:] == (0, 0)


def test_label_sessions_of_none_is_empty(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")

    nothing = STORED.to_frame()
    labelled = label_sessions(lakehouse.tables, nothing, nothing)

    assert labelled.columns[-2:] == ["expected_rows", "estimated_rows"]
