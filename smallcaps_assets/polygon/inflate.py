"""Compressed bodies to plain ones, within a limit, whole or not at all.

What does not belong here: reading bytes from a connection (``transport``).
"""

from typing import Final, cast

from isal import isal_zlib

from smallcaps_assets.errors import PayloadError

PLAIN_ENCODINGS: Final = frozenset({"", "identity"})
GZIP_ENCODINGS: Final = frozenset({"gzip", "x-gzip"})

_GZIP_WINDOW: Final = 31
"""zlib's way to say: a gzip header and a checksum are expected."""

_GzipError = cast(type[Exception], isal_zlib.error)


def inflate_body(data: bytes, encoding: str, *, max_bytes: int, url: str) -> bytes:
    """Return the plain body.

    Args:
        data: The body as received.
        encoding: Value of the header ``Content-Encoding``, empty when there was none.
        max_bytes: Largest plain body.
        url: Address without its query, for errors.

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
    inflater = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        body = bytes(inflater.decompress(data, max_bytes + 1))
    except _GzipError as error:
        raise PayloadError(f"damaged gzip stream: {error}", url=url, status=200) from error
    if len(body) > max_bytes:
        raise PayloadError(f"body inflates to more than {max_bytes} bytes", url=url, status=200)
    if not inflater.eof:
        raise PayloadError(f"gzip stream cut after {len(data)} bytes", url=url, status=200)
    if inflater.unused_data:
        raise PayloadError("bytes follow the gzip stream", url=url, status=200)
    return body
