"""Moving a lake to another disk: the order of the steps, each of which may be the last for now.

What belongs here: copy, prove, switch, catalog, remove, in this order.  What does not: how each is
done (``lake.relocation``).

The same call continues after any kind of end: each step finds out from the disks what was done.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.lake.home.place import recall_home, require_mounted
from smallcaps_assets.lake.home.register import read_register
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.relocation.copies import CopySize, Watcher, ignore_progress
from smallcaps_assets.lake.relocation.moves import (
    LakeMove,
    Removal,
    empty_left,
    finish_move,
    plan_move,
    prepare_copy,
    require_room,
    switch_lake,
)
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """What a move did.

    Attributes:
        target: Folder of the lake now.
        source: Folder that it came from; ``None``: it lay there already.
        size: How many sessions, and how large.
        removals: What emptying old places did not come to.
    """

    target: Path
    source: Path | None
    size: CopySize
    removals: tuple[Removal, ...]


def measure_move(lakehouse: Lakehouse, dest: Path) -> tuple[LakeMove, CopySize]:
    """Plan a move and measure how much it has to copy; one that does not fit is refused.

    The lake is where its register says, whatever ``SMALLCAPS_LAKE`` says meanwhile.

    Args:
        lakehouse: The lake.
        dest: Folder of the lake after it.

    Raises:
        ConfigError: The folder lies in the lake or around it, or is not empty.
        LakeError: There is no lake, it is not mounted, or the folder is another lake's.
        StorageError: The folder's disk is too small, or gone.
    """
    home = _find_lake(lakehouse)
    require_lake(home)
    move = plan_move(home, lakehouse.fs, dest)
    size = move.copies.measure()
    require_room(move, lakehouse.free_space, size)
    return move, size


def move_lake(lakehouse: Lakehouse, dest: Path, progress: Watcher = ignore_progress) -> MoveFacts:
    """Move the lake to a folder on another disk; hold its lock.

    Args:
        lakehouse: The lake.
        dest: Folder of the lake after it.
        progress: Told of each file.

    Raises:
        ConfigError: The folder is not empty, or lies in the lake or around it.
        LakeError: Files are damaged, a copy is, or the lake is not mounted; nothing has changed.
        StorageError: A disk refuses, or is too small; the next call continues.
    """
    earlier = _finish_earlier(lakehouse, progress)
    move, size = measure_move(lakehouse, dest)
    target = move.target.lake_dir
    if move.is_done:
        finish_move(move.target, move.fs)
        return MoveFacts(target, None, size, (earlier,))
    prepare_copy(move)
    move.copies.make(progress)
    move.copies.prove(progress)
    move.copies.remove_outdated()
    switch_lake(move)
    logger.info("lake moved target=%s sessions=%d", target, size.sessions)
    finish_move(move.target, move.fs)
    _refresh_catalog(lakehouse)
    removal = empty_left(move.target, move.fs, progress)
    lakehouse.forget_place()
    return MoveFacts(target, move.home.lake_dir, size, (earlier, removal))


def _finish_earlier(lakehouse: Lakehouse, progress: Watcher) -> Removal:
    """Remove what an earlier move did not come to remove."""
    home = _find_lake(lakehouse)
    register = read_register(home, lakehouse.fs)
    if register is None or not register.leaving:
        return Removal()
    finish_move(home, lakehouse.fs)
    _refresh_catalog(lakehouse)
    return empty_left(home, lakehouse.fs, progress)


def _find_lake(lakehouse: Lakehouse) -> LakeLayout:
    """Find the lake by its register: a setting may name the place that it was moved from."""
    settings = lakehouse.settings
    return recall_home(settings.data_dir.absolute(), lakehouse.fs, settings.lake)


def _refresh_catalog(lakehouse: Lakehouse) -> None:
    """Build the catalog on the disk of now: its paths are absolute."""
    build_catalog(require_mounted(_find_lake(lakehouse), lakehouse.fs), lakehouse.fs)
