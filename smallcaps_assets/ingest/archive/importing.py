"""Import: the sessions of an archive, judged one by one; what agrees with its bar joins the lake.

What belongs here: the way of sessions from the archive to the lake, in threads and in groups.  What
does not: what an archive may look like (``lake.interchange.archives``), the verdict
(``core.archive.sessions``), words on the screen (``cli``).

Nothing that the lake has proven is ever replaced, and the archive is only read.
"""

import itertools
import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from smallcaps_assets.core.budget.calibration import (
    COMMIT_BYTES,
    DEFAULT_BYTES_PER_TRADE,
    INDEX_BYTES,
)
from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.core.keys import encode_key, month_of
from smallcaps_assets.core.sessions import session_range
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError, StorageError
from smallcaps_assets.ingest.archive.judging import (
    ArchiveJudge,
    Bar,
    Judged,
    describe_session,
    recall_session,
)
from smallcaps_assets.ingest.archive.outcomes import (
    Action,
    ImportedSession,
    ImportSummary,
)
from smallcaps_assets.ingest.derived import ensure_indexed, index_stored
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.lake.interchange.archives import (
    SessionFiles,
    Stray,
    open_archive,
    walk_archive,
)
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

CHUNK_SESSIONS: Final = 2_000
"""Sessions whose daily bars and states are read at once."""
GROUP_SESSIONS: Final = 50
"""Sessions committed together."""
AHEAD_PER_WORKER: Final = 2
"""Sessions judged ahead of their commit, by worker: what bounds the memory."""


