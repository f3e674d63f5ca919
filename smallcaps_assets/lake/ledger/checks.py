"""Whether a ledger can be believed: its tables, its values, and questions that meet damage.

What belongs here: what SQLite's own check does not see, because a file may be in order and say
nonsense: a column that is called otherwise, a date that is none.  What does not: what is then done
(``writer``), and SQLite's own errors (``database``).
"""

import functools
import inspect
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import polars as pl

from smallcaps_assets.core.states import GREEN, STATES
from smallcaps_assets.errors import SchemaError
from smallcaps_assets.lake.ledger.database import damaged_ledger
from smallcaps_assets.lake.ledger.sql.schema import ADDITIONS, RETIRED, SCHEMA

_NONSENSE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    SchemaError,
    pl.exceptions.PolarsError,
)
"""What is raised where a value is not of the kind that the ledger was given."""

Reader = TypeVar("Reader")

_DIGITS: Final = "[0-9][0-9]"
_DATE: Final = f"{_DIGITS}{_DIGITS}-{_DIGITS}-{_DIGITS}"
_MONTH: Final = f"{_DIGITS}{_DIGITS}-{_DIGITS}"
_INSTANT: Final = f"{_DATE}T{_DIGITS}:{_DIGITS}:{_DIGITS}.{_DIGITS * 3}+00:00"


