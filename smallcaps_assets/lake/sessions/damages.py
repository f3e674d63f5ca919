"""What can be wrong with a stored ticker-session, and how it is found.

What belongs here: the comparison of a receipt with the bytes it speaks of, and of the folders with
what belongs in them. What does not: judging the damage (``core.ticks.quality``, checks), or
mending it (``lake.store``). Finding out opens, counts and hashes; that a file exists proves
nothing.
"""

import datetime as dt
import functools
import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from pathlib import Path

from smallcaps_assets.core.keys import check_ticker, encode_key
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import (
    RECEIPT_NAME,
    TRADES_NAME,
    parse_date_folder,
    parse_ticker_folder,
)
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.parquet import decode_trades
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import (
    TEMPORARY_PREFIX,
    Entry,
    FileSystem,
    refuse_links,
)
from smallcaps_assets.schemas import TRADES


class DamageKind(StrEnum):
    """What is wrong with a stored ticker-session."""

    RECEIPT = "receipt"
    MISSING_FILE = "missing_file"
    STRAY_FILE = "stray_file"
    BYTES = "bytes"
    SHA256 = "sha256"
    UNREADABLE = "unreadable"
    SCHEMA = "schema"
    ROWS = "rows"
    CONTENT_HASH = "content_hash"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a stored ticker-session.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        kind: What is wrong.
        message: What was expected and what is there.
    """

    ticker: str
    session_date: dt.date
    kind: DamageKind
    message: str

    @property
    def key(self) -> str:
        """Return the partition key."""
        return encode_key(self.ticker, self.session_date)


class OrphanKind(StrEnum):
    """Why a file belongs to nothing."""

    NO_RECEIPT = "no_receipt"
    STRAY = "stray"
    UNPLANNED = "unplanned"
    TEMPORARY = "temporary"
    FOREIGN = "foreign"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A file or folder of the lake that belongs to no receipt, or to no plan and no import.

    Attributes:
        path: Where it lies.
        kind: Why it belongs to nothing.
        message: What that means for it.
    """

    path: Path
    kind: OrphanKind
    message: str


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """A folder of one ticker-session, as found on the disk.

    Attributes:
        path: The folder.
        ticker: Vendor's symbol, by the name of the folder above.
        session_date: New York date, by its name.
        names: Names of what lies in it, links left out.
        links: Names of links, which the lake does not follow.
    """

    path: Path
    ticker: str
    session_date: dt.date
    names: frozenset[str]
    links: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Return the partition key."""
        return encode_key(self.ticker, self.session_date)

    @property
    def has_receipt(self) -> bool:
        """Return whether a receipt lies in it."""
        return RECEIPT_NAME in self.names


def find_damages(receipt: Receipt, content: bytes) -> Iterator[tuple[DamageKind, str]]:
    """Yield every way in which a data file differs from what its receipt says.

    Args:
        receipt: A receipt with rows.
        content: The whole file.
    """
    if len(content) != receipt.bytes:
        yield DamageKind.BYTES, f"expected {receipt.bytes} bytes, got {len(content)}"
    if (sha256 := hashlib.sha256(content).hexdigest()) != receipt.sha256:
        yield DamageKind.SHA256, f"expected sha256 {receipt.sha256}, got {sha256}"
    try:
        trades = decode_trades(content)
    except SchemaError as error:
        yield DamageKind.SCHEMA, str(error)
        return
    except DataError as error:
        yield DamageKind.UNREADABLE, str(error)
        return
    if trades.height != receipt.rows:
        yield DamageKind.ROWS, f"expected {receipt.rows} rows, got {trades.height}"
    if (content_hash := hash_trades(trades)) != receipt.content_hash:
        expected = receipt.content_hash
        yield DamageKind.CONTENT_HASH, f"expected content {expected}, got {content_hash}"


@functools.cache
def hash_no_trades() -> str:
    """Return the content hash of a session without trades."""
    return hash_trades(TRADES.empty())


def walk_lake(layout: LakeLayout, fs: FileSystem, tree: Tree) -> Iterator[SessionFolder | Orphan]:
    """Yield every folder of a ticker-session of all roots in order of names, and what is not one.

    Where several roots have the receipt of one session, the first root counts: the folders of the
    others are orphans.

    Raises:
        StorageError: The tree of a root is a link, or the disk refuses.
    """
    walks = [_walk_by_place(fs, root.folder, root.tree_dir(tree)) for root in layout.roots]
    held: tuple[str, ...] = ()
    for place, found in heapq.merge(*walks, key=itemgetter(0)):
        if isinstance(found, SessionFolder) and found.has_receipt:
            if place == held:
                message = "another root, listed before, has this session too"
                yield Orphan(found.path, OrphanKind.DUPLICATE, message)
                continue
            held = place
        yield found


def _walk_by_place(
    fs: FileSystem, root: Path, tree_dir: Path
) -> Iterator[tuple[tuple[str, ...], SessionFolder | Orphan]]:
    """Yield what :func:`walk_sessions` does, each with its place in the tree."""
    refuse_links(tree_dir, root)
    for found in walk_sessions(fs, tree_dir):
        yield found.path.relative_to(tree_dir).parts, found


def walk_sessions(fs: FileSystem, tree_dir: Path) -> Iterator[SessionFolder | Orphan]:
    """Yield every folder of a ticker-session in order of names, and anything else as an orphan.

    Links are orphans and not followed.

    Raises:
        StorageError: The disk refuses.
    """
    for ticker_dir in fs.list_folder(tree_dir):
        path = tree_dir / ticker_dir.name
        try:
            ticker = check_ticker(parse_ticker_folder(ticker_dir.name))
        except DataError as error:
            yield Orphan(path, OrphanKind.FOREIGN, str(error))
            continue
        if ticker_dir.is_link:
            yield _describe_link(path)
            continue
        for date_dir in fs.list_folder(path):
            yield _inspect_session(fs, path / date_dir.name, date_dir, ticker)


def find_strays(folder: SessionFolder) -> Iterator[Orphan]:
    """Yield what lies in the folder of a ticker-session and belongs to no receipt."""
    for name in sorted(folder.names - {RECEIPT_NAME, TRADES_NAME}):
        kind = OrphanKind.TEMPORARY if name.startswith(TEMPORARY_PREFIX) else OrphanKind.FOREIGN
        yield Orphan(folder.path / name, kind, "no file of the lake is called like that")
    for name in sorted(folder.links):
        yield _describe_link(folder.path / name)
    if TRADES_NAME in folder.names and not folder.has_receipt:
        message = "it has no receipt: it is not data, and the next commit replaces it"
        yield Orphan(folder.path / TRADES_NAME, OrphanKind.NO_RECEIPT, message)


def _inspect_session(
    fs: FileSystem, path: Path, entry: Entry, ticker: str
) -> SessionFolder | Orphan:
    if entry.is_link:
        return _describe_link(path)
    try:
        session_date = parse_date_folder(entry.name)
    except DataError as error:
        return Orphan(path, OrphanKind.FOREIGN, str(error))
    if not entry.is_folder:
        return Orphan(path, OrphanKind.FOREIGN, "expected a folder, found a file")
    files = fs.list_folder(path)
    links = frozenset(file.name for file in files if file.is_link)
    names = frozenset(file.name for file in files) - links
    return SessionFolder(path, ticker, session_date, names, links)


def _describe_link(path: Path) -> Orphan:
    return Orphan(path, OrphanKind.FOREIGN, "a link, and the lake follows none")
