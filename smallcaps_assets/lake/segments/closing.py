"""From the rows and entries of many sessions to a segment in memory.

What belongs here: what sessions have to be to be stored, and all that their rows tell.  What does
not: when a segment closes (``writer``), and how it gets its name (``commit``).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.keys import is_ticker_expression, month_expression, month_of
from smallcaps_assets.core.segments.entries import (
    KEPT,
    KEY,
    OFF_SESSION,
    PHASE_COLUMNS,
    SESSION,
    WITH_ROWS,
    Entry,
    count_phases,
    frame_entries,
)
from smallcaps_assets.core.ticks.content_hash import hash_sessions, iter_neighbours
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.segments.parts import SHAPE, EncodedPart, PartShape, encode_parts
from smallcaps_assets.schemas import ENTRIES, TRADES

_PLACE = ("ticker", "session_date")
_MEASURED = ("rows", "first_sip", "last_sip", *PHASE_COLUMNS.values())


@dataclass(frozen=True, slots=True)
class Draft:
    """A segment without a name.

    Attributes:
        month: Month of its sessions.
        entries: ``schemas.ENTRIES``; ``part`` is the number of the part in ``parts``.
        parts: Its parts; none where no session has rows.
        replaces: Names of the records whose entries it all contains.
    """

    month: str
    entries: pl.DataFrame
    parts: tuple[EncodedPart, ...] = ()
    replaces: tuple[str, ...] = ()


def close_sessions(entries: Sequence[Entry], trades: Sequence[pl.DataFrame]) -> list[Draft]:
    """Close sessions, those of one month in one segment; pure, for worker threads.

    Args:
        entries: Their entries.
        trades: ``schemas.TRADES`` of each of them.

    Raises:
        DataError: As :func:`close_segment`.
        SchemaError: Trades break their contract.
    """
    pairs = sorted(zip(entries, trades, strict=True), key=lambda pair: pair[0].key)
    by_month: dict[str, list[tuple[Entry, pl.DataFrame]]] = defaultdict(list)
    for entry, rows in pairs:
        by_month[month_of(entry.owner)].append((entry, rows))
    # Sessions in the order of a part are rows in that order, which nobody has to move.
    return [
        close_segment(
            month,
            frame_entries(entry for entry, _ in own),
            pl.concat([TRADES.empty(), *(rows for _, rows in own)]),
        )
        for month, own in by_month.items()
    ]


def close_segment(
    month: str,
    entries: pl.DataFrame,
    trades: pl.DataFrame,
    *,
    replaces: Sequence[str] = (),
    shape: PartShape = SHAPE,
) -> Draft:
    """Order, measure, hash and encode sessions; pure, for worker threads.

    Args:
        month: Month of the sessions that own the entries.
        entries: ``schemas.ENTRIES``; what the rows tell is measured here, and a content hash that
            is there already has to be that of the rows.
        trades: ``schemas.TRADES`` of all of them, each session in the order of its tape.
        replaces: Names of the records whose entries these all contain.
        shape: How large parts are.

    Raises:
        DataError: A session twice, of another month, in a state that does not fit its rows, out of
            order, or of another content; rows of no session.
        SchemaError: Entries or trades break their contract.
    """
    ordered = _sort(TRADES.conform(trades))
    _check_order(ordered)
    measured = _measure(ordered)
    told = ENTRIES.conform(entries).sort(KEY)
    _check_entries(month, told, measured)
    stated = told["content_hash"]
    joined = told.drop(_MEASURED).join(measured, on=_PLACE, how="left", validate="1:1")
    counts = [name for name in _MEASURED if not name.endswith("_sip")]
    filled = joined.with_columns(pl.col(counts).fill_null(0)).select(*ENTRIES.columns)
    filled = filled.sort(KEY)
    hashes = pl.Series(hash_sessions(ordered, filled["rows"].to_list()), dtype=pl.String)
    _check_states(filled)
    if (differs := (stated != "") & (stated != hashes)).any():
        raise DataError(
            f"expected the content that was proven, got other rows of {_say(filled, differs)}"
        )
    ends = filled["rows"].cum_sum().to_list()
    parts = tuple(encode_parts(ordered, ends, shape))
    return Draft(month, _place(filled, hashes, parts), parts, tuple(replaces))


def _starts_session() -> pl.Expr:
    """Say of each row whether the row before it is of another session."""
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _PLACE)


def _sort(trades: pl.DataFrame) -> pl.DataFrame:
    """Sort by ticker and session; rows that came in that order, as most do, are not touched."""
    runs = trades.select(_PLACE).filter(_starts_session())
    if runs.equals(runs.unique(maintain_order=True).sort(_PLACE)):
        return trades
    return trades.sort(_PLACE, maintain_order=True)


def _measure(trades: pl.DataFrame) -> pl.DataFrame:
    """Count the rows of each session and phase, and find its first and last instant.

    Grouping takes more memory than the rows that it groups, so it takes neighbours by and by.
    """
    starts = trades.select(_starts_session().arg_true()).to_series().to_list()
    return pl.concat(
        trades.slice(near[0][0], near[-1][1] - near[0][0])
        .group_by(_PLACE, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("sip_timestamp").first().alias("first_sip"),
            pl.col("sip_timestamp").last().alias("last_sip"),
            *count_phases(),
        )
        for near in iter_neighbours([*starts[1:], trades.height])
    )


def _check_order(trades: pl.DataFrame) -> None:
    sip = pl.col("sip_timestamp")
    wrong = trades.filter((sip < sip.shift()) & ~_starts_session())
    if wrong.height:
        raise DataError(
            f"expected trades in the order of sip_timestamp, got {_say(wrong)} out of order"
        )


def _check_entries(month: str, entries: pl.DataFrame, measured: pl.DataFrame) -> None:
    """Refuse entries that no record may have, and rows without an entry."""
    twice = entries.select(_PLACE).is_duplicated()
    is_own = pl.col("owner") == pl.col("session_date")
    kind = pl.col("kind")
    fits = ((kind == SESSION) & is_own) | ((kind == OFF_SESSION) & ~is_own)
    is_here = month_expression("owner") == month
    is_kept = pl.col("state").is_in(list(KEPT))
    wrong = entries.filter(twice | ~(fits & is_here & is_kept & is_ticker_expression()))
    if wrong.height:
        raise DataError(
            f"expected each session of {month} once, in a state of {sorted(KEPT)}, got "
            f"{_say(wrong)}"
        )
    if (strange := measured.join(entries, on=_PLACE, how="anti")).height:
        raise DataError(f"expected an entry for all trades, got none for {_say(strange)}")


def _check_states(entries: pl.DataFrame) -> None:
    has_rows = pl.col("rows") > 0
    wrong = entries.filter(has_rows != pl.col("state").is_in(list(WITH_ROWS)))
    if wrong.height:
        raise DataError(
            f"expected trades exactly where the state is one of {sorted(WITH_ROWS)}, got "
            f"{wrong['rows'][0]} of {_say(wrong)} as {wrong['state'][0]!r}"
        )


def _place(entries: pl.DataFrame, hashes: pl.Series, parts: Sequence[EncodedPart]) -> pl.DataFrame:
    """Say of each entry in which part its rows lie, and where in it."""
    start = entries["rows"].cum_sum() - entries["rows"]
    starts = pl.Series([part.first_row for part in parts], dtype=pl.Int64)
    number = starts.search_sorted(start, side="right").cast(pl.Int64) - 1
    has_rows = pl.col("rows") > 0
    first_row = start - starts.gather(number.clip(0)) if parts else start
    return ENTRIES.conform(
        entries.with_columns(
            content_hash=hashes,
            part=pl.when(has_rows).then(number.cast(pl.String)),
            first_row=pl.when(has_rows).then(first_row).otherwise(0),
        )
    )


def _say(frame: pl.DataFrame, mask: pl.Series | None = None) -> str:
    """Name the first few sessions of some rows."""
    rows = (
        (frame if mask is None else frame.filter(mask)).select(_PLACE).unique(maintain_order=True)
    )
    return ", ".join(f"{ticker} on {date}" for ticker, date in rows.head(3).rows())
