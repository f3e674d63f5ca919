"""What came after a decision, session by session: to be looked at, and never to be learned from.

Does not belong here: labels (``labels``), and what was known at the decision (``features``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.reference.daily_bars import select_usable_bars
from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.schemas_research import EVENT_OUTCOMES

SESSIONS: Final = 3
"""Sessions that are looked at: the longest window after an event by default."""

_SESSION: Final = ["ticker", "session_date"]


def build_event_outcomes(
    decisions: pl.DataFrame, bars: pl.DataFrame, splits: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Measure the sessions after the event of each decision, on prices of its session.

    Args:
        decisions: ``schemas_research.DECISIONS``.
        bars: ``schemas.DAILY_BARS``, unadjusted.
        splits: ``schemas.SPLITS``; nothing is compared across one of unknown ratio.
        calendar: Sessions.

    Returns:
        ``schemas_research.EVENT_OUTCOMES``, sorted by its key.
    """
    later = _list_later(decisions, calendar)
    before = later.select(_SESSION).unique()
    after = later.select("ticker", session_date="outcome_session").unique()
    factors = label_split_factor(
        pl.concat([before, after]).unique().lazy(), splits.lazy()
    ).collect()
    usable = select_usable_bars(bars.lazy()).select(*_SESSION, "high", "low", "close", "volume")
    prices = usable.collect().rename({"session_date": "outcome_session"})
    then = factors.rename({"session_date": "outcome_session"})
    rows = (
        later.join(factors, on=_SESSION, how="left")
        .join(then, on=["ticker", "outcome_session"], how="left", suffix="_then")
        .join(prices, on=["ticker", "outcome_session"], how="left")
    )
    is_comparable = pl.col("split_era") == pl.col("split_era_then")
    step = pl.when(is_comparable).then(pl.col("split_factor_then") / pl.col("split_factor"))
    table = rows.with_columns(
        *(
            (pl.col(name) * step / pl.col("known_price") - 1).alias(f"{name}_return")
            for name in ("close", "high", "low")
        ),
        volume_ratio=pl.col("volume") / step / pl.col("day_volume"),
    )
    return EVENT_OUTCOMES.conform(table.select(EVENT_OUTCOMES.schema.names())).sort(
        EVENT_OUTCOMES.key
    )


def _list_later(decisions: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """List a row per decision and session after it, as far as the calendar goes."""
    places = calendar.frame.select("session_date", index=pl.col("session_index").cast(pl.Int64))
    dates = places.rename({"session_date": "outcome_session", "index": "outcome_index"})
    offsets = pl.DataFrame({"offset": range(1, SESSIONS + 1)}, {"offset": pl.Int16})
    crossed = decisions.join(places, on="session_date").join(offsets, how="cross")
    return crossed.with_columns(outcome_index=pl.col("index") + pl.col("offset")).join(
        dates, on="outcome_index"
    )
