"""Names and keys of segments.

What belongs here: how a name is made, and the way from a name to a key and back.  What does not:
what lies there (``records``, ``parts``).

A name has the time at which it was made, for people, and 16 random digits, which make it the only
one of its kind on any machine; it is written once, ever.
"""

import datetime as dt
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SEGMENTS: Final = "segments/"
SNAPSHOTS: Final = "snapshots/"
QUARANTINE: Final = "quarantine/"
CLOCK: Final = "clock/"
"""Beginnings of keys; below the last one lies an object only while the time is asked for."""

RECORD_SUFFIX: Final = ".record.parquet"
PART_SUFFIX: Final = ".parquet"

_NAME: Final = r"\d{8}T\d{6}Z-[0-9a-f]{16}"
_KEY: Final = re.compile(
    rf"{SEGMENTS}(?P<month>\d{{4}}-\d{{2}})/(?P<name>{_NAME})(?P<suffix>\.record\.parquet|\.parquet)"
)


@dataclass(frozen=True, slots=True)
class Naming:
    """Makes names.

    Attributes:
        clock: The time.
        random: Sixteen hex digits, other ones each time.
    """

    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    random: Callable[[], str] = lambda: secrets.token_hex(8)

    def make(self) -> str:
        """Make a name that nothing has yet."""
        return f"{self.clock():%Y%m%dT%H%M%SZ}-{self.random()}"


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """What a key of a segment says.

    Attributes:
        month: The month, ``YYYY-MM``.
        name: Name of the record, or of the part with its suffix.
        is_record: It is a record.
    """

    month: str
    name: str
    is_record: bool


def month_prefix(month: str) -> str:
    """Name what the keys of a month begin with."""
    return f"{SEGMENTS}{month}/"


def part_key(month: str, part: str) -> str:
    """Name the key of a part, of whose name the suffix is a part."""
    return f"{month_prefix(month)}{part}"


def record_key(month: str, name: str) -> str:
    """Name the key of a record."""
    return f"{month_prefix(month)}{name}{RECORD_SUFFIX}"


def parse_key(key: str) -> SegmentFile | None:
    """Read a key of a segment; ``None``: it is not one."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    is_record = match["suffix"] == RECORD_SUFFIX
    name = match["name"] if is_record else f"{match['name']}{PART_SUFFIX}"
    return SegmentFile(match["month"], name, is_record)
