"""JSON files that state the hash of their own fields, so that an edit or damage shows.

What belongs here: writing and checking the seal. What does not: the fields
(``lake.sessions.receipts``).
"""

import hashlib
from typing import Final, TypeVar

import msgspec

from smallcaps_assets.core.documents import (
    DECODER_FAULTS,
    convert_fields,
    decode_json,
    name_fault,
)
from smallcaps_assets.errors import LedgerMismatchError, PartitionConflictError

Sealed = TypeVar("Sealed", bound=msgspec.Struct)

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


def hash_fields(fields: object) -> str:
    """Hash some fields in canonical JSON, which makes their seal."""
    return hashlib.sha256(_ENCODER.encode(fields)).hexdigest()


def encode_sealed(document: msgspec.Struct, kind: str) -> bytes:
    """Encode a document with its seal; equal documents have equal texts."""
    fields = msgspec.to_builtins(document)
    sealed = fields | {f"{kind}_sha256": hash_fields(fields)}
    return msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n"


def parse_sealed(text: bytes, kind: str, document: type[Sealed], newest: int, where: str) -> Sealed:
    """Parse the document that a sealed text holds.

    Args:
        text: Content of the file.
        kind: ``receipt`` or ``manifest``, which begins the names of its seal and of its version.
        document: What it is read as.
        newest: The newest version that this program knows.
        where: The file, for messages.

    Raises:
        LedgerMismatchError: It is cut or damaged, or was edited.
        PartitionConflictError: A newer version of the product wrote it.
    """
    what = f"{kind} {where}"
    try:
        fields = decode_json(text, dict[str, object])
        stated, found = fields.pop(f"{kind}_sha256", None), hash_fields(fields)
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(f"{what} is no JSON object: {name_fault(error)}") from error
    if stated != found:
        raise LedgerMismatchError(
            f"{what} was edited or damaged: its fields do not have the hash it states; run "
            "`smallcaps audit`, then `smallcaps repair`"
        )
    version = fields.get(f"{kind}_version")
    if not isinstance(version, int) or version > newest:
        raise PartitionConflictError(
            f"{what} has version {version}, this program reads up to {newest}: update "
            "smallcaps-assets"
        )
    try:
        return convert_fields(fields, document)
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(f"{what} is not one: {error}") from error
