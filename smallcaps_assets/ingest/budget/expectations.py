"""How many trades sessions should hold, and the request ranges that follow from it.

What belongs here: what an estimate and a download must see alike, so that the requests of one are
those of the other.  What does not: what ranges cost (``estimates``) and how they are fetched
(``ingest.ticks.download``).
"""

import polars as pl

from smallcaps_assets.core.budget.calibration import label_expected_rows
from smallcaps_assets.core.plan.ranges import RangeRules, plan_request_ranges
from smallcaps_assets.core.reference.bar_facts import NO_BARS, BarFacts, DailyBar
from smallcaps_assets.core.sessions import session_range
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.schemas import DAILY_BARS, REQUEST_RANGES

KEY = list(DAILY_BARS.key)
COUNT_COLUMNS = [*KEY, "volume", "trade_count"]
"""What daily bars say about the trades of a session."""
COUNTS = pl.DataFrame(schema={name: DAILY_BARS.schema[name] for name in COUNT_COLUMNS})

STORED = pl.Schema(
    {"ticker": pl.String, "session_date": pl.Date, "rows": pl.Int64, "bytes": pl.Int64}
)
"""Proven sessions."""


def label_sessions(
    tables: TableStore, sessions: pl.DataFrame, stored: pl.DataFrame
) -> pl.DataFrame:
    """Add how many trades each session should hold, by its daily bar and by what landed.

    Args:
        tables: Where bars are.
        sessions: ``ticker, session_date`` and more.
        stored: ``STORED`` of what landed.  Sessions of the same tickers show how many trades a
            share stands for where bars count shares only.

    Returns:
        The sessions with ``expected_rows`` (null: the bars do not tell) and ``estimated_rows``
        (never null).
    """
    if sessions.is_empty():
        nothing = pl.lit(None, pl.Int64)
        return sessions.with_columns(expected_rows=nothing, estimated_rows=nothing)
    return label_expected_rows(sessions, gather_bars(tables, sessions, stored))


def gather_bars(tables: TableStore, sessions: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Gather what is known of the trades of sessions, and of those that teach about them.

    Args:
        tables: Where bars are.
        sessions: ``ticker, session_date`` and more.
        stored: What landed; its rows stand for counts that the bars lack.

    Returns:
        ``ticker, session_date, volume, trade_count``, each key once.  A session of which the
        vendor listed every ticker that traded has a bar of none where the ticker was not listed.
    """
    bars = _read_counts(tables, sessions)
    first, last = session_range(sessions)
    covered = tables.read_covered_sessions(first, last)
    idle = (
        sessions.filter(pl.col("session_date").is_in(list(covered)))
        .join(bars, on=KEY, how="anti")
        .select(*KEY, volume=pl.lit(0.0), trade_count=pl.lit(0, pl.Int64))
    )
    known = pl.concat([bars, idle])
    if known.height == sessions.height and not known["trade_count"].null_count():
        return known
    return _learn_counts(tables, known, stored.filter(pl.col("rows") > 0))


def plan_ranges(sessions: pl.DataFrame, rules: RangeRules) -> pl.DataFrame:
    """Cut labelled sessions into the request ranges in which a download would fetch them.

    Sessions that failed before (``has_failed``, where the frame has that column) are in ranges
    of their own.

    Returns:
        ``schemas.REQUEST_RANGES``; those of failed sessions follow the others.
    """
    has_failed = pl.col("has_failed") if "has_failed" in sessions.columns else pl.lit(value=False)
    parts = [sessions.filter(~has_failed), sessions.filter(has_failed)]
    ranges = [
        plan_request_ranges(part, rules.calendar, rules.max_rows, rules.max_sessions)
        for part in parts
        if part.height
    ]
    return pl.concat([REQUEST_RANGES.empty(), *ranges])


def read_bar_facts(tables: TableStore, sessions: pl.DataFrame) -> BarFacts:
    """Read what is known of ``sessions`` (columns ``ticker``, ``session_date``)."""
    if sessions.is_empty():
        return NO_BARS
    first, last = session_range(sessions)
    bars = (
        tables.read_daily_bars(first, last)
        .join(sessions.lazy().select("ticker", "session_date"), on=["ticker", "session_date"])
        .filter(pl.col("volume").is_finite())
        .select("ticker", "session_date", "volume", "trade_count")
        .collect()
    )
    months = tables.read_bar_months(first, last)
    return BarFacts(
        {
            (ticker, session_date): DailyBar(volume, trade_count)
            for ticker, session_date, volume, trade_count in bars.iter_rows()
        },
        frozenset(date for month in months for date in month.covered if first <= date <= last),
        {date: on for month in months for date, on in month.fetched},
        {date: on for month in months for date, on in month.asked_again},
    )


def _read_counts(tables: TableStore, sessions: pl.DataFrame) -> pl.DataFrame:
    """Read the stored bars of sessions."""
    if sessions.is_empty():
        return COUNTS
    bars = tables.read_daily_bars(*session_range(sessions))
    keys = sessions.lazy().select(KEY)
    counts = (
        bars.select(COUNT_COLUMNS)
        .join(keys, on=KEY, how="semi")
        .collect()
        .unique(maintain_order=True)
    )
    if counts.select(KEY).is_duplicated().any():
        months = ", ".join(tables.find_unsound_months())
        raise DataError(
            f"daily_bars: {months} hold different bars of one ticker and session, stored by an "
            "earlier version: run `smallcaps plan`, which fetches those months again"
        )
    return counts


def _learn_counts(tables: TableStore, bars: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """Learn the counts that bars lack from the rows of sessions that landed."""
    volumes = _read_counts(tables, landed).select(*KEY, "volume")
    taught = landed.select(*KEY, "rows").join(volumes, on=KEY, how="left", validate="1:1")
    known = bars.join(taught.select(*KEY, "rows"), on=KEY, how="left", validate="1:1").select(
        *KEY, "volume", trade_count=pl.coalesce("trade_count", "rows")
    )
    others = taught.join(bars, on=KEY, how="anti")
    return pl.concat([known, others.select(*KEY, "volume", trade_count="rows")])
