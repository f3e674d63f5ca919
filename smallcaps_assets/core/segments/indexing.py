"""What the entries that count say in few rows: a row a record, and bits of sessions by ticker.

What belongs here: the way from entries to the rows of an index and back to sessions, as pure
functions.  What does not: where an index is kept (``lake.ledger``, ``lake.upkeep.snapshots``), and
what is missing by it (``witnesses``).

A session is counted under the one record whose entry wins, so the bits of the records of a month
never overlap: sums of them are unions, and a change is a sum with signs.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
import polars as pl

from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.merging import SEGMENT, is_green, is_proven
from smallcaps_assets.core.states import COMPLETE, EMPTY

INDEX_SCHEMA: Final = pl.Schema(
    {
        "month": pl.String(),
        "record": pl.String(),
        "sha256": pl.String(),
        "bytes": pl.Int64(),
        "sessions": pl.Int64(),
        "green": pl.Int64(),
        "rows": pl.Int64(),
        "parts": pl.List(pl.String()),
        "replaces": pl.List(pl.String()),
    }
)
"""A row a record: its hash and size, entries of it that count, those that are green, rows of them,
the parts that were written for it and are there, and the records that it replaces."""

TICKER_MONTHS_SCHEMA: Final = pl.Schema(
    {
        "month": pl.String(),
        "ticker": pl.String(),
        "record": pl.String(),
        **dict.fromkeys(("proven", "red", "marked", "beside", "rows", "bytes"), pl.Int64()),
    }
)
"""A row a month, ticker and record: bits of its sessions that are proven, that are not, and that
are proven with a mark; bits of dates without a session that have prints; rows and bytes of the
sessions."""

DAYS: Final = 31
"""Bit N is the N-th day of the month, from 1.  A date without a session may be of the month before
that of its owner: it has bit N + ``DAYS``."""

INSTANT_TEXT: Final = "%Y-%m-%dT%H:%M:%S%.6f+00:00"
"""How an instant in UTC is written in an index, so that text sorts as it does."""

RECORD_KEY: Final = ("month", "record")
TICKER_MONTH_KEY: Final = ("month", "ticker", "record")

Number = TypeVar("Number", int, pl.Expr)
Index = Callable[[pl.DataFrame], pl.DataFrame]
"""Makes a table of sums from counted entries."""


def count_entries(entries: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Add to entries what an index counts.

    Args:
        entries: ``schemas.ENTRIES`` and ``segment``.
        parts: Columns ``part``, ``bytes`` and ``rows`` of the parts that are there.

    Returns:
        The same rows with ``month``, ``bit`` of its date, ``is_proven``, and ``bytes``: the share
        of its part; the shares of a part sum up to it.
    """
    told = parts.select("part", part_bytes="bytes", part_rows="rows").unique("part")
    joined = entries.join(told, on="part", how="left", validate="m:1", maintain_order="left")
    places = (pl.col(name) for name in ("part_bytes", "part_rows", "first_row", "rows"))
    share = share_bytes(*places)
    date, owner = pl.col("session_date"), pl.col("owner")
    offset = pl.when(date.dt.month() == owner.dt.month()).then(0).otherwise(DAYS)
    return joined.with_columns(
        month=month_expression("owner"),
        bit=bit_of(date.dt.day() + offset),
        is_proven=is_proven(told["part"]),
        bytes=share.fill_null(0),
    ).drop("part_bytes", "part_rows")


def bit_of(day: pl.Expr) -> pl.Expr:
    """Make the expression of the bit that a day has among the bits of a month."""
    return pl.lit(2, pl.Int64()).pow(day.cast(pl.Int64()))


def share_bytes(size: Number, whole: Number, first: Number, rows: Number) -> Number:
    """Tell the bytes of a part that some of its rows take; what all of them take is its size.

    Args:
        size: Bytes of the part.
        whole: Rows of the part, at least one.
        first: Number of the first of these rows, from 0.
        rows: How many they are.
    """
    return size * (first + rows) // whole - size * first // whole


def index_records(counted: pl.DataFrame) -> pl.DataFrame:
    """Count the entries of each record; ``month``, ``record`` and the counts of an index.

    Args:
        counted: Entries that count, of :func:`count_entries`.
    """
    return counted.group_by("month", record=SEGMENT).agg(
        sessions=pl.len().cast(pl.Int64()),
        green=is_green().sum().cast(pl.Int64()),
        rows=pl.col("rows").sum(),
    )


def index_tickers(counted: pl.DataFrame) -> pl.DataFrame:
    """Gather the sessions of each month, ticker and record as bits.

    Args:
        counted: Entries that count, of :func:`count_entries`.

    Returns:
        ``TICKER_MONTHS_SCHEMA``, sorted by month, ticker and record.
    """
    is_session = pl.col("kind") == SESSION
    is_proven_session = is_session & pl.col("is_proven")
    chosen = {
        "proven": is_proven_session,
        "red": is_session & ~pl.col("is_proven"),
        "marked": is_proven_session & (pl.col("marks").list.len() > 0),
        "beside": ~is_session,
    }
    bits = [pl.col("bit").filter(condition).sum().alias(name) for name, condition in chosen.items()]
    sums = [pl.col(name).filter(is_session).sum() for name in ("rows", "bytes")]
    grouped = counted.group_by("month", "ticker", record=SEGMENT).agg(*bits, *sums)
    return grouped.select(TICKER_MONTHS_SCHEMA.names()).sort(TICKER_MONTH_KEY)


