"""What a lake holds, in few rows: the index that a ledger is made from, and snapshots of it.

What belongs here: one row a month and record, snapshots, and what witnesses miss.  What does not:
the ledger itself (``indexing``), and the rules of loss (``core.segments``).

A snapshot is a witness and a cache, never a proof.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.indexing import (
    INDEX_SCHEMA,
    RECORD_KEY,
    count_entries,
    index_records,
)
from smallcaps_assets.core.segments.witnesses import Loss, find_lost_records
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import SNAPSHOTS
from smallcaps_assets.lake.segments.reading import Month
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.segments.sealing import NO_SEAL, encode_sealed, parse_sealed

SNAPSHOTS_KEPT: Final = 2


def index_month(month: Month) -> pl.DataFrame:
    """Say what each record of a month holds that counts; ``INDEX_SCHEMA``, sorted by record."""
    facts = index_headers(month.records.values(), month.parts)
    winners = count_entries(month.winners, month.part_facts)
    counts = ("sessions", "green", "rows")
    joined = facts.drop(counts).join(index_records(winners), on=RECORD_KEY, how="left")
    filled = joined.with_columns(pl.col(counts).fill_null(0))
    return filled.select(INDEX_SCHEMA.names()).sort("record")


def index_headers(records: Iterable[Record], parts: Collection[str]) -> pl.DataFrame:
    """Say what records say of themselves; ``INDEX_SCHEMA``, of which nothing is counted yet.

    Args:
        records: The records.
        parts: Names of the parts that are there.
    """
    rows = [
        {
            "month": one.header.month,
            "record": one.header.name,
            "sha256": one.sha256,
            "bytes": one.size,
            **dict.fromkeys(("sessions", "green", "rows"), 0),
            "parts": [part.name for part in one.header.parts if part.name in parts],
            "replaces": list(one.header.replaces),
        }
        for one in records
    ]
    return pl.DataFrame(rows, INDEX_SCHEMA)


def write_snapshot(lake: SegmentLake, index: pl.DataFrame) -> str:
    """Store a snapshot of all months, then remove all but the last two; return its key.

    An index is older than a snapshot if this one names a record that the index neither has, as
    there or as lost, nor knows to be replaced.

    Raises:
        LedgerMismatchError: The index is older than a snapshot that is there.
        StorageError: The storage refuses.
    """
    _refuse_older(index, read_snapshots(lake))
    key = f"{SNAPSHOTS}{lake.naming.make()}.parquet"
    lake.storage.save({key: encode_sealed(select_standing(index), f'{{"seal":"{NO_SEAL}"}}')})
    for old in _list_snapshots(lake)[:-SNAPSHOTS_KEPT]:
        lake.storage.remove(old)
    return key


def select_standing(index: pl.DataFrame) -> pl.DataFrame:
    """Select what a snapshot has of an index: ``INDEX_SCHEMA``, sorted by month and record.

    A record that another one replaces needs no witness, and a part without a row that counts no
    reader, so nothing of them is named.
    """
    replaced = index["replaces"].explode().drop_nulls()
    counts = pl.when(pl.col("rows") > 0).then(pl.col("parts"))
    standing = index.filter(~pl.col("record").is_in(replaced.implode()))
    rows = standing.with_columns(parts=counts.otherwise(pl.lit([], pl.List(pl.String))))
    return rows.select(INDEX_SCHEMA.names()).sort("month", "record")


def list_unknown(index: pl.DataFrame, snapshots: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """List what snapshots name and an index neither has, as there or as lost, nor as replaced.

    Returns:
        ``month`` and ``record``, each once, in order.
    """
    named = [one.select(RECORD_KEY) for one in snapshots]
    told = pl.concat([index.clear().select(RECORD_KEY), *named]).unique()
    known = pl.concat([index["record"], index["replaces"].explode().drop_nulls()])
    return told.filter(~pl.col("record").is_in(known.implode())).sort(RECORD_KEY)


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


def _refuse_older(index: pl.DataFrame, snapshots: Mapping[str, pl.DataFrame]) -> None:
    """Refuse an index that would take a witness away of what it does not know."""
    for key, snapshot in snapshots.items():
        if unknown := list_unknown(index, [snapshot])["record"].to_list():
            raise LedgerMismatchError(
                f"expected an index that knows all records of {key}, got one without "
                f"{', '.join(unknown[:3])} ({len(unknown):,} in all): the ledger is older than the "
                "snapshot, which stays; run `smallcaps reindex`"
            )


def _list_snapshots(lake: SegmentLake) -> list[str]:
    """List snapshots, the oldest first by the storage's clock: that of a machine may jump."""
    found = lake.storage.list_keys(SNAPSHOTS)
    return [stored.key for stored in sorted(found, key=lambda one: (one.modified_ns, one.key))]
