"""Names of the files and folders of ticker-sessions, and the way from a ticker to one and back.

What belongs here: single names.  What does not: where they lie (``layout``).
"""

import datetime as dt
import re
from typing import Final
from urllib.parse import unquote

from smallcaps_assets.errors import DataError

TRADES_NAME: Final = "trades.parquet"
RECEIPT_NAME: Final = "_SUCCESS"
TICKER_PREFIX: Final = "ticker="
DATE_PREFIX: Final = "date="
MONTH_PREFIX: Final = "month="

_LONGEST_NAME: Final = 200
"""Bytes of a folder name; file systems end at 255, some of them less a suffix."""

_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_RESERVED: Final = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(\..*)?")
"""Names that Windows keeps for devices, with any extension."""


def encode_ticker(ticker: str, *, is_portable: bool = True) -> str:
    """Encode a ticker as a name for files that no other ticker has, on any file system.

    Every byte but ``A-Z 0-9 . -`` becomes ``%XX``.  Lower-case letters too, so that ``BCpC``
    and ``BCPC`` differ where case does not count, and what Windows would drop or keep for
    devices: a trailing dot, the first letter of ``CON``.

    Args:
        ticker: Vendor's symbol.
        is_portable: Windows may meet the name; else ``CON`` and its kin stay as they are.

    Raises:
        DataError: It is empty, too long, or could leave the folder.
    """
    if not ticker or "/" in ticker or ".." in ticker:
        raise DataError(f"bad ticker {ticker!r}: expected a name without '/' and '..'")
    try:
        name = "".join(_encode_character(character) for character in ticker)
    except UnicodeEncodeError as error:
        raise DataError(f"bad ticker {ticker!r}: it is no valid text") from error
    if name.endswith("."):
        name = f"{name[:-1]}%2E"
    if is_portable and _RESERVED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _LONGEST_NAME:
        raise DataError(
            f"bad ticker {ticker!r}: {len(name)} bytes as a name, {_LONGEST_NAME} at most"
        )
    return name


def decode_ticker(name: str) -> str:
    """Decode ``name`` to the ticker that :func:`encode_ticker` made it of.

    Raises:
        DataError: No ticker has this name.
    """
    ticker = unquote(name, errors="replace")
    if encode_ticker(ticker) != name:
        raise DataError(f"bad name {name!r}: no ticker is written like that")
    return ticker


def date_folder(session_date: dt.date) -> str:
    """Name the folder of a session."""
    return DATE_PREFIX + session_date.isoformat()


def month_folder(month: str) -> str:
    """Name the folder of a month, given as ``YYYY-MM``.

    Raises:
        DataError: It is no month.
    """
    return MONTH_PREFIX + check_month(month)


def check_month(month: str) -> str:
    """Pass on a month, given as ``YYYY-MM``.

    Raises:
        DataError: It is no month.
    """
    if _MONTH.fullmatch(month) is None:
        raise DataError(f"bad month {month!r}: expected YYYY-MM")
    return month


def parse_ticker_folder(name: str) -> str:
    """Parse the ticker whose folder is called ``name``.

    Raises:
        DataError: It is no folder of a ticker.
    """
    if not name.startswith(TICKER_PREFIX):
        raise DataError(f"bad folder {name!r}: expected {TICKER_PREFIX}NAME")
    return decode_ticker(name.removeprefix(TICKER_PREFIX))


def parse_date_folder(name: str) -> dt.date:
    """Parse the session whose folder is called ``name``.

    Raises:
        DataError: It is no folder of a session.
    """
    try:
        session_date = dt.date.fromisoformat(name.removeprefix(DATE_PREFIX))
    except ValueError as error:
        raise DataError(f"bad folder {name!r}: expected {DATE_PREFIX}YYYY-MM-DD") from error
    if date_folder(session_date) != name:
        raise DataError(f"bad folder {name!r}: expected {DATE_PREFIX}YYYY-MM-DD")
    return session_date


def find_date(name: str) -> dt.date | None:
    """Find the session whose folder is called ``name``; ``None``: it is that of none."""
    try:
        return parse_date_folder(name)
    except DataError:
        return None


def _encode_character(character: str) -> str:
    if character in _PLAIN:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())