def is_plain() -> pl.Expr:
    """Say of each entry of :func:`count_entries` whether its bit says all that is asked of it.

    It is proven by the first answer of the vendor, and its bar leaves nothing open.
    """
    lacks = pl.max_horizontal("volume_deficit", "count_deficit").fill_null(0.0)
    return (
        (pl.col("kind") == SESSION)
        & pl.col("is_proven")
        & pl.col("state").is_in([COMPLETE, EMPTY])
        & (pl.col("revision") == 1)
        & (pl.col("marks").list.len() == 0)
        & (pl.col("askings").list.len() == 0)
        & (lacks <= 0)
        & pl.col("archive").is_null()
        & pl.col("adopted").is_null()
    )


def sum_commits(plain: pl.DataFrame) -> pl.DataFrame:
    """Sum entries of :func:`count_entries` up by month, commit and run.

    Returns:
        ``month``, ``committed_at`` (text, UTC), ``run_id``, and the sums ``sessions``, ``asked``
        (requests were made), ``traded`` (there are rows), ``rows`` and ``bytes``.
    """
    return plain.group_by("month", pl.col("committed_at").dt.to_string(INSTANT_TEXT), "run_id").agg(
        sessions=pl.len().cast(pl.Int64()),
        asked=(pl.col("requests") > 0).sum().cast(pl.Int64()),
        traded=(pl.col("rows") > 0).sum().cast(pl.Int64()),
        rows=pl.col("rows").sum(),
        bytes=pl.col("bytes").sum(),
    )


def sum_dates(plain: pl.DataFrame) -> pl.DataFrame:
    """Count likewise by ``session_date`` (text) what was compared: ``volume``, ``trade_count``."""
    return plain.group_by(pl.col("session_date").dt.to_string("%Y-%m-%d")).agg(
        volume=pl.col("volume_deficit").is_not_null().sum().cast(pl.Int64()),
        trade_count=pl.col("count_deficit").is_not_null().sum().cast(pl.Int64()),
    )


def spread_sessions(sessions: pl.DataFrame, ticker_months: pl.DataFrame) -> pl.DataFrame:
    """Tell which of some sessions are proven by their bits, and what they hold in the mean.

    Args:
        sessions: ``ticker`` and ``session_date``.
        ticker_months: A row a month and ticker, as the ledger sums them up.

    Returns:
        ``ticker``, ``session_date``, ``rows`` and ``bytes`` of those that are, in their order:
        means of their ticker and month, because the ledger keeps no more.
    """
    told = pl.col("proven") | pl.col("red")
    count = pl.max_horizontal(told.bitwise_count_ones().cast(pl.Int64()), pl.lit(1))
    means = ticker_months.select(
        "month", "ticker", "proven", rows=pl.col("rows") // count, bytes=pl.col("bytes") // count
    )
    bit = bit_of(pl.col("session_date").dt.day())
    return (
        sessions.select("ticker", "session_date", month=month_expression())
        .join(means, on=["month", "ticker"], how="inner", maintain_order="left")
        .filter((pl.col("proven") & bit) != 0)
        .select("ticker", "session_date", "rows", "bytes")
    )


def measure_change(before: pl.DataFrame, after: pl.DataFrame, index: Index) -> pl.DataFrame:
    """Tell by how much an index changes where some entries count and others no longer do.

    Args:
        before: Entries that counted, of :func:`count_entries`.
        after: Entries that count now, of the same sessions.
        index: :func:`index_records` or :func:`index_tickers`.

    Returns:
        Its rows, with sums to add, which may be negative.
    """
    taken = index(before)
    keys = [name for name, dtype in taken.schema.items() if dtype == pl.String()]
    taken = taken.with_columns(-pl.exclude(keys))
    return pl.concat([index(after), taken]).group_by(keys).sum().sort(keys)


def list_sessions(ticker_months: pl.DataFrame, bits: str) -> pl.DataFrame:
    """List the sessions of some bits.

    Args:
        ticker_months: Columns ``month``, ``ticker``, ``record`` and the one that ``bits`` names.
        bits: Name of a column of bits.

    Returns:
        ``ticker``, ``session_date`` and ``record``, in the order of ``ticker_months``.
    """
    return explode_days(ticker_months, bits).select("ticker", "session_date", "record")


def explode_days(ticker_months: pl.DataFrame, bits: str) -> pl.DataFrame:
    """Repeat each row for every day of its bits, with that day as ``session_date``; order is kept.

    Args:
        ticker_months: Columns ``month``, the one that ``bits`` names, and any others.
        bits: Name of a column of bits.
    """
    held = ticker_months[bits].to_numpy()
    is_set = np.stack([(held >> day) & 1 for day in range(1, DAYS + 1)], axis=1, dtype=np.int8)
    rows, days = np.nonzero(is_set)
    first = (pl.col("month") + "-01").str.to_date("%Y-%m-%d")
    date = first + pl.duration(days=pl.col("_day"))
    placed = ticker_months[rows].with_columns(_day=pl.Series(days, dtype=pl.Int64()))
    return placed.with_columns(session_date=date).drop("_day")
