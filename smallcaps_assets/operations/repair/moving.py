"""Moving a lake to another disk: the order of the steps, each of which may be the last for now.

What belongs here: copy, prove, switch, catalog, remove, in this order.  What does not: how each is
done: of a lake of segments in ``lake.relocation.whole_lakes`` and ``lake.relocation.lake_copies``,
of one of receipts in ``lake.relocation.switch``, ``lake.relocation.session_copies`` and
``lake.relocation.removal``.

The same call continues after any kind of end: each step finds out from the disks what was done.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.derived import require_lake
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.relocation.lake_copies import LakeCopy
from smallcaps_assets.lake.relocation.removal import Removal, remove_leaving
from smallcaps_assets.lake.relocation.session_copies import (
    CopySize,
    SessionCopies,
    Watcher,
    ignore_progress,
)
from smallcaps_assets.lake.relocation.switch import (
    Relocation,
    finish_target,
    plan_relocation,
    prepare_target,
    require_room,
    switch_roots,
)
from smallcaps_assets.lake.relocation.whole_lakes import (
    LakeMove,
    empty_left,
    finish_move,
    plan_move,
    prepare_copy,
    switch_lake,
)
from smallcaps_assets.lake.roots.identity import RECEIPTS_FORMAT, read_identity
from smallcaps_assets.lake.roots.markers import locate_roots
from smallcaps_assets.lake.roots.place import recall_home
from smallcaps_assets.lake.roots.register import RootState, read_register
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class MoveFacts:
    """What a move did.

    Attributes:
        target: Root that has the sessions now.
        sources: Roots they came from; none: they lay there already.
        size: How many sessions, and how large.
        left: What stays in the old roots, because it belongs to nothing, or differs.
        absent: Old roots that are not mounted and could not be emptied.
    """

    target: Path
    sources: list[Path]
    size: CopySize
    left: list[Path] = field(default_factory=list)
    absent: list[Path] = field(default_factory=list)

    def add(self, removal: Removal) -> None:
        """Add what a removal left."""
        self.left += removal.left
        self.absent = removal.absent


def measure_move(
    lakehouse: Lakehouse, dest: Path, origin: Path | None = None
) -> tuple[Relocation | LakeMove, CopySize]:
    """Plan a move and measure how much it has to copy; one that does not fit is refused.

    The lake is where its register says, whatever ``SMALLCAPS_LAKE`` says meanwhile.

    Args:
        lakehouse: The lake.
        dest: Folder that becomes a root.
        origin: Root that is emptied; all others by default.

    Raises:
        ConfigError: The folder lies in the lake or around it, is not empty, or ``origin`` is no
            root.
        LakeError: There is no lake, it is not mounted, or the folder is another lake's.
        StorageError: The folder's disk is too small, or gone.
    """
    home = _find_lake(lakehouse)
    require_lake(home)
    if read_identity(home, lakehouse.fs).format == RECEIPTS_FORMAT:
        roots = plan_relocation(home, lakehouse.fs, dest, origin)
        return roots, _measure(lakehouse, roots.copies, roots.target)
    if origin is not None:
        raise ConfigError(f"--from {origin}: expected no root, as segments lie in {home.lake_dir}")
    move = plan_move(home, lakehouse.fs, dest)
    return move, _measure(lakehouse, move.copies, move.target.home)


def move_lake(
    lakehouse: Lakehouse,
    dest: Path,
    origin: Path | None = None,
    progress: Watcher = ignore_progress,
) -> MoveFacts:
    """Move the ticker-sessions to a folder on another disk; hold the lock of the lake.

    Args:
        lakehouse: The lake.
        dest: Folder that becomes a root.
        origin: Root that is emptied; all others by default.
        progress: Told of each session.

    Raises:
        ConfigError: The folder is not empty, or lies in the lake or around it.
        LakeError: Sessions are damaged, a copy is, or a root is not mounted; nothing has changed.
        StorageError: A disk refuses, or is too small; the next call continues.
    """
    earlier = _finish_earlier(lakehouse, progress)
    move, size = measure_move(lakehouse, dest, origin)
    if isinstance(move, LakeMove):
        return _move_whole(lakehouse, move, size, earlier, progress)
    facts = MoveFacts(move.target.folder, [root.folder for root in move.copies.sources], size)
    facts.add(earlier)
    if move.copies.sources:
        prepare_target(move)
        move.copies.make(progress)
        move.copies.prove(progress)
        if move.is_new():
            move.copies.remove_outdated()
        switch_roots(move)
        logger.info("lake moved target=%s sessions=%d", move.target.folder, size.sessions)
        _refresh_catalog(lakehouse)
        facts.add(remove_leaving(lakehouse.home, lakehouse.fs, progress, is_proven=True))
    finish_target(move)
    lakehouse.forget_roots()
    return facts


def _finish_earlier(lakehouse: Lakehouse, progress: Watcher) -> Removal:
    """Remove what an earlier move did not come to remove."""
    home = _find_lake(lakehouse)
    register = read_register(home, lakehouse.fs)
    if register is None:
        return Removal()
    if register.leaving:
        finish_move(home, lakehouse.fs)
        _refresh_catalog(lakehouse)
        return empty_left(home, lakehouse.fs, progress)
    if not register.select(RootState.LEAVING):
        return Removal()
    _refresh_catalog(lakehouse)
    return remove_leaving(home, lakehouse.fs, progress)


def _move_whole(
    lakehouse: Lakehouse, move: LakeMove, size: CopySize, earlier: Removal, progress: Watcher
) -> MoveFacts:
    """Move a lake of segments."""
    facts = MoveFacts(move.target.lake_dir, [] if move.is_done else [move.home.lake_dir], size)
    facts.add(earlier)
    if not move.is_done:
        prepare_copy(move)
        move.copies.make(progress)
        move.copies.prove(progress)
        move.copies.remove_outdated()
        switch_lake(move)
        logger.info("lake moved target=%s sessions=%d", facts.target, size.sessions)
    finish_move(move.target, move.fs)
    if not move.is_done:
        _refresh_catalog(lakehouse)
        facts.add(empty_left(move.target, move.fs, progress))
    lakehouse.forget_roots()
    return facts


def _measure(lakehouse: Lakehouse, copies: SessionCopies | LakeCopy, target: LakeRoot) -> CopySize:
    size = copies.measure()
    require_room(target, lakehouse.fs, size, lakehouse.settings.disk_reserve_gb)
    return size


def _find_lake(lakehouse: Lakehouse) -> LakeLayout:
    """Find the lake by its register: a setting may name the place that it was moved from."""
    settings = lakehouse.settings
    return recall_home(settings.data_dir.absolute(), lakehouse.fs, settings.lake)


def _refresh_catalog(lakehouse: Lakehouse) -> None:
    """Build the catalog on the disks of now: its paths are absolute."""
    build_catalog(locate_roots(_find_lake(lakehouse), lakehouse.fs), lakehouse.fs)
