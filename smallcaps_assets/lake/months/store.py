"""The compacted months of a lake: written whole, read back with proof, listed for readers.

What belongs here: the files of months and their manifests. What does not: which months may be
compacted (``operations.compaction.months``), which of their sessions still count
(``lake.reading.receipt_sources``).

The order of a write: files of trades get their names, are read back from the disk and proven;
then the index; then the manifest, by one rename.  Names are made of content, so a month that is
rewritten never changes a file that a reader of the old manifest has open; what no manifest
names goes later (:meth:`MonthStore.remove_unnamed`).
"""

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.errors import DataError, LakeError, LedgerMismatchError
from smallcaps_assets.lake.months.manifest import (
    MonthFile,
    MonthManifest,
    encode_manifest,
    parse_manifest,
)
from smallcaps_assets.lake.months.parts import EncodedPart, SessionBatch, encode_parts, hash_part
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import MANIFEST_NAME, MONTH_PREFIX
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.sessions.damages import Orphan, OrphanKind
from smallcaps_assets.lake.sessions.parquet import ZSTD_LEVEL
from smallcaps_assets.lake.storage.files import TEMPORARY_PREFIX, Entry, FileSystem, refuse_links
from smallcaps_assets.lake.tables.files import decode_table, encode_table
from smallcaps_assets.schemas import COMPACTED_MONTHS, COMPACTED_SESSIONS, SCHEMA_VERSION

PART_PREFIX: Final = "trades-"
INDEX_PREFIX: Final = "sessions-"
SHOWN: Final = 3
"""Sessions that a message names."""
_NAMED: Final = 16
"""Digits of the hash in a name."""


@dataclass(frozen=True, slots=True)
class CompactedMonth:
    """A month that has a manifest.

    Attributes:
        root: Root that holds it.
        manifest: Its manifest.
    """

    root: LakeRoot
    manifest: MonthManifest

    @property
    def folder(self) -> Path:
        """Return the folder of its files."""
        return self.root.month_dir(self.manifest.month)

    @property
    def name(self) -> str:
        """Return the month, ``YYYY-MM``."""
        return self.manifest.month


