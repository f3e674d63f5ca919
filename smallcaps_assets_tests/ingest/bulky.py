"""A vendor whose trades hardly compress, so that few of them fill a disk."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import TAPE_COLUMNS, Span, Tape
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import TRADES as TRADES_TABLE
from smallcaps_assets.schemas import VENDOR_COLUMNS
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    make_keys,
    make_settings,
    write_bars,
)

OPENING_NS: Final = 34_200 * 10**9
"""09:30 after midnight in New York."""
CALENDAR: Final = load_calendar()
TRADES: Final = 400
"""Of a session; its file has about 23 KB."""
KEYS: Final = make_keys("ABCD", SESSIONS[:20])


class BulkySource(StaticSource):
    """The same number of trades in every session, each with an id of random bytes.

    Attributes:
        count: Trades of a session.
        id_bytes: Bytes of an id.
    """

    def __init__(self, count: int, id_bytes: int = 32) -> None:
        super().__init__()
        self.count = count
        self.id_bytes = id_bytes

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        first, last = (_find_date(ns) for ns in (span.gte_ns, span.lt_ns - 1))
        for session_date in CALENDAR.dates(first, last):
            yield Tape.from_frame(make_bulk(ticker, session_date, self.count, self.id_bytes))


def make_bulk(ticker: str, session_date: dt.date, count: int, id_bytes: int) -> pl.DataFrame:
    """Return ``TAPE_COLUMNS`` of a session, always the same."""
    rng = np.random.default_rng([*ticker.encode(), session_date.toordinal()])
    instants = day_bounds_ns(session_date, session_date)[0] + OPENING_NS + np.arange(count) * 10**6
    text = rng.bytes(id_bytes * count).hex()
    width = 2 * id_bytes
    ids = [text[start : start + width] for start in range(0, len(text), width)]
    numbers = {
        "sip_timestamp": instants,
        "participant_timestamp": instants - 1_000,
        "sequence_number": np.arange(count) + 1,
        "price": 5.0 + rng.integers(0, 100, count) / 100,
        "size": rng.integers(1, 500, count),
        "id": ids,
    }
    constants = {name: pl.lit(0) for name in ("trf_timestamp", "trf_id", "correction")}
    frame = pl.DataFrame(numbers).with_columns(
        exchange=pl.lit(11), tape=pl.lit(3), conditions=pl.lit(""), decimal_size=None, **constants
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in TAPE_COLUMNS.items())


def hash_bulk(ticker: str, session_date: dt.date, source: BulkySource) -> str:
    """Return the content hash of a session, without the code that reads the wire."""
    rows = make_bulk(ticker, session_date, source.count, source.id_bytes)
    absent = {
        name: pl.lit(None, TRADES_TABLE.columns[name].dtype)
        for name in ("trf_timestamp", "trf_id", "conditions")
    }
    kept = rows.select(VENDOR_COLUMNS).with_columns(**absent)
    return hash_trades(
        kept.select(pl.col(name).cast(TRADES_TABLE.columns[name].dtype) for name in VENDOR_COLUMNS)
    )


def _find_date(instant_ns: int) -> dt.date:
    return (dt.datetime.fromtimestamp(instant_ns // 10**9, dt.UTC) - dt.timedelta(hours=5)).date()


def make_bulky_lakehouse(folder: Path, url: str, disk: FileSystem, **changes: object) -> Lakehouse:
    """Return a lakehouse of one session a request; its 20 sessions are planned, and have bars."""
    folder.mkdir(exist_ok=True)
    values: dict[str, object] = {"range_max_sessions": 1, "workers": 4}
    values["commit_interval_s"] = 1e-9
    lakehouse = Lakehouse(make_settings(folder, url, **(values | changes)), fs=disk)
    write_bars(lakehouse, {decode_key(key): TRADES for key in KEYS})
    bars = lakehouse.tables.read_daily_bars().collect()
    lakehouse.ledger.record_plan(bars.select("ticker", "session_date"))
    return lakehouse
