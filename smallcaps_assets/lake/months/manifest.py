"""Manifests: which files make up a compacted month, and what they hold.

What belongs here: the fields of a manifest, its text and its seal.  What does not: the files
(``parts``), where they lie (``lake.paths.layout``) and when they change (``store``).

A month exists when its manifest does.  It names files by the hash of their content, so that a
new manifest and the files of the old one lie side by side until nobody reads the old ones.
"""

import datetime as dt
from typing import Final

import msgspec

from smallcaps_assets.lake.storage.seals import encode_sealed, hash_fields, parse_sealed

MANIFEST_VERSION: Final = 1
"""Version of the fields below; a newer manifest is refused."""


class MonthFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a month.

    Attributes:
        name: Its name below the folder of the month.
        rows: Rows in it.
        bytes: Its size.
        sha256: Hash of its bytes.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


class MonthManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What makes up a compacted month.

    Attributes:
        month: The month, ``YYYY-MM``.
        source: Source the lake is bound to.
        schema_version: Version of the tables it was written by.
        sessions: Ticker-sessions with trades.
        rows: Their trades.
        content_hash: Hash over the keys and content hashes of its sessions.
        parts: The files of trades, in the order of ticker and session.
        index: The file of ``schemas.COMPACTED_SESSIONS``.
        compacted_at: When it was written.
        manifest_version: Version of these fields.
    """

    month: str
    source: str
    schema_version: int
    sessions: int
    rows: int
    content_hash: str
    parts: tuple[MonthFile, ...]
    index: MonthFile
    compacted_at: dt.datetime
    manifest_version: int = MANIFEST_VERSION

    @property
    def sha256(self) -> str:
        """Return the seal: the hash of all fields in canonical JSON."""
        return hash_fields(msgspec.to_builtins(self))

    @property
    def bytes(self) -> int:
        """Return the size of all files but the manifest."""
        return sum(part.bytes for part in self.parts) + self.index.bytes

    @property
    def files(self) -> tuple[MonthFile, ...]:
        """Return the files it names, the index last."""
        return (*self.parts, self.index)


def encode_manifest(manifest: MonthManifest) -> bytes:
    """Return the text of a manifest, with its seal; equal manifests have equal texts."""
    return encode_sealed(manifest, "manifest")


def parse_manifest(text: bytes, *, where: str) -> MonthManifest:
    """Read the file of a manifest, named ``where``, and raise as :func:`parse_sealed` does."""
    return parse_sealed(text, "manifest", MonthManifest, MANIFEST_VERSION, where)
