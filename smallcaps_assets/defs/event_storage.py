"""Dagster's event log on SQLite, without what made each event cost milliseconds.

What belongs here: how the databases of the event log are opened and written.  What does not: their
tables and files, which are Dagster's own: an instance may change between this class and Dagster's
at any time.

Dagster opens a database for each event, twice, and closes it again, whereby SQLite folds its log
into the file and waits for the disk four times.  Here the connections stay open, and a commit goes
to the log without waiting for the disk: a killed process loses nothing, a power failure the newest
events, which the lake tells again (``defs.instance.states``).
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from dagster import DagsterEventType, EventLogEntry
from dagster._config import StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

OPEN_SHARDS: Final = 8
"""Databases kept open: the index, and those of the runs looked at last."""

PLANNED: Final = DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class KeptEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log in its usual files, on connections that are kept."""

    def __init__(self, home: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the event log.

        Args:
            home: The folder DAGSTER_HOME; the databases lie where Dagster puts them by default.
            inst_data: What Dagster made this object of.
        """
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._process = os.getpid()
        self._known_columns: set[str] = set()
        super().__init__(os.path.join(home, "history", "runs", ""), inst_data)  # noqa: PTH118  as Dagster writes it

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Declare what ``dagster.yaml`` says of it."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptEventLogStorage":
        """Make the storage that ``dagster.yaml`` asks for."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Yield the kept connection to one database, within a transaction."""
        with self._db_lock, self._find_engine(shard).connect() as connection, connection.begin():
            yield connection

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events at once: what a run is about to do is one event per partition."""
        if any(entry.dagster_event_type is not PLANNED for entry in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(entry) for entry in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        newest = {entry.get_dagster_event().asset_key: entry for entry in events}
        with self.index_connection() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
            for entry in newest.values():
                self._store_asset_event(connection, entry, event_id=0)

    def wipe(self) -> None:
        """Forget everything; the files of the runs are removed."""
        self._close_engines()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        self._close_engines()
        super().dispose()

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Ask once, not for each event, whether the table of assets has a column."""
        if column_name not in self._known_columns:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._known_columns.add(column_name)
        return True

    def _find_engine(self, shard: str) -> Engine:
        if self._process != os.getpid():
            # Connections must not be used on both sides of a fork.
            self._close_engines(is_forked=True)
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = make_engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
        self._engines[shard] = engine
        while len(self._engines) > OPEN_SHARDS:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def _close_engines(self, *, is_forked: bool = False) -> None:
        for engine in self._engines.values():
            engine.dispose(close=not is_forked)
        self._engines.clear()
        self._process = os.getpid()


def make_engine(url: str) -> Engine:
    """Make the engine that keeps one connection to a database, for one thread at a time."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _write_without_waiting)
    return engine


def _write_without_waiting(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
