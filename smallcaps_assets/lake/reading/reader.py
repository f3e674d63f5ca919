"""The lake for whoever reads it with polars or DuckDB: ``smallcaps_assets.Lake``.

What belongs here: the way from tickers, sessions and phases to a lazy frame or a relation over
exactly the files that are proven.  What does not: writing anything; opening a lake changes
nothing on the disk.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import polars as pl

from smallcaps_assets.core.keys import list_session_months
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.home.place import recall_home, require_mounted
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.locating import (
    locate_off_session,
    locate_trades,
    open_segments,
)
from smallcaps_assets.lake.reading.scans import relate_trades, scan_trades
from smallcaps_assets.lake.reading.sources import Selection, TradesSources, require_files
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lake.unlisted import read_receipts
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST, TRADES, WATCHLIST, Table
from smallcaps_assets.schemas_research import MINUTE_BARS, ONE_FILE_TABLES, RESEARCH_TABLES

TRADING_PHASES = ("pre_market", "regular", "after_hours", "closed")

Day = dt.date | str
"""A New York date, or its text ``YYYY-MM-DD``."""


class Lake:
    """A data folder, for reading; a disk of it that is not mounted is a ``StorageError``.

    Sessions that are not proven are not there: :meth:`coverage` tells which they are.

    Example:
        >>> lake = Lake("data")  # doctest: +SKIP
        >>> lake.trades(["DCTH"], "2024-03-01", "2024-03-28", phases=["regular"]).collect()
    """

    def __init__(self, path: str | Path) -> None:
        """Open the data folder, ``SMALLCAPS_DATA_DIR``.

        Raises:
            MissingPartitionError: There is no lake.
        """
        self._fs = FileSystem()
        self._home = recall_home(Path(path).expanduser().absolute(), self._fs)
        self._tables = TableStore(self._home, self._fs)
        self._research = ResearchStore(self._home, self._fs)
        if not self._fs.is_folder(self._home.index_dir):
            raise MissingPartitionError(
                f"expected a lake in {self._home.index_dir}, found none: give the data folder "
                "(SMALLCAPS_DATA_DIR), or download first"
            )

    def __repr__(self) -> str:
        return f"Lake({str(self._home.data_dir)!r})"

    @property
    def layout(self) -> LakeLayout:
        """The paths, with the disks of now: the lake may be moved while it is open."""
        return require_mounted(recall_home(self._home.data_dir, self._fs), self._fs)

    def trades(
        self,
        tickers: str | Iterable[str] | None = None,
        start: Day | None = None,
        end: Day | None = None,
        *,
        phases: str | Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Scan the trades of proven sessions, by ticker, session and order of the tape.

        Args:
            tickers: One ticker or several; all by default.
            start: First session, included.
            end: Last session, included.
            phases: Trading phases; all by default.
            columns: Columns of ``schemas.TRADES``; all by default.

        Returns:
            ``schemas.TRADES``, or the columns asked for.

        Raises:
            ConfigError: A date, a phase or a column is none.
            LedgerMismatchError: A record of a month asked for is damaged.
            MissingPartitionError: A file with proven trades is gone.
        """
        wanted, names = _check_phases(phases), _check_columns(columns)
        selection = _ask(tickers, start, end)
        trades = scan_trades(self._locate(selection), selection)
        if wanted is not None:
            trades = trades.filter(pl.col("trading_phase").is_in(wanted))
        return trades if names is None else trades.select(names)

    def trades_relation(
        self,
        tickers: str | Iterable[str] | None = None,
        start: Day | None = None,
        end: Day | None = None,
        *,
        phases: str | Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
        connection: duckdb.DuckDBPyConnection | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Offer the same trades as a relation of DuckDB, to query on.

        Each instant is there twice: cut to microseconds under its name, because DuckDB has no
        date functions for nanoseconds, and whole as ``NAME_ns``, nanoseconds since 1970.  Arguments
        are those of :meth:`trades`, columns those of the view ``trades``, and ``connection`` is
        where the relation lives: a new one in memory by default.

        Returns:
            The rows of :meth:`trades`; their order is that of the query.

        Raises:
            ConfigError: A date, a phase or a column is none.
            MissingPartitionError: A file with proven trades is gone.
            StorageError: A disk of the lake is not mounted.

        Example:
            >>> trades = Lake("data").trades_relation("DCTH", "2024-03-01")  # doctest: +SKIP
            >>> trades.aggregate("session_date, sum(size)").show()  # doctest: +SKIP
        """
        wanted = _check_phases(phases)
        selection = _ask(tickers, start, end)
        connection = connection or duckdb.connect()
        trades = relate_trades(connection, self._locate(selection), selection)
        if wanted is not None:
            named = ", ".join(f"'{phase}'" for phase in wanted)
            trades = trades.filter(f"trading_phase IN ({named})" if wanted else "false")
        if columns is None:
            return trades
        _check(columns, trades.columns, "column of trades")
        return trades.project(", ".join(f'"{name}"' for name in columns))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Open a new connection of DuckDB in memory, with the lake of now as the view ``trades``.

        Unlike ``catalog.duckdb`` it needs no file and is never older than this call.

        Raises:
            MissingPartitionError: A file with proven trades is gone.
            StorageError: A disk of the lake is not mounted.

        Example:
            >>> connection = Lake("data").connect()  # doctest: +SKIP
            >>> connection.sql("SELECT count(*) FROM trades").show()  # doctest: +SKIP
        """
        connection = duckdb.connect()
        self.trades_relation(connection=connection).create_view(TRADES.name)
        return connection

    def off_session_trades(
        self,
        tickers: str | Iterable[str] | None = None,
        start: Day | None = None,
        end: Day | None = None,
    ) -> pl.LazyFrame:
        """Scan the prints on dates that are no session, by ticker, date and order of the tape.

        They count in no session's volume and are in no view; ``session_date`` is their own date.

        Args:
            tickers: One ticker or several; all by default.
            start: First date, included.
            end: Last date, included.

        Returns:
            ``schemas.TRADES``.

        Raises:
            ConfigError: A date is none.
            LedgerMismatchError: A record is damaged.
            MissingPartitionError: A file with such prints is gone.
        """
        selection = _ask(tickers, start, end)
        sources = locate_off_session(self.layout, self._fs, selection)
        require_files(self._fs, sources)
        return scan_trades(sources, selection)

    def daily_bars(self, start: Day | None = None, end: Day | None = None) -> pl.LazyFrame:
        """Scan the daily bars, unadjusted; first and last date are included.

        Returns:
            ``schemas.DAILY_BARS``, sorted by its key within each month.

        Raises:
            ConfigError: A date is none.
        """
        return self._tables.read_daily_bars(_parse_day(start), _parse_day(end))

    def splits(self) -> pl.DataFrame:
        """Read ``schemas.SPLITS``, sorted by its key; no rows where none are on record.

        Raises:
            DataError: The file is damaged.
        """
        return self._tables.read_splits()

    def session_hashes(self, start: Day | None = None, end: Day | None = None) -> pl.DataFrame:
        """Tell what each proven session holds, by which a change of it can be told.

        Args:
            start: First session, included.
            end: Last session, included.

        Returns:
            ``ticker``, ``session_date``, ``rows`` (0: proven without trades) and
            ``content_hash``, sorted by ticker and session.

        Raises:
            ConfigError: A date is none.
        """
        first, last = Selection(first=_parse_day(start), last=_parse_day(end)).bounds
        columns = ("ticker", "session_date", "rows", "content_hash")
        return (
            self.receipts().select(columns).filter(pl.col("session_date").is_between(first, last))
        )

    def minute_bars(
        self,
        tickers: str | Iterable[str] | None = None,
        start: Day | None = None,
        end: Day | None = None,
    ) -> pl.LazyFrame:
        """Read the minute bars of proven sessions, as they were when they were made.

        Args:
            tickers: One ticker or several; all by default.
            start: First session, included.
            end: Last session, included.

        Returns:
            ``schemas_research.MINUTE_BARS``, sorted by its key within each month.

        Raises:
            ConfigError: A date is none.
            MissingPartitionError: A month that has trades has no bars yet.
        """
        return self.scan_research(MINUTE_BARS, _ask(tickers, start, end))

    def research(self, name: str) -> pl.LazyFrame:
        """Read a table of research that is one file, such as ``labels`` or ``win_rates``.

        Args:
            name: Name of the table; ``schemas_research.RESEARCH_TABLES`` has its columns.

        Raises:
            ConfigError: There is no such table, or it is one of months.
            MissingPartitionError: It was not made yet.

        Example:
            >>> Lake("data").research("win_rates").collect()  # doctest: +SKIP
        """
        _check([name], ONE_FILE_TABLES, "table of research in one file")
        return self._research.scan(RESEARCH_TABLES[name])

    def scan_research(self, table: Table, question: Selection) -> pl.LazyFrame:
        """Scan what a monthly table of research has of the sessions asked for.

        Raises:
            MissingPartitionError: A month that has trades was not made yet.
        """
        sessions = question.select(self.session_hashes()).filter(pl.col("rows") > 0)
        rows = self._research.scan(table, list_session_months(sessions))
        rows = rows.filter(pl.col("session_date").is_between(*question.bounds))
        if question.tickers is None:
            return rows
        return rows.filter(pl.col("ticker").is_in(question.tickers))

    def watchlist(self) -> pl.DataFrame:
        """Read ``schemas.WATCHLIST``, sorted by its key.

        Raises:
            MissingPartitionError: None is published.
        """
        return self._tables.read_table(WATCHLIST)

    def pilot_watchlist(self) -> pl.DataFrame:
        """Read ``schemas.PILOT_WATCHLIST``, sorted by its key.

        Raises:
            MissingPartitionError: None is published.
        """
        return self._tables.read_table(PILOT_WATCHLIST)

    def plan(self) -> pl.DataFrame:
        """Read ``schemas.EVENT_WINDOW_PLAN``, sorted by its key.

        Raises:
            MissingPartitionError: None is published.
            LedgerMismatchError: The plan is not the one that was published.
        """
        return EVENT_WINDOW_PLAN.conform(self._tables.read_plan()[1])

    def plan_record(self) -> PlanRecord:
        """Read what is known of the published plan besides its rows.

        Raises:
            MissingPartitionError: None is published.
            LedgerMismatchError: The plan is not the one that was published.
        """
        return self._tables.read_plan()[0]

    def coverage(self) -> pl.DataFrame:
        """Read ``schemas.COVERAGE``: each planned session and its state, sorted by its key."""
        with self._open_ledger() as ledger:
            return ledger.coverage()

    def receipts(self) -> pl.DataFrame:
        """Read ``schemas.RECEIPTS``: each proven session, sorted by its key."""
        with self._open_ledger() as ledger:
            return read_receipts(ledger, lambda: open_segments(self.layout, self._fs).lake)

    def _locate(self, selection: Selection) -> TradesSources:
        """Locate the trades asked for; what is missing must not read as empty."""
        with self._open_ledger() as ledger:
            sources = locate_trades(self.layout, self._fs, ledger, selection)
        require_files(self._fs, sources)
        return sources

    def _open_ledger(self) -> LedgerReader:
        return LedgerReader(self._home.ledger_file)


def _ask(tickers: str | Iterable[str] | None, start: Day | None, end: Day | None) -> Selection:
    chosen = _list(tickers)
    return Selection(None if chosen is None else tuple(chosen), _parse_day(start), _parse_day(end))


def _check_phases(phases: str | Iterable[str] | None) -> Sequence[str] | None:
    return _check(_list(phases), TRADING_PHASES, "trading phase")


def _check_columns(columns: Sequence[str] | None) -> Sequence[str] | None:
    return _check(columns, TRADES.schema.names(), "column of trades")


def _list(values: str | Iterable[str] | None) -> list[str] | None:
    if values is None:
        return None
    return [values] if isinstance(values, str) else list(values)


def _check(values: Sequence[str] | None, known: Sequence[str], kind: str) -> Sequence[str] | None:
    unknown = [value for value in values or () if value not in known]
    if unknown:
        raise ConfigError(f"no {kind}: {unknown}; expected some of {', '.join(known)}")
    return values


def _parse_day(day: Day | None) -> dt.date | None:
    if isinstance(day, dt.datetime):
        return day.date()
    if day is None or isinstance(day, dt.date):
        return day
    try:
        return dt.date.fromisoformat(day)
    except ValueError as error:
        raise ConfigError(f"no date: {day!r}; expected YYYY-MM-DD") from error
