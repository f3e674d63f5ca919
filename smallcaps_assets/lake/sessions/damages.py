"""What can be wrong with stored ticker-sessions, and with files among them.

What belongs here: the names of it.  What does not: finding it (``lake.segment_store``), judging it
(``core.ticks.audits``), or mending it (``lake.upkeep.healing``).
"""

import datetime as dt
import functools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.schemas import TRADES

EVIDENCE_NAME: Final = "evidence.json"
"""File beside what was taken out, with what was wrong with it."""


class DamageKind(StrEnum):
    """What is wrong with a stored ticker-session."""

    RECEIPT = "receipt"
    MISSING_FILE = "missing_file"
    SHA256 = "sha256"
    CONTENT_HASH = "content_hash"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a stored ticker-session.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        kind: What is wrong.
        message: What was expected and what is there.
    """

    ticker: str
    session_date: dt.date
    kind: DamageKind
    message: str

    @property
    def key(self) -> str:
        """The partition key."""
        return encode_key(self.ticker, self.session_date)


class OrphanKind(StrEnum):
    """Why a file belongs to nothing."""

    STRAY = "stray"
    UNPLANNED = "unplanned"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A file of the lake that no record names, or a session of no plan and no import.

    Attributes:
        path: Where it lies, or the key of the session.
        kind: Why it belongs to nothing.
        message: What that means for it.
    """

    path: Path
    kind: OrphanKind
    message: str


@functools.cache
def hash_no_trades() -> str:
    """Make the content hash of a session without trades."""
    return hash_trades(TRADES.empty())
