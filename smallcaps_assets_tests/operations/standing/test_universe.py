"""How far a universe is, and what is known of one ticker, on a lake of nine sessions."""

import datetime as dt
import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from smallcaps_assets.cli.screens.status import render_status
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.segments.indexing import list_sessions
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.tables.universe_record import UniverseRecord
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.standing.document import WaitingUnits
from smallcaps_assets.operations.status.document import StatusDocument
from smallcaps_assets.operations.status.look import measure_status
from smallcaps_assets_tests.core.unit_factories import make_plan
from smallcaps_assets_tests.lakehouse_factories import NOW, SESSIONS, make_lakehouse

STRANGE = dt.date(2024, 1, 22)


def publish(lakehouse: Lakehouse, plan: pl.DataFrame) -> None:
    """Publish a plan of a universe."""
    record = UniverseRecord(
        plan_hash="0" * 64,
        created_at=NOW,
        symbols="universe",
        first=dt.date(2024, 1, 1),
        last=dt.date(2024, 12, 31),
        tickers=plan["ticker"].n_unique(),
        units=plan.select("batch", "month").n_unique(),
        ticker_months=plan.height,
        sessions=0,
        batch_tickers=60,
    )
    lakehouse.tables.write_universe_plan(plan, record)


def plan_around(lakehouse: Lakehouse) -> pl.DataFrame:
    """Plan what is stored, one session more of each ticker, and a ticker of which nothing is."""
    bits = lakehouse.ledger.ticker_months().with_columns(record=pl.lit(""))
    owed: dict[tuple[str, str], list[dt.date]] = {}
    for ticker, date, _ in list_sessions(bits, "proven").rows():
        owed.setdefault((ticker, f"{date:%Y-%m}"), []).append(date)
    for ticker in {ticker for ticker, _ in owed}:
        owed.setdefault((ticker, "2024-01"), []).append(STRANGE)
    owed["NEWC", "2024-01"] = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]
    return make_plan(owed, {"NEWC": 2})


def show(status: StatusDocument, width: int = 200) -> str:
    screen = io.StringIO()
    Console(width=width, file=screen).print(render_status(status, width, 60))
    return screen.getvalue()


@pytest.fixture
def planned(lakehouse: Lakehouse) -> Lakehouse:
    publish(lakehouse, plan_around(lakehouse))
    return lakehouse


def test_a_universe_over_a_pilot_lacks_only_the_rest(planned: Lakehouse) -> None:
    universe = measure_status(planned).universe

    assert universe is not None
    tickers = universe.tickers - 1
    assert (universe.owed, universe.proven) == (SESSIONS + tickers + 4, SESSIONS)
    assert (universe.complete, universe.partial, universe.none) == (0, tickers, 1)
    assert universe.units == universe.units_done + universe.units_left
    assert [group.kind for group in universe.waiting] == ["few", "none"]
    few, none = universe.waiting
    assert (few.sessions, few.tickers_more) == (tickers, 0)
    assert none == WaitingUnits(
        kind="none", units=1, least=4, most=4, sessions=4, tickers=["NEWC"], tickers_more=0
    )
    assert universe.tickers_left[0].ticker == "NEWC"
    assert sum(year.owed for year in universe.years) == universe.owed
    assert universe.next_unit == "b001_2024-01"
    assert universe.left_requests == universe.tickers, "a chain a ticker at least"
    assert universe.fits


def test_a_whole_universe_has_nothing_left(lakehouse: Lakehouse) -> None:
    plan = plan_around(lakehouse).filter(pl.col("ticker") != "NEWC")
    publish(lakehouse, plan.with_columns(pl.col("owed") & ~(1 << STRANGE.day)))

    status = measure_status(lakehouse)

    assert status.universe is not None
    assert (status.universe.missing, status.universe.units_left) == (0, 0)
    assert (status.universe.next_unit, status.universe.left_seconds) == ("", 0.0)
    assert status.download.state == "finished"
    assert "resume" not in show(status)


def test_what_a_universe_lacks_is_left_of_a_download(planned: Lakehouse) -> None:
    assert measure_status(planned).download.state != "finished"


def test_the_screen_groups_units_and_says_what_resume_does(planned: Lakehouse) -> None:
    status = measure_status(planned)
    assert status.universe is not None

    text = show(status)

    assert "1 unit waits for 3 sessions each: " in text
    assert "1 unit not begun: 4 sessions" in text
    assert f"asks for {status.universe.missing} sessions" in text
    assert f"skips {SESSIONS}" in text
    assert "1 none" in text
    assert '"universe":{"units":' in encode_document(status).replace("\n", "").replace(" ", "")


def test_a_lake_without_a_universe_says_nothing_of_one(lakehouse: Lakehouse) -> None:
    status = measure_status(lakehouse)
    assert status.universe is None
    assert "universe" not in show(status)


def test_a_universe_that_nobody_began_says_how_to(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")
    publish(lakehouse, make_plan({("A", "2024-01"): [STRANGE]}))
    with pytest.raises(MissingPartitionError, match="smallcaps download --universe"):
        measure_status(lakehouse)


def test_one_ticker_is_told_by_year_with_what_failed_first(planned: Lakehouse) -> None:
    name = planned.ledger.ticker_months()["ticker"][0]
    strange = Failure(f"{name}_{STRANGE}", "failed", "unavailable", "no answer")
    planned.ledger.record_failures([strange])

    status = measure_status(planned, name)
    ticker = status.ticker

    assert ticker is not None
    assert (ticker.asks, ticker.skips) == (1, ticker.stored)
    assert (ticker.batch, ticker.owed, ticker.proven) == (1, ticker.stored + 1, ticker.stored)
    assert ticker.planned == ticker.done == ticker.stored
    assert [(one.state, one.kind) for one in ticker.open] == [("failed", "unavailable")]
    assert [year.status for year in ticker.years if year.year == STRANGE.year] == ["partial"]
    text = show(status)
    assert f"asks for 1 session, skips {ticker.stored}" in text
    assert "unavailable: no answer" in text


def test_a_ticker_that_nobody_knows_is_refused(planned: Lakehouse) -> None:
    with pytest.raises(ConfigError, match="where capitals count"):
        measure_status(planned, "newc")


def test_a_ticker_of_the_universe_alone(planned: Lakehouse) -> None:
    ticker = measure_status(planned, "NEWC").ticker
    assert ticker is not None
    assert (ticker.asks, ticker.skips, ticker.stored, ticker.planned) == (4, 0, 0, 0)
    assert [one.session_date.day for one in ticker.open] == [2, 3, 4, 5]
