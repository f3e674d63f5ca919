"""Columns that come from outside: names, dates, numbers and tickers, checked and typed.

What belongs here: the way from a column as a file or a vendor gives it to the type the schema
wants, and errors that show the first offending values.  What does not: the rules of one table
(``bars``, ``splits``, ``watchlist``).
"""

from collections.abc import Collection
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import TICKER_RULE, is_ticker_expression
from smallcaps_assets.errors import DataError, SchemaError

SHOWN_ROWS: Final = 5
"""Offending rows that an error message shows."""

_ISO_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"


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
    bad = frame.filter(~is_ticker_expression())["ticker"].unique(maintain_order=True)
    if not bad.is_empty():
        shown = bad.head(SHOWN_ROWS).to_list()
        raise DataError(f"{table}: {len(bad)} bad tickers, first {shown}; expected {TICKER_RULE}")


def check_unique(frame: pl.DataFrame, key: tuple[str, ...], *, table: str) -> None:
    """Refuse a frame with two rows of one key.

    Raises:
        DataError: The message shows the first repeated keys.
    """
    repeated = frame.select(key).filter(pl.struct(key).is_duplicated()).unique().sort(key)
    if not repeated.is_empty():
        shown = [" ".join(map(str, row)) for row in repeated.head(SHOWN_ROWS).rows()]
        raise DataError(
            f"{table}: {repeated.height} keys {key} occur more than once, first {shown}; "
            "expected one row each"
        )


def parse_dates(frame: pl.DataFrame, column: str, *, table: str) -> pl.DataFrame:
    """Return ``frame`` with ``column`` as Date, from Date, ISO text or a naive midnight.

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
    if parsed[column].null_count():
        shown = frame.filter(parsed[column].is_null())[column].head(SHOWN_ROWS).to_list()
        raise DataError(
            f"{table}: {parsed[column].null_count()} values of {column} are no dates, first "
            f"{shown}; expected YYYY-MM-DD"
        )
    return parsed


def parse_numbers(
    frame: pl.DataFrame, columns: Collection[str], dtype: type[pl.DataType], *, table: str
) -> pl.DataFrame:
    """Return ``frame`` with ``columns`` as ``dtype``; a column without any value has no type.

    Raises:
        SchemaError: A column holds something else than numbers, or fractions where ``dtype`` is
            an integer.
    """
    accepts_fractions = dtype.is_float()
    for name in columns:
        given = frame.schema[name]
        is_accepted = given.is_numeric() if accepts_fractions else given.is_integer()
        if not is_accepted and frame[name].null_count() < frame.height:
            wanted = "a number" if accepts_fractions else "a whole number"
            raise SchemaError(f"{table}: expected {name} as {wanted}, got {given}")
    return frame.with_columns(pl.col(columns).cast(dtype))