class MonthStore:
    """The compacted months of one lake.

    Attributes:
        layout: Paths of the lake, all of its roots among them.
        fs: The disk.
    """

    def __init__(self, layout: LakeLayout, fs: FileSystem) -> None:
        self.layout = layout
        self.fs = fs

    def list_months(self, first: dt.date | None = None, last: dt.date | None = None) -> list[str]:
        """Return the months that have a manifest, ``YYYY-MM``, in order.

        Args:
            first: A date of the first month; the first stored by default.
            last: A date of the last month; the last stored by default.
        """
        months = sorted({f.name.removeprefix(MONTH_PREFIX) for f in self.list_folders()})
        low, high = (first or dt.date.min).isoformat()[:7], (last or dt.date.max).isoformat()[:7]
        return [m for m in months if low <= m <= high and _is_month(self.layout, m)]

    def find(self, month: str) -> CompactedMonth | None:
        """Return a month, given as ``YYYY-MM``; ``None``: it has no manifest.

        Raises:
            LedgerMismatchError: The manifest is damaged, edited, or another month's.
            StorageError: The disk refuses.
        """
        root = self.layout.find_month(month)
        if root is None:
            return None
        path = root.manifest_file(month)
        refuse_links(path, root.folder)
        manifest = parse_manifest(self.fs.read(path), where=str(path))
        if manifest.month != month:
            raise LedgerMismatchError(f"manifest {path} is that of {manifest.month}")
        return CompactedMonth(root, manifest)

    def read_index(self, month: CompactedMonth) -> pl.DataFrame:
        """Return ``schemas.COMPACTED_SESSIONS`` of a month, sorted by its key.

        Raises:
            DataError: The index is not the one that the manifest names.
            MissingPartitionError: It is gone.
            StorageError: The disk refuses.
        """
        path = month.folder / month.manifest.index.name
        content = self.fs.read(path)
        if hashlib.sha256(content).hexdigest() != month.manifest.index.sha256:
            raise DataError(
                f"{path} is damaged: expected sha256 {month.manifest.index.sha256}; "
                "run `smallcaps repair`"
            )
        return decode_table(COMPACTED_SESSIONS, content, where=str(path))

    def write(
        self,
        month: str,
        batches: Iterable[SessionBatch],
        root: LakeRoot,
        *,
        source: str,
        compacted_at: dt.datetime,
        zstd_level: int = ZSTD_LEVEL,
    ) -> CompactedMonth:
        """Write a month, in place of the one it has; readers see one or the other.

        Args:
            month: The month, ``YYYY-MM``.
            batches: Its sessions, sorted by ticker and session.
            root: Where it shall lie; a month that has a manifest stays where it is.
            source: Source the lake is bound to.
            compacted_at: The time.
            zstd_level: Compression.

        Raises:
            DataError: The sessions are not what they are listed as; the old month stays.
            LakeError: A file does not read back as it was written; the old month stays.
            StorageError: The disk refuses; the old month stays.
        """
        holder = self.layout.find_month(month) or root
        folder = holder.month_dir(month)
        refuse_links(folder, holder.folder)
        parts, indexes = [], [COMPACTED_SESSIONS.empty()]
        for part in encode_parts(batches, zstd_level=zstd_level):
            _prove(month, part)
            named = self._publish(holder, folder, PART_PREFIX, part.content, part.rows)
            parts.append(named)
            indexes.append(_frame_index(part, named))
        index = pl.concat(indexes)
        content = encode_table(COMPACTED_SESSIONS, index)
        manifest = MonthManifest(
            month=month,
            source=source,
            schema_version=SCHEMA_VERSION,
            sessions=index.height,
            rows=int(index["rows"].sum()),
            content_hash=hash_index(index),
            parts=tuple(parts),
            index=self._publish(holder, folder, INDEX_PREFIX, content, index.height),
            compacted_at=compacted_at,
        )
        self.fs.publish({folder / MANIFEST_NAME: encode_manifest(manifest)}, root=holder.folder)
        return CompactedMonth(holder, manifest)

    def is_whole(self, month: CompactedMonth) -> bool:
        """Return whether every file that a manifest names lies there, as far as sizes tell."""
        files = month.manifest.files
        return all(self.fs.size(month.folder / file.name) == file.bytes for file in files)

    def list_folders(self) -> list[Path]:
        """Return the folders of months of all roots, those without a manifest too."""
        return [
            root.compacted_dir / entry.name
            for root in self.layout.roots
            for entry in self.fs.list_folder(root.compacted_dir, MONTH_PREFIX)
        ]

    def find_strays(self) -> list[Orphan]:
        """Return what lies among the files of months and is called like none of them.

        Files of an older manifest are no strays: the next run of the compaction removes them.
        """
        strays = [
            root.compacted_dir / entry.name
            for root in self.layout.roots
            for entry in self.fs.list_folder(root.compacted_dir)
            if not entry.name.startswith(MONTH_PREFIX)
        ]
        for folder in self.list_folders():
            entries = self.fs.list_folder(folder)
            strays += [folder / entry.name for entry in entries if not is_own_file(entry)]
        message = "no file of a compacted month is called like that"
        return [Orphan(path, OrphanKind.FOREIGN, message) for path in strays]

    def remove_unnamed(self, month: str) -> list[Path]:
        """Remove the files of a month that its manifest does not name; return them.

        They are those of an older manifest, which no catalog may read any more, or of a write
        that was killed.  Without a manifest all of them are.

        Raises:
            LedgerMismatchError: The manifest is damaged; nothing is removed.
            StorageError: The disk refuses.
        """
        found = self.find(month)
        named = {file.name for file in found.manifest.files} if found else set()
        removed = []
        for folder in (root.month_dir(month) for root in self.layout.roots):
            names = [entry.name for entry in self.fs.list_folder(folder)]
            own = [name for name in names if name.startswith((PART_PREFIX, INDEX_PREFIX))]
            keeps = found is not None and folder == found.folder
            removed += [folder / name for name in own if not (keeps and name in named)]
        for path in removed:
            self.fs.remove(path)
        return removed

    def _publish(
        self, root: LakeRoot, folder: Path, prefix: str, content: bytes, rows: int
    ) -> MonthFile:
        """Write a file under the name of its content, and read it back from the disk.

        Raises:
            LakeError: It is not what was written.
            StorageError: The disk refuses.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = folder / f"{prefix}{sha256[:_NAMED]}.parquet"
        self.fs.publish({path: content}, root=root.folder)
        if hashlib.sha256(self.fs.read_back(path)).hexdigest() != sha256:
            raise LakeError(f"{path} does not read back as it was written: check the disk")
        return MonthFile(name=path.name, rows=rows, bytes=len(content), sha256=sha256)


def frame_months(months: Iterable[CompactedMonth]) -> pl.DataFrame:
    """Return ``schemas.COMPACTED_MONTHS`` of some months."""
    rows = [
        {
            "month": month.name,
            "sessions": month.manifest.sessions,
            "rows": month.manifest.rows,
            "bytes": month.manifest.bytes,
            "files": len(month.manifest.parts),
            "content_hash": month.manifest.content_hash,
            "manifest_sha256": month.manifest.sha256,
            "compacted_timestamp": month.manifest.compacted_at,
        }
        for month in months
    ]
    return COMPACTED_MONTHS.conform(pl.DataFrame(rows, COMPACTED_MONTHS.schema))


def hash_index(index: pl.DataFrame) -> str:
    """Return the hash over the keys and content hashes of sessions."""
    keys = index.select(key_expression()).to_series()
    return hash_lake(dict(zip(keys, index["content_hash"], strict=True)))


def _prove(month: str, part: EncodedPart) -> None:
    """Decode a file, and compare each of its sessions with what it is listed as.

    Raises:
        DataError: A session differs; the message names it.
    """
    found = pl.Series(hash_part(part.content, part.sessions))
    wrong = part.sessions.filter(pl.col("content_hash") != found)
    if wrong.height:
        keys = wrong.head(SHOWN).select(key_expression()).to_series()
        raise DataError(
            f"{wrong.height} sessions of {month} are not those of their receipts, first "
            f"{', '.join(keys)}: run `smallcaps audit --deep`, then `smallcaps repair`"
        )


def _frame_index(part: EncodedPart, named: MonthFile) -> pl.DataFrame:
    rows = part.sessions.with_columns(part=pl.lit(named.name))
    return COMPACTED_SESSIONS.conform(rows.select(COMPACTED_SESSIONS.schema.names()))


def is_own_file(entry: Entry) -> bool:
    """Return whether a file is called like one of a month; one under way is."""
    prefixes = (PART_PREFIX, INDEX_PREFIX, MANIFEST_NAME, TEMPORARY_PREFIX)
    return entry.name.startswith(prefixes) and not entry.is_link


def _is_month(layout: LakeLayout, month: str) -> bool:
    try:
        return layout.find_month(month) is not None
    except DataError:
        return False