class Import:
    """One import of one archive into one lake.

    The caller holds the lake's lock, except for a dry run.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        folder: Path,
        *,
        run_id: str = "import",
        accept_unproven: bool = False,
        is_dry_run: bool = False,
    ) -> None:
        """Bind the import to an archive: a folder of folders of tickers.

        Without proof a session is stored where ``accept_unproven`` says so; a dry run judges
        everything and writes nothing.

        Raises:
            ConfigError: The folder is none, or overlaps with the lake.
        """
        root = open_archive(folder, [lakehouse.layout.data_dir, lakehouse.layout.lake_dir])
        self.summary = ImportSummary()
        self._root = root
        self._lakehouse = lakehouse
        self._is_dry_run = is_dry_run
        store = None if is_dry_run else lakehouse.sessions
        self._judge = ArchiveJudge(
            lakehouse.calendar, store, lakehouse.clock, root, run_id, accept_unproven
        )

    def run(self) -> Iterator[ImportedSession | Stray]:
        """Yield what becomes of each session, after its commit, and what is no session.

        Raises:
            StorageError: The disk of the lake refuses, or has no room; what was committed stays,
                and the same import again continues from there.
        """
        with self._open_ledger() as ledger:
            for chunk in _cut(walk_archive(self._root), CHUNK_SESSIONS):
                strays = [found for found in chunk if isinstance(found, Stray)]
                self.summary.strays += len(strays)
                yield from strays
                sessions = [found for found in chunk if isinstance(found, SessionFiles)]
                for imported in self._run_chunk(sessions, ledger):
                    self.summary.add(imported)
                    yield imported
        logger.info("import finished sessions=%d", self.summary.sessions.total())

    def count(self) -> int:
        """Count sessions and strays, without opening a file."""
        return sum(1 for _ in walk_archive(self._root))

    @contextmanager
    def _open_ledger(self) -> Iterator[LedgerReader | None]:
        """Yield the ledger; a dry run neither makes one nor writes into it."""
        if not self._is_dry_run:
            try:
                ensure_indexed(self._lakehouse)
            except MissingPartitionError:  # a lake without a plan
                index_stored(self._lakehouse)
            yield self._lakehouse.ledger
        elif self._lakehouse.layout.ledger_file.is_file():
            with LedgerReader(self._lakehouse.layout.ledger_file) as reader:
                yield reader
        else:
            yield None

    def _run_chunk(
        self, sessions: Sequence[SessionFiles], ledger: LedgerReader | None
    ) -> Iterator[ImportedSession]:
        """Judge sessions in threads, and commit them in groups."""
        bars = _read_bars(self._lakehouse.tables, sessions)
        known = self._find_known(sessions, bars, ledger)
        yield from known.values()
        fresh = [session for session in sessions if session.key not in known]
        workers = self._lakehouse.settings.workers
        running: deque[Future[Judged]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
            try:
                for sessions_of_group in _cut(fresh, GROUP_SESSIONS):
                    batch: list[Judged] = []
                    for session in sessions_of_group:
                        running.append(
                            pool.submit(self._judge.judge, session, bars.get(session.key))
                        )
                        if len(running) > AHEAD_PER_WORKER * workers:
                            batch.append(running.popleft().result())
                    yield from self._commit(batch)
                yield from self._commit([future.result() for future in running])
            finally:
                pool.shutdown(cancel_futures=True)

    def _find_known(
        self,
        sessions: Sequence[SessionFiles],
        bars: Mapping[str, Bar],
        ledger: LedgerReader | None,
    ) -> dict[str, ImportedSession]:
        """Find the sessions that need no second look, by key."""
        if ledger is None:
            return {}
        keys = [session.key for session in sessions]
        shown, records = ledger.states(keys), ledger.imports(keys)
        plain = {*ledger.find_unlisted(keys)}
        late: list[Receipt] = []
        known: dict[str, ImportedSession] = {}
        for session in sessions:
            key = session.key
            record = records.get(key)
            if key in plain or shown.get(key) in GREEN or self._is_stored(key, late):
                known[key] = describe_session(session, Action.KNOWN)
            elif record and self._judge.is_unchanged(session, record, bars.get(key)):
                known[key] = recall_session(session, record)
        if late and not self._is_dry_run:
            self._lakehouse.ledger.record_receipts(late)
        return known

    def _is_stored(self, key: str, late: list[Receipt]) -> bool:
        """Say whether a session is stored that the ledger does not know; ``late`` takes it."""
        try:
            receipt = self._lakehouse.sessions.find_receipt(key)
        except LedgerMismatchError:
            return False
        if receipt is not None:
            late.append(receipt)
        return receipt is not None

    def _commit(self, batch: Sequence[Judged]) -> Iterator[ImportedSession]:
        """Write a group: parts, records, ledger; then yield what became of it."""
        if not self._is_dry_run:
            written = [judged.prepared for judged in batch if judged.prepared]
            self._require_room(written)
            self._lakehouse.lock.check()
            self._lakehouse.sessions.commit(written)
            record_stored(self._lakehouse.ledger, self._lakehouse.sessions)
            records = [judged.record for judged in batch if judged.record]
            self._lakehouse.ledger.record_imports(records)
        yield from (judged.session for judged in batch)

    def _require_room(self, written: Sequence[PreparedSession]) -> None:
        """Stop before the disk is full.

        Raises:
            StorageError: The lake has no room for the group.
        """
        rows = sum(prepared.receipt.rows for prepared in written)
        months = {month_of(prepared.receipt.session_date) for prepared in written}
        index = len(written) * INDEX_BYTES + len(months) * COMMIT_BYTES
        needed = math.ceil(rows * DEFAULT_BYTES_PER_TRADE) + index
        room = self._lakehouse.free_space.measure_room(self._lakehouse.layout.lake_dir)
        if written and room < needed:
            raise StorageError(
                f"no room for {len(written)} more sessions ({format_bytes(needed)}): what is "
                "imported is stored; make room or lower SMALLCAPS_DISK_RESERVE_GB, then run the "
                "same import again"
            )


def _read_bars(tables: TableStore, sessions: Sequence[SessionFiles]) -> dict[str, Bar]:
    """Read the usable daily bars of sessions, by key."""
    if not sessions:
        return {}
    keys = pl.DataFrame(
        [(session.ticker, session.session_date) for session in sessions],
        schema={"ticker": pl.String, "session_date": pl.Date},
        orient="row",
    )
    bars = (
        tables.read_daily_bars(*session_range(keys))
        .join(keys.lazy(), on=DAILY_BARS.key, how="semi")
        .filter(pl.col("volume").is_finite())
        .collect()
    )
    return {
        encode_key(row["ticker"], row["session_date"]): row for row in bars.iter_rows(named=True)
    }


def _cut(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of at most ``size`` items."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
