"""What could be seen of a stock at a decision: numbers that a model may be given.

What belongs here: figures of bars that were final by then.  What does not: anything later
(``outcomes``), which no table that a model sees may hold.
"""

from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.research.events.decisions import (
    NO_HISTORY,
    BarHistory,
    read_histories,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.schemas_research import EVENT_FEATURES

KEY: Final = ["ticker", "known_timestamp"]
_SESSION: Final = ["ticker", "session_date"]
_NS_PER_MINUTE: Final = 60_000_000_000
_RETURN_SESSIONS: Final = 5


def build_event_features(
    decisions: pl.DataFrame,
    minutes: pl.DataFrame,
    halts: pl.DataFrame,
    history: pl.DataFrame,
) -> pl.DataFrame:
    """Measure what was known of each stock at each decision.

    Args:
        decisions: ``schemas_research.DECISIONS``.
        minutes: ``schemas_research.MINUTE_BARS`` of their sessions; later minutes are left out.
        halts: ``schemas_research.HALTS`` of the same.
        history: :func:`measure_history` of the decisions.

    Returns:
        ``schemas_research.EVENT_FEATURES``, sorted by its key.
    """
    seen = decisions.select(*_SESSION, decided="known_timestamp").join(
        minutes, on=_SESSION, how="inner"
    )
    seen = seen.filter(pl.col("known_timestamp") <= pl.col("decided"))
    day = seen.sort("ticker", "decided", "minute").group_by("ticker", "decided").agg(_sum_day())
    over = decisions.select(*_SESSION, decided="known_timestamp").join(halts, on=_SESSION)
    halted = over.filter(pl.col("end") <= pl.col("decided")).group_by("ticker", "decided")
    rows = (
        decisions.join(_rename(day), on=KEY, how="left")
        .join(_rename(halted.agg(halts=pl.len().cast(pl.Float64))), on=KEY, how="left")
        .join(history, on=KEY, how="left")
    )
    table = rows.with_columns(**_derive()).select(EVENT_FEATURES.schema.names())
    finite = pl.when(pl.selectors.float().is_finite()).then(pl.selectors.float())
    return EVENT_FEATURES.conform(table.with_columns(finite)).sort(EVENT_FEATURES.key)


def measure_history(
    decisions: pl.DataFrame, bars: pl.DataFrame, splits: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Measure the daily bars before the session of each decision.

    Args:
        decisions: ``ticker``, ``session_date``, ``known_timestamp``.
        bars: ``schemas.DAILY_BARS``, unadjusted.
        splits: ``schemas.SPLITS``.
        calendar: Sessions.

    Returns:
        The key with ``close_before``, ``return_5``, ``distance_from_high_20``,
        ``median_volume``, ``median_dollar_volume`` and ``regular_open``; prices and shares as of
        the session.
    """
    places = calendar.frame.select(
        "session_date", "regular_open", "regular_close", index=pl.col("session_index")
    )
    keys = decisions.select(*_SESSION, "known_timestamp").join(places, on="session_date")
    factors = label_split_factor(keys.select(_SESSION).unique().lazy(), splits.lazy()).collect()
    keys = keys.join(factors, on=_SESSION).sort(KEY)
    histories = read_histories(bars, splits, calendar)
    measured = [
        _look_back(histories.get(ticker, NO_HISTORY), index, era, factor)
        for ticker, index, era, factor in keys.select(
            "ticker", "index", "split_era", "split_factor"
        ).iter_rows()
    ]
    columns = pl.DataFrame(measured, schema=_HISTORY, orient="row")
    return pl.concat(
        [keys.select(*KEY, "regular_open", "regular_close"), columns.fill_nan(None)],
        how="horizontal",
    )


_HISTORY: Final = dict.fromkeys(
    (
        "close_before",
        "return_5",
        "distance_from_high_20",
        "median_volume",
        "median_dollar_volume",
    ),
    pl.Float64(),
)


def _look_back(history: BarHistory, index: int, era: int, factor: float) -> tuple[float, ...]:
    """Fill in the figures of ``_HISTORY``, NaN where there are too few bars."""
    closes, volumes = history.select_before(index, era)
    if not closes.size:
        return (np.nan,) * len(_HISTORY)
    is_long = closes.size > _RETURN_SESSIONS
    return (
        float(closes[-1] / factor),
        float(np.log(closes[-1] / closes[-1 - _RETURN_SESSIONS])) if is_long else np.nan,
        float(closes[-1] / closes.max() - 1),
        float(np.median(volumes) * factor),
        float(np.median(closes * volumes)),
    )


def _sum_day() -> list[pl.Expr]:
    """Sum the minutes seen, whole and of the regular phase."""
    regular = pl.col("trading_phase") == "regular"
    whole = ("volume", "dollar", "odd_lot_volume", "trf_volume", "auction_volume")
    bought, sold = pl.col("tick_rule_buy_volume"), pl.col("tick_rule_sell_volume")
    price = pl.col("close").filter(regular).drop_nulls()
    return [
        *(pl.col(name).sum() for name in whole),
        (bought - sold).sum().alias("signed"),
        pl.col("volume").filter(pl.col("trading_phase") == "pre_market").sum().alias("before"),
        pl.col("volume").filter(regular).sum().alias("regular_volume"),
        pl.col("dollar").filter(regular).sum().alias("regular_dollar"),
        pl.col("open").filter(regular).drop_nulls().first().alias("first"),
        price.last().alias("last"),
        pl.col("high").filter(regular).max().alias("highest"),
        pl.col("low").filter(regular).min().alias("lowest"),
        pl.col("realised_variance").filter(regular).sum().sqrt().alias("realised_volatility"),
    ]


def _derive() -> dict[str, pl.Expr]:
    """Derive the features that are made of the sums."""
    first, last, volume = pl.col("first"), pl.col("last"), pl.col("volume")
    until = pl.min_horizontal("known_timestamp", "regular_close") - pl.col("regular_open")
    minutes = until.dt.total_nanoseconds() / _NS_PER_MINUTE
    vwap = pl.col("regular_dollar") / pl.col("regular_volume")
    return {
        "known_event_count": pl.col("known_events").list.len().cast(pl.UInt32),
        "minutes_since_open": minutes,
        "gap": pl.coalesce(first, "known_price") / pl.col("close_before") - 1,
        "session_return": (last / first).log(),
        "distance_from_high": last / pl.col("highest") - 1,
        "distance_from_low": last / pl.col("lowest") - 1,
        "vwap_distance": last / vwap - 1,
        "relative_volume": volume / pl.col("median_volume"),
        "dollar_volume": pl.col("dollar"),
        "pre_market_share": pl.col("before") / volume,
        "order_imbalance": pl.col("signed") / volume,
        "odd_lot_share": pl.col("odd_lot_volume") / volume,
        "trf_share": pl.col("trf_volume") / volume,
        "auction_share": pl.col("auction_volume") / volume,
        "halts": pl.when(volume.is_not_null()).then(pl.col("halts").fill_null(0.0)),
    }


def _rename(seen: pl.DataFrame) -> pl.DataFrame:
    return seen.rename({"decided": "known_timestamp"})
