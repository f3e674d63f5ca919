"""Small lakes with trades in chosen phases, for the tests of what reads a lake."""

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import polars as pl

from smallcaps_assets.core.keys import decode_key, month_of
from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.lake.home.identity import SEGMENTS_FORMAT, LakeIdentity
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.reading.locating import locate_trades
from smallcaps_assets.lake.reading.sources import EVERYTHING, PartFile, Selection
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.closing import close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.parts import SHAPE, PartShape
from smallcaps_assets.lake.segments.receipts import enter_receipt
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.upkeep.indexing import list_stale_months, refresh_months
from smallcaps_assets.schemas import (
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SCHEMA_VERSION,
    SPLITS,
    TRADES,
    WATCHLIST,
    Table,
)
from smallcaps_assets_tests.lake.disks import ScriptedDisk

STARTED = dt.datetime(2024, 3, 18, 12, tzinfo=dt.UTC)
DAY_NS = 86_400_000_000_000
PHASE_HOURS = {"pre_market": 9, "regular": 15, "after_hours": 21, "closed": 25}
"""Hour UTC of a trade in each phase on a summer day, New York being four hours behind."""

ALL_PHASES = tuple(PHASE_HOURS)
IDENTITY: Final = LakeIdentity(
    kind="emulator",
    name="seed=1",
    schema_version=SCHEMA_VERSION,
    created_at=dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
    format=SEGMENTS_FORMAT,
)
"""Of the lakes that tests of the lake make, which say nothing of themselves."""


class Stored(NamedTuple):
    """An entry, and the rows that belong to it."""

    entry: Entry
    trades: pl.DataFrame


def begin_lake(layout: LakeLayout, identity: LakeIdentity = IDENTITY) -> SegmentLake:
    """Write whose a lake is, and open it; nothing is synced."""
    layout.lake_dir.mkdir(parents=True, exist_ok=True)
    layout.identity_file.write_bytes(msgspec.json.encode(identity))
    return SegmentLake(LocalStorage(layout.lake_dir, ScriptedDisk()), str(identity.source))


def commit_sessions(
    lake: SegmentLake, stored: Sequence[Stored], shape: PartShape = SHAPE
) -> list[tuple[str, Stored]]:
    """Commit sessions, a segment a month; return each with the name of its record."""
    by_month = sorted(stored, key=lambda one: month_of(one.entry.owner))
    told = []
    for month, group in itertools.groupby(by_month, key=lambda one: month_of(one.entry.owner)):
        own = list(group)
        trades = pl.concat([TRADES.empty(), *(one.trades for one in own)])
        draft = close_segment(month, frame_entries(one.entry for one in own), trades, shape=shape)
        (record,) = commit_segments(lake, [draft])
        told += [(record.header.name, one) for one in own]
    return told


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
    """Store sessions with a trade for each phase named, and record them; return the paths.

    Each has a part of its own.
    """
    layout = LakeLayout(folder)
    receipts = store_sessions(layout, sessions)
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_receipts(receipts)
        _index(ledger, begin_lake(layout))
    return layout


def _index(ledger: Ledger, lake: SegmentLake) -> None:
    """Tell a ledger of records that it never heard of, as their writers would have."""
    refresh_months(ledger, lake, list_stale_months(ledger, lake), lists_all=True)


def fill_moved_lake(folder: Path, sessions: Mapping[str, Sequence[str]]) -> LakeLayout:
    """Fill a lake with a part a month, and store every second session once more.

    The second copy counts, as if upkeep had moved it, so that no part of the first ones is whole.
    """
    layout = LakeLayout(folder)
    store = SegmentStore(begin_lake(layout), load_calendar())
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_receipts(store.commit([_prepare(store, *one) for one in sessions.items()]))
        _index(ledger, store.lake)
    moved = [
        Stored(
            msgspec.structs.replace(enter_receipt(receipt), packed=1),
            store.read_trades(receipt.ticker, receipt.session_date),
        )
        for receipt in [*store.iter_receipts()][::2]
    ]
    commit_sessions(store.lake, moved)
    return layout


def store_sessions(
    layout: LakeLayout, sessions: Mapping[str, Sequence[str]], tree: Tree = Tree.TRADES
) -> list[Receipt]:
    """Store sessions without telling the ledger, whatever is there; return their receipts."""
    store = SegmentStore(begin_lake(layout), load_calendar())
    prepared = [_prepare(store, *one, tree) for one in sessions.items()]
    return [receipt for session in prepared for receipt in store.commit([session])]


def store_without_record(layout: LakeLayout, key: str) -> None:
    """Store a session as a killed run leaves it: no record names its part."""
    before = list_files(layout, "*.record.*")
    store_sessions(layout, {key: ("regular",)})
    (record,) = {*list_files(layout, "*.record.*")} - {*before}
    record.unlink()


def _prepare(
    store: SegmentStore, key: str, phases: Sequence[str], tree: Tree = Tree.TRADES
) -> PreparedSession:
    """Prepare a session that takes the place of the one that is there."""
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
    session = store.prepare(*decode_key(key), make_trades(key, phases), facts, tree=tree)
    known = store.find_receipt(key)
    revision = known.revision + 1 if known else 1
    return replace(session, receipt=msgspec.structs.replace(session.receipt, revision=revision))


def locate_parts(
    layout: LakeLayout, selection: Selection = EVERYTHING, fs: FileSystem | None = None
) -> list[PartFile]:
    """Return the parts that the trades asked for are read from."""
    with LedgerReader(layout.ledger_file) as ledger:
        return locate_trades(layout, fs or FileSystem(), ledger, selection).parts


def find_part(layout: LakeLayout, key: str) -> Path:
    """Return the part that a session is read from."""
    ticker, date = decode_key(key)
    (part,) = locate_parts(layout, Selection((ticker,), date, date))
    return part.path


def list_files(layout: LakeLayout, pattern: str) -> list[Path]:
    """Return records and parts by their names."""
    return sorted(layout.object_file("segments").glob(f"*/{pattern}"))


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
