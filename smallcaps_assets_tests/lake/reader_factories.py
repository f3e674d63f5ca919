"""Small lakes with trades in chosen phases, for the tests of what reads a lake."""

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.schemas import (
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SPLITS,
    TRADES,
    WATCHLIST,
    Table,
)

STARTED = dt.datetime(2024, 3, 18, 12, tzinfo=dt.UTC)
DAY_NS = 86_400_000_000_000
PHASE_HOURS = {"pre_market": 9, "regular": 15, "after_hours": 21, "closed": 25}
"""Hour UTC of a trade in each phase on a summer day, New York being four hours behind."""

ALL_PHASES = tuple(PHASE_HOURS)


def make_trades(key: str, phases: Sequence[str] = ALL_PHASES) -> pl.DataFrame:
    """Return one trade for each phase named, at nanoseconds that no float holds."""
    ticker, session_date = decode_key(key)
    midnight_ns = (session_date - dt.date(1970, 1, 1)).days * DAY_NS
    times = [
        midnight_ns + PHASE_HOURS[phase] * 3_600_000_000_000 + 123_456_789 + n
        for n, phase in enumerate(phases)
    ]
    rows = pl.DataFrame(
        {"sip_timestamp": times, "trading_phase": list(phases)},
        schema_overrides={"sip_timestamp": pl.Int64, "trading_phase": pl.String},
    )
    return complete(
        TRADES,
        rows.with_columns(
            ticker=pl.lit(ticker),
            session_date=pl.lit(session_date),
            sequence_number=pl.int_range(pl.len()),
            price=pl.lit(5.01),
            size=pl.lit(0.5),
            correction=pl.lit(0),
            is_late_report=pl.lit(value=False),
        ),
    )


def complete(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with the columns and types of ``table``; those not given are null."""
    lacking = {name: pl.lit(None) for name in table.columns if name not in rows.columns}
    return table.conform(
        rows.with_columns(**lacking).select(table.schema.names()).cast(table.schema)
    )


def fill_lake(folder: Path, sessions: Mapping[str, Sequence[str]]) -> LakeLayout:
    """Store sessions with a trade for each phase named, and record them; return the paths."""
    layout = LakeLayout(folder)
    layout.lake_dir.mkdir(parents=True, exist_ok=True)
    receipts = store_sessions(layout, sessions)
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_receipts(receipts)
    return layout


def store_sessions(
    layout: LakeLayout, sessions: Mapping[str, Sequence[str]], tree: Tree = Tree.TRADES
) -> list[Receipt]:
    """Store sessions without telling the ledger; return their receipts."""
    store = LakeStore(layout, FileSystem(), "emulator:seed=1")
    prepared = []
    for key, phases in sessions.items():
        facts = FetchFacts(
            state="complete" if phases else "empty",
            pages=1,
            requests=1,
            gte_ns=0,
            lt_ns=DAY_NS,
            vendor_status="OK",
            run_id="run",
            started_at=STARTED,
        )
        trades = make_trades(key, phases)
        prepared.append(store.prepare(*decode_key(key), trades, facts, tree=tree))
    return store.commit(prepared)


def make_watchlist(*keys: str, table: Table = WATCHLIST) -> pl.DataFrame:
    """Return a watchlist with one event a row."""
    rows = [(*decode_key(key), ["E2_GapUp"], 1) for key in keys]
    return pl.DataFrame(rows, table.schema, orient="row")


def make_pilot(*keys: str) -> pl.DataFrame:
    return make_watchlist(*keys, table=PILOT_WATCHLIST)


def make_window_plan(*keys: str) -> pl.DataFrame:
    """Return a plan in which each session is its own event."""
    rows = [(t, date, ["E2_GapUp"], [date], [0]) for t, date in map(decode_key, keys)]
    return pl.DataFrame(rows, EVENT_WINDOW_PLAN.schema, orient="row")


def make_bars(*keys: str) -> pl.DataFrame:
    rows = [
        (*decode_key(key), 1.0, 2.0, 0.5, 1.5, 100.0 + n, None, None)
        for key, n in zip(keys, itertools.count(), strict=False)
    ]
    return pl.DataFrame(rows, DAILY_BARS.schema, orient="row")


def make_splits(*keys: str) -> pl.DataFrame:
    rows = [(*decode_key(key), 10.0, 1.0) for key in keys]
    return pl.DataFrame(rows, SPLITS.schema, orient="row")
