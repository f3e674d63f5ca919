"""An emulator is asked which market it serves, and rows which ticker they are of."""

import dataclasses
from pathlib import Path

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import PartitionConflictError, PayloadError, VendorUnavailableError
from smallcaps_assets.polygon.wire.trades import BLOCK_BYTES
from smallcaps_assets_tests.lakehouse_factories import (
    SMALL_MARKET,
    WATCHLIST_TEXT,
    download_plan,
    make_lakehouse,
    plan_small_lake,
    write_text,
)
from smallcaps_assets_tests.polygon.polygon_factories import (
    fetch,
    make_wire_trades,
    render_page,
    serve,
)

OTHER_MARKET = dataclasses.replace(SMALL_MARKET, seed=2)


def test_another_market_under_the_same_address_is_refused_before_the_first_request(
    tmp_path: Path,
) -> None:
    """L34: the sessions of a second seed were stored in the lake of the first."""
    with EmulatorServer(Market(SMALL_MARKET)) as server:
        port = server.port
        lakehouse = plan_small_lake(tmp_path, server.url)
    watchlist = tmp_path / "watchlist.csv"

    with EmulatorServer(Market(OTHER_MARKET), port=port) as server:
        again = make_lakehouse(tmp_path / "data", server.url, watchlist=watchlist)
        with pytest.raises(PartitionConflictError, match="serves the emulated market seed=2"):
            download_plan(again)
        assert server.stats.requests == 0
        # A client that knew the first market learns of the second by its answers.
        with pytest.raises(PartitionConflictError, match="serves the emulated market seed=2"):
            download_plan(lakehouse)

    assert lakehouse.ledger.totals().rows == 0


def test_the_market_of_the_lake_is_asked_for_once_and_believed(tmp_path: Path) -> None:
    write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)

    with EmulatorServer(Market(SMALL_MARKET)) as server:
        lakehouse = plan_small_lake(tmp_path, server.url)
        summary = download_plan(lakehouse).summary

    assert summary.failures.total() == 0


def test_rows_made_by_hand_have_no_name_and_nothing_answers_for_a_stopped_emulator() -> None:
    with serve(make_wire_trades(3)) as server:
        assert fetch(server, emulated_market="seed=1").trades.height == 3
    with pytest.raises(VendorUnavailableError, match="no answer"):
        fetch(server, emulated_market="seed=1")


@pytest.mark.parametrize("count", [3, BLOCK_BYTES // 100])
@pytest.mark.parametrize("name", ["ticker", "T", "body"])
def test_rows_or_a_body_of_another_ticker_fail_the_page(name: str, count: int) -> None:
    """L34: what names another ticker was stored under the one asked for."""
    rows = make_wire_trades(count)
    own = [*rows[:-1], rows[-1] | {"ticker": "ABCD", "T": "ABCD"}]
    other = rows if name == "body" else [*rows[:-1], rows[-1] | {name: "ABCE"}]
    about = {"ticker": "ABCE"} if name == "body" else {}

    with EmulatorServer(StaticSource()) as server:
        server.faults = [Fault(body=render_page(own, ticker="ABCD"))]
        assert fetch(server).trades.height == count
        server.faults = [Fault(body=render_page(other, **about))]
        with pytest.raises(PayloadError, match=r"ABCD, got .* ABCE"):
            fetch(server)
