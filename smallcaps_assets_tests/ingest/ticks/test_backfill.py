"""A download as a run sees it: what is done beside it costs no more as the lake grows."""

from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill, plan_refresh
from smallcaps_assets.lake.reading.catalog import CatalogFacts
from smallcaps_assets_tests.lakehouse_factories import (
    WATCHLIST_TEXT,
    make_lakehouse,
    planned_keys,
    publish_plan,
    write_text,
)


@given(begun=st.floats(0, 1e6), took=st.floats(0, 1e4), interval_s=st.floats(1e-3, 1e4))
def test_catalogs_take_a_twentieth_of_the_time_however_long_one_takes(
    begun: float, took: float, interval_s: float
) -> None:
    """L26: a growing file that is written again and again made programs slower every day."""
    pause = plan_refresh(begun, begun + took, interval_s) - (begun + took)

    assert pause >= 0.99 * interval_s
    assert took <= 0.051 * (pause + took) + 1e-6


def test_catalog_is_built_while_a_download_goes_on(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    watchlist = write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)
    lakehouse = make_lakehouse(
        tmp_path / "data", market_server.url, watchlist=watchlist, catalog_interval_s=0.001
    )
    publish_plan(lakehouse)
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="test")

    with backfill.held(wait_s=0):
        outcomes = backfill.run(planned_keys(lakehouse))
        seen = [lakehouse.layout.catalog_file.exists() for _ in outcomes]

    assert seen[0] is False
    assert seen[-1] is True
    assert set(backfill.catalog) == {name.name for name in fields(CatalogFacts)}
