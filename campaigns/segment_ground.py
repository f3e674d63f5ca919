"""The model that campaigns on segments stand on: sessions whose rows are known, and what must hold.

A download asks for what is not proven, and says what it asked for.  After each case no record is
torn, what counts as proven has the true rows, the same commands again bring everything, and nothing
that was proven is asked for again.
"""

import datetime as dt
import functools
import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from smallcaps_assets.core.segments.entries import frame_entries
from smallcaps_assets.core.segments.upkeep import REST_NS
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.reading import Month, read_month, read_rows, survey_month
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced, remove_strays
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets.lake.upkeep.snapshots import (
    find_month_losses,
    index_month,
    list_named,
    read_snapshots,
    write_snapshot,
)
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONDAY,
    MONTH,
    SATURDAY,
    SMALL,
    SOURCE,
    enter,
    hash_all,
)

Key: TypeAlias = tuple[str, dt.date]

TICKERS: Final = tuple("ABCDEFGHJKLMNO")
PROMISE: Final = "whole files only, same content hash, nothing proven asked again"
SHAPE: Final = SMALL._replace(part_bytes=10**6)
"""Row groups of four rows, so that damage spares some sessions of a part."""


def list_sizes(ticker: str) -> dict[Key, int]:
    """Return how many trades each date of a ticker has; a Saturday has some of every other one."""
    number = TICKERS.index(ticker)
    sizes = {(ticker, SESSION): 5 + number, (ticker, MONDAY): 4 * (number % 2)}
    return sizes | ({(ticker, SATURDAY): 2} if number % 2 else {})


SIZES: Final = {key: size for ticker in TICKERS for key, size in list_sizes(ticker).items()}
_OWNED: Final[tuple[dict[str, Any], ...]] = ({}, {"kind": "off_session", "owner": MONDAY})


@functools.cache
def make_rows(key: Key) -> pl.DataFrame:
    """Return the true rows of a ticker on a date."""
    seed = list(SIZES).index(key)
    return make_tape(SIZES[key], seed=seed, ticker=key[0], session_date=key[1])


@functools.cache
def make_truth() -> dict[Key, str]:
    """Return the true content hash of each key."""
    return hash_all({key: make_rows(key) for key in SIZES})


@functools.cache
def make_segment(keys: tuple[Key, ...], revisions: tuple[int, ...]) -> Draft:
    """Return what a download of some keys commits."""
    entries = [
        enter(*key, rows=SIZES[key], revision=revision, **_OWNED[key[1] == SATURDAY])
        for key, revision in zip(keys, revisions, strict=True)
    ]
    trades = pl.concat([TRADES.empty(), *map(make_rows, keys)])
    return close_segment(MONTH, frame_entries(entries), trades, shape=SHAPE)


def list_proven(month: Month) -> set[Key]:
    """Return what needs no request."""
    return set(month.proven.select("ticker", "session_date").rows())


def download(
    lake: SegmentLake, tickers: Iterable[str] = TICKERS, *, is_one: bool = True
) -> set[Key]:
    """Ask for what is not proven, a ticker after the other or all at once; return what it was."""
    month = read_month(lake, MONTH)
    proven = list_proven(month)
    columns = ("ticker", "session_date", "revision")
    found = {row[:2]: row[2] for row in month.winners.select(columns).rows()}
    missing = [key for ticker in tickers for key in list_sizes(ticker) if key not in proven]
    groups = {key[0]: [k for k in missing if k[0] == key[0]] for key in missing}
    for keys in groups.values() if is_one else [missing] if missing else []:
        revisions = tuple(found.get(key, 0) + 1 for key in keys)
        commit_segments(lake, [make_segment(tuple(keys), revisions)])
    return set(missing)


def live(lake: SegmentLake, age: Callable[[], None]) -> None:
    """Do all that is done to a lake: download, snapshots, packing, removal."""
    half = len(TICKERS) // 2
    download(lake, TICKERS[:half])
    write_snapshot(lake, index_month(read_month(lake, MONTH)))
    download(lake, TICKERS[half:])
    pack_month(lake, MONTH, shape=SHAPE, is_forced=True)
    for _ in range(2):
        write_snapshot(lake, index_month(read_month(lake, MONTH)))
    age()
    remove_displaced(lake, MONTH, list_named(read_snapshots(lake).values()))
    remove_strays(lake, read_month(lake, MONTH), ())


def open_lake(folder: Path, disk: FileSystem | None = None) -> SegmentLake:
    """Return a lake in a folder; nothing is synced unless ``disk`` does."""
    return SegmentLake(LocalStorage(folder, disk or ScriptedDisk()), SOURCE)


def age_files(folder: Path) -> None:
    """Make the files of a lake two days older, as its storage tells."""
    for path in folder.rglob("*.parquet"):
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 2 * REST_NS))


def find_problems(lake: SegmentLake) -> list[str]:
    """Return what is wrong after a crash: before, and after the same commands again."""
    month = survey_month(lake, MONTH)
    torn = [f"torn: {one}" for one in audit_month(lake, month) if one.kind != "stray"]
    torn += [f"lost: {loss}" for loss in find_month_losses(month, read_snapshots(lake))]
    if torn:
        return torn
    return find_untrue(lake) + finish(lake)


def find_untrue(lake: SegmentLake) -> list[str]:
    """Return what counts as proven and has other rows than the truth."""
    proven = read_month(lake, MONTH).proven
    rows, nothing = read_rows(lake, MONTH, proven), TRADES.empty()
    tapes = rows.partition_by("ticker", "session_date", as_dict=True, maintain_order=True)
    return [
        f"untrue: {key}"
        for key in proven.select("ticker", "session_date").rows()
        if not tapes.get(key, nothing).equals(make_rows(key))
    ]


def finish(lake: SegmentLake, tickers: Collection[str] = TICKERS) -> list[str]:
    """Return what is wrong after a download that asks for the rest."""
    proven = list_proven(read_month(lake, MONTH))
    asked = download(lake, tickers)
    problems = [f"asked again: {key}" for key in sorted(asked & proven)]
    winners = read_month(lake, MONTH).proven
    keys = winners.select("ticker", "session_date").rows()
    if dict(zip(keys, winners["content_hash"], strict=True)) != {
        key: told for key, told in make_truth().items() if key[0] in tickers
    }:
        problems.append("other content than the truth")
    return problems + find_untrue(lake)


def make_folder(folder: Path, name: str) -> Path:
    """Return a fresh empty folder."""
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def spread(first: int, last: int, limit: int) -> list[int]:
    """Return up to ``limit`` numbers, evenly spread."""
    count = min(limit, last - first + 1)
    return sorted({int(point) for point in np.linspace(first, last, count)})
