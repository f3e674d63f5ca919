"""Emulated vendors, lakehouses that download from them, and the truth to compare with."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

import polars as pl

from smallcaps_assets.core.keys import encode_key, key_expression, list_key_months, month_of
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import Source, StaticSource
from smallcaps_assets.emulator.tape import WireRow
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.ticks.download import Download
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary, Outcome
from smallcaps_assets.lake.ledger.writer import tell_time
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.reading import list_months, read_month
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, ENTRIES, TRADES
from smallcaps_assets.settings import Settings
from smallcaps_assets_tests.polygon.polygon_factories import make_frame, make_wire_trade

KEY: Final = "sk_live_0123456789abcdef"
RETRIES: Final = 2
SESSIONS: Final = load_calendar().dates(dt.date(2024, 1, 2), dt.date(2024, 2, 29))
"""2024-01-02 is a Tuesday; the first Monday off is 2024-01-15."""

Rows = list[dict[str, Any]]


def make_session(session_date: dt.date, count: int, **changes: object) -> Rows:
    """Return trades of a New York day from 09:30 on, three at each timestamp."""
    opening_ns = day_bounds_ns(session_date, session_date)[0] + 34_200 * 10**9
    return [
        make_wire_trade(number, at_ns=opening_ns + number // 3 * 1_000_003, **changes)
        for number in range(count)
    ]


def make_sessions(session_dates: Iterable[dt.date], count: int = 2, **changes: object) -> Rows:
    return [row for date in session_dates for row in make_session(date, count, **changes)]


def make_keys(ticker: str, session_dates: Iterable[dt.date]) -> list[str]:
    return [encode_key(ticker, date) for date in session_dates]


def hash_rows(rows: Sequence[WireRow]) -> str:
    """Return the content hash of wire rows, without the code that reads the wire."""
    return hash_trades(make_frame(rows))


@dataclass(frozen=True)
class Downloaded:
    """What a download did.

    Attributes:
        outcomes: Of each session that it came to.
        summary: Its counts.
    """

    outcomes: dict[str, Outcome]
    summary: DownloadSummary

    def keys_in(self, state: str) -> list[str]:
        return sorted(key for key, outcome in self.outcomes.items() if outcome.state == state)


def make_settings(folder: Path, url: str, **changes: object) -> Settings:
    """Return settings of a download that loses no time."""
    quick = {
        "_env_file": None,
        "POLYGON_API_KEY": KEY,
        "source": "vendor",
        "data_dir": folder,
        "base_url": url,
        "requests_per_minute": 0,
        "retries": RETRIES,
        "backoff_base_s": 0.001,
        "backoff_factor": 1.0,
        "commit_interval_s": 2.0,
    }
    return Settings(**cast(dict[str, Any], quick | changes))


def make_lakehouse(
    folder: Path, url: str, *, clock: Callable[[], dt.datetime] = tell_time, **changes: object
) -> Lakehouse:
    folder.mkdir(exist_ok=True)
    return Lakehouse(make_settings(folder, url, **changes), clock=clock)


def download(lakehouse: Lakehouse, keys: Sequence[str], **options: object) -> Downloaded:
    refresh_ledger(lakehouse, list_key_months(keys))
    work = Download(lakehouse, run_id="run-1", **cast(dict[str, Any], options))
    return Downloaded({outcome.key: outcome for outcome in work.run(keys)}, work.summary)


def hash_stored(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the content hash of every session that is stored, from its rows themselves."""
    store = lakehouse.sessions
    receipts = list(store.iter_receipts())
    hashes = {receipt.key: hash_trades(TRADES.empty()) for receipt in receipts if not receipt.rows}
    # By month: a part is read once for all of its sessions.
    for _, told in groupby(receipts, key=lambda receipt: month_of(receipt.session_date)):
        rows = store.read_sessions([receipt for receipt in told if receipt.rows])
        for (ticker, date), tape in rows.group_by("ticker", "session_date", maintain_order=True):
            hashes[encode_key(str(ticker), cast(dt.date, date))] = hash_trades(tape)
    assert hashes.keys() == {receipt.key for receipt in receipts}
    return hashes


def list_kept(lakehouse: Lakehouse) -> list[tuple[str, str]]:
    """Return session and beginning of the content hash of each answer that does not count."""
    lost = find_lost_entries(lakehouse).filter(pl.col("kind") == SESSION)
    keys = lost.select(key_expression()).to_series()
    return [(key, content[:8]) for key, content in zip(keys, lost["content_hash"], strict=True)]


def find_lost_entries(lakehouse: Lakehouse) -> pl.DataFrame:
    """Return the entries of rows that are stored in segments and do not count, once a place."""
    assert isinstance(lakehouse.sessions, SegmentStore)
    lake = lakehouse.sessions.lake
    has_rows = pl.col("rows") > 0
    frames = [ENTRIES.empty()]
    for month in (read_month(lake, name) for name in list_months(lake)):
        counting = month.winners.filter(has_rows)
        stored = month.entries.filter(has_rows).select(*ENTRIES.columns)
        frames.append(stored.join(counting, on=[*ENTRIES.key, "content_hash"], how="anti"))
    return pl.concat(frames).unique([*ENTRIES.key, "part", "first_row"], maintain_order=True)


@contextmanager
def serve(
    trades: Mapping[str, Sequence[WireRow]] | Source, *faults: Fault
) -> Iterator[EmulatorServer]:
    source = StaticSource(trades) if isinstance(trades, Mapping) else trades
    with EmulatorServer(source, faults) as server:
        yield server


def write_bars(
    lakehouse: Lakehouse,
    counts: Mapping[tuple[str, dt.date], int],
    volume_of: Callable[[int], float] = lambda count: count * 100.0,
) -> None:
    """Store daily bars of January 2024 by their number of trades; the month is covered."""
    keys = pl.DataFrame(
        list(counts), {"ticker": pl.String(), "session_date": pl.Date()}, orient="row"
    )
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), 5.0)
    count = pl.Series("trade_count", list(counts.values()), pl.Int64)
    bars = keys.with_columns(count, **{name: pl.lit(price) for name, price in prices.items()})
    volume = pl.Series("volume", [volume_of(n) for n in counts.values()], pl.Float64)
    bars = bars.with_columns(volume).sort(DAILY_BARS.key)
    covered = [date for date in SESSIONS if date.month == 1]
    lakehouse.tables.write_daily_bars(
        "2024-01", bars.select(DAILY_BARS.schema.names()), covered=covered, is_closed=True
    )


def find_asked(server: EmulatorServer) -> list[tuple[str, dt.date, dt.date]]:
    """Return ticker, first and last session of the ranges asked for, in order of arrival."""
    firsts = {date: [*load_calendar().closed_days_before(date), date][0] for date in SESSIONS}
    starts = {day_bounds_ns(first, first)[0]: date for date, first in firsts.items()}
    ends = {day_bounds_ns(date, date)[1]: date for date in SESSIONS}
    return [
        (request.path.removeprefix("/v3/trades/"), starts[gte_ns], ends[lt_ns])
        for request in server.requests
        if (gte_ns := int(request.query.get("timestamp.gte", 0))) in starts
        and (lt_ns := int(request.query["timestamp.lt"])) in ends
    ]
