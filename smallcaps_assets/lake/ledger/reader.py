"""The reading side of the ledger: what is missing, what is stored, what happened.

What belongs here: questions, for any process at any time, while another one downloads.  What does
not: recording (``writer``), SQL (``sql``), the SQLite file (``database``).
"""

import datetime as dt
import sqlite3
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, Self

import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.progress.pace import Step
from smallcaps_assets.core.segments.indexing import list_sessions
from smallcaps_assets.core.states import DISPUTED, EMPTY_DISPUTED, GREEN, STATES
from smallcaps_assets.core.ticks.disputes import MARKS
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.ledger.checks import doubt, find_nonsense
from smallcaps_assets.lake.ledger.database import (
    damaged_ledger,
    find_strange_version,
    open_database,
    translated_errors,
)
from smallcaps_assets.lake.ledger.import_records import ImportRecord, parse_import
from smallcaps_assets.lake.ledger.months import LedgerMonths
from smallcaps_assets.lake.ledger.pulse import Pulse, parse_pulse, parse_step
from smallcaps_assets.lake.ledger.rows import (
    DEFICIT_COLUMNS,
    FIGURE_COLUMNS,
    KEY_COLUMNS,
    REVISION_COLUMNS,
    Activity,
    CommittedSession,
    Row,
    SessionRecord,
    Totals,
    format_instant,
    frame_keys,
    frame_open_sessions,
    pack_keys,
    parse_committed,
    parse_instant,
    parse_record,
    require_dates,
    select_parameters,
)
from smallcaps_assets.lake.ledger.sql import plain_statements as plain_sql
from smallcaps_assets.lake.ledger.sql import statements as ledger_sql
from smallcaps_assets.schemas import COVERAGE, RECEIPTS

DISPUTED_REPEATS: Final = 3
"""Times that a disputed session is asked for again by itself, once a day at most."""
FAILING_DATES: Final = 3
"""Dates on which a session fails before it is asked for once a day only."""
RESTING: Final = (EMPTY_DISPUTED, DISPUTED)
"""States that are not asked for again before another day."""


STEPS_READ: Final = 600
"""Steps that the pace of a download is measured by, at most."""
RUNS_READ: Final = 20
"""Runs that show what one takes besides its ranges, at most."""

ERROR_COLUMNS: Final = (
    "recorded_at",
    "run_id",
    "ticker",
    "first_session",
    "last_session",
    "kind",
    "message",
)
"""Columns of :meth:`LedgerReader.recent_errors`, all text."""


