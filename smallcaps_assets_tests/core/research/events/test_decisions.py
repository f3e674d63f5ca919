import datetime as dt
import math
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core.research.events.decisions import (
    build_decisions,
    label_volatility,
    place_decisions,
)
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas import SPLITS
from smallcaps_assets.schemas_research import INTRADAY_EVENTS
from smallcaps_assets_tests.core.tape_factories import make_bars
from smallcaps_assets_tests.research_factories import read_oracle

DAY: Final = dt.date(2024, 3, 6)
RULES: Final = LabelRules()
CLOSE: Final = "2024-03-07T01:00:00Z"


def make_events(known: dict[str, str], **changes: dict[str, Any]) -> pl.DataFrame:
    """Return events of one session by known time; ``changes`` are columns by event."""
    rows = [
        {
            "ticker": "ABCD",
            "session_date": DAY,
            "event": event,
            "known_timestamp": dt.datetime.fromisoformat(instant),
            **changes.get(event, {}),
        }
        for event, instant in known.items()
    ]
    return pl.DataFrame(rows, INTRADAY_EVENTS.schema)


def list_decisions(events: pl.DataFrame, min_events: int | None) -> list[tuple[str, list[str]]]:
    decisions = build_decisions(events, min_events)
    instants = decisions["known_timestamp"].dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
    return list(zip(instants, decisions["events"].to_list(), strict=True))


def test_decisions_wait_for_the_event_that_chose_the_row() -> None:
    oracle = read_oracle("research/decisions_known_timestamp.json")
    events = make_events(oracle["known_alone"])

    for count, expected in oracle["by_min_event_count"].items():
        decisions = build_decisions(events, int(count))

        found = list(decisions.select("known_timestamp", "events").iter_rows())
        wanted = [(dt.datetime.fromisoformat(instant), names) for instant, names in expected]
        assert [(instant, sorted(names)) for instant, names in found] == wanted


def test_without_a_known_filter_all_events_of_the_row_are_awaited() -> None:
    events = make_events({"E2_GapUp": "2024-03-06T14:30:00Z", "E1_VolExplosion": CLOSE})

    decisions = build_decisions(events, None)

    assert decisions["events"].to_list() == [["E1_VolExplosion", "E2_GapUp"]]


def test_a_refuted_event_counts_and_makes_no_decision() -> None:
    events = make_events(
        {"E2_GapUp": "2024-03-06T14:30:00Z", "E3_PriceSpikeIntraday": CLOSE},
        E3_PriceSpikeIntraday={"is_confirmed": False},
    )

    assert [names for _, names in list_decisions(events, 1)] == [["E2_GapUp"]]
    assert [names for _, names in list_decisions(events, 2)] == [["E2_GapUp"]]
    assert build_decisions(events, 2)["known_timestamp"].to_list() == [
        dt.datetime.fromisoformat(CLOSE)
    ]


def test_what_was_known_by_then_is_listed_beside_what_is_decided() -> None:
    events = make_events({"E2_GapUp": "2024-03-06T14:30:00Z", "E1_VolExplosion": CLOSE})

    decisions = build_decisions(events, 1)

    assert decisions["events"].to_list() == [["E2_GapUp"], ["E1_VolExplosion"]]
    assert decisions["known_events"].to_list() == [["E2_GapUp"], ["E1_VolExplosion", "E2_GapUp"]]


@pytest.mark.parametrize(
    ("known", "is_intraday", "instant"),
    [
        ("2024-03-06T14:30:00.2Z", True, "2024-03-06T14:30:01.2Z"),
        ("2024-03-06T20:29:58.9Z", True, "2024-03-06T20:29:59.9Z"),
        ("2024-03-06T20:29:59Z", False, "2024-03-07T14:30:01Z"),
        (CLOSE, False, "2024-03-07T14:30:01Z"),
        ("2024-03-06T13:00:00Z", False, "2024-03-07T14:30:01Z"),
    ],
)
def test_a_decision_too_late_for_its_session_waits_for_the_next_open(
    known: str, *, is_intraday: bool, instant: str
) -> None:
    decisions = build_decisions(make_events({"E2_GapUp": known}), 1)

    placed = place_decisions(decisions, load_calendar(), RULES).row(0, named=True)

    assert placed["is_intraday"] is is_intraday
    assert placed["decision_timestamp"] == dt.datetime.fromisoformat(instant)
    assert placed["entry_session"] == dt.datetime.fromisoformat(instant).date()


def make_history(closes: list[float], last: dt.date) -> pl.DataFrame:
    dates = load_calendar().dates(dt.date(2023, 6, 1), last)[-len(closes) :]
    return make_bars(
        *(
            {"session_date": date, "open": close, "high": close, "low": close, "close": close}
            for date, close in zip(dates, closes, strict=True)
        )
    )


def measure(
    bars: pl.DataFrame, splits: pl.DataFrame | None = None, price: float | None = None
) -> dict[str, Any]:
    rows = pl.DataFrame(
        {"ticker": ["ABCD"], "session_date": [DAY], "known_price": [price]},
        schema_overrides={"known_price": pl.Float64},
    )
    table = SPLITS.empty() if splits is None else splits
    return label_volatility(rows, bars, table, load_calendar()).row(0, named=True)


def test_volatility_holds_the_move_of_the_event_itself() -> None:
    quiet = [10.0 * 1.01 ** (number % 2) for number in range(20)]
    squeeze = quiet[-1] * 1.5

    row = measure(make_history([*quiet, squeeze], DAY))

    step = math.log(1.01)
    assert row["sigma"] == pytest.approx(math.sqrt((19 * step**2 + math.log(1.5) ** 2) / 20))
    assert (row["known_price"], row["day_volume"]) == (squeeze, 100.0)


def test_a_print_known_before_the_close_stands_in_for_it() -> None:
    row = measure(make_history([10.0] * 20 + [15.0], DAY), price=12.0)

    assert row["sigma"] == pytest.approx(math.log(1.2) / math.sqrt(20))


def test_too_few_returns_and_bars_of_long_ago_make_no_target() -> None:
    assert measure(make_history([10.0] * 10, DAY))["sigma"] is None
    assert measure(make_history([10.0] * 11, DAY))["sigma"] == 0
    old = make_history([10.0] * 20, load_calendar().shift(DAY, -41))
    assert measure(old, price=10.0)["sigma"] is None


@pytest.mark.parametrize(("ratio", "is_known"), [((10.0, 1.0), True), ((None, None), False)])
def test_splits_are_undone_and_unknown_ones_end_the_history(
    ratio: tuple[float | None, float | None], *, is_known: bool
) -> None:
    bars = make_history([1.0] * 20 + [10.0], DAY)
    splits = pl.DataFrame([("ABCD", DAY, *ratio)], SPLITS.schema, orient="row")

    row = measure(bars, splits)

    assert (row["sigma"] is not None) is is_known
    if is_known:
        assert row["sigma"] == pytest.approx(0)
        assert row["day_volume"] == pytest.approx(100.0)
