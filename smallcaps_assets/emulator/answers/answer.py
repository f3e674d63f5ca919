"""Answers: what an endpoint says, and the bytes that go over the wire.

What belongs here: the envelope, errors in the vendor's words, compression.  What does not: what
is in the results (the endpoints) and what goes wrong (``damage``).
"""

import datetime as dt
import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from isal import igzip, isal_zlib

from smallcaps_assets.emulator.answers.faults import Fault

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
NEXT_HOST: Final = "https://api.polygon.io"
"""Host of every ``next_url``, wherever the emulator listens."""
PRICING_URL: Final = "https://polygon.io/pricing"
HTML_PAGE: Final = b"<html><head><title>Error</title></head><body>Bad gateway</body></html>"

_MIB: Final = 1024 * 1024
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True, slots=True)
class Payload:
    """What an endpoint has to say.

    Attributes:
        results: JSON of the member ``results``, or ``None`` if there is none.
        envelope: The other members, in order, without ``next_url``.
        next_url: Where the chain continues, or ``None`` on the last page.
        page: Number of the page in its chain.
        ticker: Ticker it is about, if any.
        first: First New York date it is about, if any.
        last: Last New York date it is about.
        chain: What the whole chain asks for, whatever its pages; empty if there is no chain.
        is_bare: ``results`` is the whole body, without an envelope.
        redo: Makes the page again as a fault wants it, or ``None`` if the endpoint has no chain.
    """

    results: bytes | None
    envelope: Mapping[str, Any] = field(default_factory=dict)
    next_url: str | None = None
    page: int = 1
    ticker: str | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    chain: str = ""
    is_bare: bool = False
    redo: Callable[[Fault], "Payload"] | None = None

    def encode(self, request_id: str) -> bytes:
        """Encode the payload as the body of an answer."""
        if self.is_bare:
            return self.results or b"[]"
        members = {"status": "OK", **self.envelope, "request_id": request_id}
        if self.next_url is not None:
            members["next_url"] = self.next_url
        rest = msgspec.json.encode(members)
        if self.results is None:
            return rest
        return b"".join((b'{"results":', self.results, b",", rest[1:]))


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer is sent.

    Attributes:
        pause_s: Wait before the first byte.
        cut_at: Send only this share of the body, then do what ``ending`` says.
        ending: ``close``, ``reset``, ``refuse`` (reset before the first byte), or ``resume``
            after ``stall_s``.
        stall_s: Wait in the middle.
    """

    pause_s: float = 0.0
    cut_at: float | None = None
    ending: str = "close"
    stall_s: float = 0.0


WHOLE: Final = Delivery()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent.

    Attributes:
        status: HTTP status.
        body: The body before compression; empty if only ``packed`` is kept.
        packed: The body as gzip, or ``None`` if it is never compressed.
        content_type: Its type.
        headers: Further headers.
        delivery: How it is sent.
    """

    status: int
    body: bytes
    packed: bytes | None = None
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = WHOLE

    def select_body(self, *, accepts_gzip: bool) -> bytes:
        """Select the bytes to send to a client that does or does not read gzip."""
        if self.packed is None:
            return self.body
        if accepts_gzip:
            return self.packed
        return self.body or zlib.decompress(self.packed, wbits=zlib.MAX_WBITS + 16)


def pack(body: bytes) -> bytes:
    """Pack ``body`` as gzip: the same body always gives the same bytes."""
    packed: bytes = igzip.compress(body, compresslevel=1, mtime=0)
    return packed


def pack_bomb(size_mib: int) -> bytes:
    """Pack ``size_mib`` MiB of blanks into a small gzip stream of one member.

    One deflated MiB is repeated: after a full flush a deflate block depends on nothing before it.
    """
    blank = b" " * _MIB
    deflater = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    block = deflater.compress(blank) + deflater.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(size_mib):
        checksum = isal_zlib.crc32(blank, checksum)
    trailer = struct.pack("<II", checksum, size_mib * _MIB % 2**32)
    return _GZIP_HEADER + block * size_mib + deflater.flush() + trailer


def answer_error(status: int, text: str, request_id: str, *, name: str = "ERROR") -> Answer:
    """Answer with an error as the vendor words it."""
    member = "error" if name == "ERROR" else "message"
    body = msgspec.json.encode({"status": name, "request_id": request_id, member: text})
    return Answer(status, body)


def make_request_id(target: str) -> str:
    """Make the request id of a path and query; the same request has the same id."""
    return hashlib.blake2b(target.encode(), digest_size=16).hexdigest()
