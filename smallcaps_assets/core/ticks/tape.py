"""The tape of a ticker: its order, its cut by session, its seams, and what a source hands over.

What belongs here: everything that treats trades as a sequence of whole rows, exact to the
nanosecond.  What does not: what a trade means (``conditions``), when it happened (``phases``),
its hash (``content_hash``), how it is stored (``lake``).  Instants are compared as integers and
never become a Python ``datetime``, which ends at microseconds.
"""

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.errors import DataError
from smallcaps_assets.schemas import VENDOR_COLUMNS

Integers: TypeAlias = npt.NDArray[np.int64]

_FIRST_CLOCK_READING: Final = 10**12
"""Sequence numbers from here on are clock readings (2003), not counters: they identify nothing."""


@dataclass(frozen=True, slots=True)
class SeamOverlap:
    """What two neighbouring pages have in common.

    Attributes:
        rows: Rows at the head of the later page that have the identity of the last ones of the
            earlier page.  They may still be trades that the tape holds twice: whoever drops them
            has to be shown that it does not (:func:`is_overlap_repeated`).
        is_ambiguous: Equal rows lie on both sides, but nothing tells a repeat from another
            trade, so they are kept: ``rows`` is 0.
    """

    rows: int
    is_ambiguous: bool


NO_OVERLAP: Final = SeamOverlap(rows=0, is_ambiguous=False)


