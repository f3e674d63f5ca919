"""From the plan's events to when they were known, and to decisions.

What belongs here: which sessions are asked, and the tables that come of it.  What does not: how
prints confirm an event (``core.research.events.confirmations``) and what became of a decision
(``labelling``).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.research.events.audits import judge_events
from smallcaps_assets.core.research.events.confirmations import (
    CRASH,
    GAPS,
    SPIKE,
    build_intraday_events,
    measure_moves,
)
from smallcaps_assets.core.research.events.costs import SPREAD_BARS, estimate_half_spread
from smallcaps_assets.core.research.events.decisions import (
    build_decisions,
    label_volatility,
    place_decisions,
)
from smallcaps_assets.core.research.prints import label_prints
from smallcaps_assets.core.verdicts import MadeTable, Number
from smallcaps_assets.research.ground import INPUT_HASH, KEY, Ground
from smallcaps_assets.schemas import TRADES
from smallcaps_assets.schemas_research import DECISIONS, INTRADAY_EVENTS

VERSION: Final = 1
"""Raised when the same inputs make other rows."""

Integers = npt.NDArray[np.int64]

_PRICES: Final = ["open", "high", "low", "close"]


def make_intraday_events(ground: Ground) -> MadeTable:
    """Say of every event of the plan when it was known, and gather the decisions.

    Raises:
        MissingPartitionError: No plan with events is published, or minute bars are missing.
    """
    asked = ground.events.filter("is_proven", pl.col("event").is_in([SPIKE, CRASH, *GAPS]))
    sessions = asked.select(KEY).unique()
    input_hash = _hash(ground)
    if ground.is_current(DECISIONS, input_hash):
        return _describe(ground, ground.read(INTRADAY_EVENTS), is_reused=True)
    moves = [measure_moves(prints) for prints in ground.read_prints(sessions)]
    none = measure_moves(label_prints(TRADES.empty()))
    found = build_intraday_events(
        ground.events, pl.concat([none, *moves]), ground.bars, ground.calendar
    )
    made = _describe(ground, found, is_reused=False)
    if made.verdict.passed:
        facts = {INPUT_HASH: input_hash}
        ground.store.write(INTRADAY_EVENTS, None, [found], facts)
        ground.store.write(DECISIONS, None, [decide(ground, found)], facts)
    return made


def decide(ground: Ground, found: pl.DataFrame) -> pl.DataFrame:
    """Make ``schemas_research.DECISIONS`` of ``schemas_research.INTRADAY_EVENTS``."""
    decisions = build_decisions(found, ground.record.min_events)
    placed = place_decisions(decisions, ground.calendar, ground.labels)
    known = label_volatility(placed, ground.bars, ground.splits, ground.calendar)
    until = ground.record.rank_until
    in_time = pl.lit(value=not ground.record.is_ranked)
    if until is not None:
        in_time = pl.col("session_date") >= until
    spread = pl.Series(_estimate_spreads(ground, known), dtype=pl.Float64)
    table = known.with_columns(half_spread=spread, is_selection_point_in_time=in_time)
    return DECISIONS.conform(table.select(DECISIONS.schema.names())).sort(DECISIONS.key)


def _hash(ground: Ground) -> str:
    """Hash what decides events and decisions."""
    record = ground.record
    chosen = (record.min_events, record.is_ranked, record.rank_until, VERSION)
    tickers = ground.events["ticker"].unique()
    sessions = ground.sessions.filter(pl.col("ticker").is_in(tickers.implode()))
    return ground.hash_inputs(
        ground.events, sessions, ground.bars, ground.splits, ground.labels, ground.costs, chosen
    )


def _describe(ground: Ground, found: pl.DataFrame, *, is_reused: bool) -> MadeTable:
    """Describe the events, by year and kind."""
    verdict = judge_events(found, ground.events, ground.calendar)
    numbers: dict[str, Number] = {
        "events": found.height,
        "confirmed": int(found["is_confirmed"].sum()),
        "refuted": int((~found["is_confirmed"]).sum()),
        "is_reused": int(is_reused),
    }
    return MadeTable(found.height, numbers, verdict, {"by_event_and_year": count_years(found)})


def count_years(found: pl.DataFrame) -> pl.DataFrame:
    """Count E3 and E9 by year: confirmed, refuted, and those of which nobody can tell.

    Args:
        found: ``schemas_research.INTRADAY_EVENTS``.

    Returns:
        ``event, year, confirmed, refuted, unknown``, sorted.
    """
    told = pl.col("is_confirmed")
    return (
        found.filter(pl.col("event").is_in([SPIKE, CRASH]))
        .group_by("event", year=pl.col("session_date").dt.year())
        .agg(confirmed=told.sum(), refuted=(~told).sum(), unknown=told.is_null().sum())
        .sort("event", "year")
    )


def _estimate_spreads(ground: Ground, decisions: pl.DataFrame) -> list[float]:
    """Estimate the half spread of each decision, from the minute bars that were known."""
    bars = _read_minutes(ground, decisions)
    nothing = (np.empty(0, dtype=np.int64), np.empty((0, 4)))
    spreads = []
    for ticker, known, price in decisions.select(
        "ticker", pl.col("known_timestamp").cast(pl.Int64), "known_price"
    ).iter_rows():
        instants, prices = bars.get(ticker, nothing)
        end = int(np.searchsorted(instants, known, side="right"))
        window = prices[max(0, end - SPREAD_BARS) : end]
        last = np.nan if price is None else price
        spreads.append(estimate_half_spread(window, last, ground.costs))
    return spreads


def _read_minutes(
    ground: Ground, decisions: pl.DataFrame
) -> dict[str, tuple[Integers, npt.NDArray[np.float64]]]:
    """Read by ticker when regular minutes with prices were known, and their comparable prices."""
    tickers = decisions["ticker"].unique().to_list()
    is_whole = pl.all_horizontal(pl.col(_PRICES).is_not_null())
    regular = ground.lake.minute_bars(tickers).filter(
        (pl.col("trading_phase") == "regular") & is_whole
    )
    prices = pl.col(_PRICES) * pl.col("split_factor")
    minutes = (
        label_split_factor(regular.select(*KEY, "known_timestamp", *_PRICES), ground.splits.lazy())
        .select("ticker", pl.col("known_timestamp").cast(pl.Int64), prices)
        .collect()
        .sort("ticker", "known_timestamp")
    )
    parts = minutes.partition_by("ticker", as_dict=True)
    return {
        str(ticker): (rows["known_timestamp"].to_numpy(), rows.select(_PRICES).to_numpy())
        for (ticker,), rows in parts.items()
    }
