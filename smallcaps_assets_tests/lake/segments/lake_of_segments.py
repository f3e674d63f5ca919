"""Made-up lakes of segments: names and times that tests decide."""

import datetime as dt
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from msgspec.structs import replace

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import Naming
from smallcaps_assets.lake.segments.parts import SHAPE, PartShape
from smallcaps_assets.lake.segments.reading import read_month, read_rows
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.core.segments.segment_factories import STARTED, make_entry
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape

MONTH = month_of(SESSION)
SOURCE = "emulator:seed=1"
SATURDAY = dt.date(2024, 3, 16)
MONDAY = dt.date(2024, 3, 18)


def make_naming(digit: str = "a", start: dt.datetime = STARTED) -> Naming:
    """Return names in rising order, unlike those of any other ``digit``."""
    numbers = itertools.count()
    return Naming(clock=lambda: start, random=lambda: f"{digit}{next(numbers):015x}")


def make_lake(folder: Path, fs: FileSystem | None = None, digit: str = "a") -> SegmentLake:
    """Return a lake in ``folder``, which is there; nothing is synced unless ``fs`` does."""
    return SegmentLake(LocalStorage(folder, fs or ScriptedDisk()), SOURCE, make_naming(digit))


SMALL = PartShape(part_bytes=1, group_rows=4)
"""Parts of one session, and row groups that cut it."""

Sessions = dict[tuple[str, dt.date], pl.DataFrame]
"""Rows of sessions, by ticker and date."""


def make_sessions(tickers: Sequence[str] = ("ABCD", "BCpC"), *, seed: int = 1) -> Sessions:
    """Return sessions of some tickers: one with rows and one without, each."""
    return {
        (ticker, date): make_tape(rows, seed=seed + number, ticker=ticker, session_date=date)
        for number, ticker in enumerate(tickers)
        for date, rows in ((SESSION, 5 + number), (MONDAY, 0))
    }


def make_draft(
    sessions: Sessions,
    *,
    shape: PartShape = SHAPE,
    **changes: Any,  # noqa: ANN401  any field
) -> Draft:
    """Return a segment of sessions; ``changes`` apply to each entry."""
    trades = pl.concat([TRADES.empty(), *sessions.values()])
    entries = [enter(*key, rows=rows.height, **changes) for key, rows in sessions.items()]
    return close_segment(MONTH, frame_entries(entries), trades, shape=shape)


def enter(
    ticker: str,
    date: dt.date,
    rows: int,
    **changes: Any,  # noqa: ANN401  any field
) -> Entry:
    """Return the entry of a session before its rows were measured."""
    values = {"state": "complete" if rows else "empty"} | changes
    entry = make_entry(ticker=ticker, session_date=date, **values)
    return replace(entry, part=None, rows=0, content_hash="")


def hash_all(sessions: Sessions) -> dict[tuple[str, dt.date], str]:
    """Return the content hash of each session, by its rows alone."""
    return {key: hash_trades(rows) for key, rows in sessions.items()}


def read_hashes(lake: SegmentLake, month: str = MONTH) -> dict[tuple[str, dt.date], str]:
    """Return the content hash of each proven session, by its rows, which have to be as stated."""
    proven = read_month(lake, month).proven
    rows = read_rows(lake, month, proven)
    tapes = rows.partition_by("ticker", "session_date", as_dict=True, maintain_order=True)
    hashes = {
        key: hash_trades(tapes.get(key, TRADES.empty()))
        for key in proven.select("ticker", "session_date").rows()
    }
    assert list(hashes.values()) == proven["content_hash"].to_list()
    return hashes


class RemovingDisk(ScriptedDisk):
    """A disk on which somebody removes the newest part each time that a record gets its name."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        parts = [path for path in target.parent.iterdir() if ".record." not in path.name]
        if ".record." in target.name and self.times:
            self.times -= 1
            max(parts).unlink()
