"""Upkeep of a month: rows packed into few parts, and files removed that nothing names any more.

What belongs here: doing what was chosen, in an order that any kill allows.  What does not: the
choice (``core.segments``), and the locks, which are held by the caller: shared for packing,
exclusive for removing.
"""

import hashlib
from collections.abc import Collection, Iterator

import msgspec
import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.core.segments.upkeep import (
    Files,
    Removals,
    choose_removals,
    choose_strays,
    measure_fill,
)
from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.segments.closing import Draft, close_segment
from smallcaps_assets.lake.segments.commit import (
    SegmentLake,
    has_parts,
    name_segment,
    place_entries,
    store_parts,
    store_records,
)
from smallcaps_assets.lake.segments.names import CLOCK, part_key, record_key
from smallcaps_assets.lake.segments.parts import SHAPE, PartShape
from smallcaps_assets.lake.segments.reading import Month, read_entries, read_month
from smallcaps_assets.lake.segments.records import Header, PartFacts, Record
from smallcaps_assets.lake.storage.protocol import read_clock
from smallcaps_assets.schemas import ENTRIES, TRADES


def pack_month(
    lake: SegmentLake, month: str, *, shape: PartShape = SHAPE, is_forced: bool = False
) -> Record | None:
    """Write a month anew, into as few parts as it needs and one record; ``None``: it is tidy.

    Every session is proven by its content hash, and parts are read back, before the record is
    stored.  Until then nothing of it counts.

    Args:
        lake: The lake.
        month: The month.
        shape: How large parts are.
        is_forced: Pack it even if it is tidy.

    Raises:
        DataError: A session is not what its entry says; repair the month first.
        LedgerMismatchError: A record is damaged.
        MissingPartitionError: A part with rows that count is gone.
        StorageError: The storage refuses; doing it again is safe.
    """
    survey = read_month(lake, month)
    records = len(survey.records.keys() - survey.replaced)
    fill = measure_fill(survey.winners, survey.part_facts, records)
    if survey.winners.is_empty() or not (is_forced or fill.is_untidy):
        return None
    headers, entries = [], []
    for draft in _iter_drafts(lake, survey, shape):
        header = name_segment(lake, draft)
        store_parts(lake, [draft], [header])
        _read_back(lake, header)
        headers.append(header)
        entries.append(place_entries(draft, header))
    whole = msgspec.structs.replace(
        headers[0],
        parts=tuple(part for header in headers for part in header.parts),
        replaces=tuple(sorted(survey.records.keys() | survey.replaced)),
    )
    (record,) = store_records(lake, [whole], [pl.concat(entries)])
    _look_again(lake, survey, record)
    return record


def remove_displaced(lake: SegmentLake, month: str, named: Collection[str] = ()) -> Removals:
    """Remove what was displaced a day ago; the exclusive lock is held.

    Args:
        lake: The lake.
        month: The month.
        named: Parts and records that the published catalog or one of the last two snapshots names.

    Returns:
        What was removed.

    Raises:
        LedgerMismatchError: A record is damaged.
        StorageError: The storage refuses; doing it again is safe.
    """
    survey = read_month(lake, month)
    files = Files(
        records={name: stored.modified_ns for name, stored in survey.stored.items()},
        replaces={name: record.header.replaces for name, record in survey.records.items()},
        parts=survey.parts.keys(),
        named=named,
    )
    chosen = choose_removals(survey.entries, survey.winners, files, read_time(lake))
    for part in chosen.parts:
        lake.storage.remove(part_key(month, part))
    for name in chosen.records:
        lake.storage.remove(record_key(month, name))
    return chosen


