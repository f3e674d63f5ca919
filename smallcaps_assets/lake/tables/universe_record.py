"""The record of a plan of a universe, in the footer of its file: which plan it is, what made it.

What belongs here: its fields, and the way from a file to them.  What does not: where it lies
(``store``).  Rows and record are one file, so no reader finds one with the other of another plan.
"""

import datetime as dt
import hashlib

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, convert_fields, name_fault
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.tables.files import decode_facts
from smallcaps_assets.schemas import UNIVERSE_PLAN


class UniverseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a plan of a universe besides its rows.

    Attributes:
        plan_hash: Hash of its units and what each owes.
        created_at: When it was made.
        symbols: Where its symbols come from: ``universe``, ``daily_bars``, or the name of a file.
        first: First date that it may plan.
        last: Last date that it may plan, the end of a month.
        tickers: Tickers that owe something.
        units: Months of batches.
        ticker_months: Rows of the plan.
        sessions: Ticker-sessions that are owed.
        batch_tickers: Tickers of a batch.
        batches: Batch of each ticker of this plan and of those before it.
        judged_tickers: Tickers that listings or bars could have known.
        unknown_tickers: Those of them that neither knows, and the symbol that may be meant; empty:
            none is near.
        facts: Numbers about how it was made, by name.
    """

    plan_hash: str
    created_at: dt.datetime
    symbols: str
    first: dt.date
    last: dt.date
    tickers: int
    units: int
    ticker_months: int
    sessions: int
    batch_tickers: int
    batches: dict[str, int] = {}
    judged_tickers: int = 0
    unknown_tickers: dict[str, str] = {}
    facts: dict[str, float | int | str] = {}


def hash_units(units: pl.DataFrame) -> str:
    """Hash the units of a plan, ``unit`` and ``owed_hash``, to sha256 as hex."""
    lines = units.select(pl.concat_str("unit", "owed_hash", separator=" ")).to_series()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def parse_record(content: bytes, *, where: str) -> UniverseRecord:
    """Parse the record in a file of ``schemas.UNIVERSE_PLAN``, which messages call ``where``.

    Raises:
        DataError: The file is damaged, or has no record.
    """
    facts = decode_facts(UNIVERSE_PLAN, content, where=where)
    try:
        return convert_fields(facts, UniverseRecord)
    except DECODER_FAULTS as error:
        raise DataError(
            f"{where} holds no record of a universe ({name_fault(error)}): run "
            "`smallcaps plan --universe` again"
        ) from error
