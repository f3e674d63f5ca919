"""Paths of the data folder: the only module that knows where anything lies.

What belongs here: names of files and folders, and the way from a ticker to a folder name and
back.  What does not: reading or writing them; nothing here touches the disk.
"""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from smallcaps_assets.errors import DataError

TRADES_NAME: Final = "trades.parquet"
RECEIPT_NAME: Final = "_SUCCESS"
TICKER_PREFIX: Final = "ticker="
DATE_PREFIX: Final = "date="

_LONGEST_NAME: Final = 200
"""Bytes of a folder name; file systems end at 255, some of them less a suffix."""

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_RESERVED: Final = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(\..*)?")
"""Names that Windows keeps for devices, with any extension."""


class Tree(StrEnum):
    """The folders of ticker-sessions below the lake."""

    TRADES = "trades"
    OFF_SESSION = "off_session_trades"


@dataclass(frozen=True, slots=True)
class LakeLayout:
    """Every path below the data folder.

    Attributes:
        data_dir: The data folder, ``SMALLCAPS_DATA_DIR``.
    """

    data_dir: Path

    @property
    def lake_dir(self) -> Path:
        """Return the folder of ticks, receipts and the ledger."""
        return self.data_dir / "lake"

    @property
    def identity_file(self) -> Path:
        """Return the file that binds the lake to its source."""
        return self.lake_dir / "lake.json"

    @property
    def ledger_file(self) -> Path:
        """Return the index of the lake."""
        return self.lake_dir / "ledger.sqlite"

    @property
    def lock_file(self) -> Path:
        """Return the lock of the process that writes."""
        return self.lake_dir / "lake.lock"

    @property
    def staging_dir(self) -> Path:
        """Return the folder of session files under way.

        It lies in the lake, hence in its file system, and is one folder so that what a dead
        run left is found without walking a million others.
        """
        return self.lake_dir / ".staging"

    @property
    def quarantine_dir(self) -> Path:
        """Return the folder of damaged files."""
        return self.data_dir / "quarantine"

    def quarantine_folder(self, tree: Tree, ticker: str, session_date: dt.date) -> Path:
        """Return the folder of what was damaged of one ticker-session, a folder a time.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        folder = self.quarantine_dir / tree.value / ticker_folder(ticker)
        return folder / date_folder(session_date)

    @property
    def daily_bars_dir(self) -> Path:
        """Return the folder of daily bars, a folder a month."""
        return self.data_dir / "reference" / "daily_bars"

    @property
    def splits_file(self) -> Path:
        """Return the file of splits."""
        return self.data_dir / "reference" / "splits.parquet"

    @property
    def universe_file(self) -> Path:
        """Return the file of listings."""
        return self.data_dir / "reference" / "universe.parquet"

    @property
    def watchlist_file(self) -> Path:
        """Return the published watchlist."""
        return self.data_dir / "events" / "watchlist.parquet"

    @property
    def pilot_watchlist_file(self) -> Path:
        """Return the published part of the watchlist that is downloaded."""
        return self.data_dir / "events" / "pilot_watchlist.parquet"

    @property
    def plan_file(self) -> Path:
        """Return the published plan."""
        return self.data_dir / "plan" / "plan.parquet"

    @property
    def plan_record_file(self) -> Path:
        """Return the facts of the published plan, its hash among them."""
        return self.data_dir / "plan" / "plan.json"

    @property
    def plan_candidate_file(self) -> Path:
        """Return the plan that was not judged yet."""
        return self.data_dir / "plan" / "candidate.parquet"

    @property
    def catalog_file(self) -> Path:
        """Return the DuckDB file of views."""
        return self.data_dir / "catalog.duckdb"

    @property
    def last_audit_file(self) -> Path:
        """Return the result of the last deep audit."""
        return self.data_dir / "audits" / "last.json"

    @property
    def reports_dir(self) -> Path:
        """Return the folder of reports."""
        return self.data_dir / "reports"

    @property
    def dagster_dir(self) -> Path:
        """Return ``DAGSTER_HOME``."""
        return self.data_dir / "dagster"

    def tree_dir(self, tree: Tree) -> Path:
        """Return the folder of all ticker-sessions of ``tree``."""
        return self.lake_dir / tree.value

    def session_dir(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the folder of one ticker-session.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.tree_dir(tree) / ticker_folder(ticker) / date_folder(session_date)

    def trades_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the Parquet file of one ticker-session.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.session_dir(ticker, session_date, tree) / TRADES_NAME

    def receipt_file(self, ticker: str, session_date: dt.date, tree: Tree = Tree.TRADES) -> Path:
        """Return the receipt of one ticker-session, which lies beside its Parquet file.

        Raises:
            DataError: The ticker cannot become a folder name.
        """
        return self.session_dir(ticker, session_date, tree) / RECEIPT_NAME

    def daily_bars_file(self, month: str) -> Path:
        """Return the daily bars of a month, given as ``YYYY-MM``.

        Raises:
            DataError: It is no month.
        """
        if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None:
            raise DataError(f"bad month {month!r}: expected YYYY-MM")
        return self.daily_bars_dir / f"month={month}" / "daily_bars.parquet"

    def candidate_file(self, published: Path) -> Path:
        """Return where the version of ``published`` lies that was not judged yet."""
        return published.with_name(f"{published.stem}.candidate{published.suffix}")

    def temporary_dirs(self) -> Iterator[Path]:
        """Yield the folders in which a killed run may leave temporary files.

        Those of the months of daily bars, below ``daily_bars_dir``, come on top.
        """
        yield from (self.data_dir, self.lake_dir, self.staging_dir)
        files = (self.splits_file, self.watchlist_file, self.plan_file, self.last_audit_file)
        yield from (*(file.parent for file in files), self.reports_dir)


def encode_ticker(ticker: str) -> str:
    """Return a name for files that no other ticker has, on any file system.

    Every byte but ``A-Z 0-9 . -`` becomes ``%XX``.  Lower-case letters too, so that ``BCpC``
    and ``BCPC`` differ where case does not count, and what Windows would drop or keep for
    devices: a trailing dot, the first letter of ``CON``.

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
    if _RESERVED.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _LONGEST_NAME:
        raise DataError(
            f"bad ticker {ticker!r}: {len(name)} bytes as a name, {_LONGEST_NAME} at most"
        )
    return name


def decode_ticker(name: str) -> str:
    """Return the ticker that :func:`encode_ticker` made ``name`` of.

    Raises:
        DataError: No ticker has this name.
    """
    ticker = unquote(name, errors="replace")
    if encode_ticker(ticker) != name:
        raise DataError(f"bad name {name!r}: no ticker is written like that")
    return ticker


def ticker_folder(ticker: str) -> str:
    """Return the name of the folder of a ticker.

    Raises:
        DataError: The ticker cannot become a folder name.
    """
    return TICKER_PREFIX + encode_ticker(ticker)


def date_folder(session_date: dt.date) -> str:
    """Return the name of the folder of a session."""
    return DATE_PREFIX + session_date.isoformat()


def parse_ticker_folder(name: str) -> str:
    """Return the ticker whose folder is called ``name``.

    Raises:
        DataError: It is no folder of a ticker.
    """
    if not name.startswith(TICKER_PREFIX):
        raise DataError(f"bad folder {name!r}: expected {TICKER_PREFIX}NAME")
    return decode_ticker(name.removeprefix(TICKER_PREFIX))


def parse_date_folder(name: str) -> dt.date:
    """Return the session whose folder is called ``name``.

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


def _encode_character(character: str) -> str:
    if character in _PLAIN:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())
