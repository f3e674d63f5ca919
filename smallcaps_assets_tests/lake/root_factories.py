"""Lakes on several disks, which here are folders, and what readers see of them."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.relocation.removal import Removal, remove_leaving
from smallcaps_assets.lake.relocation.switch import (
    finish_target,
    plan_relocation,
    prepare_target,
    require_room,
    switch_roots,
)
from smallcaps_assets.lake.roots import identity
from smallcaps_assets.lake.roots.identity import LakeSource, open_lake
from smallcaps_assets.lake.roots.markers import locate_roots, register_roots
from smallcaps_assets.lake.roots.placement import Placement
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_batch, make_facts, make_tape

SOURCE: Final = LakeSource("emulator", "seed=1")
OFF_SESSION: Final = SESSION + dt.timedelta(days=1)
"""A Saturday."""


def make_home(folder: Path) -> LakeLayout:
    """Return the data folder of a lake of receipts, of three sessions and prints of a Saturday."""
    folder.mkdir(parents=True)
    home = LakeLayout(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "WRITTEN_FORMAT", identity.RECEIPTS_FORMAT)
        open_lake(home, ScriptedDisk(), SOURCE)
    home.ledger_file.touch()
    store = open_store(home)
    store.commit(make_batch(seed=1))
    tape = make_tape(2, session_date=OFF_SESSION)
    store.commit([store.prepare("ABCD", OFF_SESSION, tape, make_facts(), tree=Tree.OFF_SESSION)])
    return home


def make_folder(path: Path) -> Path:
    """Make a folder, as a person makes the place for a root, and return it."""
    path.mkdir(parents=True)
    return path


def add_root(home: LakeLayout, folder: Path, *, seed: int = 2) -> LakeLayout:
    """Register a folder as a root, store a session of its own there, and return the paths."""
    register_roots(home, ScriptedDisk(), [make_folder(folder)])
    layout = locate_roots(home, ScriptedDisk())
    store = open_store(home, [folder])
    session_date = SESSION + dt.timedelta(days=seed * 7)
    tape = make_tape(4, seed=seed, ticker="CON", session_date=session_date)
    store.commit([store.prepare("CON", session_date, tape, make_facts())])
    return layout


def open_store(
    home: LakeLayout, write_to: Sequence[Path] = (), fs: FileSystem | None = None
) -> LakeStore:
    """Return the store of a lake with all its roots."""
    disk = fs or ScriptedDisk()
    layout = locate_roots(home, disk)
    chosen = [root for root in layout.roots if root.folder in write_to] or layout.roots[:1]
    return LakeStore(layout, disk, str(SOURCE), placement=Placement(chosen, disk))


def read_lake(home: LakeLayout) -> dict[tuple[str, str], str]:
    """Return what readers see: the hash of the rows by tree and key; damage raises."""
    store = open_store(home)
    return {
        (tree.value, receipt.key): hash_trades(
            store.read_trades(receipt.ticker, receipt.session_date, tree=tree)
        )
        for tree in Tree
        for receipt in store.iter_receipts(tree=tree)
    }


def list_files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def move(home: LakeLayout, fs: FileSystem, dest: Path, origin: Path | None = None) -> Removal:
    """Move a lake as ``ingest.moving`` does, but for the catalog."""
    removal = remove_leaving(home, fs)
    plan = plan_relocation(home, fs, dest, origin)
    require_room(plan.target, fs, plan.copies.measure(), reserve_gb=0)
    if plan.copies.sources:
        prepare_target(plan)
        plan.copies.make()
        plan.copies.prove()
        if plan.is_new():
            plan.copies.remove_outdated()
        switch_roots(plan)
        removal = remove_leaving(home, fs, is_proven=True)
    finish_target(plan)
    return removal
