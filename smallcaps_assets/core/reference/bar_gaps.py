"""Lives: the sessions on which a listing should have a daily bar, and those on which it has none.

What belongs here: gaps of daily bars inside listing periods.  What does not: bars that are there
and wrong (``daily_bars``), and membership of events (``membership``).

Only sessions on which anything has a bar are looked at, so that months that are not stored are no
gap.  A ticker that did not trade has no bar: some gaps are true.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.verdicts import Thresholds, Verdict

_FIRST: Final = pl.date(1, 1, 1)
_LAST: Final = pl.date(9999, 12, 31)

SHOWN_LIVES: Final = 20
"""Lives with the most missing sessions that facts carry along to show."""


@dataclass(frozen=True, eq=False)
class LifeFacts:
    """Sessions without a bar in the lives of listings.

    Attributes:
        lives: Listings with a bar at all; without a universe, tickers from first to last bar.
        without_bars: Listings that overlap the stored sessions and have no bar.
        sessions: Sessions from the first bar of a life to its end.
        missing: Those of them without a bar.
        late_sessions: Sessions of a life before its first bar, not counted as missing: the date
            of a listing survives a change of its ticker.
        bars_outside: Bars of a ticker of the universe on dates that no life of it covers.
        offenders: ``ticker``, first and last session of a life, ``sessions``, ``missing``; most
            missing first.
    """

    lives: int
    without_bars: int
    sessions: int
    missing: int
    late_sessions: int
    bars_outside: int
    is_by_listing: bool
    offenders: pl.DataFrame


def measure_lives(
    bars: pl.LazyFrame, universe: pl.DataFrame | None, calendar: SessionCalendar
) -> LifeFacts:
    """Count the sessions that lack a bar.

    ``bars`` are unique ``ticker, session_date``; dates that are no session are left out.  Without a
    universe a life is from the first to the last bar of a ticker.
    """
    held = _rank_sessions(bars, calendar)
    placed = bars.select("ticker", "session_date").join(held, on="session_date", how="inner")
    tickers = (placed if universe is None else universe.lazy()).select("ticker").unique()
    if universe is None:
        lives = placed.group_by("ticker").agg(first=pl.col("rank").min(), last=pl.col("rank").max())
    else:
        lives = _place_listings(universe.lazy(), held)
    numbered = lives.with_row_index("life").collect()
    inside = placed.join(numbered.lazy(), on="ticker", how="inner", validate="m:m").filter(
        pl.col("rank").is_between("first", "last")
    )
    found = (
        inside.group_by("life")
        .agg(bars=pl.col("rank").n_unique(), start=pl.col("rank").min())
        .collect(engine="streaming")
    )
    lived = numbered.join(found, on="life", how="inner", validate="1:1").with_columns(
        sessions=pl.col("last").cast(pl.Int64) - pl.col("start") + 1,
        late=pl.col("start").cast(pl.Int64) - pl.col("first"),
    )
    lacking = lived.with_columns(missing=pl.col("sessions") - pl.col("bars"))
    return LifeFacts(
        lives=lived.height,
        without_bars=numbered.height - lived.height,
        sessions=_total(lacking, "sessions"),
        missing=_total(lacking, "missing"),
        late_sessions=_total(lacking, "late"),
        bars_outside=_count_outside(placed, tickers, inside),
        is_by_listing=universe is not None,
        offenders=_show(lacking, held),
    )


def judge_lives(facts: LifeFacts, thresholds: Thresholds) -> Verdict:
    """Judge the share of sessions without a bar by the threshold ``missing_bars``."""
    ratio = facts.missing / facts.sessions if facts.sessions else 0.0
    lives = "listings" if facts.is_by_listing else "tickers, first to last bar (no universe)"
    summary = (
        f"{facts.missing} of {facts.sessions} sessions in the lives of {facts.lives} {lives} have "
        f"no bar ({ratio:.2%}); {thresholds.missing_bars:.2%} are tolerated"
    )
    numbers = {
        "lives": facts.lives,
        "listings_without_bars": facts.without_bars,
        "sessions": facts.sessions,
        "missing_sessions": facts.missing,
        "missing_ratio": ratio,
        "late_sessions": facts.late_sessions,
        "bars_outside_lives": facts.bars_outside,
        "by_listing": "yes" if facts.is_by_listing else "no",
    }
    passed = facts.lives > 0 and ratio <= thresholds.missing_bars
    return Verdict(passed, summary, numbers, facts.offenders)


def _rank_sessions(bars: pl.LazyFrame, calendar: SessionCalendar) -> pl.LazyFrame:
    """Rank the sessions on which anything has a bar: ``rank`` is their place among themselves."""
    dates = bars.select("session_date").unique()
    sessions = calendar.frame.lazy().select("session_date")
    held = dates.join(sessions, on="session_date", how="semi").sort("session_date")
    return held.with_row_index("rank").collect().lazy()


def _place_listings(universe: pl.LazyFrame, held: pl.LazyFrame) -> pl.LazyFrame:
    """Place the listings that meet a held session: ``ticker``, ``first`` and ``last`` rank.

    The date of the delisting itself is not owed: the vendor does not say whether it traded.
    """
    ranks = held.select("rank", "session_date").sort("session_date")
    end = pl.col("delisted_date").dt.offset_by("-1d").fill_null(_LAST)
    # A listing without a first date begins where the one before it under its ticker ended.
    before = pl.col("delisted_date").shift(1).over("ticker")
    dated = (
        universe.sort("ticker", "delisted_date", "listed_date", nulls_last=True)
        .with_columns(end=end, start=pl.coalesce("listed_date", before, _FIRST))
        .select("ticker", "start", "end")
    )
    bounds = (
        dated.sort("start")
        .join_asof(
            ranks.rename({"rank": "first"}),
            left_on="start",
            right_on="session_date",
            strategy="forward",
        )
        .sort("end")
        .join_asof(
            ranks.rename({"rank": "last"}),
            left_on="end",
            right_on="session_date",
            strategy="backward",
        )
    )
    return (
        bounds.filter(pl.col("first") <= pl.col("last"))
        .select("ticker", "first", "last")
        .sort("ticker", "first", "last")
    )


def _count_outside(placed: pl.LazyFrame, tickers: pl.LazyFrame, inside: pl.LazyFrame) -> int:
    known = placed.join(tickers, on="ticker", how="semi").select(pl.len()).collect().item()
    covered = inside.select("ticker", "rank").unique().select(pl.len())
    return int(known - covered.collect(engine="streaming").item())


def _show(lacking: pl.DataFrame, held: pl.LazyFrame) -> pl.DataFrame:
    worst = lacking.filter(pl.col("missing") > 0).sort(
        "missing", "ticker", "first", descending=[True, False, False]
    )
    shown, dates = worst.head(SHOWN_LIVES), held.collect()["session_date"]
    return shown.select(
        "ticker",
        dates.gather(shown["start"]).alias("first_session"),
        dates.gather(shown["last"]).alias("last_session"),
        "sessions",
        "missing",
    )


def _total(rows: pl.DataFrame, column: str) -> int:
    return int(rows.select(pl.col(column).sum()).item())
