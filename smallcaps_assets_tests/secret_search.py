"""A search for a secret in everything that a run leaves behind, however it is wrapped.

What does not belong here: the product's own idea of spellings; this is the judge of it.
"""

import base64
import io
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import pyarrow as pa
import pyarrow.parquet as pq

_PACKED: Final = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
"""How a gzip or a zlib stream begins; most places that look so are not."""
_DEPTH: Final = 3
"""Wrappings inside wrappings that are opened."""
_LARGEST: Final = 1 << 26
"""Bytes of a stream that are looked at."""


def find_secret(folder: Path, secret: str) -> list[str]:
    """Return the places below ``folder`` that hold the secret."""
    hits = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for place, content in iter_contents(path):
            if holds_secret(content, secret):
                hits.append(f"{path.relative_to(folder)}: {place}")
    return hits


def holds_secret(content: bytes, secret: str, *, depth: int = _DEPTH) -> bool:
    """Say whether bytes hold a secret: as it stands, URL-encoded, in base64, hex, or packed."""
    needle = secret.encode()
    if needle in content or needle in unquote_to_bytes(content):
        return True
    if needle.hex().encode() in content.lower():
        return True
    if any(spelling in content for spelling in _spell_base64(needle)):
        return True
    return depth > 0 and any(
        holds_secret(inner, secret, depth=depth - 1) for inner in _inflate_all(content)
    )


def iter_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of a file, and what it holds where its format may split or pack them."""
    content = path.read_bytes()
    yield "bytes", content
    if content.startswith(b"SQLite format 3\0"):
        yield from _iter_sqlite(path)
    elif content.startswith(b"PAR1"):
        yield from _iter_parquet(content)


def _iter_sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{name.decode()}"'):  # noqa: S608  its own tables
                for value in row:
                    if isinstance(value, bytes):
                        yield f"table {name.decode()}", value
    finally:
        connection.close()


def _iter_parquet(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return
    for field in table.schema:
        values = table.column(field.name).to_pylist()
        yield f"column {field.name}", "\n".join(map(str, values)).encode()
    metadata = table.schema.metadata or {}
    yield "metadata", b"\n".join([*metadata.keys(), *metadata.values()])


def _inflate_all(content: bytes) -> Iterator[bytes]:
    """Yield what is packed inside bytes, wherever a stream begins."""
    for match in _PACKED.finditer(content):
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)
        try:
            yield inflater.decompress(content[match.start() :], _LARGEST)
        except zlib.error:
            continue


def _spell_base64(needle: bytes) -> Iterator[bytes]:
    """Yield the letters of a needle in base64 that do not depend on its neighbours."""
    for lead in range(3):
        bits_before, bits_inside = 8 * lead, 8 * len(needle)
        first, last = -(-bits_before // 6), (bits_before + bits_inside) // 6
        whole = base64.b64encode(b"\0" * lead + needle)[first:last]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))
