"""A lake of made-up ticker-sessions for the benches of reading, and the same rows as naive files.

What does not belong here: measuring.  Sizes of sessions are log-normal with a median of 250 trades
and a mean near 540; a ticker has all sessions of three months.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from stores import open_store

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.lake.sessions.receipts import FetchFacts
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, TRADES
from smallcaps_assets.settings import Settings, Source

FIRST, LAST = dt.date(2024, 1, 2), dt.date(2024, 3, 28)
MEDIAN_TRADES, SPREAD, MOST_TRADES = 250, 1.25, 60_000
ROUND_LOTS = 0.45
DAY_NS, OPENING_NS = 86_400 * 10**9, 14 * 3600 * 10**9 + 30 * 60 * 10**9
GROUP = 500
SEED = 20240102


def open_sample(folder: Path) -> Lakehouse:
    """Return the lakehouse on a folder, whatever lies there."""
    folder.mkdir(parents=True, exist_ok=True)
    return Lakehouse(Settings(_env_file=None, data_dir=folder, source=Source.EMULATOR))


def fill_sample(lakehouse: Lakehouse, sessions: int, naive: Path | None = None) -> int:
    """Store that many ticker-sessions, and plan them; return their trades.

    Args:
        lakehouse: An empty lake.
        sessions: How many.
        naive: Folder that takes the same rows as ``TICKER/date=YYYY-MM-DD/trades.parquet``.
    """
    store = open_store(lakehouse.home.data_dir, str(lakehouse.identity.source))
    keys, batch, total = [], [], 0
    for ticker, date, trades in iter_sessions(sessions):
        keys.append((ticker, date, ["E2_GapUp"], [date], [0]))
        batch.append(store.prepare(ticker, date, trades, make_facts()))
        total += trades.height
        if naive is not None:
            path = naive / ticker / f"date={date}" / "trades.parquet"
            path.parent.mkdir(parents=True)
            trades.write_parquet(path, compression="zstd", compression_level=2)
        if len(batch) == GROUP or len(keys) == sessions:
            store.commit(batch)
            batch = []
    plan = pl.DataFrame(keys, EVENT_WINDOW_PLAN.schema, orient="row")
    record = PlanRecord(
        plan_hash=hash_plan(plan), sessions=sessions, tickers=1, created_at=dt.datetime.now(dt.UTC)
    )
    lakehouse.tables.write_plan(plan, record, is_published=True)
    ensure_indexed(lakehouse)
    return total


def iter_sessions(count: int) -> Iterator[tuple[str, dt.date, pl.DataFrame]]:
    """Yield ticker, session and ``schemas.TRADES``, ticker by ticker."""
    random = np.random.default_rng(SEED)
    dates = load_calendar().dates(FIRST, LAST)
    sizes = random.lognormal(np.log(MEDIAN_TRADES), SPREAD, count)
    pool = make_pool(random, 2 * MOST_TRADES)
    for number, size in enumerate(np.clip(sizes, 1, MOST_TRADES).astype(int)):
        ticker, date = f"T{number // len(dates):03d}", dates[number % len(dates)]
        start = int(random.integers(0, MOST_TRADES))
        yield ticker, date, cut_session(pool.slice(start, int(size)), ticker, date)


def make_pool(random: np.random.Generator, rows: int) -> pl.DataFrame:
    """Return rows to cut sessions from, as irregular as a tape; instants are offsets."""
    exchange = random.choice([4, 4, 4, 8, 10, 11, 12, 15, 19, 21], rows)
    gaps = random.exponential(10**9, rows).astype(np.int64)
    lag = (30e3 + random.exponential(200e3, rows)).astype(np.int64)
    counter = 52_983_525_000_000 + exchange * 10**11 + np.cumsum(random.integers(1, 40, rows))
    conditions = pl.Series([None, [37], [12, 37], [14, 41], [14, 37, 41], [12], [10]])
    is_off = exchange == exchange.min()
    return pl.DataFrame(
        {
            "gap": gaps,
            "lag": lag,
            "sequence_number": 1000 + np.cumsum(random.integers(1, 60, rows)),
            "id": counter.astype(str),
            "price": (400 + np.cumsum(random.integers(-1, 2, rows))) / 100,
            "size": np.where(random.random(rows) < ROUND_LOTS, 100.0, random.integers(1, 99, rows)),
            "exchange": exchange,
            "trf_id": pl.Series(np.where(is_off, 202, 0)).replace(0, None),
            "conditions": conditions.gather(random.integers(0, 7, rows)),
        }
    )


def cut_session(rows: pl.DataFrame, ticker: str, date: dt.date) -> pl.DataFrame:
    """Return some rows of the pool as the trades of a session."""
    start = (date - dt.date(1970, 1, 1)).days * DAY_NS + OPENING_NS
    sip = start + pl.col("gap").cum_sum() * 20_000 // max(rows.height, 20_000)
    trades = rows.with_columns(
        ticker=pl.lit(ticker),
        session_date=pl.lit(date),
        sip_timestamp=sip,
        participant_timestamp=sip - pl.col("lag"),
        trf_timestamp=pl.when(pl.col("trf_id").is_not_null()).then(sip - pl.col("lag") // 2),
        tape=pl.lit(3),
        correction=pl.lit(0),
        trading_phase=pl.lit("regular"),
        is_late_report=pl.lit(value=False),
    )
    return trades.select(TRADES.schema.names()).cast(TRADES.schema)


def make_facts() -> FetchFacts:
    """Return what a fetch of one page knows."""
    return FetchFacts(
        state="complete",
        pages=1,
        requests=1,
        gte_ns=0,
        lt_ns=1,
        vendor_status="OK",
        run_id="bench",
        started_at=dt.datetime(2024, 4, 1, tzinfo=dt.UTC),
    )
