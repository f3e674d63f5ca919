"""Membership: which ticker-sessions lie inside the universe, by listing period.

What belongs here: whether a listing covers a session, and why none does.  What does not: the
listings (``universe``), and what is done about rows outside (``ingest``).

A market cap counts from its date on.  Applied to earlier sessions it would be look-ahead: it is
not, unless that is asked for by name.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

UNLISTED: Final = "no listing in the universe"
OUTSIDE_PERIOD: Final = "outside the listing period"
ABOVE_CAP: Final = "above the cap as of its date"
REASONS: Final = (UNLISTED, OUTSIDE_PERIOD, ABOVE_CAP)
"""Why a ticker-session lies outside, in the order in which they are tried."""


@dataclass(frozen=True, eq=False)
class OutsideFacts:
    """What of a table lies outside the universe.

    Attributes:
        rows_by_reason: Rows by each of ``REASONS``, zeros included.
        shown: ``ticker``, ``reason``, ``rows``, first and last session; most rows first.
    """

    rows: int
    tickers: int
    rows_by_reason: dict[str, int]
    shown: pl.DataFrame


def label_outside(
    rows: pl.DataFrame, universe: pl.DataFrame, *, is_cap_backward: bool = False
) -> pl.DataFrame:
    """Add ``outside``: why a ticker-session is not in the universe; null: it is.

    A listing covers the sessions from ``listed_date`` to ``delisted_date``, both included; an
    unknown date is no bound, so that doubt keeps a session.  Rows keep their order, and each key is
    there once.  A cap that is backward counts for sessions before its date as well.
    """
    session, as_of = pl.col("session_date"), pl.col("market_cap_as_of_date")
    listings = universe.lazy().select(
        "ticker",
        "listed_date",
        "delisted_date",
        "market_cap_as_of_date",
        is_above_cap=~pl.col("is_below_cap").fill_null(value=True),
    )
    is_covered = (session >= pl.col("listed_date")).fill_null(value=True) & (
        session <= pl.col("delisted_date")
    ).fill_null(value=True)
    is_dated = pl.lit(value=True) if is_cap_backward else session >= as_of
    is_member = is_covered & ~(pl.col("is_above_cap") & is_dated.fill_null(value=True))
    found = (
        rows.lazy()
        .select("ticker", "session_date")
        .join(listings, on="ticker", how="inner", validate="m:m")
        .group_by("ticker", "session_date")
        .agg(is_covered=is_covered.any(), is_member=is_member.any())
    )
    reason = (
        pl.when(pl.col("is_covered").is_null())
        .then(pl.lit(UNLISTED))
        .when(~pl.col("is_covered"))
        .then(pl.lit(OUTSIDE_PERIOD))
        .when(~pl.col("is_member"))
        .then(pl.lit(ABOVE_CAP))
    )
    labelled = rows.lazy().join(
        found, on=["ticker", "session_date"], how="left", validate="1:1", maintain_order="left"
    )
    return labelled.with_columns(outside=reason).drop("is_covered", "is_member").collect()


def measure_outside(labelled: pl.DataFrame) -> OutsideFacts:
    """Gather the facts about rows with ``outside``, as :func:`label_outside` adds it."""
    outside = labelled.drop_nulls("outside")
    counts = dict(outside["outside"].value_counts().iter_rows())
    sessions = pl.col("session_date")
    shown = outside.group_by("ticker", reason="outside").agg(
        rows=pl.len(), first_session=sessions.min(), last_session=sessions.max()
    )
    return OutsideFacts(
        rows=outside.height,
        tickers=outside["ticker"].n_unique(),
        rows_by_reason={reason: counts.get(reason, 0) for reason in REASONS},
        shown=shown.sort("rows", "ticker", "reason", descending=[True, False, False]),
    )
