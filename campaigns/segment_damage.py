"""Segments whose files were damaged at rest, removed, or restored from an earlier day."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from campaigns.ground import Part
from campaigns.segment_ground import (
    SHAPE,
    TICKERS,
    download,
    find_untrue,
    finish,
    make_folder,
    open_lake,
)
from smallcaps_assets.lake.segments.names import month_prefix
from smallcaps_assets.lake.segments.reading import Month, read_month, survey_month
from smallcaps_assets.lake.upkeep.healing import heal_month
from smallcaps_assets.lake.upkeep.packing import pack_month
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets.lake.upkeep.snapshots import (
    find_month_losses,
    index_month,
    read_snapshots,
    write_snapshot,
)
from smallcaps_assets.schemas import ENTRIES
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
)


def run_segment_damages(folder: Path, cases: int) -> Iterator[Part]:
    """Damage files at rest: each has to be found, and healed without a lie."""
    promise = "found; healed and downloaded: same content hash, nothing believed that is not true"
    whole = make_folder(folder, "whole")
    lake = open_lake(whole)
    for group in (TICKERS[:4], TICKERS[4:8], TICKERS[8:]):
        download(lake, group, is_one=False)
    pack_month(lake, MONTH, shape=SHAPE, is_forced=True)
    write_snapshot(lake, index_month(read_month(lake, MONTH)))
    for harm, share in (("flip", 1.0), ("cut", 0.2), ("delete", 0.1), ("swap", 0.1)):
        started = time.monotonic()
        part = Part(f"segments: damage at rest, {harm}", promise)
        for seed in range(max(4, int(cases * share))):
            place = folder / "damaged"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(whole, place)
            rng = np.random.default_rng(seed)
            path = _harm(place, harm, rng)
            part.check(f"{path.name}, seed {seed}", _heal(place, has_ledger=seed % 2 == 0))
        part.seconds = time.monotonic() - started
        yield part


def run_old_states(folder: Path) -> Part:
    """Restore a lake from before each commit, beside an index and snapshots of now."""
    part = Part("segments: a lake restored to each earlier state", "every lost record is named")
    place = make_folder(folder, "now")
    lake = open_lake(place)
    for number, ticker in enumerate(TICKERS):
        shutil.copytree(place, make_folder(folder, f"as of {number}"), dirs_exist_ok=True)
        download(lake, [ticker])
    index = index_month(read_month(lake, MONTH))
    names = set(read_month(lake, MONTH).records)
    for number in range(len(TICKERS)):
        old = open_lake(folder / f"as of {number}")
        month = read_month(old, MONTH)
        named = {loss.record for loss in find_month_losses(month, {"ledger": index})}
        problems = [] if named == names - set(month.records) else [f"named {sorted(named)}"]
        part.check(f"before commit {number}", problems + find_untrue(old) + finish(old))
    return part


def _harm(folder: Path, harm: str, rng: np.random.Generator) -> Path:
    """Damage a file; return which."""
    files = sorted((folder / month_prefix(MONTH)).iterdir())
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
    elif harm == "swap":
        other = [file for file in files if file != path][rng.integers(len(files) - 1)]
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        place = int(rng.integers(len(content)))
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content if harm == "flip" else content[:place])
    return path


def _heal(folder: Path, *, has_ledger: bool) -> list[str]:
    lake = open_lake(folder)
    whole = read_month(open_lake(folder.with_name("whole")), MONTH)
    known = whole.winners.select(*ENTRIES.columns) if has_ledger else ENTRIES.empty()
    month = survey_month(lake, MONTH)
    witnesses = read_snapshots(lake) | ({"ledger": index_month(whole)} if has_ledger else {})
    lost = [loss.record for loss in find_month_losses(month, witnesses)]
    found = [one for one in audit_month(lake, month) if one.kind != "stray"]
    is_displaced = _is_displaced_only(month, whole)
    problems = [] if found or lost or is_displaced else ["not found"]
    heal_month(lake, MONTH, known, lost)
    left = [one for one in audit_month(lake, survey_month(lake, MONTH)) if one.kind != "stray"]
    problems += [f"left: {one}" for one in left]
    return problems + find_untrue(lake) + finish(lake)


def _is_displaced_only(month: Month, whole: Month) -> bool:
    """Say whether only files are gone that count for nothing, as removal may do it too."""
    parts = set(whole.parts) - set(month.parts)
    records = set(whole.records) - set(month.stored)
    counting = {*whole.winners["part"].drop_nulls(), *whole.winners["segment"]}
    return bool(parts | records) and not counting & (parts | records)
