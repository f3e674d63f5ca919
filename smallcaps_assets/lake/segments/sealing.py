"""Parquet files that state the hash of their own bytes, so that an edit or damage shows.

What belongs here: putting a seal on a table and checking it.  What does not: what the tables say
(``records``, ``lake.upkeep.snapshots``).

The seal is the sha256 of the whole file with 64 question marks in its place, so that it proves
every byte before any decoder sees one, whatever library wrote the file.
"""

import hashlib
import io
from typing import Final

import polars as pl

from smallcaps_assets.errors import LedgerMismatchError

NO_SEAL: Final = "?" * 64
"""What stands in the place of a seal while its file is hashed."""

_METADATA: Final = "smallcaps"
_BEFORE_SEAL: Final = b'"seal":"'


def encode_sealed(rows: pl.DataFrame, metadata: str) -> bytes:
    """Write a table with its seal.

    Args:
        rows: The table.
        metadata: JSON without blanks for the footer, whose last ``seal`` is ``NO_SEAL``.
    """
    buffer = io.BytesIO()
    # Who reads it reads all of it: statistics would be a third of a small one.
    rows.write_parquet(buffer, compression="zstd", statistics=False, metadata={_METADATA: metadata})
    content = buffer.getvalue()
    return _put_seal(content, hashlib.sha256(content).hexdigest())


def parse_sealed(content: bytes, where: str) -> tuple[str, pl.DataFrame]:
    """Read the metadata and the rows of a table, after its seal has proven every byte.

    Args:
        content: The whole file.
        where: The file, for messages.

    Raises:
        LedgerMismatchError: It is cut, damaged or edited.
    """
    start = content.rfind(_BEFORE_SEAL) + len(_BEFORE_SEAL)
    stated = content[start : start + len(NO_SEAL)]
    if start < len(_BEFORE_SEAL) or len(stated) != len(NO_SEAL):
        raise refuse_damage(where, "it has no seal")
    found = hashlib.sha256(_put_seal(content, NO_SEAL)).hexdigest()
    if stated != found.encode():
        raise refuse_damage(where, "its content does not have the hash that it states")
    metadata = pl.read_parquet_metadata(io.BytesIO(content))[_METADATA]
    return metadata, pl.read_parquet(io.BytesIO(content), glob=False, hive_partitioning=False)


def refuse_damage(where: str, reason: str) -> LedgerMismatchError:
    """Say that a file is not what was written."""
    return LedgerMismatchError(
        f"{where} was cut, edited or damaged: {reason}; run `smallcaps audit`, then "
        "`smallcaps repair`"
    )


def _put_seal(content: bytes, seal: str) -> bytes:
    start = content.rindex(_BEFORE_SEAL) + len(_BEFORE_SEAL)
    return b"%b%b%b" % (content[:start], seal.encode(), content[start + len(seal) :])
