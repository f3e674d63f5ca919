"""The labels of the decisions of one ticker, from its prints.

What belongs here: prints to a tape, and the rows of each decision, event and side.  What does not:
which decisions are read at once, and how labels overlap (``labelling``).
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.research.events.costs import Trade, measure_net_return
from smallcaps_assets.core.research.events.labels import (
    Decision,
    Hours,
    Outcome,
    Tape,
    label_horizon,
    mirror,
    select_continuous,
)
from smallcaps_assets.core.research.events.weights import MinuteClock
from smallcaps_assets.core.research.prints import find_halts
from smallcaps_assets.research.ground import Ground

Row = dict[str, Any]

MARKS: Final = {"ticker": pl.String(), "place": pl.Int64(), "price": pl.Float64()}
"""Last continuous price of each minute that was read."""


class Labeller:
    """Labels of the decisions of one ticker that are read at once."""

    def __init__(self, ground: Ground, decisions: pl.DataFrame, sessions: pl.DataFrame) -> None:
        """Read the prints.

        Args:
            ground: The lake.
            decisions: ``schemas_research.DECISIONS`` of one ticker.
            sessions: ``ticker, session_date`` of the proven sessions that labels may touch.
        """
        self._ground = ground
        # Instants as integers: a datetime of Python has no nanoseconds.
        self._decisions = decisions.with_columns(pl.selectors.datetime().cast(pl.Int64))
        self._ticker: str = decisions["ticker"][0]
        self._tape = self._read_tape(sessions)

    @cached_property
    def _hours(self) -> Hours:
        frame = self._ground.calendar.frame
        columns = frame.select(pl.col("regular_open", "regular_close").cast(pl.Int64))
        return Hours(*(columns[name].to_numpy() for name in columns.columns))

    @property
    def marks(self) -> pl.DataFrame:
        """The last price of each minute that was read: ``MARKS``."""
        places = MinuteClock.of(self._ground.calendar).place(self._tape.times)
        prices = pl.DataFrame({"place": places, "price": self._tape.prices})
        last = prices.group_by("place", maintain_order=True).agg(pl.col("price").last())
        return last.select(ticker=pl.lit(self._ticker), place="place", price="price")

    def label(self) -> list[Row]:
        """Label all decisions, both sides of each event."""
        return [row for row in self._decisions.iter_rows(named=True) for row in self._expand(row)]

    def _read_tape(self, sessions: pl.DataFrame) -> Tape:
        ground = self._ground
        places = {date: ground.calendar.index_of(date) for date in sessions["session_date"]}
        batches = list(ground.read_prints(sessions))
        prints = [select_continuous(batch) for batch in batches]
        halts = [find_halts(batch, ground.calendar) for batch in batches]
        factors = self._read_factors()
        times = [part["sip_timestamp"].cast(pl.Int64).to_numpy() for part in prints]
        scaled = [_scale(part, places, factors) for part in prints]
        pauses = [part.select(pl.col("start", "end").cast(pl.Int64)).to_numpy() for part in halts]
        return Tape(
            np.concatenate([np.empty(0, dtype=np.int64), *times]),
            np.concatenate([np.empty(0), *scaled]),
            np.concatenate([np.empty((0, 2), dtype=np.int64), *pauses]),
            frozenset(places.values()),
            factors,
        )

    def _expand(self, row: Mapping[str, Any]) -> Iterator[Row]:
        """Yield the labels of one decision."""
        ground, decision = self._ground, self._read_decision(row)
        horizons = {event: find_horizon(ground, event) for event in row["events"]}
        longest = max(horizons.values())
        outcomes = {
            horizon: label_horizon(decision, horizon, self._tape, self._hours, ground.labels)
            for horizon in set(horizons.values())
        }
        dataset = next(event for event in row["events"] if horizons[event] == longest)
        for event, horizon in horizons.items():
            for side in (1, -1):
                yield {
                    "ticker": row["ticker"],
                    "session_date": row["session_date"],
                    "known_timestamp": row["known_timestamp"],
                    "event": event,
                    "side": side,
                    "is_event_side": side == ground.labels.sides[event],
                    "is_dataset_row": event == dataset and side > 0,
                    "horizon": horizon,
                    "entry_session": row["entry_session"],
                    **self._fill(outcomes[horizon], side, row),
                }

    def _fill(self, outcome: Outcome, side: int, row: Mapping[str, Any]) -> Row:
        """Fill in the columns that an outcome decides."""
        tape = self._tape
        entry, exit_ = outcome.entry, outcome.exit
        factor = tape.factors[self._find_place(row["entry_session"])][0] if entry >= 0 else 1.0
        filled: Row = {
            "outcome": mirror(outcome.outcome, side),
            "reason": outcome.reason,
            "barrier": outcome.barrier,
            "vertical_timestamp": outcome.vertical,
            "entry_timestamp": int(tape.times[entry]) if entry >= 0 else None,
            "entry_price": float(tape.prices[entry] / factor) if entry >= 0 else None,
        }
        if outcome.gross is None or outcome.exit_price is None:
            return filled
        exit_time = int(tape.times[exit_])
        session = self._hours.find_session(exit_time)
        dates = self._ground.calendar.frame["session_date"]
        return filled | {
            "exit_timestamp": exit_time,
            "exit_session": dates[session],
            "exit_price": outcome.exit_price,
            "gross_return": side * outcome.gross,
            "net_return": self._measure_net(
                row, side, (filled["entry_price"], outcome.exit_price), dates[session]
            ),
        }

    def _measure_net(
        self, row: Mapping[str, Any], side: int, prices: tuple[float, float], last: dt.date
    ) -> float:
        """Measure what a trade of the usual size leaves after costs."""
        ground = self._ground
        entry_price, exit_price = prices
        shares = max(1, math.floor(ground.labels.notional_usd / entry_price))
        # Without a volume nothing says that the market would bear the trade.
        volume = max(row["day_volume"] or 0.0, 1.0) * self._scale_shares(row)
        participation = min(1.0, shares / volume)
        trade = Trade(
            side=side,
            shares=shares,
            entry_price=entry_price,
            exit_price=exit_price,
            half_spread=row["half_spread"],
            sigma=row["sigma"],
            participation=participation,
            days=(last - row["entry_session"]).days,
        )
        return measure_net_return(trade, ground.costs)

    def _scale_shares(self, row: Mapping[str, Any]) -> float:
        """Count shares at the entry for one share at the event: a split may lie between."""
        factors = self._tape.factors
        entry, event = (self._find_place(row[name]) for name in ("entry_session", "session_date"))
        return factors[entry][0] / factors[event][0]

    def _read_decision(self, row: Mapping[str, Any]) -> Decision:
        return Decision(
            session=self._find_place(row["session_date"]),
            entry_session=self._find_place(row["entry_session"]),
            instant=row["decision_timestamp"],
            sigma=math.nan if row["sigma"] is None else row["sigma"],
            half_spread=row["half_spread"],
            is_intraday=row["is_intraday"],
        )

    def _find_place(self, date: dt.date) -> int:
        return self._ground.calendar.index_of(date)

    def _read_factors(self) -> dict[int, tuple[float, int]]:
        """Read split factor and era of every session from the first decision on."""
        ground, dates = self._ground, self._decisions["session_date"].to_list()
        first = self._find_place(min(dates))
        last = self._find_place(max(dates)) + 1 + max(find_horizons(ground))
        frame = ground.calendar.frame["session_date"][first : last + 1]
        keys = pl.DataFrame({"session_date": frame}).with_columns(ticker=pl.lit(self._ticker))
        factors = label_split_factor(keys.lazy(), ground.splits.lazy()).collect()
        rows = factors.select("split_factor", "split_era").iter_rows()
        return {first + place: (factor, era) for place, (factor, era) in enumerate(rows)}


def find_horizon(ground: Ground, event: str) -> int:
    """Find the sessions after an event that the plan covers."""
    return ground.record.windows.get(event, (0, 0))[1]


def find_horizons(ground: Ground) -> list[int]:
    """Find the horizon of every event of the plan; at least one."""
    return [0, *(after for _, after in ground.record.windows.values())]


def _scale(
    prints: pl.DataFrame, places: Mapping[dt.date, int], factors: Mapping[int, tuple[float, int]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scale prices so that they are comparable within an era."""
    by_date = {date: factors[place][0] for date, place in places.items()}
    factor = prints["session_date"].replace_strict(by_date, return_dtype=pl.Float64)
    scaled: np.ndarray[Any, np.dtype[np.float64]] = (prints["price"] * factor).to_numpy()
    return scaled
