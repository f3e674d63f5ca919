"""Compaction: closed months whose planned sessions are complete, written as month files.

What belongs here: which months may be compacted, which are stale, and the order of the steps.
What does not: the files of a month (``lake.months.store``), and removing what they replaced
(``removal``).
"""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl

from smallcaps_assets.core.figures import format_bytes
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.sessions import SessionCalendar, month_bounds
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.core.ticks.audits import judge_freshness
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.errors import ConfigError, DataError, LakeError, StorageError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.store import CompactedMonth, MonthStore, hash_index
from smallcaps_assets.lake.paths.root import LakeRoot
from smallcaps_assets.lake.reading.batches import iter_batches
from smallcaps_assets.lake.roots.placement import Placement
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.store import LakeStore

logger = logging.getLogger(__name__)


class MonthState(StrEnum):
    """Where a month stands."""

    OPEN = "open"
    INCOMPLETE = "incomplete"
    DUE = "due"
    COMPACTED = "compacted"


@dataclass(frozen=True, slots=True)
class MonthFacts:
    """Where a month stands, and why.

    Attributes:
        month: The month, ``YYYY-MM``.
        state: Whether it may be compacted, or is.
        reason: Why it is not compacted, or has to be again; empty: nothing is to be said.
        sessions: Its proven sessions with trades: ``stored_contents`` of the ledger.
        compacted: The month files it has; ``None``: none that could be read.
        is_stale: It has month files that are not what the lake holds now.
    """

    month: str
    state: MonthState
    reason: str
    sessions: pl.DataFrame
    compacted: CompactedMonth | None = None
    is_stale: bool = False


class Done(StrEnum):
    """What a run did about a month."""

    WRITTEN = "written"
    REUSED = "reused"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MonthOutcome:
    """What a run did about a month.

    Attributes:
        month: The month, ``YYYY-MM``.
        done: What was done.
        reason: Why it waits or failed; empty: neither.
        compacted: Its month files; ``None``: it waits or failed.
    """

    month: str
    done: Done
    reason: str = ""
    compacted: CompactedMonth | None = None


def judge_months(
    ledger: LedgerReader,
    store: LakeStore,
    bounds: PlanBounds,
    months: Sequence[str] | None = None,
) -> list[MonthFacts]:
    """Tell where months stand, in order.

    Args:
        ledger: What is planned and stored.
        store: Where month files are.
        bounds: Sessions, and the newest one that there is.
        months: These, ``YYYY-MM``; by default all of which anything is planned, stored or
            compacted.

    Raises:
        LakeError: The ledger is damaged.
    """
    month = pl.col("session_date").dt.to_string("%Y-%m").alias("month")
    stored = ledger.stored_contents().with_columns(month)
    is_open = ~pl.col("state").is_in(list(GREEN))
    waiting = ledger.coverage().with_columns(month)
    names = months
    if names is None:
        known = (*stored["month"].unique(), *waiting["month"].unique())
        names = sorted({*known, *store.months.list_months()})
    stored_by, open_by = _split(stored), _split(waiting.filter(is_open))
    return [
        _judge_month(
            store.months,
            name,
            stored_by.get(name, _NO_SESSIONS),
            open_by.get(name),
            is_open=last_session(bounds.calendar, name) > bounds.last_available,
        )
        for name in names
    ]


_NO_SESSIONS: Final = pl.DataFrame(
    schema={
        "ticker": pl.String,
        "session_date": pl.Date,
        "rows": pl.Int64,
        "bytes": pl.Int64,
        "sha256": pl.String,
        "content_hash": pl.String,
    }
)


def judge_staleness(months: Sequence[MonthFacts]) -> Verdict:
    """Judge the months whose files are not what the lake holds now."""
    stale = [(facts.month, facts.reason) for facts in months if facts.is_stale]
    columns = {"month": pl.String, "reason": pl.String}
    compacted = sum(facts.compacted is not None or facts.is_stale for facts in months)
    return judge_freshness(pl.DataFrame(stale, schema=columns, orient="row"), compacted)


def compact_month(store: LakeStore, facts: MonthFacts, compacted_at: dt.datetime) -> MonthOutcome:
    """Write a month that may be compacted and is not, or is stale; one that is damaged fails alone.

    A month that is open or incomplete is left alone, whatever files it has.  The caller holds the
    lock of the lake, and refreshes the catalog afterwards.

    Raises:
        StorageError: The disk is full or refuses.
    """
    if facts.state in (MonthState.OPEN, MonthState.INCOMPLETE):
        return MonthOutcome(facts.month, Done.WAITING, facts.reason)
    if facts.state is MonthState.COMPACTED:
        return MonthOutcome(facts.month, Done.REUSED, compacted=facts.compacted)
    try:
        compacted = write_month(store, facts, compacted_at)
    except (DataError, LakeError) as error:
        if isinstance(error, StorageError) and not is_broken(error):
            raise
        logger.warning("month not compacted month=%s error=%s", facts.month, error)
        return MonthOutcome(facts.month, Done.FAILED, str(error))
    manifest = compacted.manifest
    logger.info(
        "month compacted month=%s sessions=%d rows=%d bytes=%d files=%d",
        *(facts.month, manifest.sessions, manifest.rows, manifest.bytes, len(manifest.parts)),
    )
    return MonthOutcome(facts.month, Done.WRITTEN, compacted=compacted)


