"""Proven trades as a lazy frame of polars, or as a relation of DuckDB, from explicit files.

What belongs here: how files of months and landing files become one table.  What does not: which
files those are (``sources``).
"""

import contextlib
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias

import duckdb
import polars as pl

from smallcaps_assets.errors import LakeError
from smallcaps_assets.lake.reading.landing_files import StoredFile
from smallcaps_assets.lake.reading.sources import MonthPart, Selection, TradesSources
from smallcaps_assets.schemas import INSTANT, TRADES, Table

Key: TypeAlias = tuple[str, dt.date]

_WILDCARDS: Final = "*?["
_WHOLE_PART, _PART, _FILE = range(3)
"""Kinds of files: a part of a month, one of which sessions are hidden, a landing file."""

_DAMAGE: Final = (duckdb.Error, RuntimeError)
"""What DuckDB raises at a damaged footer; names of columns that are not UTF-8 are a
``RuntimeError`` of its Python binding."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A file, and which of its sessions are read from it."""

    path: Path
    first: Key
    last: Key
    kind: int
    hidden: pl.DataFrame | None = None

    @classmethod
    def of_part(cls, part: MonthPart) -> Self:
        first, last = part.wanted.row(0), part.wanted.row(-1)
        is_whole = part.hidden.is_empty()
        kind = _WHOLE_PART if is_whole else _PART
        return cls(part.path, first, last, kind, None if is_whole else part.hidden)

    @classmethod
    def of_file(cls, file: StoredFile) -> Self:
        key = (file.ticker, file.session_date)
        return cls(file.path, key, key, _FILE)


def scan_trades(sources: TradesSources, selection: Selection) -> pl.LazyFrame:
    """Scan the trades asked for, by ticker, session and order of the tape.

    Returns:
        ``schemas.TRADES``.
    """
    pieces = [*map(_Piece.of_part, sources.parts), *map(_Piece.of_file, sources.files)]
    if not pieces:
        return TRADES.empty().lazy()
    pieces.sort(key=lambda piece: piece.first)
    is_sorted = all(a.last < b.first for a, b in itertools.pairwise(pieces))
    if not is_sorted:
        # Fewer scans; the order is made afterwards.
        pieces.sort(key=lambda piece: piece.kind)
    frames = []
    for kind, group in itertools.groupby(pieces, key=lambda piece: piece.kind):
        scan = list(group)
        scans = [[piece] for piece in scan] if kind == _PART else [scan]
        frames += [_scan(pieces_of_one, selection) for pieces_of_one in scans]
    trades = pl.concat(frames) if len(frames) > 1 else frames[0]
    return trades if is_sorted else trades.sort("ticker", "session_date", maintain_order=True)


def _scan(pieces: Sequence[_Piece], selection: Selection) -> pl.LazyFrame:
    """Scan files of one kind for the rows that are asked for."""
    paths = [piece.path for piece in pieces]
    trades = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
    conditions = [] if pieces[0].kind == _FILE else list(_ask(selection))
    conditions += [_hide(piece.hidden) for piece in pieces if piece.hidden is not None]
    return trades.filter(*conditions) if conditions else trades


def _ask(selection: Selection) -> Iterator[pl.Expr]:
    """Yield the conditions of a selection, in forms that skip row groups by their statistics."""
    ticker, session_date = pl.col("ticker"), pl.col("session_date")
    if selection.first or selection.last:
        yield session_date.is_between(*selection.bounds)
    if selection.tickers is not None:
        yield ticker.is_between(pl.lit(min(selection.tickers)), pl.lit(max(selection.tickers)))
        if len(selection.tickers) > 1:
            yield ticker.is_in(selection.tickers)


def _hide(hidden: pl.DataFrame) -> pl.Expr:
    """Express the condition that a row is of none of some sessions."""
    return ~pl.any_horizontal(
        (pl.col("session_date") == date) & pl.col("ticker").is_in(tickers)
        for date, tickers in _group_by_date(hidden)
    )


def _group_by_date(sessions: pl.DataFrame) -> list[tuple[dt.date, list[str]]]:
    return sessions.group_by("session_date", maintain_order=True).agg("ticker").rows()


def relate_trades(
    connection: duckdb.DuckDBPyConnection, sources: TradesSources, selection: Selection
) -> duckdb.DuckDBPyRelation:
    """Make a relation of the trades asked for, each instant twice, as the catalog's views do."""
    whole = [part.path for part in sources.parts if part.hidden.is_empty()]
    whole += [file.path for file in sources.files]
    relations = [read_files(connection, whole, TRADES)] if whole else []
    relations += [
        read_files(connection, [part.path], TRADES).filter(_hide_in_sql(part.hidden))
        for part in sources.parts
        if part.hidden.height
    ]
    if not relations:
        return make_empty(connection, TRADES).project(project_columns(TRADES))
    trades = relations[0]
    for further in relations[1:]:
        trades = trades.union(further)
    if conditions := list(_ask_in_sql(selection)):
        trades = trades.filter(" AND ".join(conditions))
    return trades.project(project_columns(TRADES))


def read_files(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], table: Table
) -> duckdb.DuckDBPyRelation:
    """Read the rows of Parquet files of ``table``, whatever their folders are called.

    DuckDB takes the columns from the first file.  A damaged one is put behind another, so that it
    is met by who reads its rows and closes no other file.

    Raises:
        LakeError: No file has the columns.
    """
    paths = [_escape(path.absolute()) for path in files]
    try:
        return _open_files(connection, paths, table)
    except _DAMAGE as error:
        for place, path in enumerate(paths[1:], start=1):
            with contextlib.suppress(*_DAMAGE):
                _open_files(connection, [path], table)
                return _open_files(connection, [*paths[place:], *paths[:place]], table)
        raise LakeError(
            f"expected {table.name} in {files[0]}, but DuckDB cannot open it: {error}; `smallcaps "
            "audit --deep` tells whether it is damaged"
        ) from error


def _open_files(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], table: Table
) -> duckdb.DuckDBPyRelation:
    rows = connection.read_parquet(list(paths), hive_partitioning=False)
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


def _hide_in_sql(hidden: pl.DataFrame) -> str:
    return " AND ".join(
        f"NOT (session_date = DATE '{date}' AND ticker IN ({_quote(tickers)}))"
        for date, tickers in _group_by_date(hidden)
    )


def _quote(texts: Iterable[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _escape(path: Path) -> str:
    """Escape a path so that DuckDB takes it as it is, whatever the lake's folder is called."""
    return "".join(f"[{letter}]" if letter in _WILDCARDS else letter for letter in str(path))
