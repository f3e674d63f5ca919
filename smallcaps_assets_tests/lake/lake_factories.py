"""Made-up trades, receipts and lakes for the tests of the lake."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk

SESSION = dt.date(2024, 3, 15)
OPENING_NS = 1_710_495_000_000_000_000
"""13:30 UTC, 09:30 New York, on ``SESSION``."""
STARTED = dt.datetime(2024, 3, 16, 12, 0, tzinfo=dt.UTC)

_EXCHANGES = np.array([4, 4, 4, 8, 10, 11, 12, 15, 19, 21])
_CONDITIONS = pl.Series([[], [37], [12, 37], [14, 41], [14, 37, 41], [12], [10]])
_CONDITION_SHARES = [0.3, 0.35, 0.15, 0.1, 0.05, 0.03, 0.02]


def make_tape(
    rows: int,
    *,
    seed: int = 1,
    ticker: str = "ABCD",
    session_date: dt.date = SESSION,
    burst_share: float = 0.0,
) -> pl.DataFrame:
    """Return ``schemas.TRADES`` of one session, about as irregular as a real tape.

    Prints come at random, a third of them off exchange, with instants to the nanosecond, ids
    counted by venue and odd lots; ``burst_share`` of them follow the print before at once.
    """
    rng = np.random.default_rng(seed)
    is_burst = rng.random(rows) < burst_share
    pause_ns = 6.5 * 3600e9 / max(rows, 1) / (1 - burst_share)
    gaps = np.where(is_burst, rng.exponential(60e3, rows), rng.exponential(pause_ns, rows))
    sip = OPENING_NS + np.cumsum(gaps.astype(np.int64))
    exchange = rng.choice(_EXCHANGES, rows)
    is_off = exchange == 4
    lag = (30e3 + rng.exponential(200e3, rows)).astype(np.int64)
    reported = (sip - lag - rng.exponential(20e6, rows).astype(np.int64)) // 1_000_000 * 1_000_000
    cents = 400 + np.cumsum(rng.integers(-1, 2, rows))
    fraction = np.where(is_off & (rng.random(rows) < 0.3), rng.integers(1, 99, rows), 0)
    counter = 52_983_525_000_000 + exchange * 10**11 + np.cumsum(rng.integers(1, 40, rows))
    frame = pl.DataFrame(
        {
            "sip_timestamp": sip,
            "participant_timestamp": np.where(is_off, reported, sip - lag),
            "trf_timestamp": sip - lag // 2,
            "sequence_number": 1000 + np.cumsum(rng.integers(1, 60, rows)),
            "id": counter.astype(str),
            "price": (cents * 100 + fraction) / 10_000,
            "size": np.where(rng.random(rows) < 0.45, 100, rng.integers(1, 99, rows)),
            "exchange": exchange,
            "trf_id": np.where(rng.random(rows) < 0.7, 202, 201),
            "conditions": _CONDITIONS.gather(rng.choice(7, rows, p=_CONDITION_SHARES)),
        }
    )
    return _complete(frame, ticker, session_date)


def make_facts(**changes: object) -> FetchFacts:
    """Return the facts of a fetch; a complete one by default."""
    facts = FetchFacts(
        state=states.COMPLETE,
        pages=1,
        requests=1,
        gte_ns=OPENING_NS,
        lt_ns=OPENING_NS + 86_400_000_000_000,
        vendor_status="OK",
        run_id="run-1",
        started_at=STARTED,
    )
    return replace(facts, **changes)


def make_receipt(**changes: object) -> Receipt:
    """Return a receipt of one trade that lies nowhere."""
    prepared = make_session(make_store(Path("nowhere")), rows=1)
    return replace(prepared.receipt, **changes)


def make_store(folder: Path) -> SegmentStore:
    """Return the store of a lake below ``folder``, whose lake folder is there."""
    layout = LakeLayout(folder)
    if folder.is_dir():
        layout.lake_dir.mkdir(exist_ok=True)
    lake = SegmentLake(LocalStorage(layout.lake_dir, ScriptedDisk()), "emulator:seed=1")
    return SegmentStore(lake, load_calendar())


def make_session(
    store: SegmentStore, *, rows: int = 5, seed: int = 1, ticker: str = "ABCD", day: int = 0
) -> PreparedSession:
    """Return a session ready to be committed, the ``day``-th after ``SESSION``."""
    session_date = SESSION + dt.timedelta(days=day)
    tape = make_tape(rows, seed=seed, ticker=ticker, session_date=session_date)
    facts = make_facts(state=states.COMPLETE if rows else states.EMPTY, run_id=f"run-{seed}")
    return store.prepare(ticker, session_date, tape, facts)


def _complete(frame: pl.DataFrame, ticker: str, session_date: dt.date) -> pl.DataFrame:
    is_off_exchange = pl.col("exchange") == 4
    return (
        frame.with_columns(
            pl.when(is_off_exchange).then(pl.col("trf_timestamp", "trf_id")).name.keep(),
            pl.when(pl.col("conditions").list.len() > 0).then("conditions").alias("conditions"),
            ticker=pl.lit(ticker),
            session_date=pl.lit(session_date),
            tape=pl.lit(3),
            correction=pl.lit(0),
            trading_phase=pl.lit("regular"),
            is_late_report=pl.lit(value=False),
        )
        .select(TRADES.schema.names())
        .cast(TRADES.schema)
    )