def write_month(store: LakeStore, facts: MonthFacts, compacted_at: dt.datetime) -> CompactedMonth:
    """Write the files of a month again from its landing files, or from the files it has.

    Raises:
        DataError: A session is damaged; the message names it, and the old files stay.
        LakeError: A file is gone, or does not read back as it was written.
        StorageError: The disk is full or refuses; the old files stay.
    """
    return store.months.write(
        facts.month,
        iter_batches(store.layout, store.fs, store.month_sessions, facts.sessions),
        _choose_root(store.placement, facts),
        source=store.source,
        compacted_at=compacted_at,
        zstd_level=store.zstd_level,
    )


def _choose_root(placement: Placement, facts: MonthFacts) -> LakeRoot:
    """Return where a month goes, after refusing a disk that is too small.

    Raises:
        StorageError: No disk has room for it.
    """
    needed = int(facts.sessions["bytes"].sum())
    held = facts.compacted.root if facts.compacted else None
    root = held or placement.choose(needed)
    room = placement.measure_room(root.folder)
    if needed > room:
        raise StorageError(
            f"no room to compact {facts.month} in {root.folder}: it takes about "
            f"{format_bytes(needed)}, {format_bytes(max(room, 0))} are free beyond the reserve; "
            "make room, or lower SMALLCAPS_DISK_RESERVE_GB"
        )
    return root


def _judge_month(
    months: MonthStore,
    name: str,
    stored: pl.DataFrame,
    waiting: pl.DataFrame | None,
    *,
    is_open: bool,
) -> MonthFacts:
    compacted, damage = _find(months, name)
    stale = damage or _find_staleness(months, stored, compacted)
    is_stale = bool(stale) and (compacted is not None or bool(damage))
    if is_open:
        state, reason = MonthState.OPEN, "the month is not over"
    elif waiting is not None:
        state, reason = MonthState.INCOMPLETE, describe_waiting(waiting)
    elif stale:
        state, reason = MonthState.DUE, stale
    else:
        state, reason = MonthState.COMPACTED, ""
    if is_stale and reason != stale:
        reason = f"{reason}; {stale}"
    return MonthFacts(name, state, reason, stored, compacted, is_stale)


def _find(months: MonthStore, name: str) -> tuple[CompactedMonth | None, str]:
    """Return the files of a month, and what is wrong with them; damaged ones do not count."""
    try:
        return months.find(name), ""
    except (DataError, LakeError) as error:
        if isinstance(error, StorageError) and not is_broken(error):
            raise
        return None, f"its files are damaged: {error}"


def _find_staleness(
    months: MonthStore, stored: pl.DataFrame, compacted: CompactedMonth | None
) -> str:
    """Return why a month has to be written; empty: its files are what the lake holds."""
    if compacted is None:
        return "not compacted yet"
    if not months.is_whole(compacted):
        return "a file of it is gone or cut"
    if hash_index(stored) == compacted.manifest.content_hash:
        return ""
    before, after = compacted.manifest.sessions, stored.height
    return f"its sessions changed since it was compacted ({before} then, {after} now)"


def describe_waiting(waiting: pl.DataFrame) -> str:
    """Return how many planned sessions of a month are not green, by state, and the first."""
    counts = waiting["state"].value_counts().sort("state").rows()
    named = ", ".join(f"{count} {state}" for state, count in counts)
    first = waiting.select(key_expression()).item(0, 0)
    return f"{waiting.height} planned sessions are not complete ({named}), first {first}"


def last_session(calendar: SessionCalendar, month: str) -> dt.date:
    """Return the last session of a month, given as ``YYYY-MM``.

    Raises:
        ConfigError: It is no month.
    """
    try:
        first, last = month_bounds(month)
    except ValueError as error:
        raise ConfigError(f"no month: {month!r}; expected YYYY-MM") from error
    return calendar.dates(first, last)[-1]


def _split(sessions: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each month, in their order."""
    parts = sessions.partition_by("month", as_dict=True, include_key=False, maintain_order=True)
    return {str(name): rows for (name,), rows in parts.items()}