def remove_strays(
    lake: SegmentLake, month: Month, lost: Collection[str], sighted: dict[str, int] | None = None
) -> tuple[str, ...]:
    """Remove parts that no record names.

    Args:
        lake: The lake.
        month: The month, as read under the exclusive lock, or before that in a bucket.
        lost: Names of records that are lost: their parts stay.
        sighted: When an earlier run saw each, by the storage's clock, which is added to; ``None``:
            the exclusive lock is held, so that nobody can be about to name one.

    Raises:
        StorageError: The storage refuses; doing it again is safe.
    """
    if not month.strays:
        return ()
    now_ns = read_time(lake)
    if sighted is None:
        chosen = choose_strays(dict.fromkeys(month.strays, now_ns), lost, now_ns, rest_ns=0)
    else:
        seen = {name: sighted.setdefault(name, now_ns) for name in month.strays}
        chosen = choose_strays(seen, lost, now_ns)
    for part in chosen:
        lake.storage.remove(part_key(month.name, part))
    return chosen


def read_time(lake: SegmentLake) -> int:
    """Ask the lake's storage for its time; nanoseconds since 1970."""
    return read_clock(lake.storage, f"{CLOCK}{lake.naming.make()}")


def _iter_drafts(lake: SegmentLake, survey: Month, shape: PartShape) -> Iterator[Draft]:
    """Yield the month in pieces; all parts but the last are full.

    What would make a part that is not full is carried over to the next piece.
    """
    packed = survey.winners.with_columns(pl.col("packed") + 1).drop(SEGMENT)
    chunk = (pl.col("rows").cum_sum() - 1).clip(0) // shape.chunk_rows
    pieces = packed.with_columns(chunk=chunk).partition_by("chunk", maintain_order=True)
    carried = ENTRIES.empty()
    trades = TRADES.empty()
    for number, piece in enumerate(pieces):
        entries = piece.select(*ENTRIES.columns)
        trades = pl.concat([trades, read_entries(lake, survey.name, entries)])
        entries = pl.concat([carried, entries])
        draft = close_segment(survey.name, entries, trades, shape=shape)
        if number < len(pieces) - 1:
            draft, carried, trades = _cut_last(draft, entries, trades, shape)
        yield draft


def _cut_last(
    draft: Draft, entries: pl.DataFrame, trades: pl.DataFrame, shape: PartShape
) -> tuple[Draft, pl.DataFrame, pl.DataFrame]:
    """Take a last part that is not full off a draft; return its entries and rows beside it."""
    last = draft.parts[-1] if draft.parts else None
    if last is None or len(last.content) >= shape.part_bytes:
        return draft, ENTRIES.empty(), TRADES.empty()
    is_last = draft.entries["part"] == str(len(draft.parts) - 1)
    is_last = is_last.fill_null(value=False)
    kept = Draft(draft.month, draft.entries.filter(~is_last), draft.parts[:-1])
    own = entries.join(draft.entries.filter(is_last), on=KEY, how="semi")
    return kept, own, trades.slice(last.first_row).rechunk()


def _look_again(lake: SegmentLake, survey: Month, record: Record) -> None:
    """Lead back to the old parts where a new one is gone: its writer slept, and it was a stray."""
    month = survey.name
    if has_parts(lake, record):
        return
    live = survey.part_facts.filter(pl.col("live_rows") > 0)
    facts = live.select("part", "sha256", "bytes", "rows").rows()
    back = Header(
        source=lake.source,
        month=month,
        name=lake.naming.make(),
        parts=tuple(PartFacts(*fact) for fact in facts),
        replaces=(*record.header.replaces, record.header.name),
    )
    entries = survey.winners.with_columns(pl.col("packed") + 2).drop(SEGMENT)
    store_records(lake, [back], [entries])
    raise StorageError(
        f"expected the new parts of {month} to stay, but one was removed before its record was "
        "stored; the month is as it was: run the same command again"
    )


def _read_back(lake: SegmentLake, header: Header) -> None:
    for part in header.parts:
        content = lake.storage.load(part_key(header.month, part.name))
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise StorageError(
                f"expected the part {part.name} of {header.month} to read back as it was written, "
                "got other bytes; check the disk, then run the same command again"
            )
