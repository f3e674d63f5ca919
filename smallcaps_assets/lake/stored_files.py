"""Which files hold the trades that are proven, as every reader has to know.

What belongs here: the list of files by the ledger, never by looking into folders: a file without
a receipt is not there.  What does not: what readers make of it (``catalog``, ``reader``,
``export``).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.layout import LakeLayout
from smallcaps_assets.lake.ledger_reader import LedgerReader

SHOWN_FILES = 3
"""Missing files that a message names."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One proven file of trades.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        bytes: Its size by the receipt.
        path: Where it lies.
    """

    ticker: str
    session_date: dt.date
    bytes: int
    path: Path

    def is_there(self) -> bool:
        """Return whether a file of that size lies there."""
        try:
            return self.path.stat().st_size == self.bytes
        except OSError:
            return False


def list_stored_files(
    layout: LakeLayout,
    ledger: LedgerReader,
    tickers: Iterable[str] | None = None,
    first: dt.date | None = None,
    last: dt.date | None = None,
) -> list[StoredFile]:
    """Return the files of proven sessions that have trades, by ticker and session.

    Args:
        layout: Paths of the lake.
        ledger: Its ledger.
        tickers: Only these; all by default.
        first: First session, included.
        last: Last session, included.
    """
    stored = ledger.stored_sessions(tickers, first, last).filter(pl.col("rows") > 0)
    return [
        StoredFile(ticker, session_date, size, layout.trades_file(ticker, session_date))
        for ticker, session_date, size in stored.select("ticker", "session_date", "bytes").rows()
    ]


def require_files(files: Sequence[StoredFile]) -> None:
    """Refuse a list that is not on the disk as a whole: what is missing must not read as empty.

    Raises:
        MissingPartitionError: A file is gone, or not of the size that its receipt states.
    """
    if lost := [file.path for file in files if not file.is_there()]:
        named = ", ".join(map(str, lost[:SHOWN_FILES]))
        raise MissingPartitionError(
            f"{len(lost)} of {len(files)} files have a receipt and are gone or cut, first {named}: "
            "run `smallcaps audit --deep`, then `smallcaps repair` and `smallcaps download`"
        )
