"""What a lake holds, in few rows: the index that a ledger is made from, and snapshots of it.

What belongs here: one row a month and record, ticker-months, snapshots, and what witnesses miss.
What does not: the ledger itself, and the rules of loss (``core.segments``).

A snapshot is a witness and a cache, never a proof.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.merging import SEGMENT, is_green, is_proven
from smallcaps_assets.core.segments.witnesses import Loss, find_lost_records
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import SNAPSHOTS
from smallcaps_assets.lake.segments.reading import Month
from smallcaps_assets.lake.segments.sealing import NO_SEAL, encode_sealed, parse_sealed

INDEX_SCHEMA: Final = pl.Schema(
    {
        "month": pl.String(),
        "record": pl.String(),
        "sha256": pl.String(),
        "bytes": pl.Int64(),
        "sessions": pl.Int64(),
        "green": pl.Int64(),
        "rows": pl.Int64(),
        "parts": pl.List(pl.String()),
    }
)
"""A row a record: its hash and size, entries of it that count, those that are green, rows of them,
and the parts that were written for it."""

SNAPSHOTS_KEPT: Final = 2


def index_month(month: Month) -> pl.DataFrame:
    """Say what each record of a month holds that counts; ``INDEX_SCHEMA``, sorted by record."""
    counted = month.winners.group_by(SEGMENT).agg(
        sessions=pl.len().cast(pl.Int64),
        green=is_green().sum().cast(pl.Int64),
        rows=pl.col("rows").sum(),
    )
    told = [
        (month.name, name, one.sha256, one.size, [part.name for part in one.header.parts])
        for name, one in sorted(month.records.items())
    ]
    columns = ("month", "record", "sha256", "bytes", "parts")
    frame = pl.DataFrame(told, {name: INDEX_SCHEMA[name] for name in columns}, orient="row")
    joined = frame.join(counted, left_on="record", right_on=SEGMENT, how="left")
    counts = pl.col("sessions", "green", "rows").fill_null(0)
    return joined.with_columns(counts).select(INDEX_SCHEMA.names()).sort("record")


def index_tickers(month: Month) -> pl.DataFrame:
    """Count sessions of each ticker in a month: proven, red, marked; and their rows.

    Returns:
        Columns ``ticker``, ``month``, ``proven``, ``red``, ``marked``, ``rows``, by ticker.
    """
    sessions = month.winners.filter(pl.col("kind") == SESSION)
    proven = is_proven(month.parts.keys())
    return (
        sessions.group_by("ticker")
        .agg(
            month=pl.lit(month.name),
            proven=proven.sum().cast(pl.Int64),
            red=(~proven).sum().cast(pl.Int64),
            marked=(proven & (pl.col("marks").list.len() > 0)).sum().cast(pl.Int64),
            rows=pl.col("rows").sum(),
        )
        .sort("ticker")
    )


def write_snapshot(lake: SegmentLake, index: pl.DataFrame) -> str:
    """Store a snapshot of all months, then remove all but the last two; return its key.

    Raises:
        StorageError: The storage refuses.
    """
    key = f"{SNAPSHOTS}{lake.naming.make()}.parquet"
    rows = index.select(INDEX_SCHEMA.names()).sort("month", "record")
    lake.storage.save({key: encode_sealed(rows, f'{{"seal":"{NO_SEAL}"}}')})
    for old in _list_snapshots(lake)[:-SNAPSHOTS_KEPT]:
        lake.storage.remove(old)
    return key


def read_snapshots(lake: SegmentLake) -> dict[str, pl.DataFrame]:
    """Read the last two snapshots, by key; one that is damaged is no witness.

    Raises:
        StorageError: The storage refuses.
    """
    snapshots = {}
    for key in _list_snapshots(lake)[-SNAPSHOTS_KEPT:]:
        try:
            snapshots[key] = parse_sealed(lake.storage.load(key), key)[1]
        except (LedgerMismatchError, MissingPartitionError):
            continue
    return snapshots


def list_named(snapshots: Iterable[pl.DataFrame]) -> set[str]:
    """List the parts and records that snapshots name."""
    frames = list(snapshots)
    parts = {name for frame in frames for name in frame["parts"].explode().drop_nulls()}
    return parts | {name for frame in frames for name in frame["record"]}


def find_month_losses(month: Month, indices: Mapping[str, pl.DataFrame]) -> list[Loss]:
    """Find the records of a month that a witness names, and that are neither there nor replaced.

    Args:
        month: The month; a record that is there and damaged is no loss of this kind.
        indices: Indices as the ledger and snapshots have them, by the name of the witness;
            whoever rebuilds the ledger asks this before it forgets the old one.
    """
    witnesses = {
        witness: set(index.filter(pl.col("month") == month.name)["record"])
        for witness, index in indices.items()
    }
    witnesses |= {
        f"seen by {name}": set(record.header.seen) for name, record in month.records.items()
    }
    return find_lost_records({*month.stored}, month.replaced, witnesses)


def _list_snapshots(lake: SegmentLake) -> list[str]:
    """List snapshots, the oldest first by the storage's clock: that of a machine may jump."""
    found = lake.storage.list_keys(SNAPSHOTS)
    return [stored.key for stored in sorted(found, key=lambda one: (one.modified_ns, one.key))]
