"""The ticker-sessions of a lake: stored whole, read back with proof, moved aside when damaged.

What belongs here: the one object through which ``ingest`` and the readers see ticker-sessions.
What does not: the order of a commit (``lake.sessions.commit``), what can be damaged
(``lake.sessions.damages``), and which sessions are wanted (``lake.ledger.writer``).
"""

import contextlib
import datetime as dt
import hashlib
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from smallcaps_assets.core.budget.calibration import SESSION_BYTES
from smallcaps_assets.errors import (
    DataError,
    LakeError,
    LedgerMismatchError,
    MissingPartitionError,
    StorageError,
)
from smallcaps_assets.lake.months.sessions import MonthSessions
from smallcaps_assets.lake.months.store import MonthStore
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import MONTH_PREFIX
from smallcaps_assets.lake.paths.root import LakeRoot, Tree
from smallcaps_assets.lake.roots.placement import Placement
from smallcaps_assets.lake.sessions.commit import commit_sessions, restate_sessions
from smallcaps_assets.lake.sessions.damages import (
    Damage,
    DamageKind,
    Orphan,
    OrphanKind,
    SessionFolder,
    find_damages,
    find_strays,
    hash_no_trades,
    walk_lake,
)
from smallcaps_assets.lake.sessions.parquet import ZSTD_LEVEL, TapeEncoder, decode_trades
from smallcaps_assets.lake.sessions.preparing import PreparedSession, StorableTape
from smallcaps_assets.lake.sessions.protocol import SessionStore
from smallcaps_assets.lake.sessions.quarantine import (
    NO_EVIDENCE,
    quarantine_session,
    quarantine_stray,
)
from smallcaps_assets.lake.sessions.receipts import Receipt, parse_own_receipt
from smallcaps_assets.lake.sessions.revisions import keep_revision
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.storage.files import FileSystem, find_abandoned, refuse_links
from smallcaps_assets.schemas import TRADES


