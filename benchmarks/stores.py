"""Lakes of segments in empty folders, filled as a download fills them."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.parts import SHAPE
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage


def open_store(data_dir: Path, source: str = "emulator:bench") -> SegmentStore:
    """Return the store of a lake below a data folder; the folder of the lake is made."""
    fs, folder = FileSystem(), data_dir / "lake"
    folder.mkdir(parents=True, exist_ok=True)
    return SegmentStore(SegmentLake(LocalStorage(folder, fs), source), load_calendar())


def store_groups(store: SegmentStore, fetched: Iterable[list[PreparedSession]]) -> int:
    """Commit sessions whenever what waits fills a segment; return how many there were."""
    batch: list[PreparedSession] = []
    done = rows = 0
    for sessions in fetched:
        batch += sessions
        rows += sum(session.receipt.rows for session in sessions)
        if rows >= SHAPE.chunk_rows:
            done += len(store.commit(batch))
            batch, rows = [], 0
    return done + len(store.commit(batch))


def list_parts(data_dir: Path) -> tuple[list[Path], list[Path]]:
    """Return the parts of a lake, and its records."""
    files = sorted((data_dir / "lake" / "segments").rglob("*.parquet"))
    records = [path for path in files if path.name.endswith(".record.parquet")]
    return [path for path in files if path not in records], records


def read_part(path: Path) -> pl.DataFrame:
    """Return the rows of a part."""
    return pl.read_parquet(path, hive_partitioning=False)