def label_unsorted(trades: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Label each row but the first by whether it belongs before its predecessor.

    The order is ``(sip_timestamp, sequence_number)``, a missing number counting as 0.
    """
    instants = read_instants(trades, "sip_timestamp")
    numbers = read_integers(trades["sequence_number"])
    earlier, later = instants[:-1], instants[1:]
    is_tie_broken = (later == earlier) & (numbers[1:] < numbers[:-1])
    return np.asarray((later < earlier) | is_tie_broken, dtype=np.bool_)


def sort_tape(trades: pl.DataFrame) -> pl.DataFrame:
    """Sort the trades of a ticker into tape order; rows are moved, never merged or dropped.

    Rows equal in ``sip_timestamp`` and ``sequence_number`` keep their order.  Sorted input, the
    usual case, is returned as it is: looking costs a hundredth of sorting.
    """
    if not label_unsorted(trades).any():
        return trades
    return trades.sort(
        pl.col("sip_timestamp"), pl.col("sequence_number").fill_null(0), maintain_order=True
    )


def locate_sessions(instants_ns: Integers, first: dt.date, last: dt.date) -> dict[dt.date, slice]:
    """Locate each New York date on a tape, ``[midnight, next midnight)``.

    Instants are nanoseconds since 1970, in order, on dates from ``first`` to ``last``, included.

    Returns:
        The rows of every calendar date that has any, sessions and other dates alike, in order.

    Raises:
        DataError: Rows are out of order, or lie outside the dates: none is ever dropped.
    """
    if (instants_ns[1:] < instants_ns[:-1]).any():
        raise DataError("expected trades in the order of sip_timestamp: sort_tape comes first")
    cuts = np.searchsorted(instants_ns, list_midnights(first, last)).tolist()
    outside = cuts[0] + instants_ns.size - cuts[-1]
    if outside:
        raise DataError(f"{outside} of {instants_ns.size} trades lie outside {first}..{last}")
    return {
        first + dt.timedelta(days=day): slice(start, stop)
        for day, (start, stop) in enumerate(itertools.pairwise(cuts))
        if stop > start
    }


def find_seam_overlap(previous_tail: pl.DataFrame, next_head: pl.DataFrame) -> SeamOverlap:
    """Count the rows at the head of a page that repeat the end of the page before it.

    A repeat is the longest suffix of the earlier page that equals a prefix of the later one in
    every vendor field, at the boundary timestamp, of which both have all rows.  Equal rows may be
    different trades: rows are called a repeat only if each is the only one like it on its page and
    has an id, or a sequence number that no other row at that instant has.
    """
    if previous_tail.is_empty() or next_head.is_empty():
        return NO_OVERLAP
    tail_instants = read_instants(previous_tail, "sip_timestamp")
    head_instants = read_instants(next_head, "sip_timestamp")
    boundary = tail_instants[-1]
    if head_instants[0] != boundary:
        return NO_OVERLAP
    head = next_head.filter(head_instants == boundary).select(VENDOR_COLUMNS)
    tail = previous_tail.filter(tail_instants == boundary).select(VENDOR_COLUMNS)
    return _judge_overlap(tail, head) if _has_row(tail, head) else NO_OVERLAP


def is_overlap_repeated(overlap: pl.DataFrame, instant: pl.DataFrame) -> bool | None:
    """Say whether rows that came on both sides of a seam are on the tape once.

    ``instant`` are all rows that the tape holds at their timestamp.  ``None``: one of them is not
    there at all.
    """
    rows = pl.concat([overlap.select(VENDOR_COLUMNS), instant.select(VENDOR_COLUMNS)])
    counts = rows.select(pl.len().over(VENDOR_COLUMNS)).to_series().head(overlap.height) - 1
    return bool((counts == 1).all()) if (counts > 0).all() else None


def list_midnights(first: dt.date, last: dt.date) -> Integers:
    """List the New York midnights from that of ``first`` to the one that ends ``last``."""
    _, end = day_bounds_ns(first, last)
    dates = (first + dt.timedelta(days=day) for day in range((last - first).days + 1))
    return np.array([*(day_bounds_ns(date, date)[0] for date in dates), end], dtype=np.int64)


def read_instants(trades: pl.DataFrame, column: str) -> Integers:
    """Read a column of instants as nanoseconds since 1970, null as 0."""
    return read_integers(trades[column])


def read_integers(values: pl.Series) -> Integers:
    """Read integers or instants as 64 bits, null as 0."""
    return read_narrow(values).astype(np.int64, copy=False)


def read_narrow(values: pl.Series) -> npt.NDArray[Any]:
    """Read integers in their own width, or instants as 64 bits, null as 0.

    Null is looked for first, and written by Arrow: polars takes 40 times as long for a short
    column (see decision 15).
    """
    whole = values.cast(pl.Int64) if values.dtype.is_temporal() else values
    if not whole.null_count():
        return whole.to_numpy()
    integers: npt.NDArray[Any] = whole.rechunk().to_arrow().fill_null(0).to_numpy()
    return integers


def read_lists(values: pl.Series) -> tuple[Integers, Integers]:
    """Read the length of every list, null counting as empty, and all members in one row."""
    lists: Any = values.rechunk().to_arrow()
    return _measure_lists(lists), read_integers(pl.Series(lists.flatten()))


def count_members(values: pl.Series) -> Integers:
    """Count the members of every list, null counting as empty."""
    return _measure_lists(values.rechunk().to_arrow())


@dataclass(frozen=True, slots=True)
class FetchedTrades:
    """Every trade of a ticker in an interval, proven to be all.

    Attributes:
        trades: ``ticker`` and the vendor's columns of ``schemas.TRADES``, in tape order.
        pages: Pages of the chain.
        requests: HTTP requests spent, retries included.
        repeats_dropped: Rows dropped at page seams, because the vendor was shown to have sent
            them again.
        is_seam_ambiguous: At some seam equal rows were kept.
        status: ``OK``, or ``DELAYED`` if some page was.
        bytes_received: Bytes of good bodies on the wire.
    """

    trades: pl.DataFrame
    pages: int
    requests: int
    repeats_dropped: int
    is_seam_ambiguous: bool
    status: str
    bytes_received: int


def _measure_lists(lists: Any) -> Integers:  # noqa: ANN401  an array of Arrow, which core does not import
    lengths: Integers = np.diff(lists.offsets.to_numpy())
    if lists.null_count:
        lengths[lists.is_null().to_numpy(zero_copy_only=False)] = 0
    return lengths


def _has_row(tail: pl.DataFrame, head: pl.DataFrame) -> bool:
    """Say whether the first row of a page may be among the last ones of the page before.

    Nearly always it is not, and this is cheap where many trades share an instant.
    """
    same = np.ones(tail.height, dtype=np.bool_)
    for column in ("sequence_number", "price", "size"):
        same &= tail[column].eq_missing(head[column][0]).to_numpy()
    return bool(same.any())


def _judge_overlap(tail: pl.DataFrame, head: pl.DataFrame) -> SeamOverlap:
    """Compare two pages' rows at one instant."""
    number = pl.col("sequence_number")
    is_counter = number.is_between(0, _FIRST_CLOCK_READING, closed="none")
    has_identity = (pl.col("id").fill_null("") != "") | (
        is_counter & (pl.len().over("page", "sequence_number") == 1)
    )
    rows = (
        pl.concat([tail.with_columns(page=pl.lit(0)), head.with_columns(page=pl.lit(1))])
        .with_row_index("row")
        .select(
            code=pl.col("row").first().over(VENDOR_COLUMNS),
            is_identified=has_identity.fill_null(value=False)
            & (pl.len().over("page", *VENDOR_COLUMNS) == 1),
        )
    )
    codes = rows["code"].to_numpy()
    size = _find_longest_border(codes[: tail.height], codes[tail.height :])
    is_certain = bool(rows["is_identified"].slice(tail.height - size, 2 * size).all())
    if size and not is_certain:
        return SeamOverlap(rows=0, is_ambiguous=True)
    return SeamOverlap(rows=size, is_ambiguous=False)


def _find_longest_border(tail: npt.NDArray[np.uint32], head: npt.NDArray[np.uint32]) -> int:
    """Find the length of the longest suffix of ``tail`` that is a prefix of ``head``."""
    longest = min(tail.size, head.size)
    candidates = np.flatnonzero(tail[tail.size - longest :] == head[0])
    for start in candidates:
        size = longest - int(start)
        if np.array_equal(tail[tail.size - size :], head[:size]):
            return size
    return 0
