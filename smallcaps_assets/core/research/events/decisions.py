"""Decisions: instants at which events could be acted on, and what was known of the stock then.

What belongs here: the known time of a decision, its session of entry, its volatility.  What does
not: when a single event was known (``confirmations``) and what became of a trade (``labels``).

A decision exists only from the moment its selection was known: a row that is in the plan because it
has three events may be acted on once the third of them is known, and not before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.events.rules import EVENT_ORDER
from smallcaps_assets.core.reference.daily_bars import select_usable_bars
from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.sessions import SessionCalendar

HISTORY_BARS: Final = 20
HISTORY_SESSIONS: Final = 40
"""Sessions that the bars before may lie back: a symbol that was used again starts fresh."""
FEWEST_RETURNS: Final = 10

_SESSION: Final = ["ticker", "session_date"]
_GROUP: Final = [*_SESSION, "known_timestamp"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BarHistory:
    """The usable daily bars of one ticker, in order.

    Attributes:
        index: Place of each session in the calendar.
        close: Close, comparable within an era, USD.
        volume: Shares, comparable within an era.
        era: Number of the stretch between splits of unknown ratio.
    """

    index: npt.NDArray[np.int64]
    close: Floats
    volume: Floats
    era: npt.NDArray[np.int64]

    def select_before(self, index: int, era: int) -> tuple[Floats, Floats]:
        """Select closes and volumes of the last 20 bars before a session, oldest first."""
        end = int(np.searchsorted(self.index, index))
        window = slice(max(0, end - HISTORY_BARS), end)
        is_near = (self.index[window] >= index - HISTORY_SESSIONS) & (self.era[window] == era)
        return self.close[window][is_near], self.volume[window][is_near]


NO_HISTORY: Final = BarHistory(*(np.empty(0, dtype=kind) for kind in ("i8", "f8", "f8", "i8")))


def build_decisions(events: pl.DataFrame, min_events: int | None) -> pl.DataFrame:
    """Gather events to one row per ticker and instant at which they could be acted on.

    An event that prints refute makes no decision; it counts towards the selection when the daily
    bar was final, because the plan counted it.

    Args:
        events: ``schemas_research.INTRADAY_EVENTS``: all events of the chosen rows.
        min_events: Events that a row of the plan needs; ``None``: unknown, so all of a row.

    Returns:
        ``ticker``, ``session_date``, ``known_timestamp``, ``events``, ``known_events`` and
        ``known_price`` (of the print that told; null: none) of ``DECISIONS``, sorted.
    """
    known = pl.col("known_timestamp")
    place = pl.len() if min_events is None else pl.min_horizontal(pl.len(), max(1, min_events))
    selected = known.sort().get(place - 1).over(_SESSION)
    own = (
        events.with_columns(pl.col("event").cast(EVENT_ORDER), selected_timestamp=selected)
        .filter(pl.col("is_confirmed").fill_null(value=True))
        .sort(*_SESSION, "event")
    )
    decided = own.with_columns(
        alone=known, known_timestamp=pl.max_horizontal(known, "selected_timestamp")
    )
    is_new = pl.col("alone") == pl.col("known_timestamp")
    decisions = decided.group_by(_GROUP, maintain_order=True).agg(
        events=pl.col("event").cast(pl.String),
        known_price=pl.col("known_price").filter(is_new).drop_nulls().last(),
    )
    # The selection may have become known by an event that prints refute: then no print told.
    pairs = decisions.select(_GROUP).join(own.select(*_SESSION, "event", alone=known), on=_SESSION)
    by_then = pairs.filter(pl.col("alone") <= known).sort(*_GROUP, "event")
    sets = by_then.group_by(_GROUP).agg(known_events=pl.col("event").cast(pl.String))
    return decisions.join(sets, on=_GROUP, how="left").sort("ticker", "known_timestamp")


def place_decisions(
    decisions: pl.DataFrame, calendar: SessionCalendar, rules: LabelRules
) -> pl.DataFrame:
    """Add ``is_intraday``, ``entry_session`` and ``decision_timestamp``.

    A decision too late for its own session is acted on at the open of the next one.

    Args:
        decisions: Rows of ``session_date`` and ``known_timestamp``.
        calendar: Sessions and their phases.
        rules: Latency, and how late an entry may be.
    """
    sessions = calendar.frame.select(
        "session_date",
        "regular_open",
        "regular_close",
        next_session=pl.col("session_date").shift(-1),
        next_open=pl.col("regular_open").shift(-1),
    )
    latency = pl.duration(nanoseconds=rules.latency_ns)
    instant = pl.col("known_timestamp") + latency
    last = pl.col("regular_close") - pl.duration(nanoseconds=rules.last_entry_ns)
    joined = decisions.join(sessions, on="session_date", how="left", maintain_order="left")
    placed = joined.with_columns(is_intraday=(instant >= pl.col("regular_open")) & (instant < last))
    return placed.with_columns(
        entry_session=pl.when("is_intraday").then("session_date").otherwise("next_session"),
        decision_timestamp=pl.when("is_intraday")
        .then(instant)
        .otherwise(pl.col("next_open") + latency),
    ).drop("regular_open", "regular_close", "next_session", "next_open")


def label_volatility(
    decisions: pl.DataFrame, bars: pl.DataFrame, splits: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Add ``sigma`` and ``day_volume``, and the close of the bar as ``known_price``.

    Args:
        decisions: Rows of ``ticker``, ``session_date`` and ``known_price``, USD (null: none told).
        bars: ``schemas.DAILY_BARS``, unadjusted.
        splits: ``schemas.SPLITS``.
        calendar: Sessions.

    Returns:
        The same rows in the same order; ``sigma`` is a daily fraction.
    """
    places = calendar.frame.select("session_date", index=pl.col("session_index").cast(pl.Int64))
    labelled = decisions.join(places, on="session_date", how="left", maintain_order="left")
    factors = label_split_factor(labelled.select(_SESSION).unique().lazy(), splits.lazy())
    usable = select_usable_bars(bars.lazy())
    closes = usable.select(*_SESSION, bar_close="close", bar_volume="volume").collect()
    rows = labelled.join(factors.collect(), on=_SESSION, how="left", maintain_order="left").join(
        closes, on=_SESSION, how="left", maintain_order="left"
    )
    # A print that told the price came before the bar was final.
    final = pl.when(pl.col("known_price").is_null())
    rows = rows.with_columns(
        known_price=pl.coalesce("known_price", "bar_close"),
        bar_volume=final.then("bar_volume"),
    )
    histories = read_histories(bars, splits, calendar)
    measured = [
        _measure(histories.get(ticker, NO_HISTORY), index, era, (price or np.nan) * factor)
        for ticker, index, era, price, factor in rows.select(
            "ticker", "index", "split_era", "known_price", "split_factor"
        ).iter_rows()
    ]
    factor = rows["split_factor"].to_numpy()
    sigma, volume = np.array(measured, dtype=np.float64).reshape(-1, 2).T
    median = pl.Series(volume * factor).fill_nan(None)
    return rows.with_columns(
        sigma=pl.Series(sigma).fill_nan(None),
        day_volume=pl.max_horizontal(pl.lit(median), "bar_volume"),
    ).drop("index", "split_era", "split_factor", "bar_close", "bar_volume")


