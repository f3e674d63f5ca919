"""Trades as a lazy frame of polars, or as a relation of DuckDB, from explicit files.

What belongs here: how files of many sessions become one table.  What does not: which files those
are (``locating``).

Files of which all rows count are read as they lie.  All others are read together, and of each of
them only the sessions that are read from that very file: two may hold one session, the one its
rows of now and the other those that were replaced.
"""

import contextlib
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import duckdb
import polars as pl

from smallcaps_assets.errors import LakeError
from smallcaps_assets.lake.reading.sources import KEY, PartFile, Selection, TradesSources
from smallcaps_assets.schemas import INSTANT, TRADES, Table

_WILDCARDS: Final = "*?["
_FILE: Final = "filename"
"""Column with the file that a row was read from, while that matters."""
SESSIONS: Final = pl.Schema({_FILE: pl.String(), "ticker": pl.String(), "session_date": pl.Date()})
"""Which sessions are read from which file."""

_DAMAGE: Final = (duckdb.Error, RuntimeError)
"""What DuckDB raises at a damaged footer; names of columns that are not UTF-8 are a
``RuntimeError`` of its Python binding."""

Key: TypeAlias = tuple[str, dt.date]


class _Piece(NamedTuple):
    """A file, and the first and last session that are read from it."""

    is_partial: bool
    first: Key
    last: Key
    path: Path

    @classmethod
    def of(cls, part: PartFile) -> "_Piece":
        rows = part.wanted
        return cls(not part.is_whole, rows.row(0), rows.row(-1), part.path.absolute())


def scan_trades(sources: TradesSources, selection: Selection) -> pl.LazyFrame:
    """Scan the trades asked for, by ticker, session and order of the tape.

    Returns:
        ``schemas.TRADES``.
    """
    pieces = sorted(map(_Piece.of, sources.parts))
    if not pieces:
        return TRADES.empty().lazy()
    wanted = list_sessions(sources).lazy()
    frames = [
        _scan([piece.path for piece in group], selection, wanted if is_partial else None)
        for is_partial, group in itertools.groupby(pieces, key=lambda piece: piece.is_partial)
    ]
    trades = pl.concat(frames) if len(frames) > 1 else frames[0]
    if all(a.last < b.first for a, b in itertools.pairwise(pieces)):
        return trades
    # Sorting is stable, so that each tape keeps its order.
    return trades.sort(KEY, maintain_order=True)


def list_sessions(sources: TradesSources) -> pl.DataFrame:
    """List the sessions that are read from the files of which some rows do not count.

    Returns:
        :data:`SESSIONS`.
    """
    listed = [
        part.wanted.select(pl.lit(str(part.path.absolute())).alias(_FILE), *KEY)
        for part in sources.partial
    ]
    return pl.concat([SESSIONS.to_frame(), *listed])


def _scan(paths: list[Path], selection: Selection, wanted: pl.LazyFrame | None) -> pl.LazyFrame:
    """Scan files for the rows that are asked for.

    Args:
        paths: The files.
        selection: What is asked of them.
        wanted: :data:`SESSIONS` that are read; ``None``: all rows of these files count.
    """
    named = None if wanted is None else _FILE
    trades = pl.scan_parquet(paths, hive_partitioning=False, glob=False, include_file_paths=named)
    if conditions := list(_ask(selection)):
        trades = trades.filter(*conditions)
    if wanted is None:
        return trades
    return trades.join(wanted, on=SESSIONS.names(), how="semi", maintain_order="left").drop(_FILE)


