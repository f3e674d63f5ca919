"""Made-up entries, records of them, and the rules once more in plain Python."""

import datetime as dt
import itertools
from collections.abc import Iterable, Mapping

import polars as pl
from hypothesis import strategies as st
from msgspec.structs import replace

from smallcaps_assets.core import states
from smallcaps_assets.core.segments.entries import KEPT, WITH_ROWS, Entry, frame_entries
from smallcaps_assets.core.segments.merging import SEGMENT

DATES = (dt.date(2024, 3, 14), dt.date(2024, 3, 15))
STARTED = dt.datetime(2024, 3, 16, 12, tzinfo=dt.UTC)

Records = dict[str, list[Entry]]
"""Entries by the name of the record that they stand in."""
Key = tuple[str, dt.date, str]


def make_entry(*, session_date: dt.date = DATES[1], **changes: object) -> Entry:
    """Return a complete session of one trade, unless something else is said."""
    entry = Entry(
        ticker="ABCD",
        session_date=session_date,
        owner=session_date,
        state=states.COMPLETE,
        gte_ns=1,
        lt_ns=2,
        pages=1,
        requests=1,
        vendor_status="OK",
        run_id="run-1",
        started_at=STARTED,
        part="p1.parquet",
        rows=1,
        content_hash="h1",
    )
    changed = replace(entry, **changes)
    if changed.state in WITH_ROWS:
        return changed
    return replace(changed, part=None, rows=0, content_hash="none")


def frame_records(records: Mapping[str, Iterable[Entry]]) -> pl.DataFrame:
    """Return all entries with the name of their record."""
    frames = [
        frame_entries(entries).with_columns(pl.lit(name).alias(SEGMENT))
        for name, entries in records.items()
    ]
    return pl.concat(frames or [frame_entries([]).with_columns(pl.lit("").alias(SEGMENT))])


def key_of(entry: Entry) -> Key:
    return entry.ticker, entry.session_date, entry.kind


def choose_winner(told: Iterable[tuple[str, Entry]]) -> tuple[str, Entry]:
    """Return the entry that counts of those of one session, by the words of the rule."""

    def rank(pair: tuple[str, Entry]) -> tuple[int, bool, dt.datetime, int, str]:
        name, entry = pair
        is_red = entry.state not in states.GREEN
        return (-entry.revision, is_red, entry.started_at, -entry.packed, name)

    return min(told, key=rank)


def merge_plainly(records: Mapping[str, Iterable[Entry]]) -> dict[Key, tuple[str, Entry]]:
    """Return the winning entry of each session, with the name of its record."""
    told = [(name, entry) for name, entries in records.items() for entry in entries]
    told.sort(key=lambda pair: key_of(pair[1]))
    groups = itertools.groupby(told, key=lambda pair: key_of(pair[1]))
    return {key: choose_winner(pairs) for key, pairs in groups}


def draw_entries() -> st.SearchStrategy[list[Entry]]:
    """Return a strategy for the entries of a record: no session twice."""
    entries = st.builds(
        make_entry,
        ticker=st.sampled_from(["ABCD", "BCpC"]),
        session_date=st.sampled_from(DATES),
        kind=st.sampled_from(["session", "session", "off_session"]),
        revision=st.integers(1, 3),
        packed=st.integers(0, 2),
        state=st.sampled_from(sorted(KEPT)),
        started_at=st.integers(0, 2).map(lambda hours: STARTED + dt.timedelta(hours=hours)),
        content_hash=st.sampled_from(["h1", "h2"]),
        part=st.sampled_from(["p1.parquet", "p2.parquet", "p3.parquet"]),
        rows=st.integers(1, 9),
    )
    return st.lists(entries, min_size=1, max_size=4, unique_by=key_of)


def draw_records(most: int = 4) -> st.SearchStrategy[Records]:
    """Return a strategy for some records."""
    names = st.sampled_from([f"s{number}" for number in range(9)])
    return st.dictionaries(names, draw_entries(), max_size=most)
