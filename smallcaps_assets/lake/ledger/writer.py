"""The ledger: an index of the lake that says at once what is missing.

What belongs here: recording what was planned, stored and refused.  What does not: questions
(``reader``), SQL (``sql``), the SQLite file (``database``), the shape of rows
(``rows``), the files of the lake (``lake.segment_store``).

The lake is the truth and the ledger its index: whatever it says of stored sessions can be made
again from the records (``lake.upkeep.indexing``).
"""

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from smallcaps_assets.core.archive.findings import ArchiveVerdict
from smallcaps_assets.core.progress.pace import Step
from smallcaps_assets.core.states import NOT_YET_AVAILABLE, PLANNED
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.ledger.database import (
    counted_at_end,
    open_database,
    transaction,
    translated_errors,
)
from smallcaps_assets.lake.ledger.entry_rows import Listing
from smallcaps_assets.lake.ledger.import_records import ImportRecord, import_row
from smallcaps_assets.lake.ledger.months import MonthIndex
from smallcaps_assets.lake.ledger.pulse import Pulse, encode_pulse, step_row
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import (
    Attempt,
    Failure,
    Revision,
    Row,
    attempt_row,
    failure_row,
    format_instant,
    plan_rows,
    receipt_row,
    revision_row,
)
from smallcaps_assets.lake.ledger.sql import plain_statements as plain_sql
from smallcaps_assets.lake.ledger.sql import statements as ledger_sql
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import FileSystem


def tell_time() -> dt.datetime:
    """Tell the present instant in UTC."""
    return dt.datetime.now(dt.UTC)