def _list(words: frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


def _no_date(*columns: str) -> str:
    return " OR ".join(f"{name} IS NOT date({name})" for name in columns)


def _no_instant(name: str) -> str:
    return f"{name} NOT GLOB '{_INSTANT}' OR datetime({name}) IS NULL"


def _not_of(kind: str, *columns: str) -> str:
    return " OR ".join(f"typeof({name}) NOT IN ('{kind}', 'null')" for name in columns)


def _null(*columns: str) -> str:
    return " OR ".join(f"{name} IS NULL" for name in columns)


IMPLAUSIBLE: Final = {
    "sessions": (
        _no_date("session_date"),
        f"last_asked_date IS NOT NULL AND ({_no_date('last_asked_date')})",
        f"committed_at IS NOT NULL AND ({_no_instant('committed_at')})",
        f"state NOT IN ({_list(STATES)}) OR is_planned NOT IN (0, 1)",
        f"is_green IS NOT (state IN ({_list(GREEN)}))",
        f"is_green = 1 AND ({_null('rows', 'bytes', 'committed_at')})",
        _null("ticker", "is_planned", "attempts", "asked_count"),
        _not_of("text", "ticker", "sha256", "content_hash", "error_kind", "error_message"),
        _not_of("text", "run_id"),
        _not_of("integer", "rows", "bytes", "pages", "requests", "attempts", "asked_count"),
    ),
    "attempts": (
        _no_instant("recorded_at"),
        _no_date("first_session", "last_session"),
        _null("run_id", "ticker", "sessions", "requests", "pages", "rows", "bytes", "outcome"),
        _not_of("text", "run_id", "ticker", "outcome", "kind", "message"),
        _not_of("integer", "sessions", "requests", "pages", "rows", "bytes"),
    ),
    "comparisons": (
        _no_date("session_date"),
        _null("ticker", "marks", "asked", "is_same", "revision"),
        _not_of("text", "ticker", "marks"),
        _not_of("integer", "trade_count", "original_trade_count", "bar_trade_count"),
        _not_of("integer", "asked", "is_same", "revision"),
        _not_of("real", "volume", "original_volume", "bar_volume"),
        _not_of("real", "volume_deficit", "count_deficit"),
    ),
    "counters": (
        _no_instant("recorded_at"),
        _null("run_id", "name", "value"),
        _not_of("text", "run_id", "name"),
        _not_of("integer", "value"),
    ),
    "steps": (
        _no_instant("recorded_at"),
        _null("seconds", "sessions", "requests", "rows"),
        _not_of("integer", "sessions", "requests", "rows"),
        _not_of("real", "seconds"),
    ),
    "months": (
        f"month NOT GLOB '{_MONTH}' OR is_lost NOT IN (0, 1)",
        "NOT json_valid(parts) OR NOT json_valid(replaces)",
        _null("sha256", "bytes", "sessions", "green", "rows"),
        _not_of("text", "record", "sha256", "parts", "replaces"),
        _not_of("integer", "bytes", "sessions", "green", "rows"),
    ),
    "ticker_months": (
        f"month NOT GLOB '{_MONTH}'",
        _null("proven", "red", "marked", "beside", "rows", "bytes"),
        _not_of("text", "ticker", "record"),
        _not_of("integer", "proven", "red", "marked", "beside", "rows", "bytes"),
        "proven & red <> 0 OR marked & ~proven <> 0",
    ),
    "lost_proof": (
        _no_date("session_date"),
        f"state NOT IN ({_list(GREEN)})",
        _null("record", "revision", "content_hash"),
        _not_of("text", "ticker", "record", "content_hash"),
        _not_of("integer", "revision"),
    ),
    "two_answers": (
        _no_date("session_date"),
        _not_of("text", "ticker"),
        _not_of("integer", "revision"),
    ),
    "plain_commits": (
        f"month NOT GLOB '{_MONTH}' OR sessions <= 0 OR asked < 0 OR traded < 0",
        _no_instant("committed_at"),
        _null("sessions", "asked", "traded", "rows", "bytes"),
        _not_of("text", "run_id"),
        _not_of("integer", "sessions", "asked", "traded", "rows", "bytes"),
    ),
    "plain_dates": (
        _no_date("session_date"),
        _null("volume", "trade_count"),
        _not_of("integer", "volume", "trade_count"),
        "volume < 0 OR trade_count < 0",
    ),
    "facts": (
        "name = 'requests' AND value IS NOT (SELECT coalesce(sum(requests), 0) FROM attempts)",
        f"name IN ('indexed_at', 'last_commit_at') AND ({_no_instant('value')})",
        "name = 'refused_until' AND substr(value, 1, 10) IS NOT date(substr(value, 1, 10))",
        f"name = 'refused_until' AND ({_no_instant('substr(value, 12)')})",
        "name = 'commits' AND typeof(value) <> 'integer'",
        "NOT EXISTS (SELECT 1 FROM facts WHERE name = 'requests')",
    ),
}
"""What no row of a table is, in the dialect of SQLite."""


def doubt(reader: type[Reader]) -> type[Reader]:
    """Let every question of a reader call nonsense damage, with the remedy.

    It surrounds the questions because values are doubted where they are made what they stand for.
    """
    for name, method in list(vars(reader).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(reader, name, _doubting(method))
    return reader


def _doubting(question: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(question)
    def ask(reader: Any, *arguments: object, **named: object) -> Any:  # noqa: ANN401  any answer
        try:
            return question(reader, *arguments, **named)
        except _NONSENSE as error:
            raise damaged_ledger(reader.path, "a value in it is of another kind") from error

    return ask


def find_nonsense(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what a ledger holds that no ledger of this version does, the tables first."""
    found, every = _describe_schema(connection), _make_schema(*SCHEMA, *ADDITIONS)
    names = {name for _, name in found}
    yield from (
        f"{kind} {name} is not as it was made"
        for (kind, name), text in sorted(found.items())
        if (kind, name) not in RETIRED and every.get((kind, name)) != text
    )
    yield from (
        f"{kind} {name} is gone"
        for kind, name in sorted(_make_schema(*SCHEMA).keys() - found.keys())
    )
    for table, faults in IMPLAUSIBLE.items():
        count = f"SELECT count(*) FROM {table} WHERE {' OR '.join(f'({one})' for one in faults)}"  # noqa: S608  our own words
        if table in names and (rows := connection.execute(count).fetchone()[0]):
            yield f"{rows} rows of {table} hold what is no value of theirs"
    for table in (name for kind, name in sorted(found) if kind == "table"):
        # Text that is no UTF-8 is met when it is read, and by no check of SQLite.
        for _ in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608  names as made above
            pass


def _make_schema(*statements: str) -> dict[tuple[str, str], object]:
    with sqlite3.connect(":memory:") as connection:
        for statement in statements:
            connection.execute(statement)
        described = _describe_schema(connection)
    connection.close()
    return described


def _describe_schema(connection: sqlite3.Connection) -> dict[tuple[str, str], object]:
    """Describe what makes up each table, index and trigger, however its statement was laid out."""
    listed = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {
        (kind, name): _describe_table(connection, name)
        if kind == "table"
        else " ".join(sql.split())
        for kind, name, sql in listed.fetchall()
    }


def _describe_table(connection: sqlite3.Connection, name: str) -> frozenset[tuple[object, ...]]:
    return frozenset(
        column[1:] for column in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))
    )
