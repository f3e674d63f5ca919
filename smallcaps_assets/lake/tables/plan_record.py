"""The record of a published plan, ``plan.json``: which plan it is, and what it was made of.

What belongs here: its fields and its text.  What does not: the order in which plan and record
change (``store``).
"""

import datetime as dt
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, convert_fields, decode_json, name_fault
from smallcaps_assets.core.keys import decode_key, hash_keys, key_expression
from smallcaps_assets.errors import DataError, LedgerMismatchError

_PENDING: Final = "pending"


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a plan besides its rows.

    Attributes:
        plan_hash: Hash of its keys, ``core.keys.hash_keys``.
        sessions: Ticker-sessions of the plan.
        tickers: Tickers of the plan.
        created_at: When it was made.
        windows: Sessions before and after each event.
        thresholds: Thresholds of the checks in force.
        facts: Numbers about how it was made, by name.
        not_yet_available: Keys that are wanted, but can not be asked for yet.
        mode: How its sessions were chosen: ``event_windows``, ``event_months``, ``sessions``.
        naive_sessions: Sessions asked for when nothing is merged and windows are all alike.
        rows_per_event: Watchlist rows that name each event.
        batch: The part of a larger plan that this is, ``2/5``; empty: it is whole.
        batches: Batch of each ticker of that larger plan.
        judged_tickers: Tickers with a planned session on a date that had bars.
        unknown_tickers: Those of them without a bar in any planned session, and the symbol that
            may be meant; empty: none is near.
        min_events: Events that a session of the watchlist needs; ``None``: unknown.
        is_ranked: Tickers were chosen by the number of their sessions with events.
        rank_until: Only events before this date counted in that; ``None``: all did.
        events: Events that were planned alone; empty: all.
        chosen_on: Sessions whose win rates chose those events; a study leaves them out.
    """

    plan_hash: str
    sessions: int
    tickers: int
    created_at: dt.datetime
    windows: dict[str, tuple[int, int]] = {}
    thresholds: dict[str, object] = {}
    facts: dict[str, object] = {}
    not_yet_available: tuple[str, ...] = ()
    mode: str = "event_windows"
    naive_sessions: int = 0
    rows_per_event: dict[str, int] = {}
    batch: str = ""
    batches: dict[str, int] = {}
    judged_tickers: int = 0
    unknown_tickers: dict[str, str] = {}
    min_events: int | None = None
    is_ranked: bool = True
    rank_until: dt.date | None = None
    events: tuple[str, ...] = ()
    chosen_on: tuple[str, ...] = ()


class PlanText(msgspec.Struct, frozen=True):
    """What ``plan.json`` says.

    Attributes:
        record: The plan that is published.
        pending: The plan that is about to take its place, while that is done.
    """

    record: PlanRecord
    pending: PlanRecord | None = None

    def find(self, plan_hash: str) -> PlanRecord | None:
        """Find the record of the plan with this hash; ``None``: it has none."""
        records = (self.record, self.pending)
        return next((found for found in records if found and found.plan_hash == plan_hash), None)


def hash_plan(plan: pl.DataFrame) -> str:
    """Hash the keys of a plan."""
    return hash_keys(plan.select(key_expression()).to_series())


def check_record(plan: pl.DataFrame, record: PlanRecord) -> None:
    """Refuse a record of another plan.

    Raises:
        DataError: Hash or number of sessions differ.
    """
    found = (plan.height, hash_plan(plan))
    if found != (record.sessions, record.plan_hash):
        raise DataError(
            f"plan: expected {record.sessions} sessions with hash {record.plan_hash[:12]} by its "
            f"record, got {found[0]} with {found[1][:12]}"
        )


def encode_plan_text(text: PlanText) -> bytes:
    """Encode the content of ``plan.json``: the fields of the record, and what is pending."""
    fields = msgspec.to_builtins(text.record)
    if text.pending is not None:
        fields[_PENDING] = msgspec.to_builtins(text.pending)
    return msgspec.json.format(msgspec.json.encode(fields), indent=1) + b"\n"


def parse_plan_text(content: bytes, *, where: str) -> PlanText:
    """Parse what ``plan.json`` says.

    Raises:
        LedgerMismatchError: It is cut, damaged, or no record of a plan.
    """
    try:
        fields = decode_json(content, dict[str, object])
        pending = fields.pop(_PENDING, None)
        record = convert_fields(fields, PlanRecord)
        return PlanText(record, None if pending is None else convert_fields(pending, PlanRecord))
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{where} is no record of a plan ({name_fault(error)}): plan again with "
            "`smallcaps plan`"
        ) from error


def frame_not_yet_available(record: PlanRecord) -> pl.DataFrame:
    """Frame ``ticker`` and ``session_date`` of what is wanted, but not available yet."""
    schema = {"ticker": pl.String(), "session_date": pl.Date()}
    return pl.DataFrame(list(map(decode_key, record.not_yet_available)), schema, orient="row")
