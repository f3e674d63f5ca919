"""The sessions of a month as they go into its files: read from landing files, or from old ones.

What belongs here: reading many sessions at once with proof.  What does not: which sessions, and
what is written (``lake.months.store``).
"""

import hashlib
from collections.abc import Iterator

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.months.parts import SessionBatch, cut_batches
from smallcaps_assets.lake.months.sessions import MonthSessions
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.reading.landing_files import StoredFile, locate_files
from smallcaps_assets.lake.sessions.parquet import decode_sessions
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.schemas import TRADES


def iter_batches(
    layout: LakeLayout, fs: FileSystem, months: MonthSessions, sessions: pl.DataFrame
) -> Iterator[SessionBatch]:
    """Yield the trades of some sessions with proof, some sessions at a time.

    A landing file is proven by the hash of its bytes; without one the session is taken from the
    month file that has its very content.  The sessions are ``LedgerReader.stored_contents``.

    Raises:
        DataError: A session is damaged; the message names it.
        MissingPartitionError: A session is nowhere; the message names it.
        StorageError: The disk refuses.
    """
    start = 0
    for sizes in cut_batches(sessions["rows"].to_list()):
        batch = sessions.slice(start, len(sizes))
        start += len(sizes)
        hashes = batch.select("sha256", "content_hash").rows()
        files = locate_files(layout, fs, batch, Tree.TRADES)
        pieces = _Pieces(fs, months)
        for file, (sha256, content_hash) in zip(files, hashes, strict=True):
            pieces.add(file, sha256, content_hash)
        columns = batch.select("ticker", "session_date", "rows", "content_hash")
        yield SessionBatch(pieces.finish(), columns)


class _Pieces:
    """The trades of some sessions; neighbouring landing files are decoded together."""

    def __init__(self, fs: FileSystem, months: MonthSessions) -> None:
        self._fs = fs
        self._months = months
        self._frames = [TRADES.empty()]
        self._contents: list[bytes] = []

    def add(self, file: StoredFile, sha256: str, content_hash: str) -> None:
        """Read a session."""
        if file.is_there(self._fs):
            content = self._fs.read(file.path)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise DataError(f"{file.path} is damaged: run `smallcaps repair`")
            self._contents.append(content)
            return
        self._decode()
        trades = self._months.read(file.ticker, file.session_date, content_hash)
        if trades is None:
            key = encode_key(file.ticker, file.session_date)
            raise MissingPartitionError(
                f"{key}: expected {file.path} or a month file, found none: run `smallcaps repair`"
            )
        self._frames.append(trades)

    def finish(self) -> pl.DataFrame:
        """Join all trades, in the order they were added."""
        self._decode()
        return pl.concat(self._frames)

    def _decode(self) -> None:
        if self._contents:
            self._frames.append(decode_sessions(self._contents))
        self._contents = []
