import datetime as dt
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core.research.events.confirmations import (
    build_intraday_events,
    measure_moves,
)
from smallcaps_assets.core.research.prints import label_prints
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, SESSION, make_trades
from smallcaps_assets_tests.research_factories import read_oracle

SECOND_NS: Final = 1_000_000_000
AFTER_HOURS_CLOSE: Final = dt.datetime(2024, 3, 16, 0, tzinfo=dt.UTC)


def confirm(
    event: str,
    *rows: dict[str, Any],
    opens: float | None = None,
    is_proven: bool = True,
    date: dt.date = SESSION,
) -> dict[str, Any]:
    """Return the one row of an event; the daily bar opens as the prints do by default."""
    moves = measure_moves(label_prints(make_trades(*rows)))
    bar = moves["open_used"].to_list()[0] if opens is None and moves.height else opens
    key = {"ticker": ["ABCD"], "session_date": [date]}
    events = pl.DataFrame(key | {"event": [event], "is_proven": [is_proven]})
    bars = pl.DataFrame(key | {"open": [bar]}, schema_overrides={"open": pl.Float64})
    return build_intraday_events(events, moves, bars, load_calendar()).row(0, named=True)


def read_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = read_oracle("research/confirm_e3.json")["cases"]
    return cases


def test_every_known_case_of_a_spike() -> None:
    for case in read_cases():
        row = confirm("E3_PriceSpikeIntraday", *case["prints"])

        found = (row["is_confirmed"], row["prints_beyond"])
        assert found == (case["confirmed"], case["prints_beyond"]), case["name"]


def test_the_second_print_tells_and_its_price_is_known() -> None:
    row = confirm("E3_PriceSpikeIntraday", {"price": 10.0}, {"price": 12.1}, {"price": 12.4})

    assert row["known_timestamp"].timestamp() == (OPENING_NS + 2 * SECOND_NS) / SECOND_NS
    assert (row["known_price"], row["level"], row["extreme"]) == (12.4, 12.0, 12.4)
    assert (row["shares_beyond"], row["minutes_beyond"]) == (200.0, 1)


def test_a_crash_is_confirmed_downwards() -> None:
    row = confirm("E9_CrashIntraday", {"price": 10.0}, {"price": 7.0}, {"price": 6.5})

    assert (row["is_confirmed"], row["extreme"], row["known_price"]) == (True, 6.5, 6.5)


def test_an_event_that_prints_refute_counts_when_the_bar_was_final() -> None:
    row = confirm("E3_PriceSpikeIntraday", {"price": 10.0}, {"price": 12.1})

    assert (row["is_confirmed"], row["reason"]) == (False, None)
    assert row["known_timestamp"] == AFTER_HOURS_CLOSE


@pytest.mark.parametrize("event", ["E2_GapUp", "E8_GapDownViolent"])
def test_a_gap_is_known_at_the_first_price_print(event: str) -> None:
    row = confirm(event, {"price": 9.0, "conditions": [37]}, {"price": 10.0}, opens=10.05)

    assert (row["is_confirmed"], row["known_price"]) == (True, 10.0)
    assert row["known_timestamp"].timestamp() == (OPENING_NS + SECOND_NS) / SECOND_NS


@pytest.mark.parametrize(
    ("rows", "changes", "reason"),
    [
        ([{"price": 10.0}], {"opens": 10.06}, "opens_differ"),
        ([{"price": 10.0}], {"is_proven": False}, "not_proven"),
        ([{"price": 10.0, "conditions": [37]}], {"opens": 10.0}, "no_open"),
        ([{"price": 10.0}], {"opens": float("nan")}, "opens_differ"),
    ],
)
@pytest.mark.parametrize("event", ["E2_GapUp", "E3_PriceSpikeIntraday", "E9_CrashIntraday"])
def test_what_prints_cannot_tell_is_null_and_known_with_the_bar(
    event: str, rows: list[dict[str, Any]], changes: dict[str, Any], reason: str
) -> None:
    row = confirm(event, *rows, **changes)

    assert (row["is_confirmed"], row["reason"]) == (None, reason)
    assert row["known_timestamp"] == AFTER_HOURS_CLOSE


def test_a_session_without_a_bar_is_not_compared() -> None:
    moves = measure_moves(label_prints(make_trades({"price": 10.0})))
    key = {"ticker": ["ABCD"], "session_date": [SESSION]}
    events = pl.DataFrame(key | {"event": ["E2_GapUp"], "is_proven": [True]})
    none = pl.DataFrame(schema={"ticker": pl.String, "session_date": pl.Date, "open": pl.Float64})

    table = build_intraday_events(events, moves, none, load_calendar())

    assert table["reason"].to_list() == ["no_bar"]


def test_events_of_the_bar_are_known_four_hours_after_an_early_close() -> None:
    row = confirm("E1_VolExplosion", date=dt.date(2024, 7, 3))

    assert row["reason"] == "daily_bar"
    assert row["known_timestamp"] == dt.datetime(2024, 7, 3, 21, tzinfo=dt.UTC)
