"""Lakes of receipts with one of everything that a takeover has to carry."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.lake.adoption.takeover import OLD_FOLDER, TakeoverFacts, take_over
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.months.store import MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.batches import iter_batches
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import list_months, read_entries, read_month
from smallcaps_assets.lake.sessions.receipts import ImportFacts
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import (
    SESSION,
    STARTED,
    make_facts,
    make_session,
    make_tape,
)
from smallcaps_assets_tests.lake.ledger_factories import make_plan
from smallcaps_assets_tests.lake.root_factories import SOURCE, add_root, make_home, open_store

MONDAY: Final = SESSION + dt.timedelta(days=3)
TUESDAY: Final = SESSION + dt.timedelta(days=4)
ASKING: Final = Asking(dt.date(2024, 4, 1), 50_000, "other")
IMPORT: Final = ImportFacts(fingerprint="f", verdict="unproven", findings=("no bar",))
RED: Final = "CUTT_2024-03-15"
"""A session of which only the ledger knows: its bar disputes that it has no trades."""


def make_old_lake(folder: Path, *, second_root: Path | None = None) -> LakeLayout:
    """Return the data folder of a lake with three months, a compacted one among them."""
    home = make_home(folder)
    home.ledger_file.unlink()
    if second_root is not None:
        add_root(home, second_root, seed=3)
    store = open_store(home)
    _store_disputed(store)
    _store_late(store)
    _store_replaced(store)
    _store_import(store)
    _compact(store)
    _record(home, store)
    return home


def _store_disputed(store: LakeStore) -> None:
    session = make_session(store, rows=3, ticker="DISP", day=4)
    changed = replace(
        session.receipt,
        state=states.DISPUTED,
        askings=(ASKING,),
        marks=("bar_residual",),
        volume=90.0,
        trade_count=3,
        original_volume=91.0,
        original_trade_count=4,
        bar_volume=100.0,
        bar_trade_count=5,
        volume_deficit=0.1,
        count_deficit=0.4,
    )
    store.commit([type(session)(changed, session.content, session.tree)])


def _store_late(store: LakeStore) -> None:
    """Store a Monday that was asked for from its own midnight on."""
    tape, start_ns = make_tape(2, ticker="LATE", session_date=MONDAY), day_bounds_ns(MONDAY, MONDAY)
    facts = make_facts(gte_ns=start_ns[0], lt_ns=start_ns[1])
    store.commit([store.prepare("LATE", MONDAY, tape, facts)])


def _store_replaced(store: LakeStore) -> None:
    """Store a session whose first answer was replaced, and one whose later answer lost."""
    old, new = (make_session(store, rows=rows, ticker="REVD", day=4) for rows in (2, 3))
    (stored,) = store.commit([old])
    store.keep_revision(stored)
    store.commit([type(new)(replace(new.receipt, revision=2), new.content, new.tree)])
    kept, lost = (make_session(store, rows=rows, ticker="REVK", day=4) for rows in (4, 1))
    (stored,) = store.commit([kept])
    store.keep_revision(stored, lost)


def _store_import(store: LakeStore) -> None:
    tape = make_tape(6, ticker="IMPO", session_date=TUESDAY)
    facts = make_facts(state=states.IMPORTED_UNPROVEN, is_imported=True, archive=IMPORT)
    store.commit([store.prepare("IMPO", TUESDAY, tape, facts, tree=Tree.IMPORTED)])


def _compact(store: LakeStore) -> None:
    """Store a session of May in a month file alone."""
    day = (dt.date(2024, 5, 6) - SESSION).days
    session = make_session(store, rows=7, ticker="COMP", day=day)
    (receipt,) = store.commit([session])
    columns = ("ticker", "session_date", "rows", "bytes", "sha256", "content_hash")
    row = pl.DataFrame([{name: getattr(receipt, name) for name in columns}])
    batches = list(iter_batches(store.layout, store.fs, store.month_sessions, row))
    months, root = MonthStore(store.layout, store.fs), store.layout.roots[0]
    months.write("2024-05", batches, root, source=str(SOURCE), compacted_at=STARTED)
    store.layout.trades_file("COMP", receipt.session_date).unlink()


def _record(home: LakeLayout, store: LakeStore) -> None:
    with Ledger(home.ledger_file) as ledger:
        ledger.record_plan(make_plan(RED))
        ledger.record_receipts([*store.iter_receipts()])
        ledger.record_failures([Failure(RED, states.EMPTY_DISPUTED, "empty", "its bar has volume")])


def adopt(
    home: LakeLayout,
    fs: FileSystem | None = None,
    *,
    old: LakeLayout | None = None,
    removes: bool = False,
) -> TakeoverFacts:
    return take_over(home, fs or ScriptedDisk(), load_calendar(), old, removes=removes)


def open_segments(home: LakeLayout) -> SegmentLake:
    return SegmentLake(LocalStorage(home.lake_dir, ScriptedDisk()), str(SOURCE))


def read_winners(home: LakeLayout) -> pl.DataFrame:
    """Return the entries that count of all months."""
    lake = open_segments(home)
    return pl.concat([read_month(lake, month).winners for month in list_months(lake)]).sort(KEY)


def hash_rows(home: LakeLayout) -> dict[tuple[str, str], str]:
    """Return the hash of the rows of each entry that counts and has any, by kind and key."""
    lake, hashes = open_segments(home), {}
    for month in list_months(lake):
        for entry in read_month(lake, month).winners.filter(pl.col("rows") > 0).iter_slices(1):
            ticker, date, kind = entry.select(KEY).row(0)
            rows = read_entries(lake, month, entry)
            hashes[kind, encode_key(ticker, date)] = hash_trades(TRADES.conform(rows))
    return hashes


def undo(home: LakeLayout) -> None:
    """Put the old lake back, by one rename."""
    shutil.rmtree(home.lake_dir)
    (home.data_dir / OLD_FOLDER).rename(home.lake_dir)
