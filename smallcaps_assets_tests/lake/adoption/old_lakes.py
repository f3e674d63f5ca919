"""Lakes of receipts with one of everything that a takeover has to carry."""

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.format1.lake import ReceiptLake
from benchmarks.format1.ledger import Red, write_ledger
from benchmarks.format1.tapes import StoredSession
from smallcaps_assets.core import states
from smallcaps_assets.core.keys import encode_key, key_expression
from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.lake.adoption.takeover import OLD_FOLDER, TakeoverFacts, take_over
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import list_months, read_entries, read_month
from smallcaps_assets.lake.sessions.receipts import FetchFacts, ImportFacts
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_facts, make_tape

SOURCE: Final = "emulator:seed=1"
SATURDAY: Final = SESSION + dt.timedelta(days=1)
MONDAY: Final = SESSION + dt.timedelta(days=3)
TUESDAY: Final = SESSION + dt.timedelta(days=4)
MAY: Final = dt.date(2024, 5, 6)
ASKING: Final = Asking(dt.date(2024, 4, 1), 50_000, "other")
IMPORT: Final = ImportFacts(fingerprint="f", verdict="unproven", findings=("no bar",))
RED: Final = Red("CUTT_2024-03-15", states.EMPTY_DISPUTED, 1, "2024-03-16")
"""A session of which only the ledger knows: its bar disputes that it has no trades."""
QUARANTINED: Final = Red("QUAR_2024-03-15", states.QUARANTINED)
FAILED: Final = Red("FAIL_2024-03-15", states.FAILED)
PLANNED: Final = "NEXT_2024-03-15"

KINDS: Final = {
    "trades": "session",
    "off_session_trades": "off_session",
    "imported_trades": "session",
}


def make_old_lake(folder: Path, *, second_root: Path | None = None) -> LakeLayout:
    """Return the data folder of a lake with three months, a compacted one among them."""
    lake = ReceiptLake(folder, SOURCE, ScriptedDisk())
    lake.begin()
    lake.commit([make_session(lake, 5, "ABCD", SESSION), make_session(lake, 0, "ABCD", MONDAY)])
    lake.commit([make_session(lake, 2, "BCpC", SESSION)])
    lake.commit([make_session(lake, 2, "ABCD", SATURDAY, tree="off_session_trades")])
    if second_root is not None:
        lake.add_root(second_root)
        session = make_session(lake, 4, "CON", SESSION + dt.timedelta(days=21))
        lake.commit([session], second_root)
    _store_disputed(lake)
    _store_late(lake)
    _store_replaced(lake)
    _store_import(lake)
    lake.commit([make_session(lake, rows, f"COM{rows}", MAY) for rows in (7, 3, 8)])
    lake.compact("2024-05", sessions_of_part=2)
    _record(lake, PLANNED, RED, QUARANTINED, FAILED)
    return LakeLayout(folder)


def rewrite_as_receipts(data_dir: Path) -> None:
    """Make the lake of a data folder, which is one of segments, one of receipts."""
    layout = LakeLayout(data_dir)
    source = "{kind}:{name}".format(**read_fields(layout.identity_file))
    aside = layout.lake_dir.rename(data_dir / "segments")
    lake = ReceiptLake(data_dir, source)
    (data_dir / "lake_roots.json").unlink()
    lake.begin()
    store = SegmentStore(SegmentLake(LocalStorage(aside), source), load_calendar())
    for receipt in store.iter_receipts():
        place = (receipt.ticker, receipt.session_date)
        facts = {name: getattr(receipt, name) for name in FetchFacts.__struct_fields__}
        lake.commit([lake.prepare(*place, store.read_trades(*place), FetchFacts(**facts))])
    keys = pl.read_parquet(layout.plan_file).select(key_expression()).to_series()
    _record(lake, *keys)
    shutil.rmtree(aside)


