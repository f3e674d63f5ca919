"""Moving a lake to another disk: the order of the steps, each of which may be the last for now.

What belongs here: copy, prove, switch, catalog, remove, in this order.  What does not: how each is
done (``lake.relocation.switch``, ``lake.relocation.session_copies``, ``lake.relocation.removal``).

The same call continues after any kind of end: each step finds out from the disks what was done.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.relocation.removal import Removal, remove_leaving
from smallcaps_assets.lake.relocation.session_copies import CopySize, Watcher, ignore_progress
from smallcaps_assets.lake.relocation.switch import (
    Relocation,
    finish_target,
    plan_relocation,
    prepare_target,
    require_room,
    switch_roots,
)
from smallcaps_assets.lake.roots.markers import locate_roots
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
) -> tuple[Relocation, CopySize]:
    """Plan a move and measure how much it has to copy; one that does not fit is refused.

    Args:
        lakehouse: The lake.
        dest: Folder that becomes a root.
        origin: Root that is emptied; all others by default.

    Raises:
        ConfigError: The folder lies in the lake or around it, or ``origin`` is no root.
        LakeError: There is no lake, or a root is not mounted.
        StorageError: The folder's disk is too small, or gone.
    """
    lakehouse.require_receipts()
    move = plan_relocation(lakehouse.home, lakehouse.fs, dest, origin)
    size = move.copies.measure()
    require_room(move, size, lakehouse.settings.disk_reserve_gb)
    return move, size


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
    register = read_register(lakehouse.home, lakehouse.fs)
    if register is None or not register.select(RootState.LEAVING):
        return Removal()
    _refresh_catalog(lakehouse)
    return remove_leaving(lakehouse.home, lakehouse.fs, progress)


def _refresh_catalog(lakehouse: Lakehouse) -> None:
    """Build the catalog on the roots of now: its paths are absolute."""
    build_catalog(locate_roots(lakehouse.home, lakehouse.fs), lakehouse.fs)
