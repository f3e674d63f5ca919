"""The folders of exported ticker-sessions: what they are called and what is in them.

What belongs here: one class a layout.  What does not: which sessions are exported, and writing
(``export``).  Tickers are named as in the lake, so that no name leads out of the destination;
only ``CON`` and its kin keep their names where no Windows is in sight.
"""

import datetime as dt
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.lake.paths.names import TRADES_NAME, date_folder, encode_ticker
from smallcaps_assets.lake.sessions.parquet import decode_trades, encode_trades
from smallcaps_assets.lake.sessions.receipts import Receipt

PHASE_FILES: Final = {
    "pre_market": "premarket.parquet",
    "regular": "market.parquet",
    "after_hours": "afterhours.parquet",
    "closed": "closed.parquet",
}
"""File of each trading phase; prints outside all phases have one too, so that no row is lost."""


class SessionFolders(ABC):
    """Where the files of a session lie, and what is in them.

    Attributes:
        names: Every name a file of a session may have.
        is_portable: Windows may meet the names of tickers.
    """

    names: tuple[str, ...]

    def __init__(self, *, is_portable: bool = False) -> None:
        self.is_portable = is_portable

    def name_ticker(self, ticker: str) -> str:
        """Name the folder of a ticker."""
        return encode_ticker(ticker, is_portable=self.is_portable)

    @abstractmethod
    def locate(self, ticker: str, session_date: dt.date) -> Path:
        """Locate the folder of a session, relative to the destination."""

    @abstractmethod
    def list_files(self, receipt: Receipt) -> list[str]:
        """List the names of the files that a session has."""

    @abstractmethod
    def cut(self, content: bytes, receipt: Receipt) -> dict[str, bytes]:
        """Cut the file of a session into its exported files, by name.

        Raises:
            DataError: The file is damaged.
        """


class DateFolders(SessionFolders):
    """``TICKER/date=YYYY-MM-DD/trades.parquet``, with all columns of ``schemas.TRADES``."""

    names = (TRADES_NAME,)

    def locate(self, ticker: str, session_date: dt.date) -> Path:
        """Locate the folder of a session, relative to the destination."""
        return Path(self.name_ticker(ticker), date_folder(session_date))

    def list_files(self, receipt: Receipt) -> list[str]:  # noqa: ARG002  the other layout needs it
        """List the names of the files that a session has."""
        return [TRADES_NAME]

    def cut(self, content: bytes, receipt: Receipt) -> dict[str, bytes]:  # noqa: ARG002  as above
        """Keep the file of a session whole."""
        return {TRADES_NAME: content}


class PhaseFolders(SessionFolders):
    """``TICKER/year=YYYY/month=MM/day=YYYY-MM-DD/``, a file a trading phase that has trades."""

    names = tuple(PHASE_FILES.values())

    def locate(self, ticker: str, session_date: dt.date) -> Path:
        """Locate the folder of a session, relative to the destination."""
        year, month, _ = session_date.isoformat().split("-")
        return Path(
            self.name_ticker(ticker), f"year={year}", f"month={month}", f"day={session_date}"
        )

    def list_files(self, receipt: Receipt) -> list[str]:
        """List the names of the files that a session has."""
        return [PHASE_FILES[phase] for phase, rows in receipt.rows_by_phase.items() if rows]

    def cut(self, content: bytes, receipt: Receipt) -> dict[str, bytes]:
        """Cut a session into files by name, with all columns of ``schemas.TRADES``.

        Raises:
            DataError: The file is damaged.
        """
        trades = decode_trades(content)
        return {
            PHASE_FILES[phase]: encode_trades(trades.filter(pl.col("trading_phase") == phase))
            for phase, rows in receipt.rows_by_phase.items()
            if rows
        }
