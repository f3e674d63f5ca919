"""Moving damaged sessions and strays aside, within the file system of their root.

What belongs here: where they go, and the order of the moves. What does not: what is damaged
(``damages``) and what becomes of the session then (``operations.repair.sessions``). Nothing is
deleted.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.lake.storage.files import FileSystem, folders_below, refuse_links

NO_EVIDENCE: Final[Mapping[str, bytes]] = MappingProxyType({})

EVIDENCE_NAME = "evidence.json"


def quarantine_session(
    layout: LakeLayout,
    fs: FileSystem,
    place: tuple[str, dt.date, Tree],
    evidence: Mapping[str, bytes] = NO_EVIDENCE,
) -> Path:
    """Move a damaged session aside; return the folder where its files lie now.

    The evidence is written before anything moves, and the receipt moves first: what a kill leaves
    in between is a data file without a receipt, which is not data, and which the next repair
    moves.

    Args:
        layout: Paths of the lake.
        fs: The disk.
        place: Ticker, session and tree.
        evidence: Files to lie beside it, by name.

    Raises:
        StorageError: The disk refuses.
    """
    ticker, session_date, tree = place
    root = layout.find_root(ticker, session_date, tree)
    folder = root.session_dir(ticker, session_date, tree)
    refuse_links(folder, root.folder)
    target = root.quarantine_folder(tree, ticker, session_date) / _stamp()
    lasting = [folder, *_make_folders(fs, root, target)]
    if evidence:
        fs.publish({target / name: content for name, content in evidence.items()}, root=target)
    for path in (folder / RECEIPT_NAME, folder / TRADES_NAME):
        if fs.exists(path):
            fs.rename(path, target / path.name)
            fs.sync_group(lasting)
    return target


def quarantine_stray(layout: LakeLayout, fs: FileSystem, path: Path) -> Path:
    """Move a file, a folder or a link that belongs to nothing aside; return where it lies now.

    Raises:
        DataError: It does not lie below a root.
        StorageError: The disk refuses.
    """
    root = layout.root_of(path)
    refuse_links(path.parent, root.folder)
    target = root.quarantine_dir / "orphans" / _stamp() / path.relative_to(root.folder)
    lasting = [path.parent, *_make_folders(fs, root, target.parent)]
    fs.rename(path, target)
    fs.sync_group(lasting)
    return target


def quarantine_copies(
    fs: FileSystem, root: LakeRoot, folder: Path, contents: Mapping[str, bytes]
) -> Path:
    """Write copies of damaged files to a new folder of quarantine; return it.

    Args:
        fs: The disk.
        root: The root that they lie in.
        folder: What quarantine has of the same place, a folder a time.
        contents: Files by name.

    Raises:
        StorageError: The disk refuses.
    """
    target = folder / _stamp()
    lasting = _make_folders(fs, root, target)
    fs.publish({target / name: content for name, content in contents.items()}, root=target)
    fs.sync_group(lasting)
    return target


def _make_folders(fs: FileSystem, root: LakeRoot, folder: Path) -> list[Path]:
    """Make a folder of quarantine; return what has to be synced once it is filled."""
    base = root.quarantine_dir.parent
    refuse_links(folder, base)
    fs.make_folders(folder, root=base)
    return folders_below([folder], base)


def _stamp() -> str:
    """Return the present instant as a name that sorts by time."""
    return dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
