"""Random access into a gzip file that is too large to inflate twice.

What belongs here: inflating from anywhere.  What does not: what the bytes mean (``flatfile``).

The state of the inflater is kept every few MiB of a first pass; a copy of it continues from there.
"""

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

from smallcaps_assets.emulator.source import SourceError

READ_BYTES: Final = 256 * 1024
CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
_GZIP: Final = zlib.MAX_WBITS + 16


class Inflater(Protocol):
    """What this module needs of ``zlib.decompressobj``."""

    @property
    def eof(self) -> bool:
        """Tell whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """The bytes that came after its end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Inflate ``data``."""

    def copy(self) -> Self:
        """Make an inflater in the same state."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A place to go on from: bytes read, bytes inflated, the state between."""

    read: int
    offset: int
    inflater: Inflater


@dataclass(slots=True)
class SeekableGzip:
    """A gzip file, of one member or several.

    Attributes:
        path: The file.
        checkpoint_bytes: Inflated bytes between two states that are kept.
    """

    path: Path
    checkpoint_bytes: int = CHECKPOINT_BYTES
    _checkpoints: list[_Checkpoint] = field(default_factory=list, init=False)

    def iter_blocks(self) -> Iterator[bytes]:
        """Yield the whole file in order, keeping places to come back to.

        Raises:
            SourceError: The file cannot be read, is damaged or is cut.
        """
        start = _Checkpoint(0, 0, _start_inflater())
        self._checkpoints = [start]
        return self._inflate(start, is_first_pass=True)

    def read(self, start: int, end: int) -> bytes:
        """Read the inflated bytes ``[start, end)``; the first pass must have been made.

        Raises:
            SourceError: As above.
        """
        offsets = [checkpoint.offset for checkpoint in self._checkpoints]
        checkpoint = self._checkpoints[bisect_right(offsets, start) - 1]
        pieces, offset = [], checkpoint.offset
        for block in self._inflate(checkpoint, is_first_pass=False):
            pieces.append(block[max(0, start - offset) : max(0, end - offset)])
            offset += len(block)
            if offset >= end:
                break
        return b"".join(pieces)

    def _inflate(self, start: _Checkpoint, *, is_first_pass: bool) -> Iterator[bytes]:
        inflater, offset = start.inflater.copy(), start.offset
        try:
            with self.path.open("rb") as stream:
                stream.seek(start.read)
                while raw := stream.read(READ_BYTES):
                    block, inflater = _feed(inflater, raw)
                    offset += len(block)
                    if is_first_pass:
                        self._keep(stream, offset, inflater)
                    yield block
        except (OSError, zlib.error) as error:
            raise SourceError(f"{self.path}: cannot be read as gzip: {error}") from error
        if not inflater.eof:
            raise SourceError(f"{self.path}: the gzip stream is cut; expected its end")

    def _keep(self, stream: BinaryIO, offset: int, inflater: Inflater) -> None:
        if offset - self._checkpoints[-1].offset >= self.checkpoint_bytes and not inflater.eof:
            self._checkpoints.append(_Checkpoint(stream.tell(), offset, inflater.copy()))


def _start_inflater() -> Inflater:
    return zlib.decompressobj(wbits=_GZIP)


def _feed(inflater: Inflater, raw: bytes) -> tuple[bytes, Inflater]:
    """Inflate ``raw``, and pass on the inflater to go on with; members follow each other."""
    pieces = []
    while raw:
        if inflater.eof:
            inflater = _start_inflater()
        pieces.append(inflater.decompress(raw))
        raw = inflater.unused_data if inflater.eof else b""
    return b"".join(pieces), inflater