@doubt
class LedgerReader(LedgerMonths):
    """The ledger at one path, read-only, for all threads of a process.

    A key that is not one is a ``DataError``, and whatever cannot be believed a
    ``LedgerMismatchError``.

    Attributes:
        path: The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        """Open the ledger.

        Raises:
            MissingPartitionError: There is none.
            LedgerMismatchError: It is damaged or newer; the message says how to rebuild it.
            StorageError: The disk refuses.
        """
        if not path.is_file():
            raise MissingPartitionError(f"expected a ledger at {path}, found none: download first")
        self._use(path, open_database(path, is_read_only=True))

    def _use(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        with self._lock, translated_errors(self.path):
            self._connection.close()

    def check(self) -> None:
        """Read the whole file, and refuse it where it is damaged anywhere.

        Raises:
            LedgerMismatchError: It is.
        """
        found = self._fetch("PRAGMA integrity_check(1)")[0][0]
        with self._lock, translated_errors(self.path):
            nonsense = found if found != "ok" else next(find_nonsense(self._connection), None)
        if nonsense := nonsense or find_strange_version(self.path):
            raise damaged_ledger(self.path, nonsense)

    @property
    def is_indexed(self) -> bool:
        """Tell whether the records were ever read into this file.

        A ledger that was lost and made again is not, and would ask for everything again.
        """
        return bool(self._fetch(ledger_sql.FACT, {"name": "indexed_at"}))

    @property
    def is_compared(self) -> bool:
        """Tell whether the records were read since sessions are compared with their bars."""
        return bool(self._fetch(ledger_sql.FACT, {"name": "compared_at"}))

    def missing_keys(
        self,
        tickers: Iterable[str] | None = None,
        first: dt.date | None = None,
        last: dt.date | None = None,
        *,
        due_on: dt.date | None = None,
    ) -> pl.DataFrame:
        """List the planned ticker-sessions that are not green.

        Args:
            tickers: Only these; all by default.
            first: First session, included.
            last: Last session, included.
            due_on: Leave out disputed sessions that are not to be asked for on this date.

        Returns:
            Columns ``key``, ``ticker``, ``session_date`` and ``state``, sorted by ticker and
            session.
        """
        due = {"due_on": due_on and due_on.isoformat(), "repeats": DISPUTED_REPEATS}
        return frame_open_sessions(self._select(ledger_sql.MISSING, tickers, first, last, **due))

    def stored_sessions(
        self,
        tickers: Iterable[str] | None = None,
        first: dt.date | None = None,
        last: dt.date | None = None,
    ) -> pl.DataFrame:
        """Select, as :meth:`missing_keys` does, from what has a receipt, planned or not.

        Returns:
            Columns ``ticker``, ``session_date``, ``rows``, ``bytes`` and ``is_planned``, sorted
            by ticker and session; zero rows: there is no file.
        """
        rows = self._select(ledger_sql.STORED, tickers, first, last)
        sizes = dict.fromkeys(("rows", "bytes", "is_planned"), pl.Int64())
        return frame_keys(rows, {**KEY_COLUMNS, **sizes}).cast({"is_planned": pl.Boolean()})

    def proven_sessions(
        self,
        tickers: Collection[str] | None = None,
        first: dt.date | None = None,
        last: dt.date | None = None,
    ) -> pl.DataFrame:
        """List, as :meth:`stored_sessions` does, all that is proven, whether it has a row or not.

        Returns:
            ``ticker`` and ``session_date``, sorted by them.
        """
        place = list(KEY_COLUMNS)
        green = self.stored_sessions(tickers, first, last).select(place)
        if not self.plain_sums().sessions:
            return green
        since, until = first or dt.date.min, last or dt.date.max
        bits = self.ticker_months(since.isoformat()[:7], until.isoformat()[:7], tickers)
        told = list_sessions(bits.with_columns(record=pl.lit("")), "proven").select(place)
        asked = told.filter(pl.col("session_date").is_between(since, until))
        rows = frame_keys(self._select(ledger_sql.LISTED, tickers, first, last), KEY_COLUMNS)
        return pl.concat([green, asked.join(rows, on=place, how="anti")]).sort(place)

    def records(self, keys: Iterable[str]) -> dict[str, SessionRecord]:
        """Look up what is known of those of ``keys`` that the ledger knows, by key."""
        rows = self._fetch(ledger_sql.RECORDS, pack_keys(keys))
        return {row[0]: parse_record(row) for row in rows}

    def states(self, keys: Iterable[str]) -> dict[str, str]:
        """Look up the states of those of ``keys`` that the ledger knows."""
        return dict(self._fetch(ledger_sql.STATES, pack_keys(keys)))

    def imports(self, keys: Iterable[str]) -> dict[str, ImportRecord]:
        """Recall what an import found out about those of ``keys`` that it did not prove, by key."""
        rows = self._fetch_from("imports", ledger_sql.IMPORTS, pack_keys(keys))
        return {row[0]: parse_import(row) for row in rows}

    def unjudged_months(self) -> list[str]:
        """List the months (``YYYY-MM``) whose bars were not compared with what is stored."""
        return [row[0] for row in self._fetch_from("comparisons", ledger_sql.UNJUDGED)]

    def figures(self, first: dt.date, last: dt.date) -> pl.DataFrame:
        """Read what the stored sessions traded and what their bars said, both dates included.

        Returns:
            :data:`FIGURE_COLUMNS`, sorted by ticker and session.
        """
        rows = self._fetch(ledger_sql.FIGURES, select_parameters(None, first, last))
        return frame_keys(rows, FIGURE_COLUMNS)

    def deficits(self) -> pl.DataFrame:
        """List the sessions that lack some of their bar, or were asked for again for it.

        Returns:
            :data:`DEFICIT_COLUMNS`, sorted by ticker and session.
        """
        rows = self._fetch_from("comparisons", ledger_sql.DEFICITS)
        return frame_keys(rows, DEFICIT_COLUMNS).cast({"is_same": pl.Boolean()})

    def compared_dates(self) -> pl.DataFrame:
        """Count sessions compared on each ``session_date`` by ``volume`` and ``trade_count``."""
        rows = self._fetch_from("plain_dates", plain_sql.DATES)
        rows += self._fetch(ledger_sql.COMPARED)
        schema = {"session_date": pl.String(), "volume": pl.Int64(), "trade_count": pl.Int64()}
        frame = pl.DataFrame(rows, schema, orient="row")
        sums = frame.group_by("session_date").sum().sort("session_date")
        return sums.with_columns(pl.col("session_date").str.to_date("%Y-%m-%d"))

    def marks(self) -> dict[str, int]:
        """Count the stored sessions that have each mark, in the order of ``MARKS``."""
        rows = self._fetch_from("comparisons", ledger_sql.MARKS)
        counts = {mark: sum(n for marks, n in rows if mark in marks.split(",")) for mark in MARKS}
        return {mark: count for mark, count in counts.items() if count}

    def revisions(self, since: dt.datetime | None = None, limit: int = 1000) -> pl.DataFrame:
        """List answers that differed from what was stored, ``limit`` at most, the newest first.

        Returns:
            :data:`REVISION_COLUMNS`; ``counts`` says which of both answers does, ``old`` or
            ``new``, and ``folder`` where the other one lies.
        """
        start = format_instant(since) if since else ""
        parameters = {"since": start, "limit": limit}
        rows = self._fetch_from("comparisons", ledger_sql.REVISIONS, parameters)
        return frame_keys(rows, REVISION_COLUMNS)

    def settled_keys(self) -> list[str]:
        """List the keys of sessions with a deficit that settled or was accepted, sorted."""
        return [row[0] for row in self._fetch_from("comparisons", ledger_sql.SETTLED)]

    def is_ask_due(self, key: str, today: dt.date) -> bool:
        """Tell whether a ticker-session may be asked for on this UTC date.

        A green one never is; a disputed one once a day, :data:`DISPUTED_REPEATS` times after
        the first; any other always is.
        """
        record = self.records([key]).get(key)
        if record is None and self.find_unlisted([key]):
            return False
        if record is None or record.last_asked_date is None or record.state not in RESTING:
            return record is None or record.state not in GREEN
        # A date in the future is of a clock that was wrong, and must not be waited for.
        return record.asked_count <= DISPUTED_REPEATS and record.last_asked_date != today

    def red_sessions(self) -> pl.DataFrame:
        """List the ticker-sessions, planned or not, that are known and are not green.

        Returns:
            ``ticker``, ``session_date`` and ``state``, sorted by ticker and session.
        """
        return frame_keys(self._fetch(ledger_sql.RED), {**KEY_COLUMNS, "state": pl.String()})

    def resting_sessions(self, today: dt.date) -> pl.DataFrame:
        """List the open ticker-sessions that are not to be asked for on this UTC date.

        Besides disputed ones, of which :meth:`is_ask_due` tells, these failed on
        :data:`FAILING_DATES` dates at least, today among them: one try a day is enough for them.

        Returns:
            ``ticker`` and ``session_date``, sorted by them.
        """
        asked = {"today": today.isoformat(), "repeats": DISPUTED_REPEATS, "dates": FAILING_DATES}
        return frame_keys(self._fetch(ledger_sql.RESTING, asked), KEY_COLUMNS)

    def counts(self) -> dict[str, int]:
        """Count the planned ticker-sessions in each state, in the order of ``STATES``.

        Those not yet available are counted too, although no plan holds them yet.
        """
        found = dict(self._fetch(ledger_sql.COUNTS))
        return {state: found[state] for state in STATES if state in found}

    def totals(self) -> Totals:
        """Sum up what is stored and what it cost."""
        sessions, rows, size, requests = self._fetch(ledger_sql.TOTALS)[0]
        plain = self.plain_sums()
        return Totals(
            (sessions or 0) + plain.sessions,
            (rows or 0) + plain.rows,
            (size or 0) + plain.bytes,
            requests,
        )

    def activity(self, since: dt.datetime) -> Activity:
        """Sum up what happened since an instant, which has a time zone."""
        start = {"since": format_instant(since)}
        sessions, requests, rows, size, first = self._fetch(ledger_sql.ACTIVITY, start)[0]
        return Activity(
            sessions=sessions,
            requests=requests,
            rows=rows,
            bytes=size,
            errors=dict(self._fetch(ledger_sql.ACTIVITY_ERRORS, start)),
            counters=dict(self._fetch(ledger_sql.ACTIVITY_COUNTERS, start)),
            first_at=parse_instant(first),
            last_commit_at=self.last_commit_at(),
        )

    def last_commit_at(self) -> dt.datetime | None:
        """Tell when sessions were last recorded, however long ago; ``None``: never."""
        found = self._fetch(ledger_sql.FACT, {"name": "last_commit_at"})
        return parse_instant(found[0][0]) if found else None

    def count_commits(self) -> int:
        """Count the transactions that were ever recorded, by which older and newer are told."""
        found = self._fetch(ledger_sql.FACT, {"name": "commits"})
        return int(found[0][0]) if found else 0

    def refused_until(self, since: dt.datetime) -> dt.date | None:
        """Recall the newest date too far back for the key; ``None``: not learnt since then."""
        found = self._fetch(ledger_sql.FACT, {"name": "refused_until"})
        date, _, learnt_at = found[0][0].partition(" ") if found else ("", "", "")
        return dt.date.fromisoformat(date) if learnt_at >= format_instant(since) else None

    def pulse(self) -> Pulse | None:
        """Recall what the last download said of itself; ``None``: none ever did."""
        found = self._fetch(ledger_sql.FACT, {"name": "pulse"})
        return parse_pulse(found[0][0]) if found else None

    def recent_steps(self, limit: int = STEPS_READ) -> list[Step]:
        """List the last steps of downloads, the oldest first."""
        rows = self._fetch_from("steps", ledger_sql.STEPS, {"limit": limit})
        return [parse_step(row) for row in reversed(rows)]

    def recent_overheads(self, limit: int = RUNS_READ) -> list[float]:
        """List the seconds that the last runs took besides their ranges, the newest first."""
        return [
            float(seconds) for (seconds,) in self._fetch(ledger_sql.OVERHEADS, {"limit": limit})
        ]

    def recent_sessions(self, limit: int = 5) -> list[CommittedSession]:
        """List the sessions committed last, the newest first."""
        rows = self._fetch(ledger_sql.RECENT_SESSIONS, {"limit": limit})
        return [parse_committed(row) for row in rows]

    def coverage(self) -> pl.DataFrame:
        """Read ``schemas.COVERAGE``, sorted by its key."""
        rows = self._fetch(self._without_marks() + ledger_sql.COVERAGE)
        return COVERAGE.conform(frame_keys(rows, COVERAGE.schema))

    def coverage_by_year(self) -> pl.DataFrame:
        """Count ``planned`` and ``done`` by ``ticker`` and ``year``, sorted by ticker and year."""
        counts = {"year": pl.Int32(), "planned": pl.Int64(), "done": pl.Int64()}
        rows = self._fetch(ledger_sql.COVERAGE_BY_YEAR)
        return pl.DataFrame(rows, {"ticker": pl.String(), **counts}, orient="row")

    def receipts(self) -> pl.DataFrame:
        """Read ``schemas.RECEIPTS``, sorted by its key."""
        text = {"committed_timestamp": pl.String(), "is_seam_ambiguous": pl.Int8()}
        rows = self._fetch(self._without_marks() + ledger_sql.RECEIPTS)
        frame = frame_keys(rows, {**RECEIPTS.schema, **text})
        committed = pl.col("committed_timestamp").str.to_datetime(time_unit="ns", time_zone="UTC")
        frame = frame.with_columns(committed, pl.col("is_seam_ambiguous").cast(pl.Boolean))
        return RECEIPTS.conform(frame)

    def failed_sessions(self, limit: int = 1000) -> pl.DataFrame:
        """List planned ticker-sessions whose last attempt failed, ``limit`` at most.

        Returns:
            Columns ``key``, ``ticker``, ``session_date``, ``state``, ``error_kind`` and
            ``error_message``, sorted by ticker and session.
        """
        reasons = dict.fromkeys(("state", "error_kind", "error_message"), pl.String())
        frame = frame_keys(
            self._fetch(ledger_sql.FAILED, {"limit": limit}), {**KEY_COLUMNS, **reasons}
        )
        return frame.select(key_expression(), pl.all())

    def recent_errors(self, limit: int = 20) -> pl.DataFrame:
        """List the last failed attempts, the newest first.

        Returns:
            :data:`ERROR_COLUMNS`.
        """
        rows = self._fetch(ledger_sql.RECENT_ERRORS, {"limit": limit})
        frame = pl.DataFrame(rows, dict.fromkeys(ERROR_COLUMNS, pl.String()), orient="row")
        return require_dates(frame, instant="recorded_at", dates=("first_session", "last_session"))

    def _without_marks(self) -> str:
        return "" if self._has("comparisons") else ledger_sql.WITHOUT_COMPARISONS

    def _select(
        self,
        statement: str,
        tickers: Iterable[str] | None,
        first: dt.date | None,
        last: dt.date | None,
        **others: object,
    ) -> list[Any]:
        """Select the rows of a statement that are of these tickers and sessions."""
        chosen = statement if tickers is None else ledger_sql.select_tickers(statement)
        return self._fetch(chosen, select_parameters(tickers, first, last) | others)

    def _fetch(self, statement: str, parameters: Row | None = None) -> list[Any]:
        with self._lock, translated_errors(self.path):
            return self._connection.execute(statement, parameters or {}).fetchall()
