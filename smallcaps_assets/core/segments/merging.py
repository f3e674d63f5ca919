"""The rule by which records become a lake: of the entries of a session one wins.

What belongs here: the order of entries, and what is proven by the one that wins.  What does not:
what upkeep may move or remove for it (``upkeep``), and how records are read.

Merging is a maximum per session, so it does not matter in which order, by whom, or how often
records were written, copied or read.
"""

from collections.abc import Collection
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.states import GREEN

SEGMENT: Final = "segment"
"""Column with the name of the record that an entry stands in; it is of no record."""

_BEST_FIRST: Final = {
    "revision": True,
    "is_green": True,
    "started_at": False,
    "packed": True,
    SEGMENT: False,
}
"""What decides between entries of one session, and whether the larger wins.

A deliberate answer beats what it replaces.  Of two answers to the same question one that is proven
beats one that is not, and the earlier the later.  Of one answer in two places the one that was
moved last counts, so that an old record never leads back to a part that is gone.
"""


def is_green() -> pl.Expr:
    """Say of each entry whether it needs no further request."""
    return pl.col("state").is_in(list(GREEN))


def is_proven(parts: Collection[str]) -> pl.Expr:
    """Say of each entry that counts whether it is green, and its rows are in one of these parts."""
    return is_green() & ((pl.col("rows") == 0) | pl.col("part").is_in(list(parts)))


def select_winners(entries: pl.DataFrame) -> pl.DataFrame:
    """Select the entry of each session that counts.

    Args:
        entries: ``schemas.ENTRIES`` of any records, and ``segment``; rows in any order.

    Returns:
        The same columns, one row a key, sorted by key.
    """
    order = [*KEY, *_BEST_FIRST]
    ranked = entries.with_columns(is_green=is_green()).sort(
        order, descending=[_BEST_FIRST.get(name, False) for name in order]
    )
    return ranked.unique(KEY, keep="first", maintain_order=True).drop("is_green")


def select_proven(winners: pl.DataFrame, parts: Collection[str]) -> pl.DataFrame:
    """Select what needs no request: green, and its rows are in a part that is there.

    Args:
        winners: Entries of :func:`select_winners`.
        parts: Names of the parts that are there.
    """
    return winners.filter(is_proven(parts))


def select_two_answers(entries: pl.DataFrame, winners: pl.DataFrame) -> pl.DataFrame:
    """Select green entries of one revision that say different things of a session.

    Only the revision that counts is looked at: a later one has settled what was before it.

    Args:
        entries: All entries, with ``segment``.
        winners: Those that count.

    Returns:
        Rows of ``entries``, sorted by key and segment.
    """
    if entries.height == winners.height:
        return entries.clear()
    rivals = entries.filter(is_green()).join(
        winners.select(*KEY, "revision"), on=[*KEY, "revision"], how="semi"
    )
    differ = pl.col("content_hash").n_unique().over(KEY) > 1
    return rivals.filter(differ).sort(*KEY, SEGMENT)


def measure_parts(winners: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Count the rows of each part that count.

    Args:
        winners: Entries of :func:`select_winners`.
        parts: Columns ``part``, ``rows`` and others, a row a part.

    Returns:
        ``parts`` with ``live_rows`` and ``is_whole``: a whole part is read without looking at its
        entries, of any other only the rows of the winning entries count.
    """
    live = winners.filter(pl.col("rows") > 0).group_by("part").agg(live_rows=pl.col("rows").sum())
    counted = parts.join(live, on="part", how="left", validate="1:1", maintain_order="left")
    rows = pl.col("live_rows").fill_null(0)
    return counted.with_columns(live_rows=rows, is_whole=rows == pl.col("rows"))