def _ask(selection: Selection) -> Iterator[pl.Expr]:
    """Yield the conditions of a selection, in forms that skip row groups by their statistics."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    if selection.first or selection.last:
        yield session_date.is_between(*selection.bounds)
    if selection.tickers is not None:
        yield ticker.is_between(pl.lit(min(selection.tickers)), pl.lit(max(selection.tickers)))
        if len(selection.tickers) > 1:
            yield ticker.is_in(selection.tickers)


def relate_trades(
    connection: duckdb.DuckDBPyConnection,
    sources: TradesSources,
    selection: Selection,
    wanted: duckdb.DuckDBPyRelation | None = None,
) -> duckdb.DuckDBPyRelation:
    """Make a relation of the trades asked for, each instant twice, as the catalog's views do.

    Args:
        connection: Where it lives.
        sources: The files.
        selection: What is asked of them.
        wanted: :func:`list_sessions` of these files, and of others maybe, as a table that lives as
            long as what is made of the relation; in memory by default.
    """
    whole = [part.path for part in sources.parts if part.is_whole]
    relations = [read_files(connection, whole, TRADES)] if whole else []
    if partial := [part.path for part in sources.partial]:
        if wanted is None:
            wanted = connection.from_arrow(list_sessions(sources).to_arrow())
        rows = read_files(connection, partial, TRADES, is_named=True)
        relations.append(_join_sessions(rows, wanted))
    if not relations:
        return make_empty(connection, TRADES).project(project_columns(TRADES))
    trades = relations[0]
    for further in relations[1:]:
        trades = trades.union(further)
    if conditions := list(_ask_in_sql(selection)):
        trades = trades.filter(" AND ".join(conditions))
    return trades.project(project_columns(TRADES))


def _join_sessions(
    rows: duckdb.DuckDBPyRelation, wanted: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Keep the rows of the sessions that are read from their file."""
    same = " AND ".join(f'stored."{name}" = wanted."{name}"' for name in SESSIONS)
    kept = rows.set_alias("stored").join(wanted.set_alias("wanted"), same, how="semi")
    return kept.project(", ".join(f'"{name}"' for name in TRADES.columns))


def read_files(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    table: Table,
    *,
    is_named: bool = False,
) -> duckdb.DuckDBPyRelation:
    """Read the rows of Parquet files of ``table``, whatever their folders are called.

    ``is_named`` adds the column ``filename``: the file of each row.

    DuckDB takes the columns from the first file.  A damaged one is put behind another, so that it
    is met by who reads its rows and closes no other file.

    Raises:
        LakeError: No file has the columns.
    """
    paths = [_escape(path.absolute()) for path in files]
    try:
        return _open_files(connection, paths, table, is_named=is_named)
    except _DAMAGE as error:
        for place, path in enumerate(paths[1:], start=1):
            with contextlib.suppress(*_DAMAGE):
                _open_files(connection, [path], table, is_named=is_named)
                others = [*paths[place:], *paths[:place]]
                return _open_files(connection, others, table, is_named=is_named)
        raise LakeError(
            f"expected {table.name} in {files[0]}, but DuckDB cannot open it: {error}; `smallcaps "
            "audit --deep` tells whether it is damaged"
        ) from error


def _open_files(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], table: Table, *, is_named: bool
) -> duckdb.DuckDBPyRelation:
    rows = connection.read_parquet(list(paths), hive_partitioning=False, filename=is_named)
    rows.project(project_columns(table))
    return rows


def make_empty(connection: duckdb.DuckDBPyConnection, table: Table) -> duckdb.DuckDBPyRelation:
    """Make the columns of ``table`` without rows, from nothing that would have to be kept."""
    typed = connection.from_arrow(table.empty().to_arrow())
    nulls = [
        f'CAST(NULL AS {dtype}) AS "{name}"'
        for name, dtype in zip(typed.columns, typed.types, strict=True)
    ]
    return connection.sql("SELECT 1").project(", ".join(nulls)).filter("false")


def project_columns(table: Table) -> str:
    """Write a view's columns in SQL: instants cut to microseconds, and whole as ``NAME_ns``."""
    expressions = []
    for name, column in table.columns.items():
        if column.dtype == INSTANT:
            instant = f'epoch_ns("{name}")'
            expressions.append(f'make_timestamptz({instant} // 1000) AS "{name}"')
            expressions.append(f'{instant} AS "{name}_ns"')
        else:
            expressions.append(f'"{name}"')
    return ", ".join(expressions)


def _ask_in_sql(selection: Selection) -> Iterator[str]:
    if selection.first or selection.last:
        first, last = selection.bounds
        yield f"session_date BETWEEN DATE '{first}' AND DATE '{last}'"
    if selection.tickers is not None:
        yield f"ticker IN ({_quote(selection.tickers)})"


def _quote(texts: Iterable[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _escape(path: Path) -> str:
    """Escape a path so that DuckDB takes it as it is, whatever the lake's folder is called."""
    return "".join(f"[{letter}]" if letter in _WILDCARDS else letter for letter in str(path))
