"""Lakes of a few made-up sessions in two months, without a vendor, and what users read of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import duckdb
import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import Done
from smallcaps_assets.operations.compaction.run import Compaction
from smallcaps_assets_tests.lake.lake_factories import make_facts, make_tape
from smallcaps_assets_tests.lake.reader_factories import make_window_plan
from smallcaps_assets_tests.lakehouse_factories import NOW, make_settings

Settings = Mapping[str, object]
NO_CHANGES: Final[Settings] = MappingProxyType({})
REMOVING: Final[Settings] = MappingProxyType({"remove_compacted": True})

KEYS: Final = (
    "AAAA_2024-03-14",
    "AAAA_2024-03-15",
    "AAAA_2024-04-01",
    "BCPC_2024-03-15",
    "BCpC_2024-03-15",
    "BCpC_2024-04-02",
    "CON_2024-03-18",
)
"""Neighbours in a month file, tickers that differ by case alone, and a device of Windows."""
MARCH: Final = "2024-03"
APRIL: Final = "2024-04"
COLUMNS: Final = ("ticker", "session_date", "sip_timestamp_ns", "id", "price", "size")


def make_month_lake(
    folder: Path,
    keys: Sequence[str] = KEYS,
    fs: FileSystem | None = None,
    *,
    changes: Settings = NO_CHANGES,
) -> Lakehouse:
    """Return a lake whose plan is ``keys``, and of which nothing is stored yet."""
    lakehouse = open_month_lake(folder, fs, changes=changes)
    folder.mkdir(parents=True, exist_ok=True)
    publish_keys(lakehouse, keys)
    lakehouse.ledger.reindex([])
    return lakehouse


def open_month_lake(
    folder: Path, fs: FileSystem | None = None, *, changes: Settings = NO_CHANGES
) -> Lakehouse:
    """Return a lakehouse on a folder, whatever lies there, as another process would open it."""
    settings = make_settings(folder, "http://127.0.0.1:9", **changes)
    return Lakehouse(settings, clock=lambda: NOW, fs=fs or FileSystem())


def publish_keys(lakehouse: Lakehouse, keys: Sequence[str]) -> None:
    """Publish a plan of these keys, and tell the ledger."""
    _ = lakehouse.identity
    plan = make_window_plan(*keys)
    record = PlanRecord(plan_hash=hash_plan(plan), sessions=len(keys), tickers=1, created_at=NOW)
    lakehouse.tables.write_plan(plan, record, is_published=True)
    lakehouse.ledger.record_plan(plan)


def store_session(lakehouse: Lakehouse, key: str, *, rows: int = 5, seed: int = 1) -> None:
    """Store a session as a download does, in place of the one that is there."""
    ticker, session_date = decode_key(key)
    tape = make_tape(rows, seed=seed, ticker=ticker, session_date=session_date)
    facts = make_facts(state=states.COMPLETE if rows else states.EMPTY)
    store = lakehouse.store
    receipts = store.commit([store.prepare(ticker, session_date, tape, facts)])
    lakehouse.ledger.record_receipts(receipts)


def quarantine_session(lakehouse: Lakehouse, key: str) -> None:
    failure = Failure(key, states.QUARANTINED, "sha256", "damaged", run_id="repair")
    lakehouse.ledger.record_failures([failure])
    lakehouse.store.quarantine(*decode_key(key))


def fill_month_lake(folder: Path, *, changes: Settings = NO_CHANGES) -> Lakehouse:
    """Return a lake of which every planned session is stored, one of them without trades."""
    lakehouse = make_month_lake(folder, changes=changes)
    for number, key in enumerate(KEYS):
        store_session(lakehouse, key, rows=0 if key.startswith("BCPC") else 3 + number, seed=number)
    return lakehouse


def compact(lakehouse: Lakehouse, *months: str) -> dict[str, Done]:
    """Run the compaction; return what was done about each month."""
    compaction = Compaction(lakehouse, run_id="test")
    with compaction.held(wait_s=0):
        return {outcome.month: outcome.done for outcome in compaction.run(months or None)}


def read_rows(lakehouse: Lakehouse) -> pl.DataFrame:
    """Return what users read by polars, after proving that they read the same through DuckDB."""
    lake = Lake(lakehouse.home.data_dir)
    trades = lake.trades().collect()
    related = lake.trades_relation().select(*COLUMNS).pl()
    ours = trades.with_columns(sip_timestamp_ns=pl.col("sip_timestamp").to_physical())
    assert_same_rows(related, ours.select(COLUMNS))
    return trades


def read_catalog(lakehouse: Lakehouse) -> pl.DataFrame:
    with duckdb.connect(str(lakehouse.home.catalog_file), read_only=True) as catalog:
        rows: pl.DataFrame = catalog.table("trades").select(*COLUMNS).pl()
    return rows


def assert_same_rows(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.sort(left.columns).equals(right.sort(left.columns))


def hash_rows(trades: pl.DataFrame) -> dict[str, str]:
    """Return the content hash of each session, by its key; the order of sessions is looked at."""
    order = trades.select("ticker", "session_date").unique(maintain_order=True)
    assert order.equals(order.sort("ticker", "session_date"))
    parts = trades.partition_by("ticker", "session_date", maintain_order=True)
    return {part.select(key_expression()).item(0, 0): hash_trades(part) for part in parts}


def hash_receipts(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the content hash of each stored session with trades, by its receipt."""
    receipts = lakehouse.store.iter_receipts()
    return {receipt.key: receipt.content_hash for receipt in receipts if receipt.rows}


def assert_exactly_once(lakehouse: Lakehouse) -> None:
    """Compare what users read with the receipts: every session once, each with its content."""
    assert hash_rows(read_rows(lakehouse)) == hash_receipts(lakehouse)
