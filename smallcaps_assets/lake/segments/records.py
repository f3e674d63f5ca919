"""Records: sealed Parquet files with the entries of a segment.

What belongs here: what a record says, and what makes one unreadable.  What does not: its seal
(``sealing``), when one is written (``commit``), and what is made of many (``reading``).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import PartitionConflictError, SchemaError
from smallcaps_assets.lake.segments.sealing import (
    NO_SEAL,
    encode_sealed,
    parse_sealed,
    refuse_damage,
)
from smallcaps_assets.schemas import ENTRIES

FORMAT_VERSION: Final = 2
"""Version of records and parts; a lake with a receipt beside each session is of version 1."""


class PartFacts(msgspec.Struct, frozen=True):
    """What a record says of one part.

    Attributes:
        name: Its name, suffix included.
        sha256: Hash of the file.
        bytes: Its size.
        rows: Trades in it.
    """

    name: str
    sha256: str
    bytes: int
    rows: int


def frame_parts(parts: Iterable[PartFacts]) -> pl.DataFrame:
    """Frame what is said of parts: ``part``, ``sha256``, ``bytes`` and ``rows``, a row each."""
    rows = [(part.name, part.sha256, part.bytes, part.rows) for part in parts]
    schema = {"part": pl.String, "sha256": pl.String, "bytes": pl.Int64, "rows": pl.Int64}
    return pl.DataFrame(rows, schema, orient="row")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says of itself.

    Attributes:
        format: Version of the format.
        source: Source that the lake is bound to.
        month: Month of its sessions, ``YYYY-MM``.
        name: Its name.
        parts: The parts that were written for it.
        replaces: Names of records whose entries it all contains.
        seen: Names of the records of the month that its writer knew.
        seal: Hash over the whole file.
    """

    format: int = FORMAT_VERSION
    source: str
    month: str
    name: str
    parts: tuple[PartFacts, ...] = ()
    replaces: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    seal: str = NO_SEAL


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read or written.

    Attributes:
        header: What it says of itself.
        entries: ``schemas.ENTRIES``, sorted by key.
        sha256: Hash of the file.
        size: Bytes of the file.
    """

    header: Header
    entries: pl.DataFrame
    sha256: str
    size: int


def encode_record(header: Header, entries: pl.DataFrame) -> bytes:
    """Write a record with its seal; ``header`` has none yet.

    Raises:
        SchemaError: The entries break their contract.
    """
    rows = ENTRIES.conform(entries).sort(ENTRIES.key)
    return encode_sealed(rows, msgspec.json.encode(header).decode())


def parse_record(content: bytes, *, month: str, name: str, source: str) -> Record:
    """Read a record, after its seal has proven every byte.

    Args:
        content: The whole file.
        month: Month in whose folder it lies.
        name: Its name there.
        source: Source that the lake is bound to.

    Raises:
        LedgerMismatchError: It is cut, damaged or edited, or lies under another name.
        PartitionConflictError: A newer version wrote it, or it is of another source.
    """
    where = f"record {name} of {month}"
    metadata, entries = parse_sealed(content, where)
    try:
        header = decode_json(metadata, Header)
    except DECODER_FAULTS as error:
        raise _refuse_version(where, name_fault(error)) from error
    if header.format > FORMAT_VERSION:
        raise _refuse_version(where, f"it has version {header.format}")
    if header.source != source:
        raise PartitionConflictError(
            f"{where} holds data of {header.source}, this lake those of {source}: move the file "
            "out of the lake, and find out how it came there"
        )
    if (header.month, header.name) != (month, name):
        raise refuse_damage(where, f"it says that it is {header.name} of {header.month}")
    try:
        conformed = ENTRIES.conform(entries)
    except SchemaError as error:
        raise _refuse_version(where, str(error)) from error
    return Record(header, conformed, hashlib.sha256(content).hexdigest(), len(content))


def _refuse_version(where: str, reason: str) -> PartitionConflictError:
    return PartitionConflictError(
        f"{where} is whole, and not of format {FORMAT_VERSION}, which is the newest this program "
        f"reads: {reason}; update smallcaps-assets"
    )