class LakeStore(SessionStore):
    """The ticker-sessions of one lake; what its disks refuse is a ``StorageError``."""

    def __init__(
        self,
        layout: LakeLayout,
        fs: FileSystem,
        source: str,
        zstd_level: int = ZSTD_LEVEL,
        placement: Placement | None = None,
    ) -> None:
        """Bind the store to a lake.

        Args:
            layout: Paths of the lake.
            fs: The disk.
            source: Source the lake is bound to, for receipts.
            zstd_level: Compression of new files.
            placement: Which root takes new sessions; the first one by default.
        """
        self.layout = layout
        self.fs = fs
        self.source = source
        self.zstd_level = zstd_level
        self.placement = placement or Placement(layout.roots[:1], fs)
        self.months = MonthStore(layout, fs)
        self.month_sessions = MonthSessions(self.months)
        self._commit_lock = threading.Lock()

    def open_tape(self, trades: pl.DataFrame) -> StorableTape:
        """Make the trades of a ticker ready; its sessions are then prepared as slices of them.

        Raises:
            SchemaError: The trades break their contract.
        """
        return StorableTape(trades, source=self.source, zstd_level=self.zstd_level)

    def commit(self, batch: Sequence[PreparedSession]) -> list[Receipt]:
        """Store sessions, each whole or not at all; return their receipts.

        Raises:
            DataError: A session occurs twice.
            StorageError: The disk refuses.  What has its receipt is stored, the rest is absent,
                and committing all of it again is safe.
        """
        if not batch:
            return []
        size = sum(len(session.content) + SESSION_BYTES for session in batch)
        with self._commit_lock:
            return commit_sessions(self.layout, self.fs, batch, self.placement.choose(size))

    def restate(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Replace the receipts of stored sessions whose rows stay; return them as written.

        Raises:
            StorageError: The disk refuses; each session has its old receipt or its new one.
        """
        now = dt.datetime.now(dt.UTC)
        renewed = [msgspec.structs.replace(receipt, committed_at=now) for receipt in receipts]
        with self._commit_lock:
            restate_sessions(self.layout, self.fs, renewed)
        return renewed

    def keep_revision(self, receipt: Receipt, other: PreparedSession | None = None) -> Path:
        """Copy an answer to the folder of revisions, before or beside the one that counts.

        Args:
            receipt: The receipt of the stored session.
            other: An answer beside it; the stored one itself by default.

        Returns:
            Where it lies.

        Raises:
            DataError: Its file is damaged; `smallcaps repair` moves it aside.
        """
        if other is None:
            return keep_revision(self.layout, self.fs, receipt, self._read_content(receipt))
        new = msgspec.structs.replace(other.receipt, revision=receipt.revision + 1)
        return keep_revision(self.layout, self.fs, new, other.content)

    def read_receipt(
        self, ticker: str, session_date: dt.date, *, tree: Tree = Tree.TRADES
    ) -> Receipt:
        """Read the receipt of a session.

        Raises:
            MissingPartitionError: The session is not stored.
            LedgerMismatchError: The receipt is damaged, edited, or another session's.
        """
        root = self.layout.find_root(ticker, session_date, tree)
        path = root.receipt_file(ticker, session_date, tree)
        return parse_own_receipt(self._read(path, root), ticker, session_date, where=str(path))

    def find_receipts(self, keys: Iterable[str]) -> list[Receipt]:
        """Find the receipts of those of some keys that have one that can be believed."""
        found = []
        for key in keys:
            with contextlib.suppress(LedgerMismatchError):
                found.append(self.find_receipt(key))
        return [receipt for receipt in found if receipt is not None]

    def find_content(self, ticker: str, session_date: dt.date, tree: Tree) -> str | None:
        """Find the content hash of a session; empty: its receipt cannot be believed."""
        if self.layout.find_holder(ticker, session_date, tree) is None:
            return None
        try:
            return self.read_receipt(ticker, session_date, tree=tree).content_hash
        except MissingPartitionError:
            return None
        except LedgerMismatchError:
            return ""

    def find_damages(self, receipt: Receipt) -> list[Damage]:
        """Find what is wrong with a session; a file with the hash of its receipt is not decoded."""
        damages = self.verify_session(receipt, deep=False)
        return damages if damages or self._has_its_file(receipt) else self.verify_session(receipt)

    def iter_receipts(
        self, *, tree: Tree = Tree.TRADES, damages: list[Damage] | None = None
    ) -> Iterator[Receipt]:
        """Yield every receipt, in order of folders.

        Args:
            tree: Folders to walk.
            damages: Takes the receipts that cannot be believed; without it the first raises.

        Raises:
            LedgerMismatchError: A receipt is damaged, edited, or another session's.
        """
        for folder in walk_lake(self.layout, self.fs, tree):
            if isinstance(folder, Orphan) or not folder.has_receipt:
                continue
            try:
                yield self.read_receipt(folder.ticker, folder.session_date, tree=tree)
            except LakeError as error:
                if damages is None:
                    raise
                damage = (folder.ticker, folder.session_date, DamageKind.RECEIPT, str(error))
                damages.append(Damage(*damage))

    def iter_unproven(self) -> Iterator[Receipt]:
        """Yield the receipts of imported sessions that nothing proves, but for damaged ones.

        What was damaged is imported again by the next import, so it stops nobody.
        """
        return self.iter_receipts(tree=Tree.IMPORTED, damages=[])

    def read_trades(
        self,
        ticker: str,
        session_date: dt.date,
        *,
        verify: bool = True,
        tree: Tree = Tree.TRADES,
    ) -> pl.DataFrame:
        """Read the trades of a session that has a receipt.

        Args:
            ticker: Vendor's symbol.
            session_date: New York date.
            verify: Compare the file with the hash in its receipt, and its pages with theirs.
            tree: Folders it belongs to.

        Returns:
            ``schemas.TRADES``, in tape order.

        Raises:
            MissingPartitionError: The session is not stored, or its file is gone.
            DataError: The file is damaged.
        """
        receipt = self.read_receipt(ticker, session_date, tree=tree)
        try:
            return self._read_rows(receipt, tree, verify=verify)
        except (DataError, MissingPartitionError):
            # A commit may have replaced the session between the two reads.
            renewed = self.read_receipt(ticker, session_date, tree=tree)
            if renewed == receipt:
                raise
            return self._read_rows(renewed, tree, verify=verify)

    def verify_session(
        self, receipt: Receipt, *, deep: bool = True, tree: Tree = Tree.TRADES
    ) -> list[Damage]:
        """Find everything that is wrong with a stored session.

        Args:
            receipt: What is believed of it, by its receipt or by the ledger.
            deep: Open, hash, decode and count the file; otherwise only its size is looked at.
            tree: Folders it belongs to.
        """
        path = self.layout.trades_file(receipt.ticker, receipt.session_date, tree)
        found = [*self._verify_receipt(receipt, tree)]
        if receipt.rows and not self.fs.exists(path):
            found += self._verify_compacted(receipt, tree, deep=deep)
        else:
            found += self._verify_file(receipt, path, deep=deep)
        return [
            Damage(receipt.ticker, receipt.session_date, kind, f"{path}: {message}")
            for kind, message in found
        ]

    def verify_sessions(
        self, receipts: Sequence[Receipt], *, tree: Tree = Tree.TRADES
    ) -> list[Damage]:
        """Find everything that is wrong with some sessions, deeply."""
        return [damage for one in receipts for damage in self.verify_session(one, tree=tree)]

    def read_sessions(self, receipts: Sequence[Receipt]) -> pl.DataFrame:
        """Read the trades of sessions that were verified, in their order.

        Raises:
            MissingPartitionError: One is not stored, or its file is gone.
            DataError: A file is damaged.
        """
        places = [(one.ticker, one.session_date) for one in receipts if one.rows]
        return pl.concat(
            [TRADES.empty(), *(self.read_trades(*place, verify=False) for place in places)]
        )

    def find_orphans(self, planned_keys: Container[str]) -> list[Orphan]:
        """Find every file that belongs to no receipt, and every receipt no one asked for.

        A commit under way looks like a file without a receipt: hold the lock of the lake.  What is
        asked for are the keys of the published plan.
        """
        orphans = [
            Orphan(path, OrphanKind.TEMPORARY, "the process that wrote it is dead")
            for path in find_abandoned(self._temporary_dirs())
        ]
        orphans += self.months.find_strays()
        for tree in Tree:
            for folder in walk_lake(self.layout, self.fs, tree):
                if isinstance(folder, Orphan):
                    orphans.append(folder)
                    continue
                orphans += find_strays(folder)
                if tree is Tree.TRADES and self._is_unwanted(folder, planned_keys):
                    message = "no plan and no import asks for it"
                    orphans.append(Orphan(folder.path, OrphanKind.UNPLANNED, message))
        return orphans

    def sweep(self) -> list[Path]:
        """Remove the temporary files that dead processes left; return those removed."""
        return self.fs.sweep_temporary(self._temporary_dirs())

    def quarantine(
        self,
        ticker: str,
        session_date: dt.date,
        *,
        tree: Tree = Tree.TRADES,
        evidence: Mapping[str, bytes] = NO_EVIDENCE,
    ) -> Path:
        """Move a damaged session aside, so that it is missing and can be fetched again.

        Files of evidence, by name, are laid beside it.

        Returns:
            The folder where its files lie now.
        """
        with self._commit_lock:
            return quarantine_session(self.layout, self.fs, (ticker, session_date, tree), evidence)

    def quarantine_orphan(self, path: Path) -> Path:
        """Move a file, a folder or a link of the lake that belongs to nothing aside.

        Returns:
            Where it lies now.

        Raises:
            DataError: It does not lie below a root.
        """
        with self._commit_lock:
            return quarantine_stray(self.layout, self.fs, path)

    def _read(self, path: Path, root: LakeRoot) -> bytes:
        refuse_links(path, root.folder)
        return self.fs.read(path)

    def _read_content(self, receipt: Receipt) -> bytes:
        """Read the data file of a stored session, made again where a month alone has its rows."""
        if not receipt.rows:
            return b""
        root = self.layout.find_root(receipt.ticker, receipt.session_date)
        try:
            return self._read(root.trades_file(receipt.ticker, receipt.session_date), root)
        except MissingPartitionError:
            trades = self._read_rows(receipt, Tree.TRADES, verify=True)
            return TapeEncoder(trades, zstd_level=self.zstd_level).encode(0, trades.height)

    def _has_its_file(self, receipt: Receipt) -> bool:
        """Say whether the file of a session is the one of its receipt.

        One that has none has no rows, or they lie in a month file.
        """
        path = self.layout.trades_file(receipt.ticker, receipt.session_date)
        if not receipt.rows or not self.fs.is_file(path):
            return True
        try:
            return hashlib.sha256(self.fs.read(path)).hexdigest() == receipt.sha256
        except StorageError as error:
            if not is_broken(error):
                raise
            return False

    def _temporary_dirs(self) -> list[Path]:
        bars = self.layout.daily_bars_dir
        months = [bars / entry.name for entry in self.fs.list_folder(bars, MONTH_PREFIX)]
        return [*self.layout.temporary_dirs(), *months, *self.months.list_folders()]

    def _read_rows(self, receipt: Receipt, tree: Tree, *, verify: bool) -> pl.DataFrame:
        if not receipt.rows:
            return TRADES.empty()
        root = self.layout.find_root(receipt.ticker, receipt.session_date, tree)
        path = root.trades_file(receipt.ticker, receipt.session_date, tree)
        try:
            content = self._read(path, root)
        except MissingPartitionError:
            trades = self._read_compacted(receipt, tree, verify=verify)
            if trades is None:
                raise
            return trades
        if verify and (found := hashlib.sha256(content).hexdigest()) != receipt.sha256:
            raise DataError(
                f"{path} is damaged: expected sha256 {receipt.sha256}, got {found}; "
                "run `smallcaps repair`"
            )
        return decode_trades(content, verify=verify)

    def _read_compacted(self, receipt: Receipt, tree: Tree, *, verify: bool) -> pl.DataFrame | None:
        """Read the rows of a session from its month; ``None``: no month has it."""
        if tree is not Tree.TRADES:
            return None
        key = (receipt.ticker, receipt.session_date, receipt.content_hash)
        return self.month_sessions.read(*key, verify=verify)

    def _verify_receipt(self, receipt: Receipt, tree: Tree) -> Iterator[tuple[DamageKind, str]]:
        try:
            stored = self.read_receipt(receipt.ticker, receipt.session_date, tree=tree)
        except LakeError as error:
            yield DamageKind.RECEIPT, str(error)
            return
        if stored.receipt_sha256 != receipt.receipt_sha256:
            yield DamageKind.RECEIPT, "the receipt beside it is another one"

    def _verify_compacted(
        self, receipt: Receipt, tree: Tree, *, deep: bool
    ) -> list[tuple[DamageKind, str]]:
        """Find what is wrong with a session that has no landing file."""
        found = None
        if tree is Tree.TRADES:
            found = self.month_sessions.find_damages(receipt, deep=deep)
        if found is None:
            message = f"expected a file of {receipt.rows} rows, found none"
            return [(DamageKind.MISSING_FILE, message)]
        return found

    def _verify_file(
        self, receipt: Receipt, path: Path, *, deep: bool
    ) -> Iterator[tuple[DamageKind, str]]:
        if not receipt.rows:
            if self.fs.is_file(path):
                yield DamageKind.STRAY_FILE, "expected no file for a session without trades"
            if receipt.content_hash != hash_no_trades():
                yield DamageKind.CONTENT_HASH, "expected the content hash of no trades"
        elif self.fs.is_link(path):
            yield DamageKind.UNREADABLE, "expected a file, found a link, and the lake follows none"
        elif deep:
            yield from self._verify_content(receipt, path)
        elif (size := self.fs.size(path)) != receipt.bytes:
            yield DamageKind.BYTES, f"expected {receipt.bytes} bytes, got {size}"

    def _verify_content(self, receipt: Receipt, path: Path) -> Iterator[tuple[DamageKind, str]]:
        try:
            content = self.fs.read(path)
        except StorageError as error:
            if not is_broken(error):
                raise
            yield DamageKind.UNREADABLE, str(error)
            return
        yield from find_damages(receipt, content)

    def _is_unwanted(self, folder: SessionFolder, planned_keys: Container[str]) -> bool:
        if not folder.has_receipt or folder.key in planned_keys:
            return False
        try:
            receipt = self.read_receipt(folder.ticker, folder.session_date)
        except LakeError:
            return True
        return not receipt.is_imported
