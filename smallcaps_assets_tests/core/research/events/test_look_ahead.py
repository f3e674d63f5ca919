"""A market in which the selection of rows looks ahead, and decisions must not."""

import datetime as dt
from typing import Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.research.events.decisions import build_decisions, place_decisions
from smallcaps_assets.core.research.events.labels import Decision, Hours, Tape, label_horizon
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas_research import INTRADAY_EVENTS

RULES: Final = LabelRules()
SECOND_NS: Final = 1_000_000_000
SESSIONS: Final = load_calendar().dates(dt.date(2024, 3, 1), dt.date(2024, 5, 31))[::2]
LATE: Final = ("E1_VolExplosion", "E4_Parabolic")
"""Events that follow from a rise during the session, and are known after it."""


def read_hours() -> Hours:
    frame = load_calendar().frame.select(pl.col("regular_open", "regular_close").cast(pl.Int64))
    return Hours(*(frame[name].to_numpy() for name in frame.columns))


def make_market() -> tuple[pl.DataFrame, Tape]:
    """Gap up every other session; those with three events rise that day and fall the next.

    The plan holds these alone, so who enters at the open of its rows cannot lose.
    """
    hours, rows = read_hours(), []
    times: list[int] = []
    prices: list[float] = []
    for date in SESSIONS:
        index = load_calendar().index_of(date)
        opening = int(hours.opens[index])
        late = load_calendar().frame["after_hours_close"].cast(pl.Int64)[index]
        known = {"E2_GapUp": opening, **dict.fromkeys(LATE, late)}
        rows += [("ABCD", date, event, instant) for event, instant in known.items()]
        for shift, path in ((0, (10.0, 10.5, 13.0)), (1, (13.0, 12.0, 10.0))):
            start = int(hours.opens[index + shift])
            times += [start + (2 + 3_600 * step) * SECOND_NS for step in range(3)]
            prices += path
    columns = ("ticker", "session_date", "event", "known_timestamp")
    schema = {name: INTRADAY_EVENTS.schema[name] for name in columns}
    events = pl.DataFrame(rows, schema | {"known_timestamp": pl.Int64()}, orient="row")
    typed = events.cast({"known_timestamp": schema["known_timestamp"]}).with_columns(
        is_confirmed=pl.lit(None, pl.Boolean), known_price=pl.lit(10.0)
    )
    every = range(load_calendar().frame.height)
    factors = dict.fromkeys(every, (1.0, 0))
    halts = np.empty((0, 2), dtype=np.int64)
    tape = Tape(np.array(times), np.array(prices), halts, frozenset(every), factors)
    return typed, tape


def measure_gap_ups(min_events: int) -> list[float]:
    """Return the returns of E2, bought, over one session after its own."""
    events, tape = make_market()
    placed = place_decisions(build_decisions(events, min_events), load_calendar(), RULES)
    returns = []
    for row in placed.with_columns(pl.selectors.datetime().cast(pl.Int64)).iter_rows(named=True):
        if "E2_GapUp" not in row["events"]:
            continue
        session, entry = (
            load_calendar().index_of(row[name]) for name in ("session_date", "entry_session")
        )
        decision = Decision(
            session, entry, row["decision_timestamp"], 0.05, 0.001, row["is_intraday"]
        )
        outcome = label_horizon(decision, 1, tape, read_hours(), RULES)
        returns.append(outcome.gross or 0.0)
    return returns


def test_who_waits_for_the_selection_earns_the_next_day_and_not_the_open() -> None:
    with_rule = measure_gap_ups(min_events=3)

    assert len(with_rule) == len(SESSIONS)
    assert all(gross == pytest.approx(12.0 / 13.0 - 1) for gross in with_rule)


def test_without_the_rule_the_same_rows_would_never_lose() -> None:
    """The leak that the rule closes: every number that a decision uses is in the past."""
    without = measure_gap_ups(min_events=1)

    assert all(gross > 0 for gross in without)
