"""Histories of a lake of segments, for tests of what its ledger makes of them."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
from hypothesis import strategies as st

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import frame_entries
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.upkeep.healing import heal_month
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced
from smallcaps_assets.schemas import ENTRIES
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_tape
from smallcaps_assets_tests.lake.ledger_factories import (
    NOON,
    Clock,
)
from smallcaps_assets_tests.lake.memory_storage import MemoryStorage
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONDAY,
    MONTH,
    SATURDAY,
    SMALL,
    SOURCE,
    enter,
    make_draft,
    make_naming,
    make_sessions,
)

MEMORY: Final = Path("/dev/shm")  # noqa: S108  no disk is waited for
NOTHING = ENTRIES.empty()
DAY_NS = 24 * 3600 * 10**9
TABLES = {
    "months": "SELECT * FROM months",
    "ticker_months": "SELECT * FROM ticker_months",
    "lost_proof": "SELECT * FROM lost_proof",
    "two_answers": "SELECT * FROM two_answers",
    "comparisons": "SELECT * FROM comparisons",
    "sessions": """
        SELECT ticker, session_date, state, rows, bytes, content_hash, pages, requests,
            committed_at, error_kind, error_message, asked_count, last_asked_date, run_id
        FROM sessions
    """,
    "tallies": "SELECT * FROM tallies WHERE sessions > 0",
}
"""What a rebuild makes equal to what commits leave, by table."""


@contextmanager
def opened(path: Path | None = None) -> Iterator[Ledger]:
    """Yield a ledger by a clock that stands still, in memory where no path is given."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        Ledger(path or Path(folder) / "ledger.sqlite", clock=Clock(NOON)) as ledger,
    ):
        yield ledger


def dump(ledger: Ledger) -> dict[str, list[object]]:
    with sqlite3.connect(ledger.path) as connection:
        told = {
            table: sorted(connection.execute(query).fetchall(), key=str)
            for table, query in TABLES.items()
        }
    connection.close()
    return told


def make_memory_lake() -> tuple[SegmentLake, MemoryStorage]:
    storage = MemoryStorage()
    return SegmentLake(storage, SOURCE, make_naming()), storage


def make_beside(ticker: str, **changes: object) -> Draft:
    """Return a segment with the prints of a Saturday."""
    entry = enter(ticker, SATURDAY, 3, kind="off_session", owner=MONDAY, **changes)
    trades = make_tape(3, ticker=ticker, session_date=SATURDAY)
    return close_segment(MONTH, frame_entries([entry]), trades)


def keys_of(*tickers: str) -> list[str]:
    return [encode_key(ticker, date) for ticker in tickers for date in (SESSION, MONDAY)]


def commit(
    lake: SegmentLake,
    *tickers: str,
    **changes: Any,  # noqa: ANN401  any field
) -> Record:
    return commit_segments(lake, [make_draft(make_sessions(tickers), **changes)])[0]


@dataclass(frozen=True)
class Act:
    """One thing that happens to a lake.

    Attributes:
        kind: What happens.
        tickers: Whose sessions are committed.
        number: Revision, or which part is harmed.
        is_disputed: The sessions are.
        is_recorded: The ledger hears of it at once.
    """

    kind: str
    tickers: str
    number: int
    is_disputed: bool
    is_recorded: bool


acts = st.builds(
    Act,
    st.sampled_from(["commit", "commit", "restate", "beside", "pack", "harm", "remove"]),
    st.sampled_from(["A", "B", "AB", "BC", "ABC"]),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)


def do(act: Act, lake: SegmentLake, storage: MemoryStorage) -> list[Record]:
    """Do one thing; return the records that it committed."""
    if act.kind == "commit":
        return commit_segments(lake, [make_answers(act)])
    if act.kind == "restate":
        return restate(lake, act)
    if act.kind == "beside":
        return commit_segments(lake, [make_beside(act.tickers[0], revision=act.number)])
    if act.kind == "pack":
        packed = pack_month(lake, MONTH, is_forced=True)
        return [packed] if packed else []
    if act.kind == "harm":
        for key in sorted(key for key in storage.objects if ".record." not in key)[-act.number :]:
            storage.objects[key] = (storage.objects[key][0][:-9], 0)
        heal_month(lake, MONTH, NOTHING)
    else:
        storage.now_ns += 2 * DAY_NS
        remove_displaced(lake, MONTH)
    return []


def restate(lake: SegmentLake, act: Act) -> list[Record]:
    """Say something else of what is stored; its rows stay in their part."""
    winners = read_month(lake, MONTH).winners.drop("segment")
    stored = winners.filter(pl.col("ticker").is_in([*act.tickers]), pl.col("part").is_not_null())
    state = pl.lit("disputed" if act.is_disputed else "complete")
    told = stored.with_columns(pl.col("revision") + 1, state=state)
    return commit_segments(lake, [Draft(MONTH, told)]) if told.height else []


def make_answers(act: Act) -> Draft:
    sessions = make_sessions(act.tickers, seed=act.number)
    if not act.is_disputed:
        return make_draft(sessions, shape=SMALL, revision=act.number)
    traded = {key: rows for key, rows in sessions.items() if rows.height}
    return make_draft(traded, shape=SMALL, revision=act.number, state="disputed")
