"""JSON files that state the hash of their own fields, so that an edit or damage shows.

What belongs here: writing and checking the seal. What does not: the fields
(``lake.sessions.receipts``, ``lake.months.manifest``).
"""

import hashlib
from typing import Final

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import LedgerMismatchError

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


def hash_fields(fields: object) -> str:
    """Return the seal of some fields: their hash in canonical JSON."""
    return hashlib.sha256(_ENCODER.encode(fields)).hexdigest()


def encode_sealed(fields: dict[str, object], seal: str) -> bytes:
    """Return the text of some fields with their hash under the name ``seal``."""
    sealed = fields | {seal: hash_fields(fields)}
    return msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n"


def parse_sealed(text: bytes, seal: str, *, what: str) -> dict[str, object]:
    """Return the fields of a sealed text, without their seal.

    Args:
        text: Content of the file.
        seal: Name of the seal.
        what: Kind and path of the file, for messages.

    Raises:
        LedgerMismatchError: It is cut or damaged, or was edited.
    """
    try:
        fields = decode_json(text, dict[str, object])
        stated, found = fields.pop(seal, None), hash_fields(fields)
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(f"{what} is no JSON object: {name_fault(error)}") from error
    if stated != found:
        raise LedgerMismatchError(
            f"{what} was edited or damaged: its fields do not have the hash it states; run "
            "`smallcaps audit`, then `smallcaps repair`"
        )
    return fields
