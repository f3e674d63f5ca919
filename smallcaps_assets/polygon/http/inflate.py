"""Compressed bodies to plain ones, within a limit, whole or not at all.

What does not belong here: reading bytes from a connection (``transport``).
"""

from typing import Any, Final, cast

from isal import isal_zlib

from smallcaps_assets.errors import PayloadError

PLAIN_ENCODINGS: Final = frozenset({"", "identity"})
GZIP_ENCODINGS: Final = frozenset({"gzip", "x-gzip"})

_GZIP_WINDOW: Final = 31
"""zlib's way to say: a gzip header and a checksum are expected."""

_SIZE_BYTES: Final = 4
"""A gzip stream ends with the size of what was packed."""

_GzipError = cast(type[Exception], isal_zlib.error)


def inflate_body(data: bytes, encoding: str, *, max_bytes: int, url: str) -> bytes:
    """Inflate a body to at most ``max_bytes``; ``encoding`` is a ``Content-Encoding``.

    Raises:
        PayloadError: It is cut, damaged, too large, or of an encoding that was not asked for.
    """
    name = encoding.strip().lower()
    if name in GZIP_ENCODINGS:
        return _inflate_gzip(data, max_bytes, url)
    if name not in PLAIN_ENCODINGS:
        raise PayloadError(f"expected gzip, got the encoding {name[:20]!r}", url=url, status=200)
    if len(data) > max_bytes:
        raise PayloadError(f"body of more than {max_bytes} bytes", url=url, status=200)
    return data


def _inflate_gzip(data: bytes, max_bytes: int, url: str) -> bytes:
    stated = int.from_bytes(data[-_SIZE_BYTES:], "little")
    body, inflater = _inflate(data, min(stated, max_bytes), url)
    if not inflater.eof and stated < max_bytes:
        # What the stream says of its size is wrong, or it is cut: the whole story, then.
        body, inflater = _inflate(data, max_bytes, url)
    if len(body) > max_bytes:
        del body  # An error is kept with its frames, and each of its retries too.
        raise PayloadError(f"body inflates to more than {max_bytes} bytes", url=url, status=200)
    if not inflater.eof:
        raise PayloadError(f"gzip stream cut after {len(data)} bytes", url=url, status=200)
    if inflater.unused_data:
        raise PayloadError("bytes follow the gzip stream", url=url, status=200)
    return body


def _inflate(data: bytes, max_bytes: int, url: str) -> tuple[bytes, Any]:
    """Inflate one byte more than allowed; a near limit is twice as fast as a far one."""
    inflater = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        return inflater.decompress(data, max_bytes + 1), inflater
    except _GzipError as error:
        raise PayloadError(f"damaged gzip stream: {error}", url=url, status=200) from error