def make_session(
    lake: ReceiptLake, rows: int, ticker: str, date: dt.date, **changes: object
) -> StoredSession:
    """Return a session of made-up trades, in whatever tree; it may say more than its rows."""
    tree = str(changes.pop("tree", "trades"))
    facts = make_facts(**{"state": states.COMPLETE if rows else states.EMPTY, **changes})
    return lake.prepare(
        ticker, date, make_tape(rows, ticker=ticker, session_date=date), facts, tree
    )


def _store_disputed(lake: ReceiptLake) -> None:
    told = {
        "state": states.DISPUTED,
        "askings": (ASKING,),
        "marks": ("bar_residual",),
        "volume": 90.0,
        "trade_count": 3,
        "original_volume": 91.0,
        "original_trade_count": 4,
        "bar_volume": 100.0,
        "bar_trade_count": 5,
        "volume_deficit": 0.1,
        "count_deficit": 0.4,
    }
    lake.commit([make_session(lake, 3, "DISP", TUESDAY, **told)])


def _store_late(lake: ReceiptLake) -> None:
    """Store a Monday that was asked for from its own midnight on."""
    gte_ns, lt_ns = day_bounds_ns(MONDAY, MONDAY)
    lake.commit([make_session(lake, 2, "LATE", MONDAY, gte_ns=gte_ns, lt_ns=lt_ns)])


def _store_replaced(lake: ReceiptLake) -> None:
    """Store a session whose first answer was replaced, and one whose later answer lost."""
    old = make_session(lake, 2, "REVD", TUESDAY)
    lake.keep_revision(old.receipt, old.content)
    lake.commit([make_session(lake, 3, "REVD", TUESDAY, revision=2)])
    lost = make_session(lake, 1, "REVK", TUESDAY, revision=2)
    lake.commit([make_session(lake, 4, "REVK", TUESDAY)])
    lake.keep_revision(lost.receipt, lost.content)


def _store_import(lake: ReceiptLake) -> None:
    told = {"state": states.IMPORTED_UNPROVEN, "is_imported": True, "archive": IMPORT}
    lake.commit([make_session(lake, 6, "IMPO", TUESDAY, tree="imported_trades", **told)])


def _record(lake: ReceiptLake, *planned: str | Red) -> None:
    """Write the ledger: a plan of all that is stored and more, some of which failed."""
    stored = [receipt for (tree, *_), receipt in lake.receipts.items() if tree == "trades"]
    red = [one for one in planned if isinstance(one, Red)]
    keys = [one for one in planned if isinstance(one, str)]
    keys += [receipt.key for receipt in stored]
    write_ledger(lake.roots[0] / "ledger.sqlite", keys, stored, red)


def read_fields(path: Path) -> dict[str, Any]:
    """Return what a JSON file says."""
    fields: dict[str, Any] = json.loads(path.read_bytes())
    return fields


def expect_rows(home: LakeLayout) -> dict[tuple[str, str], str]:
    """Return the content hash by each receipt with rows, under the names that entries have."""
    roots = [home.data_dir / entry["path"] for entry in _list_roots(home)]
    found = {}
    for tree, kind in KINDS.items():
        for path in (path for root in roots for path in (root / tree).glob("*/*/_SUCCESS")):
            receipt = read_fields(path)
            if receipt["rows"]:
                key = f"{receipt['ticker']}_{receipt['session_date']}"
                found[kind, key] = str(receipt["content_hash"])
    return found


def _list_roots(home: LakeLayout) -> list[dict[str, str]]:
    """List the entries of the register of an old lake."""
    roots: list[dict[str, str]] = read_fields(home.data_dir / "lake_roots.json")["roots"]
    return roots


def list_contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but for what readers of the ledger leave beside it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = (path for path in files if not path.name.startswith(("ledger.sqlite-", "lake.lock")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def adopt(
    home: LakeLayout,
    fs: FileSystem | None = None,
    *,
    old: LakeLayout | None = None,
    removes: bool = False,
) -> TakeoverFacts:
    return take_over(home, fs or ScriptedDisk(), load_calendar(), old, removes=removes)


def open_segments(home: LakeLayout) -> SegmentLake:
    return SegmentLake(LocalStorage(home.lake_dir, ScriptedDisk()), SOURCE)


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