def read_histories(
    bars: pl.DataFrame, splits: pl.DataFrame, calendar: SessionCalendar
) -> dict[str, BarHistory]:
    """Put the usable bars of each ticker on comparable prices.

    Args:
        bars: ``schemas.DAILY_BARS``.
        splits: ``schemas.SPLITS``.
        calendar: Sessions; bars on other dates are left out.
    """
    places = calendar.frame.select("session_date", index=pl.col("session_index").cast(pl.Int64))
    labelled = (
        label_split_factor(select_usable_bars(bars.lazy()), splits.lazy())
        .join(places.lazy(), on="session_date")
        .sort("ticker", "session_date")
        .select(
            "ticker",
            "index",
            close=pl.col("close") * pl.col("split_factor"),
            volume=pl.col("volume") / pl.col("split_factor"),
            era=pl.col("split_era").cast(pl.Int64),
        )
        .collect()
    )
    return dict(_iter_histories(labelled))


def _iter_histories(bars: pl.DataFrame) -> Iterator[tuple[str, BarHistory]]:
    for (ticker,), rows in bars.partition_by("ticker", as_dict=True).items():
        columns = (rows[name].to_numpy() for name in ("index", "close", "volume", "era"))
        yield str(ticker), BarHistory(*columns)


def _measure(history: BarHistory, index: int, era: int, price: float) -> tuple[float, float]:
    """Measure volatility and median volume before a session, NaN where too little is known."""
    closes, volumes = history.select_before(index, era)
    returns = np.diff(np.log(np.append(closes, price)))
    returns = returns[np.isfinite(returns)]
    sigma = np.sqrt(np.mean(returns**2)) if returns.size >= FEWEST_RETURNS else np.nan
    return float(sigma), float(np.median(volumes)) if volumes.size else np.nan
