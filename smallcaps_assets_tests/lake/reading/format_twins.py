"""Lakes of segments made from lakes of receipts: the same sessions, once more in the other format.

``make_twin`` copies a data folder with its ledger, its tables and its plan, and commits what lies
in its trees of ticker-sessions as segments instead.
"""

import datetime as dt
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.roots.identity import SEGMENTS_FORMAT, LakeIdentity, read_identity
from smallcaps_assets.lake.segments.closing import close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import month_of
from smallcaps_assets.lake.segments.parts import SHAPE, PartShape
from smallcaps_assets.lake.segments.receipts import enter_receipt
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.schemas import SCHEMA_VERSION, TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk

IDENTITY: Final = LakeIdentity(
    kind="emulator",
    name="seed=1",
    schema_version=SCHEMA_VERSION,
    created_at=dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
    format=SEGMENTS_FORMAT,
)
"""Of the lakes that tests of the lake make, which say nothing of themselves."""

_LEFT: Final = (*(tree.value for tree in Tree), "catalog.duckdb", "dagster", ".staging")


class Stored(NamedTuple):
    """An entry, and the rows that belong to it."""

    entry: Entry
    trades: pl.DataFrame


def make_twin(layout: LakeLayout, folder: Path, shape: PartShape = SHAPE) -> LakeLayout:
    """Copy a data folder, its ticker-sessions as segments; every second one lies there twice.

    The second copy counts, as if upkeep had moved it, so that no part of the first ones is whole.
    """
    shutil.copytree(layout.data_dir, folder, ignore=shutil.ignore_patterns(*_LEFT))
    twin = LakeLayout(folder)
    lake = begin_lake(twin, _identify(layout))
    for tree in (Tree.IMPORTED, Tree.OFF_SESSION, Tree.TRADES):
        stored = list(_read_sessions(layout, tree, lake.source))
        commit_sessions(lake, stored, shape)
        moved = [Stored(replace(entry, packed=1), trades) for entry, trades in stored[::2]]
        commit_sessions(lake, moved, shape)
    return twin


def begin_lake(layout: LakeLayout, identity: LakeIdentity = IDENTITY) -> SegmentLake:
    """Write that a lake is one of segments, and open it; nothing is synced."""
    layout.lake_dir.mkdir(parents=True, exist_ok=True)
    layout.identity_file.write_bytes(msgspec.json.encode(identity))
    return SegmentLake(LocalStorage(layout.lake_dir, ScriptedDisk()), str(identity.source))


def commit_sessions(
    lake: SegmentLake, stored: list[Stored], shape: PartShape = SHAPE
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


def _enter(receipt: Receipt, tree: Tree) -> Entry:
    """Say of a session what its receipt says, and what it was made of."""
    owner = _find_owner(receipt.session_date) if tree is Tree.OFF_SESSION else None
    entry = enter_receipt(receipt, owner)
    return replace(entry, adopted=receipt.receipt_sha256, committed_at=receipt.committed_at)


def _find_owner(date: dt.date) -> dt.date:
    """Find the weekday after a date, which is a session in the tests."""
    after = (date + dt.timedelta(days) for days in itertools.count(1))
    return next(day for day in after if day.weekday() < 5)


def _identify(layout: LakeLayout) -> LakeIdentity:
    if not layout.identity_file.is_file():
        return IDENTITY
    return replace(read_identity(layout, ScriptedDisk()), format=SEGMENTS_FORMAT)


def _read_sessions(layout: LakeLayout, tree: Tree, source: str) -> Iterator[Stored]:
    store = LakeStore(layout, ScriptedDisk(), source)
    for receipt in store.iter_receipts(tree=tree):
        key = (receipt.ticker, receipt.session_date)
        trades = store.read_trades(*key, tree=tree) if receipt.rows else TRADES.empty()
        yield Stored(_enter(receipt, tree), trades)
