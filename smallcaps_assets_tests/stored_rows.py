"""What tests do to stored sessions behind the back of the lake.

What belongs here: rows that are changed, lost or wrong, of one session and of no other.  What does
not: damage of whole files, which hurts all of their sessions.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import decode_key, month_of
from smallcaps_assets.core.segments.entries import count_phases
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.core.ticks.content_hash import hash_sessions
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.closing import Draft
from smallcaps_assets.lake.segments.commit import commit_segments
from smallcaps_assets.lake.segments.names import PART_SUFFIX, Naming, part_key
from smallcaps_assets.lake.segments.parts import encode_parts
from smallcaps_assets.lake.segments.reading import list_months, read_entries, read_month
from smallcaps_assets.lake.sessions.receipts import FetchFacts
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import ENTRIES

PLACE: Final = ("ticker", "session_date")

Change = Callable[[pl.DataFrame], pl.DataFrame]
"""What becomes of the rows of a session."""


def list_data_files(lakehouse: Lakehouse) -> list[Path]:
    """List the files that hold rows of planned sessions."""
    store = lakehouse.sessions
    return sorted(
        lakehouse.home.object_file(part_key(month, part))
        for month in list_months(store.lake)
        for part in read_month(store.lake, month).parts
    )


def find_data_file(lakehouse: Lakehouse, key: str) -> Path:
    """Find the file that holds the rows of a session, which has some."""
    month = read_month(lakehouse.sessions.lake, month_of(decode_key(key)[1]))
    ((part,),) = month.winners.filter(_is(key)).select("part").rows()
    return lakehouse.home.object_file(part_key(month.name, part))


def count_neighbours(lakehouse: Lakehouse, key: str) -> int:
    """Count the sessions whose rows lie in the file of this one, itself included."""
    path = find_data_file(lakehouse, key)
    return pl.read_parquet(path, hive_partitioning=False).select(PLACE).n_unique()


def damage_rows(lakehouse: Lakehouse, key: str) -> None:
    """Damage the stored rows of a session; those of all others stay as they were proven."""
    path = find_data_file(lakehouse, key)
    price = pl.col("price")
    trades = pl.read_parquet(path).with_columns(pl.when(_is(key)).then(price + 1).otherwise(price))
    (part,) = encode_parts(trades, [trades.height])
    path.write_bytes(part.content)


def lose_session(lakehouse: Lakehouse, key: str) -> None:
    """Leave nothing of a session on the disk; the ledger is not told."""
    _replace_month(lakehouse.sessions, key, lambda rows: rows.clear(), is_kept=False)


def store_off_session(lakehouse: Lakehouse, key: str, date: dt.date) -> None:
    """Store the trades of a session once more, as prints on a date that is no session."""
    store, (ticker, session_date) = lakehouse.sessions, decode_key(key)
    receipt = store.read_receipt(ticker, session_date)
    facts = FetchFacts(**{name: getattr(receipt, name) for name in FetchFacts.__struct_fields__})
    trades = store.read_trades(ticker, session_date).with_columns(session_date=date)
    store.commit([store.prepare(ticker, date, trades, facts, tree=Tree.OFF_SESSION)])


def leave_stray(lakehouse: Lakehouse, key: str) -> Path:
    """Leave the rows of a session once more, unproven, as a writer does that is killed."""
    rows = find_data_file(lakehouse, key)
    path = rows.with_name(f"{Naming().make()}{PART_SUFFIX}")
    path.write_bytes(rows.read_bytes())
    return path


def rewrite_session(lakehouse: Lakehouse, key: str, change: Change) -> None:
    """Change the rows of a session, and what proves them.

    This is what a bug of a writer would leave: nothing is damaged, and the rows are wrong.
    """
    _replace_month(lakehouse.sessions, key, change)


def _is(key: str) -> pl.Expr:
    """Say of each row whether it is of a session."""
    ticker, date = decode_key(key)
    return (pl.col("ticker") == ticker) & (pl.col("session_date") == date)


def _replace_month(store: SegmentStore, key: str, change: Change, *, is_kept: bool = True) -> None:
    """Put one segment in place of the month of a session, whose rows are others or no more.

    Nothing is checked on the way: the product refuses rows out of order.
    """
    storage, month = store.lake.storage, read_month(store.lake, month_of(decode_key(key)[1]))
    entries = month.winners.drop(SEGMENT).filter(~_is(key) | pl.lit(is_kept))
    rows = read_entries(store.lake, month.name, month.winners)
    trades = pl.concat([rows.filter(~_is(key)), change(rows.filter(_is(key)))])
    files = [*month.stored.values(), *month.parts.values()]
    commit_segments(store.lake, [_draft(month.name, entries, trades)])
    for file in files:
        storage.remove(file.key)
    store.forget()


def _draft(month: str, entries: pl.DataFrame, trades: pl.DataFrame) -> Draft:
    """Make the segment of sessions whose rows are taken as they come."""
    tapes = trades.sort(PLACE, maintain_order=True)
    measured = tapes.group_by(PLACE, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("rows"), *count_phases()
    )
    counts = [name for name in measured.columns if name not in PLACE]
    told = entries.drop(counts).join(measured, on=PLACE, how="left").sort(PLACE)
    told = told.with_columns(pl.col(counts).fill_null(0))
    ends = told["rows"].cum_sum().to_list()
    hashes = hash_sessions(tapes, told["rows"].to_list())
    has_rows, start = pl.col("rows") > 0, pl.col("rows").cum_sum() - pl.col("rows")
    placed = told.with_columns(
        content_hash=pl.Series(hashes, dtype=pl.String),
        part=pl.when(has_rows).then(pl.lit("0")),
        first_row=pl.when(has_rows).then(start).otherwise(0),
    )
    return Draft(month, placed.select(*ENTRIES.columns), tuple(encode_parts(tapes, ends)))