class Ledger(LedgerReader):
    """The ledger at one path, for all threads of a process; others may read and write as well."""

    def __init__(self, path: Path, *, clock: Callable[[], dt.datetime] = tell_time) -> None:
        """Open the ledger, or make an empty one in an existing folder.

        Args:
            path: The SQLite file.
            clock: Tells the time in UTC.

        Raises:
            LedgerMismatchError: It is damaged or newer; the message says how to rebuild it.
            StorageError: The disk refuses.
        """
        self._clock = clock
        self._use(path, open_database(path, is_read_only=False))

    def record_plan(
        self, plan: pl.DataFrame, not_yet_available: pl.DataFrame | None = None
    ) -> list[str]:
        """Make the planned ticker-sessions equal to ``plan``, and keep the states of those known.

        Sessions no longer planned keep what is stored of them.  Where some are proven and have no
        row nothing is done: these are returned, and have to be listed before
        (``lake.upkeep.indexing.register_plan``).

        Args:
            plan: Columns ``ticker`` and ``session_date``, each pair once.
            not_yet_available: Such pairs that are wanted, but can not be asked for yet; they
                are in no plan until they can.

        Raises:
            DataError: A pair occurs twice.
        """
        wanted = [plan_rows(plan, PLANNED)]
        if not_yet_available is not None:
            wanted.append(plan_rows(not_yet_available, NOT_YET_AVAILABLE))
        with self._writing() as connection:
            connection.execute(ledger_sql.CREATE_WANTED)
            for rows in wanted:
                connection.executemany(ledger_sql.INSERT_WANTED, rows)
            unlisted = [key for (key,) in connection.execute(plain_sql.UNLISTED_WANTED)]
            if not unlisted:
                with counted_at_end(connection):
                    for statement in ledger_sql.TAKE_WANTED:
                        connection.execute(statement)
            connection.execute("DROP TABLE temp.wanted")
        self._fold_log()
        return unlisted

    def record_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Record committed ticker-sessions in one transaction."""
        now = self._now()
        with self._writing() as connection:
            rows = [receipt_row(receipt, now, attempts=1) for receipt in receipts]
            connection.executemany(ledger_sql.RECORD_RECEIPT, rows)
            connection.executemany(ledger_sql.RECORD_COMPARISON, rows)
            connection.execute(ledger_sql.RECORD_FACT, ("last_commit_at", now))

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """Record ticker-sessions that did not become green, in one transaction.

        What is stored stays stored: only ``quarantined`` takes a session out of it.

        Raises:
            DataError: A key or a state is not one.
        """
        rows = [failure_row(failure, self._now()) for failure in failures]
        with self._writing() as connection:
            connection.executemany(ledger_sql.RECORD_FAILURE, rows)

    def note_comparisons(self, rows: Iterable[Row]) -> None:
        """Note what bars that came later say of sessions that they do not dispute.

        Args:
            rows: ``ticker``, ``session_date``, ``bar_volume``, ``bar_trade_count``,
                ``volume_deficit``, ``count_deficit`` and ``marks``, as texts and numbers.
        """
        with self._writing() as connection:
            connection.executemany(ledger_sql.NOTE_COMPARISON, rows)

    def record_revisions(self, revisions: Sequence[Revision]) -> None:
        """Append answers that differ from what was stored; the list is never changed."""
        rows = [revision_row(revision, self._now()) for revision in revisions]
        with self._writing() as connection:
            connection.executemany(ledger_sql.RECORD_REVISION, rows)

    def record_unjudged(self, months: Iterable[str]) -> None:
        """Note months whose bars are new, so that stored sessions are to be compared with them."""
        with self._writing() as connection:
            connection.executemany(ledger_sql.RECORD_UNJUDGED, [(month,) for month in months])

    def record_judged(self, month: str) -> None:
        """Note that the stored sessions of a month were compared with its bars."""
        with self._writing() as connection:
            connection.execute(ledger_sql.FORGET_UNJUDGED, (month,))

    def record_imports(self, records: Sequence[ImportRecord]) -> None:
        """Record sessions of archives that did not prove complete, in one transaction.

        Those with rows become ``imported_unproven``, unless more is known of them.
        """
        rows = [import_row(record, self._now()) for record in records]
        unproven = [row for row in rows if row["verdict"] == ArchiveVerdict.UNPROVEN]
        with self._writing() as connection:
            connection.executemany(ledger_sql.RECORD_IMPORT, rows)
            connection.executemany(ledger_sql.RECORD_UNPROVEN, unproven)

    def record_attempt(self, attempt: Attempt) -> None:
        """Append one request range to the attempts, which are never changed."""
        with self._writing() as connection:
            connection.execute(ledger_sql.RECORD_ATTEMPT, attempt_row(attempt, self._now()))
            connection.execute(
                ledger_sql.RECORD_PURPOSE, (attempt.purpose, attempt.expected_requests)
            )

    def record_counters(self, run_id: str, counters: Mapping[str, int]) -> None:
        """Add the growth of counters that only the process at work knows, such as answers 429."""
        now = self._now()
        rows = [(now, run_id, name, value) for name, value in counters.items() if value]
        with self._writing() as connection:
            connection.executemany(ledger_sql.RECORD_COUNTER, rows)

    def record_refused(self, until: dt.date) -> None:
        """Replace the newest date that lies too far back for the key."""
        with self._writing() as connection:
            connection.execute(ledger_sql.RECORD_FACT, ("refused_until", f"{until} {self._now()}"))

    def record_pulse(self, pulse: Pulse, step: Step | None = None) -> None:
        """Replace what a download said of itself, and add a step where one is due."""
        with self._writing() as connection:
            connection.execute(ledger_sql.RECORD_FACT, ("pulse", encode_pulse(pulse)))
            if step is not None:
                row = step_row(step, pulse.run_id, self._now())
                connection.execute(ledger_sql.RECORD_STEP, row)

    @contextmanager
    def indexing(self, *, lists_all: bool = False) -> Iterator[MonthIndex]:
        """Change the months of a lake of segments in one transaction.

        Args:
            lists_all: Make a row for every session, plain ones without a plan included.

        Raises:
            LakeError: What is done inside raises; the ledger is unchanged.
        """
        listing = Listing(self._now(), lists_all)
        with self._writing() as connection:
            yield MonthIndex(self, connection, listing)

    @contextmanager
    def reindexing(self, *, lists_all: bool = False) -> Iterator[MonthIndex]:
        """Change all months likewise, for a rebuild from the records.

        Plan, failures and attempts stay as they are.
        """
        with self.indexing(lists_all=lists_all) as index:
            connection = self._connection
            with counted_at_end(connection):
                connection.execute(ledger_sql.FORGET_IMPORTS)
                yield index
                for fact in ("indexed_at", "compared_at"):
                    connection.execute(ledger_sql.RECORD_FACT, (fact, self._now()))
        self._fold_log()

    def _now(self) -> str:
        return format_instant(self._clock())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated_errors(self.path), transaction(self._connection):
            self._connection.execute(ledger_sql.COUNT_COMMIT)
            yield self._connection

    def _fold_log(self) -> None:
        """Give back the disk that a large transaction took; a reader at work may prevent it."""
        self._fetch("PRAGMA wal_checkpoint(TRUNCATE)")


def discard_damaged_ledger(path: Path, file_system: FileSystem) -> bool:
    """Move a ledger aside that is damaged anywhere, or newer than this program.

    Only one process may be at work on the lake, and it may not have the ledger open.

    Returns:
        Whether it was moved; a new one can then be made from the records.

    Raises:
        StorageError: The disk refuses.
    """
    if not file_system.is_file(path):
        return False
    try:
        with LedgerReader(path) as ledger:
            ledger.check()
    except LedgerMismatchError:
        discard_ledger(path, file_system)
        return True
    return False


def discard_ledger(path: Path, file_system: FileSystem) -> None:
    """Move a ledger that cannot be read aside, so that a new one can be made from the records.

    Only one process may be at work on the lake.

    Raises:
        StorageError: The disk refuses.
    """
    # The log goes first: one left behind would be played into the new ledger.
    for suffix in ("-wal", "-shm"):
        file_system.remove(path.with_name(path.name + suffix))
    if file_system.is_file(path):
        file_system.rename(path, path.with_name(f"{path.name}.damaged"))
