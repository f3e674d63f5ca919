"""Whole tables as the bytes of a Parquet file, with facts about them in its footer.

What belongs here: encoding and decoding of any table but ``trades`` (``lake.sessions.parquet``).
What does not: where the bytes lie and when they change (``store``).
"""

import io
from collections.abc import Mapping
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import Table

_FACTS_KEY: Final = "smallcaps"
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

NO_FACTS: Final[Mapping[str, object]] = {}


def encode_table(table: Table, rows: pl.DataFrame, facts: Mapping[str, object] = NO_FACTS) -> bytes:
    """Encode a Parquet file; equal rows and facts give equal bytes on one version of polars.

    Rows lie as they come; facts are what they do not tell, anything JSON can hold.

    Raises:
        SchemaError: The rows break the contract.
    """
    metadata = {_FACTS_KEY: _ENCODER.encode(facts).decode()}
    return encode_rows(table.conform(rows), metadata)


def encode_rows(rows: pl.DataFrame, metadata: dict[str, str] | None = None) -> bytes:
    """Encode any rows, and texts for the footer, as Parquet; see :func:`encode_table`."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", metadata=metadata)
    return buffer.getvalue()


def decode_table(table: Table, content: bytes, *, where: str) -> pl.DataFrame:
    """Decode the rows of a Parquet file, which is named ``where`` in messages.

    Raises:
        DataError: It is damaged, or breaks the contract.
    """
    try:
        return table.conform(
            pl.read_parquet(io.BytesIO(content), hive_partitioning=False, glob=False)
        )
    except _UNREADABLE as error:
        raise _say_damaged(table, where, str(error)) from error
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}; materialize {table.name} again") from error


def decode_facts(table: Table, content: bytes, *, where: str) -> dict[str, object]:
    """Decode the facts in the footer of a Parquet file; none where another program wrote it.

    Raises:
        DataError: It is damaged.
    """
    try:
        text = pl.read_parquet_metadata(io.BytesIO(content)).get(_FACTS_KEY, "{}")
        return decode_json(text, dict[str, object])
    except (*_UNREADABLE, *DECODER_FAULTS) as error:
        raise _say_damaged(table, where, str(error)) from error


def _say_damaged(table: Table, where: str, reason: str) -> DataError:
    first = reason.splitlines()[0] if reason else "no reason given"
    return DataError(f"{where} is damaged ({first}): materialize {table.name} again")
