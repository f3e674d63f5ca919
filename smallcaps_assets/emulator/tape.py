"""Trades rendered once: the JSON of every row of a ticker and a day, and where each row lies.

What belongs here: rows to bytes, and cutting bytes by time.  What does not: where rows come
from (``source``) and how pages follow one another (``emulator.endpoints.paging``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

WireRow = Mapping[str, Any]
"""One row as the vendor sends it."""

_ENCODER: Final = msgspec.json.Encoder()
_ESCAPED: Final = '["\\\\\\x00-\\x1f]'
_REQUIRED: Final = (
    "participant_timestamp",
    "sequence_number",
    "price",
    "exchange",
    "tape",
)
_OPTIONAL: Final = ("trf_timestamp", "trf_id", "correction")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time ``[gte_ns, lt_ns)`` and the order it is read in.

    Attributes:
        gte_ns: First nanosecond since 1970 UTC.
        lt_ns: First nanosecond no longer in it.
        is_descending: Newest first.
    """

    gte_ns: int
    lt_ns: int
    is_descending: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Rendered trades in the order of time, ties in the order they were given.

    Attributes:
        times: ``sip_timestamp`` of each row, ns, never falling.
        ends: Where the JSON of each row ends in ``body``; a comma follows all but the last.
        body: The rows as JSON objects joined by commas.
    """

    times: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    body: bytes

    @classmethod
    def from_rows(cls, rows: Sequence[WireRow]) -> Self:
        """Render rows as they are, whatever fields they have, sorted by ``sip_timestamp``."""
        times = np.array([row["sip_timestamp"] for row in rows], dtype=np.int64)
        order = np.argsort(times, kind="stable")
        return cls.from_texts(times[order], [_ENCODER.encode(rows[index]) for index in order])

    @classmethod
    def from_texts(cls, times: npt.NDArray[np.int64], texts: Sequence[bytes]) -> Self:
        """Make a tape of rows that are rendered already, sorted by ``times``."""
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        return cls(times, _locate_ends(lengths), b",".join(texts))

    @classmethod
    def from_frame(cls, trades: pl.DataFrame) -> Self:
        """Render ``TAPE_COLUMNS`` the way the vendor does, sorted by ``sip_timestamp``.

        Zero and null are not sent, but for the fields every row has.
        """
        ordered = trades
        if not trades["sip_timestamp"].is_sorted():
            ordered = trades.sort("sip_timestamp", maintain_order=True)
        row = _PLAIN_ROW
        if ordered["id"].str.contains(_ESCAPED).any():
            row = _render_row(pl.lit(_escape(ordered["id"])))
        texts = ordered.select(row.alias("text"))["text"]
        body = texts.str.join(",").item().encode() if texts.len() else b""
        times = ordered["sip_timestamp"].cast(pl.Int64).to_numpy()
        lengths = texts.str.len_bytes().cast(pl.Int64).to_numpy()
        return cls(times, _locate_ends(lengths), body)

    @property
    def size_bytes(self) -> int:
        """The bytes that the tape takes in memory, roughly."""
        return len(self.body) + self.times.nbytes + self.ends.nbytes

    def split_rows(self) -> list[bytes]:
        """Split the tape into the JSON of each row."""
        starts = [0, *(self.ends[:-1] + 1).tolist()]
        ends = self.ends.tolist()
        return [self.body[start:end] for start, end in zip(starts, ends, strict=False)]

    def locate(self, span: Span) -> tuple[int, int]:
        """Locate the half-open row numbers of ``span``."""
        low, high = np.searchsorted(self.times, (span.gte_ns, span.lt_ns), side="left")
        return int(low), max(int(low), int(high))

    def cut(self, low: int, high: int, *, is_descending: bool = False) -> bytes:
        """Cut out rows ``[low, high)`` joined by commas, last first if descending."""
        if high <= low:
            return b""
        starts = np.concatenate(([0], self.ends[:-1] + 1))
        if not is_descending:
            return self.body[starts[low] : self.ends[high - 1]]
        spans = zip(
            starts[low:high][::-1].tolist(), self.ends[low:high][::-1].tolist(), strict=True
        )
        return b",".join(self.body[start:end] for start, end in spans)


TAPE_COLUMNS: Final = {
    "sip_timestamp": pl.Int64(),
    "participant_timestamp": pl.Int64(),
    "trf_timestamp": pl.Int64(),
    "sequence_number": pl.Int64(),
    "id": pl.String(),
    "price": pl.Float64(),
    "size": pl.Int64(),
    "decimal_size": pl.String(),
    "exchange": pl.Int64(),
    "tape": pl.Int64(),
    "trf_id": pl.Int64(),
    "conditions": pl.String(),
    "correction": pl.Int64(),
}
"""What :meth:`Tape.from_frame` renders; ``conditions`` is a comma list, ``decimal_size`` text."""


def _locate_ends(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.cumsum(lengths + 1) - 1


def _render_row(quoted_id: pl.Expr) -> pl.Expr:
    """Render each row as one JSON object."""
    fields = {name: _render_number(name) for name in _REQUIRED + _OPTIONAL}
    fields["size"] = _render_number("size")
    conditions = pl.col("conditions")
    fields["conditions"] = pl.when(conditions != "").then(
        pl.concat_str(pl.lit('"conditions":['), conditions, pl.lit("],"))
    )
    fields["decimal_size"] = pl.concat_str(
        pl.lit('"decimal_size":"'), pl.col("decimal_size"), pl.lit('",')
    )
    fields["id"] = pl.concat_str(pl.lit('"id":'), quoted_id, pl.lit(","))
    body = [fields[name] for name in sorted(fields)]
    last = pl.concat_str(pl.lit('"sip_timestamp":'), pl.col("sip_timestamp"), pl.lit("}"))
    return pl.concat_str([pl.lit("{"), *body, last], ignore_nulls=True)


def _render_number(name: str) -> pl.Expr:
    """Render a number; an integral float without a point, as the vendor's encoder does."""
    value = pl.col(name)
    text = value.cast(pl.String).str.strip_suffix(".0")
    member = pl.concat_str(pl.lit(f'"{name}":'), text, pl.lit(","))
    return pl.when(value != 0).then(member) if name in _OPTIONAL else member


def _escape(ids: pl.Series) -> pl.Series:
    """Escape ids as JSON text, where one holds a character that JSON must escape."""
    return pl.Series([_ENCODER.encode(text).decode() for text in ids], dtype=pl.String)


_PLAIN_ROW: Final = _render_row(pl.concat_str(pl.lit('"'), pl.col("id"), pl.lit('"')))
