"""Keys of ticker-sessions: ``TICKER_YYYY-MM-DD``, the partition keys of ``trades``.

What belongs here: what a ticker may look like, the way from a ticker and a session to a key and
back, and to a month.  What does not: how a ticker becomes a folder name (``lake``).
"""

import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from typing import Final

import polars as pl

from smallcaps_assets.errors import DataError

TICKER_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9.\-+^=]{0,19}"
"""What a ticker matches as a whole; two dots in a row are refused besides."""

TICKER_RULE: Final = (
    "1 to 20 letters, digits or .-+^=, starting with a letter or digit and without two dots in "
    "a row"
)
"""The same in words, for messages."""

_SHOWN_CHARACTERS: Final = 40
_TICKER: Final = re.compile(TICKER_PATTERN)


def check_ticker(ticker: str) -> str:
    """Pass ``ticker`` on, or refuse what could not be a symbol of the vendor.

    Raises:
        DataError: It is empty, too long, or holds other characters than a ticker does.
    """
    if _TICKER.fullmatch(ticker) is None or ".." in ticker:
        raise DataError(f"bad ticker {ticker!r}: expected {TICKER_RULE}")
    return ticker


def is_ticker_expression(column: str = "ticker") -> pl.Expr:
    """Tell whether each value of ``column`` passes :func:`check_ticker`; null does not."""
    ticker = pl.col(column)
    matches = ticker.str.contains(rf"^{TICKER_PATTERN}$")
    has_dots = ticker.str.contains("..", literal=True)
    has_line_end = ticker.str.contains("\n", literal=True)
    return (matches & ~has_dots & ~has_line_end).fill_null(value=False)


def is_symbol_expression() -> pl.Expr:
    """Tell of each ``ticker`` whether it may be a symbol in an answer of the vendor.

    Its symbols begin with a capital or a digit (``BRK.A``, ``BCpC``); what else passes for a
    ticker, such as ``ztest``, is a person's slip or a test of an exchange.
    """
    return is_ticker_expression() & pl.col("ticker").str.contains(r"^[A-Z0-9]")


def show_symbol(symbol: str) -> str:
    """Show what stands where a symbol should, cut and with control characters spelt out."""
    shown = symbol if symbol.isprintable() else ascii(symbol)[1:-1]
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."


def encode_key(ticker: str, session_date: dt.date) -> str:
    """Make the key of a ticker on a session.

    Raises:
        DataError: The ticker is not one.
    """
    return f"{check_ticker(ticker)}_{session_date.isoformat()}"


def decode_key(key: str) -> tuple[str, dt.date]:
    """Split ``key`` into its ticker and its session.

    Raises:
        DataError: It is not a key as :func:`encode_key` writes it.
    """
    ticker, _, day = key.rpartition("_")
    try:
        session_date = dt.date.fromisoformat(day)
    except ValueError as error:
        raise DataError(f"bad key {key!r}: expected TICKER_YYYY-MM-DD") from error
    if encode_key(ticker, session_date) != key:
        raise DataError(f"bad key {key!r}: expected TICKER_YYYY-MM-DD")
    return ticker, session_date


def month_of(date: dt.date) -> str:
    """Name the month of a session, ``YYYY-MM``."""
    return f"{date:%Y-%m}"


def month_expression(column: str = "session_date") -> pl.Expr:
    """Make the expression of :func:`month_of` for a column of dates."""
    return pl.col(column).dt.to_string("%Y-%m")


def list_session_months(sessions: pl.DataFrame) -> list[str]:
    """List the months of the sessions of a frame, sorted."""
    months: list[str] = sessions.select(month_expression().unique().sort()).to_series().to_list()
    return months


def list_key_months(keys: Iterable[str]) -> list[str]:
    """List the months (``YYYY-MM``) of the sessions of keys, each once and in order.

    Raises:
        DataError: One is not a key.
    """
    return sorted({month_of(decode_key(key)[1]) for key in keys})


def key_expression() -> pl.Expr:
    """Make the column ``key`` from ``ticker`` and ``session_date``."""
    session_date = pl.col("session_date").dt.to_string("%Y-%m-%d")
    return pl.concat_str("ticker", session_date, separator="_").alias("key")


def hash_keys(keys: Iterable[str]) -> str:
    """Hash the sorted keys, joined by line ends, to sha256 as hex."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
