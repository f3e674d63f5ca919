"""Lives: the dates between which something was listed under a ticker, so that trades are owed.

What belongs here: intervals of dates by ticker, from listings and from daily bars.  What does not:
which sessions lie in them (``units``), and gaps of bars inside them (``core.reference.bar_gaps``).

Lists of listings have holes, so a life is longer than its listing on both sides.  What lies outside
of it was not listed, and is no part of any coverage.
"""

import datetime as dt
from typing import Final

import polars as pl

from smallcaps_assets.core.figures import format_count, format_share
from smallcaps_assets.core.plan.intervals import merge_intervals
from smallcaps_assets.core.verdicts import Number, Verdict

SLACK: Final = dt.timedelta(days=30)
"""By how much a life is longer than its listing, on each side."""

Bars = pl.DataFrame | pl.LazyFrame | None
"""``ticker`` and ``session_date`` of daily bars, each key once, and more; ``None``: there are none.
"""


def build_lives(
    universe: pl.DataFrame,
    bars: Bars,
    first: dt.date,
    last: dt.date,
    stored: tuple[dt.date, dt.date] | None = None,
) -> pl.DataFrame:
    """Build the lives of tickers between two dates.

    An unknown beginning is that of the bars; without any, or where they begin behind the end of
    the listing, it is ``first``.  An unknown end is open.  Where a listing ends before it begins,
    its beginning is unknown.  A ticker of which no listing lies between the dates lives as long as
    it has bars.

    Args:
        universe: ``ticker``, ``listed_date`` and ``delisted_date`` of listings; a ticker may have
            several.
        bars: Daily bars of these tickers, and of others to be planned without a listing.
        first: First date that may be planned.
        last: Last date that may be planned.
        stored: Dates between which bars are stored: what has one near an end of them may have
            begun or gone on beyond.  ``None``: they are believed.

    Returns:
        ``ticker``, ``first_date`` and ``last_date``: disjoint intervals, sorted.
    """
    told = _find_ends(bars, stored)
    listed = _date_listings(universe, told, first, last)
    unlisted = told.join(listed, on="ticker", how="anti").select(
        "ticker",
        first_date=pl.col("first_bar").fill_null(first),
        last_date=pl.col("last_bar").fill_null(last),
    )
    return _merge(pl.concat([listed, _widen(unlisted, first, last)]))


def judge_survivors(lives: pl.DataFrame, last: dt.date) -> Verdict:
    """Judge survivorship: tickers of which all still lived at the end say little of the past.

    Args:
        lives: ``ticker``, ``first_date``, ``last_date``.
        last: Last date that may be planned.
    """
    ends = lives.group_by("ticker").agg(pl.col("last_date").max())
    gone = ends.filter(pl.col("last_date") < last).height
    share = gone / ends.height if ends.height else 0.0
    numbers: dict[str, Number] = {
        "tickers": ends.height,
        "ended_tickers": gone,
        "ended_ratio": share,
    }
    if gone:
        summary = (
            f"{format_count(gone, 'ticker')} of {ends.height:,} ended before {last} "
            f"({format_share(share)})"
        )
    else:
        summary = (
            f"none of {format_count(ends.height, 'ticker')} ended before {last}, so only survivors "
            "would be studied: add symbols that were delisted, `smallcaps universe` lists them"
        )
    return Verdict(gone > 0, summary, numbers)


def _find_ends(bars: Bars, stored: tuple[dt.date, dt.date] | None) -> pl.DataFrame:
    """Find ``first_bar`` and ``last_bar`` of each ticker; null: nobody knows."""
    if bars is None:
        schema = {"ticker": pl.String(), "first_bar": pl.Date(), "last_bar": pl.Date()}
        return pl.DataFrame(schema=schema)
    date = pl.col("session_date")
    ends = bars.lazy().group_by("ticker").agg(first_bar=date.min(), last_bar=date.max())
    known = ends.collect(engine="streaming")
    if stored is None:
        return known
    first, last = stored
    return known.with_columns(
        first_bar=pl.when(pl.col("first_bar") > first + SLACK).then("first_bar"),
        last_bar=pl.when(pl.col("last_bar") < last - SLACK).then("last_bar"),
    )


def _date_listings(
    universe: pl.DataFrame, told: pl.DataFrame, first: dt.date, last: dt.date
) -> pl.DataFrame:
    """Give each listing both dates, and keep what of it lies between two dates."""
    listed, delisted, bar = (pl.col(name) for name in ("listed_date", "delisted_date", "first_bar"))
    known = pl.coalesce(listed, bar)
    is_sound = (listed <= delisted).fill_null(value=True) & (known <= delisted).fill_null(
        value=True
    )
    dated = universe.join(told, on="ticker", how="left").select(
        "ticker",
        first_date=pl.when(is_sound).then(known).fill_null(first),
        last_date=delisted.fill_null(last),
    )
    return _widen(dated, first, last)


def _widen(lives: pl.DataFrame, first: dt.date, last: dt.date) -> pl.DataFrame:
    """Widen lives, and cut them to what lies between two dates."""
    return lives.select(
        "ticker",
        first_date=(pl.col("first_date") - SLACK).clip(lower_bound=first),
        last_date=(pl.col("last_date") + SLACK).clip(upper_bound=last),
    ).filter(pl.col("first_date") <= pl.col("last_date"))


def _merge(lives: pl.DataFrame) -> pl.DataFrame:
    """Merge lives that overlap or adjoin; days since 1970 are their indexes."""
    days = {"first_index": pl.col("first_date"), "last_index": pl.col("last_date")}
    merged = merge_intervals(
        lives.select("ticker", **{name: date.to_physical() for name, date in days.items()})
    )
    return merged.select(
        "ticker",
        first_date=pl.col("first_index").cast(pl.Date),
        last_date=pl.col("last_index").cast(pl.Date),
    )
