"""Columns that come from outside: names, dates, numbers and tickers, checked and typed.

What belongs here: the way from a column as a file or a vendor gives it to the type the schema
wants, and errors that show the first offending row and its value. What does not: the rules of one
table (``core.reference.daily_bars``, ``core.reference.splits``, ``core.events.watchlist``). Rows
are counted from 1 below the header, without those that are blank.
"""

from collections.abc import Collection
from typing import Final

import polars as pl

from smallcaps_assets.core.exchange_hours import CALENDAR_START
from smallcaps_assets.core.keys import TICKER_RULE, is_ticker_expression
from smallcaps_assets.errors import CoverageError, DataError, SchemaError

SHOWN_ROWS: Final = 5
"""Offending rows that an error message shows."""

_ISO_DATE: Final = r"^\d{4}-\d{2}-\d{2}([ T]00:00:00)?$"
_NAMED_BY: Final = ("ticker", "date", "trading_day", "session_date", "execution_date")
"""Columns that tell a person which row is meant."""
_UNKNOWN: Final = ("", "nan", "null", "none", "na", "n/a")
"""What stands for an unknown number in a column of text, in any case."""
_EXACT: Final = 2.0**53
"""Whole numbers from here on have no exact fraction."""


def check_columns(
    frame: pl.DataFrame, *, required: Collection[str], allowed: Collection[str], table: str
) -> None:
    """Refuse a frame that lacks a column or brings one nobody asked for.

    Raises:
        SchemaError: The message names the columns.
    """
    missing = [name for name in required if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in {*required, *allowed}]
    if missing or unknown:
        raise SchemaError(
            f"{table}: missing columns {missing}, unknown columns {unknown}; expected "
            f"{list(required)} and optionally {list(allowed)}"
        )


def check_tickers(frame: pl.DataFrame, *, table: str) -> None:
    """Refuse a frame whose column ``ticker`` holds anything but tickers.

    Raises:
        SchemaError: The column is no text.
        DataError: A value is no ticker; the message shows the first ones.
    """
    if frame.schema["ticker"] != pl.String():
        raise SchemaError(f"{table}: expected ticker as String, got {frame.schema['ticker']}")
    is_bad = ~is_ticker_expression()
    bad = frame.filter(is_bad)["ticker"].unique(maintain_order=True)
    if not bad.is_empty():
        shown = bad.head(SHOWN_ROWS).to_list()
        where = name_row(frame, frame.select(is_bad.arg_true()).item(0, 0))
        raise DataError(
            f"{table}: {len(bad)} bad tickers, first {shown} in {where}; expected {TICKER_RULE}"
        )


def check_calendar_start(frame: pl.DataFrame, *, table: str) -> None:
    """Refuse a frame with a ``session_date`` before the exchange calendar.

    Raises:
        CoverageError: The message names the first row.
    """
    early = frame.select((pl.col("session_date") < CALENDAR_START).arg_true()).to_series()
    if len(early):
        raise CoverageError(
            f"{table}: {len(early)} rows lie before the calendar, which starts on "
            f"{CALENDAR_START}; first {name_row(frame, early[0])}: correct or remove them"
        )


def check_unique(frame: pl.DataFrame, key: tuple[str, ...], *, table: str) -> None:
    """Refuse a frame with two rows of one key.

    Raises:
        DataError: The message shows the first repeated keys, and how rows of the first differ.
    """
    repeated = frame.select(key).filter(pl.struct(key).is_duplicated()).unique().sort(key)
    if not repeated.is_empty():
        shown = [" ".join(map(str, row)) for row in repeated.head(SHOWN_ROWS).rows()]
        numbered = frame.with_row_index("_row", offset=1)
        alike = numbered.join(repeated.head(1), on=key, how="semi", maintain_order="left")
        rows = " and ".join(map(str, alike["_row"].head(SHOWN_ROWS)))
        raise DataError(
            f"{table}: {repeated.height} keys {key} occur more than once, first {shown}, rows "
            f"{rows}, which {_say_difference(alike.drop('_row'))}; expected one row each"
        )


def name_row(frame: pl.DataFrame, index: int) -> str:
    """Name a row as a message does, ``row 3 (ABCD 2024-03-04)``; ``index`` is from 0."""
    names = [name for name in _NAMED_BY if name in frame.columns]
    values = [str(frame[name][index]) for name in names if frame[name][index] is not None]
    return f"row {index + 1}" + (f" ({' '.join(values)})" if values else "")


