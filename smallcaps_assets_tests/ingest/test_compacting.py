"""Compaction: which months, exactly once each row, whatever happened before and in between."""

from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pytest

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.tape import hash_trades
from smallcaps_assets.ingest.compacting import Done
from smallcaps_assets.ingest.compaction_run import Compaction
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake.reader import Lake
from smallcaps_assets_tests.lakehouse_factories import SmallLake

KEY: Final = "BCPC_2024-01-10"
MONTH: Final = "2024-01"


def compact(lakehouse: Lakehouse, *months: str) -> dict[str, Done]:
    compaction = Compaction(lakehouse, run_id="test")
    with compaction.held(wait_s=0):
        return {o.month: o.done for o in compaction.run(months or None)}


def read_rows(lakehouse: Lakehouse) -> pl.DataFrame:
    """Return what users read, after proving that polars, DuckDB and the catalog agree."""
    data_dir = lakehouse.home.data_dir
    trades = Lake(data_dir).trades().collect()
    columns = ["ticker", "session_date", "sip_timestamp_ns", "id", "price", "size"]
    with duckdb.connect(str(lakehouse.home.catalog_file), read_only=True) as catalog:
        shown = catalog.table("trades").select(*columns).pl()
    relation = Lake(data_dir).trades_relation().select(*columns).pl()
    assert_same_rows(shown, relation)
    ours = trades.with_columns(sip_timestamp_ns=pl.col("sip_timestamp").to_physical())
    assert_same_rows(shown, ours.select(columns))
    return trades


def assert_same_rows(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.sort(left.columns).equals(right.sort(left.columns))


def hash_content(trades: pl.DataFrame) -> dict[str, str]:
    parts = trades.partition_by("ticker", "session_date", maintain_order=True)
    return {part.select(key_expression()).item(0, 0): hash_trades(part) for part in parts}


def hash_receipts(lakehouse: Lakehouse) -> dict[str, str]:
    stored = lakehouse.ledger.stored_contents()
    return dict(stored.select(key_expression(), "content_hash").iter_rows())


def assert_exactly_once(lakehouse: Lakehouse) -> None:
    """Compare what users read with the receipts: every session once, each with its content."""
    assert hash_content(read_rows(lakehouse)) == hash_receipts(lakehouse)


@pytest.fixture
def lakehouse(small_lake: SmallLake, tmp_path: Path) -> Lakehouse:
    return small_lake.copy(tmp_path)


def test_compact_months_writes_what_the_receipts_prove(lakehouse: Lakehouse) -> None:
    before = read_rows(lakehouse)

    done = compact(lakehouse)

    assert done == {MONTH: Done.WRITTEN}
    month = lakehouse.store.months.find(MONTH)
    assert month is not None
    assert month.manifest.sessions > 0
    assert_exactly_once(lakehouse)
    assert read_rows(lakehouse).equals(before)
