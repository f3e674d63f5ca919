"""Records: sealed Parquet files with the entries of a segment.

What belongs here: the bytes of a record, its seal, and what makes one unreadable.  What does not:
when one is written (``commit``), and what is made of many (``reading``).

The seal is the sha256 of the whole file with 64 question marks in its place, so that it proves
every byte before any decoder sees one, whatever library wrote the file.
"""

import hashlib
import io
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError, SchemaError
from smallcaps_assets.schemas import ENTRIES

FORMAT_VERSION: Final = 2
"""Version of records and parts; a lake with a receipt beside each session is of version 1."""

_METADATA: Final = "smallcaps"
_NO_SEAL: Final = "?" * 64
_BEFORE_SEAL: Final = b'"seal":"'


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
    seal: str = _NO_SEAL


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
    buffer = io.BytesIO()
    metadata = {_METADATA: msgspec.json.encode(header).decode()}
    rows = ENTRIES.conform(entries).sort(ENTRIES.key)
    rows.write_parquet(buffer, compression="zstd", statistics=False, metadata=metadata)
    content = buffer.getvalue()
    return _put_seal(content, hashlib.sha256(content).hexdigest())


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
    _check_seal(content, where)
    try:
        header = decode_json(pl.read_parquet_metadata(io.BytesIO(content))[_METADATA], Header)
        entries = pl.read_parquet(io.BytesIO(content), glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, KeyError, *DECODER_FAULTS) as error:
        raise _refuse_version(where, str(error)) from error
    if header.format > FORMAT_VERSION:
        raise _refuse_version(where, f"it has version {header.format}")
    if header.source != source:
        raise PartitionConflictError(
            f"{where} holds data of {header.source}, this lake those of {source}: move the file "
            "out of the lake, and find out how it came there"
        )
    if (header.month, header.name) != (month, name):
        raise _refuse(where, f"it says that it is {header.name} of {header.month}")
    try:
        conformed = ENTRIES.conform(entries)
    except SchemaError as error:
        raise _refuse_version(where, str(error)) from error
    return Record(header, conformed, hashlib.sha256(content).hexdigest(), len(content))


def _put_seal(content: bytes, seal: str) -> bytes:
    start = content.rindex(_BEFORE_SEAL) + len(_BEFORE_SEAL)
    return b"%b%b%b" % (content[:start], seal.encode(), content[start + len(seal) :])


def _check_seal(content: bytes, where: str) -> None:
    start = content.rfind(_BEFORE_SEAL) + len(_BEFORE_SEAL)
    stated = content[start : start + len(_NO_SEAL)]
    if start < len(_BEFORE_SEAL) or len(stated) != len(_NO_SEAL):
        raise _refuse(where, "it has no seal")
    found = hashlib.sha256(_put_seal(content, _NO_SEAL)).hexdigest()
    if stated != found.encode():
        raise _refuse(where, "its content does not have the hash that it states")


def _refuse(where: str, reason: str) -> LedgerMismatchError:
    return LedgerMismatchError(
        f"{where} was cut, edited or damaged: {reason}; run `smallcaps audit`, then "
        "`smallcaps repair`"
    )


def _refuse_version(where: str, reason: str) -> PartitionConflictError:
    return PartitionConflictError(
        f"{where} is whole, and not of format {FORMAT_VERSION}, which is the newest this program "
        f"reads: {reason}; update smallcaps-assets"
    )