def parse_dates(frame: pl.DataFrame, column: str, *, table: str) -> pl.DataFrame:
    """Parse ``column`` of ``frame`` to Date, from Date, ISO text or a naive midnight.

    Raises:
        SchemaError: The column is of another type.
        DataError: A value is null, no ISO date, or has a time of day.
    """
    dtype = frame.schema[column]
    values = pl.col(column)
    if dtype == pl.String():
        dates = pl.when(values.str.contains(_ISO_DATE)).then(
            values.str.to_date("%Y-%m-%d", strict=False)
        )
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        dates = pl.when(values == values.dt.truncate("1d")).then(values.dt.date())
    elif dtype == pl.Date():
        dates = pl.when(pl.lit(value=True)).then(values)
    else:
        raise SchemaError(f"{table}: expected {column} as Date or ISO text, got {dtype}")
    parsed = frame.with_columns(dates.alias(column))
    wrong = parsed[column].is_null().arg_true()
    if len(wrong):
        value = frame[column][wrong[0]]
        given = None if value is None else str(value)
        raise DataError(
            f"{table}: {len(wrong)} values of {column} are no dates, first {given!r} in "
            f"{name_row(frame.drop(column), wrong[0])}; expected YYYY-MM-DD"
        )
    return parsed


def parse_numbers(
    frame: pl.DataFrame, columns: Collection[str], dtype: type[pl.DataType], *, table: str
) -> pl.DataFrame:
    """Parse ``columns`` of ``frame`` to ``dtype``, null where a number is unknown.

    Text is read as a number with a decimal point; empty, ``nan``, ``null`` and ``n/a`` are unknown.
    For an integer ``dtype`` 10.0 is a whole number and NaN is unknown.  Nothing is rounded.

    Raises:
        SchemaError: A column holds something else, or fractions where ``dtype`` is an integer;
            the message names row and value.
    """
    for name in columns:
        number, is_wrong = _number_expressions(frame, name, dtype)
        wrong = frame.select(is_wrong.fill_null(value=False).arg_true()).to_series()
        if len(wrong):
            wanted = "a number such as 1.5" if dtype.is_float() else "a whole number such as 10"
            raise SchemaError(
                f"{table}: expected {name} as {wanted}, got {frame[name][wrong[0]]!r} in "
                f"{name_row(frame, wrong[0])}; {len(wrong)} rows are wrong"
            )
        frame = frame.with_columns(number.alias(name))
    return frame


def parse_flags(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Parse a column of text in ``frame`` to Boolean, where it says true and false.

    ``True``, ``FALSE`` and the like are what other programs write; any other text stays, for the
    table's own rules to refuse.
    """
    if frame.schema[column] != pl.String():
        return frame
    words = pl.col(column).str.to_lowercase()
    flags = words.replace_strict({"true": True, "false": False}, default=None)
    parsed = frame.with_columns(flags.cast(pl.Boolean).alias(column))
    return parsed if parsed[column].null_count() == frame[column].null_count() else frame


def _number_expressions(
    frame: pl.DataFrame, name: str, dtype: type[pl.DataType]
) -> tuple[pl.Expr, pl.Expr]:
    """Read the numbers of a column, and find where there is something else."""
    given, column = frame.schema[name], pl.col(name)
    is_known = column.is_not_null()
    if given == pl.String():
        bare = column.str.strip_chars()
        is_known = is_known & ~bare.str.to_lowercase().is_in(list(_UNKNOWN))
        column = bare.cast(pl.Float64, strict=False)
        if dtype.is_integer():
            whole = bare.cast(dtype, strict=False)
            return pl.coalesce(whole, _round(column, dtype)), is_known & whole.is_null() & (
                _round(column, dtype).is_null()
            )
        return pl.when(is_known).then(column), is_known & column.is_null()
    if not given.is_numeric():
        return pl.lit(None, dtype), is_known
    if dtype.is_integer() and not given.is_integer():
        fraction = column.cast(pl.Float64)
        return _round(fraction, dtype), is_known & fraction.is_not_nan() & _round(
            fraction, dtype
        ).is_null()
    number = column.cast(dtype, strict=False)
    return number, is_known & number.is_null()


def _round(fraction: pl.Expr, dtype: type[pl.DataType]) -> pl.Expr:
    """Turn fractions that are whole into whole numbers, null where they are not."""
    is_whole = (fraction == fraction.floor()) & (fraction.abs() < _EXACT)
    return pl.when(is_whole).then(fraction).cast(dtype)


def _say_difference(alike: pl.DataFrame) -> str:
    """Say in which columns rows of one key differ, with the values of the first."""
    differing = [column for column in alike.columns if alike[column].n_unique() > 1]
    if not differing:
        return "are equal"
    values = " and ".join(map(str, alike[differing[0]].head(2)))
    return f"differ in {', '.join(differing)} ({differing[0]} is {values})"
