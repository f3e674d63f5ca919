"""Whether entries are what their parts hold: the deep audit of a month.

What belongs here: every file against its hash, every session against its content hash.  What does
not: what is done about damage (``healing``).
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import PHASE_COLUMNS, count_phases
from smallcaps_assets.core.ticks.content_hash import hash_sessions
from smallcaps_assets.errors import DataError, MissingPartitionError, StorageError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import part_key
from smallcaps_assets.lake.segments.parts import PartReader
from smallcaps_assets.lake.segments.reading import Month
from smallcaps_assets.lake.storage.disk_errors import is_broken

BATCH_ROWS: Final = 262_144
"""Rows decoded at once; a larger session is decoded whole."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something of a month that is not as it should be.

    Attributes:
        kind: ``record``, ``part`` or ``missing_part``: a file; ``content``: rows of a session;
            ``stray``: a part that no record names, which is no loss by itself.
        file: Name of the record or the part.
        message: What is wrong, in words.
        ticker: Of a session; else empty.
        session_date: Of a session; else ``None``.
    """

    kind: str
    file: str
    message: str
    ticker: str = ""
    session_date: dt.date | None = None


def audit_month(lake: SegmentLake, month: Month) -> list[Finding]:
    """Prove all files of a month, and every session in them.

    Raises:
        StorageError: The storage refuses.
    """
    findings = [Finding("record", name, reason) for name, reason in month.damaged.items()]
    findings += [
        Finding("stray", name, "no record names it: its writer was killed, or its record is lost")
        for name in month.strays
    ]
    damaged = find_damaged_parts(lake, month)
    for part, reason in damaged.items():
        findings.append(Finding("part" if part in month.parts else "missing_part", part, reason))
    for part, entries in _by_part(month.entries):
        if part not in month.parts:
            continue
        for number, reason in find_unproven(lake, month.name, entries).items():
            ticker, date = entries.select("ticker", "session_date").row(number)
            findings.append(Finding("content", part, reason, ticker, date))
    return sorted(findings, key=str)


def find_damaged_parts(lake: SegmentLake, month: Month) -> dict[str, str]:
    """Find the parts that are not what was written, and those that are gone with rows that count.

    Returns:
        Why, by the name of the part.

    Raises:
        StorageError: The storage refuses.
    """
    facts = month.told_parts
    counting = {part for part, _ in _by_part(month.winners)}
    damaged = dict.fromkeys(counting - month.parts.keys(), "it is gone")
    for part in sorted(facts.keys() & month.parts.keys()):
        if reason := _doubt(lake, part_key(month.name, part), facts[part].sha256):
            damaged[part] = reason
    return damaged


def _doubt(lake: SegmentLake, key: str, sha256: str) -> str:
    """Tell why a part is not what was written; empty: it is."""
    try:
        content = lake.storage.load(key)
    except StorageError as error:
        if is_broken(error):
            return str(error)
        raise
    is_whole = hashlib.sha256(content).hexdigest() == sha256
    return "" if is_whole else "it does not have the hash that its record states"


def list_sessions(lake: SegmentLake, month: str, part: str) -> pl.DataFrame:
    """List the sessions of a part by its rows alone.

    Returns:
        Columns ``ticker``, ``session_date``, ``part``, ``first_row``, ``rows`` and
        ``content_hash``, in the order of the part.

    Raises:
        DataError: It is damaged.
        MissingPartitionError: It is gone.
        StorageError: The storage refuses.
    """
    reader = PartReader(lake.storage, part_key(month, part))
    trades = reader.read([(0, reader.rows)])
    found = trades.group_by("ticker", "session_date", maintain_order=True).agg(
        rows=pl.len().cast(pl.Int64)
    )
    return found.with_columns(
        part=pl.lit(part),
        first_row=pl.col("rows").cum_sum() - pl.col("rows"),
        content_hash=pl.Series(hash_sessions(trades, found["rows"].to_list()), dtype=pl.String),
    )


def find_unproven(lake: SegmentLake, month: str, entries: pl.DataFrame) -> dict[int, str]:
    """Find entries of one part whose rows are not what they say.

    Args:
        lake: The lake.
        month: The month.
        entries: ``schemas.ENTRIES`` with rows, all of one part.

    Returns:
        What is wrong, by the number of the row in ``entries``.

    Raises:
        StorageError: The storage refuses.
    """
    numbered = entries.with_row_index("number").sort("first_row")
    batch = (pl.col("rows").cum_sum() - 1) // BATCH_ROWS
    wrong: dict[int, str] = {}
    for piece in numbered.with_columns(batch=batch).partition_by("batch", maintain_order=True):
        told = _prove(lake, month, piece)
        if told:
            told = {
                number: reason
                for row in piece.iter_slices(1)
                for number, reason in _prove(lake, month, row).items()
            }
        wrong |= told
    return wrong


def _by_part(entries: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    named = entries.filter(pl.col("rows") > 0).sort("part", "first_row")
    for piece in named.partition_by("part", maintain_order=True):
        yield piece["part"][0], piece


def _prove(lake: SegmentLake, month: str, entries: pl.DataFrame) -> dict[int, str]:
    """Read entries of one part together; say what is wrong with the first and all others."""
    numbers = entries["number"].to_list()
    places = entries.select("first_row", "rows").rows()
    try:
        reader = PartReader(lake.storage, part_key(month, entries["part"][0]))
        trades = reader.read(places)
        found = hash_sessions(trades, entries["rows"].to_list())
    except (DataError, MissingPartitionError) as error:
        return dict.fromkeys(numbers, str(error))
    except StorageError as error:
        if is_broken(error):
            return dict.fromkeys(numbers, str(error))
        raise
    wrong = {
        number: f"expected the content {stated}, got {hashed}"
        for number, stated, hashed in zip(numbers, entries["content_hash"], found, strict=True)
        if stated != hashed
    }
    return wrong or _compare_labels(trades, entries)


def _compare_labels(trades: pl.DataFrame, entries: pl.DataFrame) -> dict[int, str]:
    """Compare what the content hash does not hold: ticker, date and phases."""
    owner = entries.select(pl.col("number").repeat_by("rows").explode(empty_as_null=False))[
        "number"
    ]
    labels = ("ticker", "session_date")
    seen = trades.with_columns(number=owner).group_by("number", *labels).agg(*count_phases())
    columns = ["number", *labels, *PHASE_COLUMNS.values()]
    wrong = entries.join(seen, on=columns, how="anti")
    return dict.fromkeys(wrong["number"].to_list(), "its rows have other labels than it says")
